"""What the jobs compute from production equals SQL that was written independently, on the shop's own database."""

from __future__ import annotations

import inspect
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import ContractBrokenError, UnknownDayError
from ds_pipelines.evidence import Feature, ModelCard
from ds_pipelines.extract import production
from ds_pipelines.production.jobs import JOBS, top_sellers
from ds_pipelines.scoring import score
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.model import Model

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

TOP_SELLERS, REPURCHASE = JOBS["top_sellers"], JOBS["repurchase"]

SPRING, AUTUMN = date(2025, 3, 30), date(2025, 10, 26)
"""The days of 23 and of 25 hours."""
DAYS = [date(2025, 2, 28), SPRING, date(2025, 4, 26), date(2025, 7, 14), AUTUMN, date(2025, 12, 31)]

TOP_SELLERS_SQL = Path(inspect.getfile(top_sellers)).with_suffix(".sql").read_text()

FEATURES_SQL = """
    WITH o AS (
        SELECT customer_id, kind, order_id, (placed_at AT TIME ZONE 'Europe/London')::date AS on_day
        FROM orders WHERE placed_at < (DATE '{day}' + 1)::timestamp AT TIME ZONE 'Europe/London'
        AND placed_at >= (DATE '{day}' - 364)::timestamp AT TIME ZONE 'Europe/London'
    ), s AS (
        SELECT customer_id, DATE '{day}' - max(on_day) AS recency, DATE '{day}' - min(on_day) AS tenure, count(*) AS n,
               count(*) FILTER (WHERE on_day > DATE '{day}' - 30) AS n30,
               count(*) FILTER (WHERE on_day > DATE '{day}' - 90) AS n90
        FROM o WHERE kind = 'sale' AND customer_id IS NOT NULL GROUP BY 1
    ), l AS (
        SELECT o.customer_id, count(*) AS lines, sum(quantity * unit_price * (1 - discount)) AS spend,
               sum(quantity * unit_price * (1 - discount)) FILTER (WHERE on_day > DATE '{day}' - 90) AS spend90
        FROM order_lines JOIN o USING (order_id) WHERE quantity > 0 GROUP BY 1
    )
    SELECT s.customer_id, recency, tenure, n, n30, n90, spend::float8, coalesce(spend90, 0)::float8,
           (tenure - recency) / greatest(n - 1, 1)::float8, lines / n::float8,
           (SELECT count(*) FROM o WHERE o.customer_id = s.customer_id AND kind = 'return'),
           extract(year FROM DATE '{day}')::int - extract(year FROM birth_date)::int,
           (segment <> 'private')::int, newsletter::int
    FROM s JOIN l USING (customer_id) JOIN customers USING (customer_id) ORDER BY 1
"""


def ask(settings: Settings, query: str, role: postgres.Role = "scoring", **values: Any) -> list[tuple[Any, ...]]:
    with closing(postgres.connect(role, settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchall()


def model_by_recency() -> Model:
    """A model of which every score is plain: customers who bought lately come again."""
    names = [name for name in FEATURES if name != "customer_id"]
    card = ModelCard(
        name="repurchase",
        format="lightgbm",
        artifact="model",
        files=(),
        features=tuple(Feature(name=name, dtype="Float64") for name in names),
        target="an order within 30 days",
        entity="customer_id",
        predictions="evidence/predictions.parquet",
    )
    return Model(card, lambda numbers: 1 / (2 + numbers[:, 0]))


FEATURES = (
    "customer_id", "recency_days", "tenure_days", "orders_total", "orders_30d", "orders_90d", "spend_total",
    "spend_90d", "mean_gap_days", "items_per_order", "returns_total", "age", "is_business", "newsletter",
)  # fmt: skip


def sold_most(settings: Settings, day: date) -> list[tuple[Any, ...]]:
    return ask(settings, TOP_SELLERS_SQL, day=day, zone=settings.zone)


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_top_sellers_equal_independent_sql(day: date, settings: Settings) -> None:
    with score.score_day(TOP_SELLERS, day, settings, release="r") as scored:
        found = scored.frame.drop("day").rows()
    assert found == sold_most(settings, day)
    assert {"all", "private"} <= {segment for segment, *_ in found}


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_top_sellers_are_the_same_from_more_days_than_needed(day: date, settings: Settings) -> None:
    tables = {table: production.transformed(table, settings).lazy() for table in TOP_SELLERS.reads}
    found = TOP_SELLERS.compute(tables, day, settings.zone).sort("segment", "category", "rank").collect()
    assert found.rows() == sold_most(settings, day)


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_features_of_all_customers_equal_independent_sql(day: date, settings: Settings) -> None:
    with score.score_day(REPURCHASE, day, settings, release="r", model=model_by_recency()) as scored:
        found, features = scored.frame, pl.read_parquet(scored.features).sort("customer_id")
    expected = np.array(ask(settings, FEATURES_SQL.format(day=day)), dtype=float)
    assert found["customer_id"].to_list() == expected[:, 0].tolist()
    assert tuple(features.columns) == FEATURES
    assert np.array_equal(features.to_numpy(), expected)


def test_what_is_older_than_a_year_does_not_count(settings: Settings) -> None:
    """So a day costs the same however old the shop is; on a day after the sample's last, some of it is that old."""
    day = date(2026, 4, 1)
    tables = {table: production.transformed(table, settings).lazy() for table in REPURCHASE.reads}
    found = REPURCHASE.compute(tables, day, settings.zone).sort("customer_id").collect()
    assert np.array_equal(found.to_numpy(), np.array(ask(settings, FEATURES_SQL.format(day=day)), dtype=float))
    assert found.height < tables["orders"].select(pl.col("customer_id").drop_nulls().n_unique()).collect().item()


def test_every_customer_with_a_sale_by_then_is_delivered(settings: Settings) -> None:
    day = DAYS[3]
    scored = score.score_day(REPURCHASE, day, settings, release="r" * 64, model=model_by_recency())
    facts = {"release": "r" * 64, "inputs": scored.inputs, "began": begin(settings)}
    receipt = deliver(scored.frame, REPURCHASE, day, settings=settings, **facts)
    ((customers,),) = ask(
        settings,
        "SELECT count(DISTINCT customer_id) FROM orders WHERE kind = 'sale' "
        f"AND placed_at < (DATE '{day}' + 1)::timestamp AT TIME ZONE 'Europe/London'",
    )
    query = f"SELECT count(*), count(DISTINCT customer_id) FROM repurchase_scores WHERE day = '{day}'"
    assert receipt.rows == customers > 0
    assert ask(settings, query, "consumer") == [(customers, customers)]


def test_rows_of_another_release_are_not_delivered(settings: Settings) -> None:
    scored = score.score_day(REPURCHASE, DAYS[3], settings, release="a" * 64, model=model_by_recency())
    facts = {"release": "b" * 64, "inputs": scored.inputs, "began": begin(settings)}
    with pytest.raises(ContractBrokenError, match=r"release \(the release in use\)"):
        deliver(scored.frame, REPURCHASE, DAYS[3], settings=settings, **facts)


def test_a_receipt_tells_what_was_read(settings: Settings) -> None:
    day = DAYS[1]
    lines, products, *_ = score.score_day(TOP_SELLERS, day, settings, release="r").inputs
    ((rows,),) = ask(
        settings,
        "SELECT count(*) FROM order_lines WHERE placed_at >= (DATE '2025-03-03')::timestamp AT TIME ZONE "
        "'Europe/London' AND placed_at < (DATE '2025-03-31')::timestamp AT TIME ZONE 'Europe/London'",
    )
    assert (lines.table, lines.rows, lines.since, lines.until) == ("order_lines", rows, date(2025, 3, 3), day)
    assert (products.table, products.since, products.until) == ("products", None, None)


def test_a_day_that_is_not_over_is_refused(settings: Settings) -> None:
    with pytest.raises(UnknownDayError):
        score.score_day(TOP_SELLERS, settings.now().date(), settings, release="r")


def test_the_latest_scores_grow_with_the_decile_and_equal_scores_share_one(settings: Settings) -> None:
    frame = score.score_day(REPURCHASE, DAYS[3], settings, release="r", model=model_by_recency()).frame
    by_score = frame.sort("score")
    assert by_score["decile"].is_sorted()
    assert set(frame["decile"]) <= set(range(1, 11))
    assert frame["decile"].max() == 10
    assert frame.group_by("score").agg(pl.col("decile").n_unique())["decile"].max() == 1
