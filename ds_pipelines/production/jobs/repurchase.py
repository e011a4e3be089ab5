"""Repurchase: how likely each customer is to buy again within 30 days.

What belongs here: the reviewed definition of the model's features as of a day, and what is delivered; it is released by
the hash of this file. What does not: training, which is the experiment's and has its own definition of the features.
Importing a release proves that both agree.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from ds_pipelines.scoring.job import ScoringJob, ServedColumn, Tables

MONTH, QUARTER, YEAR = timedelta(days=30), timedelta(days=90), timedelta(days=365)
EXACT = pl.Decimal(18, 5)
"""Holds a price times a discount without rounding, so that a sum does not depend on its order."""


def features(tables: Tables, day: date, zone: str) -> pl.LazyFrame:
    """What is known of every customer at the end of `day`, a row a customer with a sale in the 365 days that end then.

    Nothing older counts, so that a day costs the same however old the shop is. Guests are nobody's customers. Days are
    whole, in the business's time zone. `recency_days` and `tenure_days` count back to the last and the first sale of
    these days, and totals are theirs; spending is after discounts; `age` is -1 when unknown.
    """
    on = pl.col("placed_at").dt.convert_time_zone(zone).dt.date()
    worth = pl.col("quantity").cast(pl.Int64) * pl.col("unit_price").cast(EXACT) * (1 - pl.col("discount").cast(EXACT))
    counts = (pl.col("customer_id").is_not_null(), pl.col("on") <= day, pl.col("on") > day - YEAR)
    orders = tables["orders"].with_columns(on=on).filter(*counts)
    bought = tables["order_lines"].with_columns(on=on, worth=worth).filter(*counts, pl.col("quantity") > 0)

    sales = orders.filter(pl.col("kind") == "sale").group_by("customer_id")
    returns = orders.filter(pl.col("kind") == "return").group_by("customer_id")
    counted = sales.agg(
        recency_days=(day - pl.col("on").max()).dt.total_days(),
        tenure_days=(day - pl.col("on").min()).dt.total_days(),
        orders_total=pl.len().cast(pl.Int64),
        orders_30d=(pl.col("on") > day - MONTH).sum().cast(pl.Int64),
        orders_90d=(pl.col("on") > day - QUARTER).sum().cast(pl.Int64),
    )
    spent = bought.group_by("customer_id").agg(
        spend_total=pl.col("worth").sum(),
        spend_90d=pl.col("worth").filter(pl.col("on") > day - QUARTER).sum(),
        lines=pl.len().cast(pl.Int64),
    )
    known = tables["customers"].select(
        "customer_id",
        age=(day.year - pl.col("birth_date").dt.year().cast(pl.Int64)).fill_null(-1),
        is_business=(pl.col("segment") != "private").cast(pl.Int64),
        newsletter=pl.col("newsletter").cast(pl.Int64),
    )
    return (
        counted.join(spent, on="customer_id", how="left")
        .join(returns.agg(returns_total=pl.len().cast(pl.Int64)), on="customer_id", how="left")
        .join(known, on="customer_id", how="left")
        .select(
            "customer_id",
            "recency_days",
            "tenure_days",
            "orders_total",
            "orders_30d",
            "orders_90d",
            pl.col("spend_total", "spend_90d").fill_null(0).cast(pl.Float64),
            mean_gap_days=(pl.col("tenure_days") - pl.col("recency_days"))
            / pl.max_horizontal(pl.col("orders_total") - 1, 1),
            items_per_order=pl.col("lines").fill_null(0) / pl.col("orders_total"),
            returns_total=pl.col("returns_total").fill_null(0),
            age="age",
            is_business="is_business",
            newsletter="newsletter",
        )
    )


def outcome(tables: Tables, day: date, zone: str) -> pl.LazyFrame:
    """Who bought again within 30 days after `day`: customer_id, and 1 as `outcome`."""
    on = pl.col("placed_at").dt.convert_time_zone(zone).dt.date()
    again = tables["orders"].filter(pl.col("customer_id").is_not_null(), pl.col("kind") == "sale", on > day)
    return again.filter(on <= day + MONTH).select("customer_id", outcome=pl.lit(1.0)).unique()


def population(tables: Tables, day: date, zone: str) -> pl.LazyFrame:
    """How many customers bought something in the 365 days that end with `day`."""
    on = pl.col("placed_at").dt.convert_time_zone(zone).dt.date()
    bought = tables["orders"].filter(pl.col("customer_id").is_not_null(), pl.col("kind") == "sale")
    sales = bought.filter(on <= day, on > day - YEAR)
    return sales.select(pl.col("customer_id").n_unique())


JOB = ScoringJob(
    name="repurchase",
    description="For every customer of the last 365 days, the probability of another order within 30 days.",
    owner="team:data-science",
    consumers=("the newsletter service",),
    table="repurchase_scores",
    columns=(
        ServedColumn("day", "date", "The business day at whose end the customer was scored"),
        ServedColumn("customer_id", "bigint", "The customer, by the shop's own key"),
        ServedColumn("score", "double precision", "Probability of an order within 30 days", least=0, most=1),
        ServedColumn("decile", "smallint", "10 for the tenth of the customers with the highest scores", 1, 10),
        ServedColumn("release", "text", "Digest of the release whose model gave the score"),
    ),
    key=("day", "customer_id"),
    reads=("orders", "order_lines", "customers"),
    compute=features,
    budget=timedelta(minutes=10),
    entity="customer_id",
    history=YEAR,
    population=population,
    outcome=outcome,
    horizon=MONTH,
)
