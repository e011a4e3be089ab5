"""Who buys again within 30 days?

Every customer is described by what was known at the end of a day of the 365 before, on several such days a month apart,
and labelled by whether an order followed within 30 days. Two model families learn from the earlier days; the last day
whose 30 days are over is held out, and a verdict says whether either of them predicts anything there. The family that
did better on the last of the earlier days is saved for release.

Segment, newsletter and year of birth are those of today on all days: the shop keeps no history of them.
"""

import warnings
from datetime import date, timedelta
from typing import Any

import lightgbm
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ds_pipelines import lab
from ds_pipelines.settings import load_settings

zone = lab.param("zone", load_settings().zone)
horizon = timedelta(days=lab.param("horizon_days", 30))
history = timedelta(days=lab.param("history_days", 60))  # before the first day that customers are described on
window = timedelta(days=lab.param("window_days", 365))  # nothing older is told of a customer
seed = lab.param("seed", 7)

# ---------------------------------------------------------------- the data

EXACT = pl.Decimal(18, 5)  # sums of money do not depend on their order, and come out the same everywhere
on = pl.col("placed_at").dt.convert_time_zone(zone).dt.date()
paid = pl.col("quantity").cast(pl.Int64) * pl.col("unit_price").cast(EXACT) * (1 - pl.col("discount").cast(EXACT))
not_a_guest = pl.col("customer_id").is_not_null()

orders = (
    lab.table("orders", columns=["customer_id", "placed_at", "kind"])
    .filter(not_a_guest)
    .select("customer_id", "kind", on=on)
    .collect()
)
lines = (
    lab.table("order_lines", columns=["customer_id", "placed_at", "quantity", "unit_price", "discount"])
    .filter(not_a_guest, pl.col("quantity") > 0)
    .select("customer_id", on=on, paid=paid)
    .collect()
)
customers = lab.table("customers", columns=["customer_id", "birth_date", "segment", "newsletter"]).collect()
sales = orders.filter(pl.col("kind") == "sale")

# ---------------------------------------------------------------- features as of a day

LONG_TAILED = [
    "recency_days", "tenure_days", "orders_total", "orders_30d", "orders_90d", "spend_total", "spend_90d",
    "mean_gap_days", "items_per_order", "returns_total",
]  # fmt: skip
FEATURES = [*LONG_TAILED, "age", "is_business", "newsletter"]


def describe(day: date) -> pl.DataFrame:
    """Every customer with a sale in the window that ends with `day`, as known then, and whether another follows."""
    lately, this_quarter = (pl.col("on") > day - timedelta(days=days) for days in (30, 90))
    known = (pl.col("on") <= day) & (pl.col("on") > day - window)
    bought = sales.filter(known).group_by("customer_id").agg(
        recency_days=(day - pl.col("on").max()).dt.total_days(),
        tenure_days=(day - pl.col("on").min()).dt.total_days(),
        orders_total=pl.len().cast(pl.Int64),
        orders_30d=lately.sum().cast(pl.Int64),
        orders_90d=this_quarter.sum().cast(pl.Int64),
    )  # fmt: skip
    spent = lines.filter(known).group_by("customer_id").agg(
        spend_total=pl.col("paid").sum().cast(pl.Float64),
        spend_90d=pl.col("paid").filter(this_quarter).sum().cast(pl.Float64),
        items=pl.len().cast(pl.Int64),
    )  # fmt: skip
    returned = orders.filter(known, pl.col("kind") == "return").group_by("customer_id").agg(
        returns_total=pl.len().cast(pl.Int64)
    )  # fmt: skip
    people = customers.select(
        "customer_id",
        age=(day.year - pl.col("birth_date").dt.year().cast(pl.Int64)).fill_null(-1),
        is_business=(pl.col("segment") != "private").cast(pl.Int64),
        newsletter=pl.col("newsletter").cast(pl.Int64),
    )
    again = sales.filter(pl.col("on") > day, pl.col("on") <= day + horizon)["customer_id"]
    return (
        bought.join(spent, on="customer_id", how="left")
        .join(returned, on="customer_id", how="left")
        .join(people, on="customer_id", how="left")
        .with_columns(
            pl.col("spend_total", "spend_90d", "items", "returns_total").fill_null(0),
            as_of=pl.lit(day),
            mean_gap_days=(pl.col("tenure_days") - pl.col("recency_days"))
            / pl.max_horizontal(pl.col("orders_total") - 1, 1),
            buys_again=pl.col("customer_id").is_in(again.implode()),
        )
        .with_columns(items_per_order=pl.col("items") / pl.col("orders_total"))
        .select("customer_id", "as_of", *FEATURES, "buys_again")
        # By content, since pseudonyms differ between installations, and so would the order; last by these, so that
        # customers of the same content come in one order here, run after run.
        .sort(*FEATURES, "buys_again", "customer_id")
    )


# ---------------------------------------------------------------- the split, by time

first, last = sales.select(first=pl.col("on").min(), last=pl.col("on").max()).row(0)
test_day = last - horizon
gap = timedelta(days=1)  # between the last label that training sees and the test
months_before = [test_day - gap - month * horizon for month in range(1, 25)]
days = sorted(day for day in months_before if day >= first + history)
if len(days) < 2:
    raise ValueError(f"Two days to learn from need orders from {months_before[1] - history} or before.")

train = pl.concat([describe(day) for day in days])
test = describe(test_day)
earlier, latest = train.filter(pl.col("as_of") < days[-1]), train.filter(pl.col("as_of") == days[-1])

# ---------------------------------------------------------------- two families

families = {
    "logistic": make_pipeline(
        ColumnTransformer(
            [("long_tailed", FunctionTransformer(np.arcsinh), slice(len(LONG_TAILED)))],
            remainder="passthrough",
        ),
        StandardScaler(),
        LogisticRegression(C=lab.param("logistic_c", 0.1), max_iter=1_000),
    ),
    "lightgbm": lightgbm.LGBMClassifier(
        n_estimators=lab.param("trees", 120),
        learning_rate=lab.param("learning_rate", 0.04),
        num_leaves=lab.param("leaves", 12),
        min_child_samples=lab.param("least_in_leaf", 60),
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,
        verbose=-1,
    ),
}


def fit(model: Any, rows: pl.DataFrame) -> None:
    """Names of the features go with the model where its family keeps them."""
    names = {"feature_name": FEATURES} if isinstance(model, lightgbm.LGBMClassifier) else {}
    model.fit(rows.select(FEATURES).to_numpy(), rows["buys_again"].to_numpy(), **names)


def score(model: Any, rows: pl.DataFrame) -> Any:
    """The probability that a customer buys again."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that an array has no names
        return model.predict_proba(rows.select(FEATURES).to_numpy())[:, 1]


# The better family on the last of the earlier days is chosen before anyone looks at the held-out day.
validated = {}
for name, model in families.items():
    fit(model, earlier)
    validated[name] = roc_auc_score(latest["buys_again"], score(model, latest))
    lab.metric(f"validation_auc_{name}", validated[name])
chosen = max(validated, key=validated.__getitem__)

for model in families.values():
    fit(model, train)
scores = {name: score(model, test) for name, model in families.items()}

# ---------------------------------------------------------------- is there a signal, and how much

bought_again = test["buys_again"].to_numpy()
lab.verdict(
    f"Who buys again within {horizon.days} days?",
    bought_again,
    scores,
    train=train.drop("as_of"),
    test=test.drop("as_of"),
    target="buys_again",
    groups="customer_id",
    train_ends=days[-1] + horizon,
    test_begins=test_day,
    subgroups=["is_business", "newsletter", "age"],
    seed=seed,
)

lab.metric("customers_train", train.height)
lab.metric("customers_test", test.height)
lab.metric("share_buying_again", bought_again.mean())
for name, scored in scores.items():
    lab.metric(f"auc_{name}", roc_auc_score(bought_again, scored))
    lab.metric(f"brier_{name}", brier_score_loss(bought_again, scored))
    lab.metric(f"log_loss_{name}", log_loss(bought_again, scored))
    best_tenth = np.argsort(-scored, kind="stable")[: max(test.height // 10, 1)]
    lab.metric(f"lift_best_tenth_{name}", bought_again[best_tenth].mean() / bought_again.mean())

# ---------------------------------------------------------------- pictures

INK, GREY, COLOURS = "#22303c", "#8a97a3", {"logistic": "#a8562a", "lightgbm": "#1b6f8f"}


def axes_of(title: str, x: str, y: str) -> tuple[Figure, Any]:
    """An empty square, both axes in percent."""
    drawing = Figure(figsize=(5.6, 5.2), facecolor="white", layout="constrained")
    axes = drawing.subplots()
    axes.set_title(title, loc="left", color=INK, fontsize=12)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6eaee")
    axes.set_axisbelow(True)
    return drawing, axes


drawing, axes = axes_of("Whom to write to first", "customers, best score first", "of those who buy again, reached")
share = np.arange(test.height + 1) / test.height
for name, scored in scores.items():
    reached = np.cumsum(bought_again[np.argsort(-scored, kind="stable")]) / bought_again.sum()
    axes.plot(share, np.concatenate([[0], reached]), color=COLOURS[name], linewidth=2, label=name)
axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="in any order")
axes.legend(frameon=False, loc="lower right")
lab.figure(drawing, "gains")

drawing, axes = axes_of("Do the probabilities hold?", "probability said, mean of a tenth", "share that bought again")
for name, scored in scores.items():
    tenths = np.array_split(np.argsort(scored, kind="stable"), 10)
    said, did = [scored[rows].mean() for rows in tenths], [bought_again[rows].mean() for rows in tenths]
    axes.plot(said, did, "o-", color=COLOURS[name], linewidth=1.5, markersize=5, label=name)
highest = max(axes.get_xlim()[1], axes.get_ylim()[1])
axes.plot([0, highest], [0, highest], color=GREY, linewidth=1, linestyle="--", label="as said")
axes.legend(frameon=False, loc="upper left")
lab.figure(drawing, "calibration")

# ---------------------------------------------------------------- what production is offered

lab.save(
    families[chosen],
    "repurchase",
    features=train.select(FEATURES),
    predictions=test.select("customer_id", "as_of", *FEATURES, score=pl.Series(scores[chosen])),
    target=f"an order within {horizon.days} days after the day",
    entity="customer_id",
)
