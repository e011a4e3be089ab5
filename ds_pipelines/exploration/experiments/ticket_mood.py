"""Does anything we know about a support ticket tell whether its customer was satisfied?

What is known when a ticket is closed: its topic, how long the answer took, when it was opened, whether it is about an
order, and what the customer bought and asked before. Two model families learn from the earlier days and are judged on
the later ones, on one ticket a customer; more days are held out than learned from, because *no signal* takes many rows
to say. A model is saved whatever the verdict, for comparison: one without a signal is not released.
"""

import warnings
from datetime import timedelta
from typing import Any

import lightgbm
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ds_pipelines import lab
from ds_pipelines.settings import load_settings

zone = lab.param("zone", load_settings().zone)
seed = lab.param("seed", 7)

# ---------------------------------------------------------------- the data

tickets = lab.table("tickets").collect()
orders = lab.table("orders", columns=["customer_id", "placed_at", "kind"]).collect()
customers = lab.table("customers", columns=["customer_id", "segment"]).collect()

# ---------------------------------------------------------------- a ticket when it is closed

before = tickets.select("ticket_id", "customer_id", "opened_at")
ordered = (
    before.join(orders, on="customer_id")
    .filter(pl.col("placed_at") < pl.col("opened_at"))
    .group_by("ticket_id")
    .agg(
        earlier_orders=(pl.col("kind") == "sale").sum().cast(pl.Int64),
        earlier_returns=(pl.col("kind") == "return").sum().cast(pl.Int64),
    )
)
asked = (
    before.join(before, on="customer_id", suffix="_before")
    .filter(pl.col("opened_at_before") < pl.col("opened_at"))
    .group_by("ticket_id")
    .agg(earlier_tickets=pl.len().cast(pl.Int64))
)
opened = pl.col("opened_at").dt.convert_time_zone(zone)
described = (
    tickets.join(ordered, on="ticket_id", how="left")
    .join(asked, on="ticket_id", how="left")
    .join(customers, on="customer_id", how="left")
    .select(
        "ticket_id",
        "customer_id",
        "opened_at",
        as_of=opened.dt.date(),
        topic="topic",
        minutes_to_answer=pl.col("minutes_to_answer").cast(pl.Int64),
        hour=opened.dt.hour().cast(pl.Int64),
        weekday=opened.dt.weekday().cast(pl.Int64),
        about_an_order=pl.col("order_id").is_not_null().cast(pl.Int64),
        is_business=(pl.col("segment") != "private").cast(pl.Int64),
        earlier_orders=pl.col("earlier_orders").fill_null(0),
        earlier_returns=pl.col("earlier_returns").fill_null(0),
        earlier_tickets=pl.col("earlier_tickets").fill_null(0),
        dissatisfied=pl.col("mood") == "dissatisfied",
    )
    .with_columns(
        (pl.col("topic") == topic).cast(pl.Int64).alias(f"topic_{topic.replace(' ', '_')}")
        for topic in tickets["topic"].unique().sort()
    )
    .drop("topic")
)
OTHERS = {"ticket_id", "customer_id", "opened_at", "as_of", "dissatisfied"}
FEATURES = [name for name in described.columns if name not in OTHERS]
# By content: pseudonyms differ between installations, and so would the order by them. They come last, so that rows of
# the same content come in one order here, run after run.
described = described.sort("opened_at", *FEATURES, "dissatisfied", "ticket_id")

# ---------------------------------------------------------------- the split, by time

first, last = described.select(first=pl.col("as_of").min(), last=pl.col("as_of").max()).row(0)
test_begins = first + timedelta(days=round(((last - first).days + 1) * lab.param("share_to_learn_from", 0.4)))
train = described.filter(pl.col("as_of") < test_begins)
test = described.filter(pl.col("as_of") >= test_begins).unique("customer_id", keep="first", maintain_order=True)

# ---------------------------------------------------------------- two families

families = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=lab.param("logistic_c", 0.1), max_iter=1_000)),
    "lightgbm": lightgbm.LGBMClassifier(
        n_estimators=lab.param("trees", 60),
        learning_rate=lab.param("learning_rate", 0.04),
        num_leaves=lab.param("leaves", 8),
        min_child_samples=lab.param("least_in_leaf", 60),
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,
        verbose=-1,
    ),
}
inputs, held_out = train.select(FEATURES).to_numpy(), test.select(FEATURES).to_numpy()
scores: dict[str, Any] = {}
with warnings.catch_warnings(action="ignore", category=UserWarning):  # that an array has no names
    for name, model in families.items():
        names = {"feature_name": FEATURES} if name == "lightgbm" else {}
        model.fit(inputs, train["dissatisfied"].to_numpy(), **names)
        scores[name] = model.predict_proba(held_out)[:, 1]

# ---------------------------------------------------------------- is there a signal

dissatisfied = test["dissatisfied"].to_numpy()
lab.verdict(
    "Which customers will be dissatisfied with the answer to their ticket?",
    dissatisfied,
    scores,
    train_prevalence=train["dissatisfied"].to_numpy().mean(),
    train_ends=test_begins - timedelta(days=1),
    test_begins=test_begins,
    groups=test["customer_id"],
    seed=seed,
)

lab.metric("tickets_train", train.height)
lab.metric("tickets_test", test.height)
lab.metric("share_dissatisfied", dissatisfied.mean())
for name, scored in scores.items():
    lab.metric(f"auc_{name}", roc_auc_score(dissatisfied, scored))
    lab.metric(f"brier_{name}", brier_score_loss(dissatisfied, scored))

# ---------------------------------------------------------------- a picture

INK, GREY, COLOURS = "#22303c", "#8a97a3", {"logistic": "#a8562a", "lightgbm": "#1b6f8f"}
drawing = Figure(figsize=(5.6, 5.2), facecolor="white", layout="constrained")
axes = drawing.subplots()
for name, scored in scores.items():
    false, true, _ = roc_curve(dissatisfied, scored)
    axes.plot(false, true, color=COLOURS[name], linewidth=2, label=name)
axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="by chance")
axes.set_title("Are the dissatisfied told from the satisfied?", loc="left", color=INK, fontsize=12)
axes.set_xlabel("of the satisfied, taken for dissatisfied", color=INK)
axes.set_ylabel("of the dissatisfied, found", color=INK)
axes.xaxis.set_major_formatter(PercentFormatter(1))
axes.yaxis.set_major_formatter(PercentFormatter(1))
axes.spines[["top", "right"]].set_visible(False)
axes.grid(color="#e6eaee")
axes.legend(frameon=False, loc="lower right")
lab.figure(drawing, "roc")

lab.save(
    families["logistic"],
    "ticket_mood",
    features=train.select(FEATURES),
    predictions=test.select("ticket_id", "as_of", *FEATURES, score=pl.Series(scores["logistic"])),
    target="a customer dissatisfied with the answer to a ticket",
    entity="ticket_id",
)
