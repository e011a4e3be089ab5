"""Top sellers: what sold most in each category over the last four weeks.

What belongs here: this job's definition, which is released by the hash of this file. A computation: it needs no model.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from ds_pipelines.scoring.job import ScoringJob, ServedColumn, Tables

WINDOW = timedelta(days=28)
PLACES = 5
EXACT = pl.Decimal(18, 5)
"""Holds a price times a discount without rounding."""


def top_sellers(tables: Tables, day: date, zone: str) -> pl.LazyFrame:
    """The best-selling products of each category over the 28 days that end with `day`.

    By quantity net of returns, then by revenue net of returns, then by product id. Only real products count, not
    postage or charges, and only those of which more was sold than came back.

    Returns:
        category, rank, product_id, product, quantity, revenue; at most five rows a category.
    """
    sold_on = pl.col("placed_at").dt.convert_time_zone(zone).dt.date()
    worth = pl.col("quantity").cast(pl.Int64) * pl.col("unit_price").cast(EXACT) * (1 - pl.col("discount").cast(EXACT))
    sold = (
        tables["order_lines"]
        .filter(sold_on > day - WINDOW, sold_on <= day)
        .group_by("product_id")
        .agg(quantity=pl.col("quantity").cast(pl.Int64).sum(), revenue=worth.sum())
        .filter(pl.col("quantity") > 0)
    )
    products = tables["products"].filter("is_product").select("product_id", "category_id", product="name")
    categories = tables["categories"].select("category_id", category="name")
    best_first = pl.struct(-pl.col("quantity"), -pl.col("revenue"), pl.col("product_id"))
    return (
        sold.join(products, on="product_id")
        .join(categories, on="category_id")
        .with_columns(rank=best_first.rank("ordinal").over("category_id").cast(pl.Int16))
        .filter(pl.col("rank") <= PLACES)
        .select(
            "category",
            "rank",
            pl.col("product_id").cast(pl.Int64),
            "product",
            "quantity",
            # Away from zero at the half, as PostgreSQL rounds and people do; Polars' default is the nearest even.
            revenue=pl.col("revenue").round(2, mode="half_away_from_zero").cast(pl.Decimal(14, 2)),
        )
    )


JOB = ScoringJob(
    name="top_sellers",
    description="The five best-selling products of every category over the 28 days that end with the day.",
    owner="team:data-science",
    consumers=("the web shop's category pages",),
    table="top_sellers",
    columns=(
        ServedColumn("day", "date", "The business day with which the 28 days end"),
        ServedColumn("category", "text", "Name of the category"),
        ServedColumn("rank", "smallint", "1 for the best seller of the category", least=1, most=PLACES),
        ServedColumn("product_id", "bigint", "The product"),
        ServedColumn("product", "text", "Its name"),
        ServedColumn("quantity", "bigint", "Pieces sold, net of returns", least=1),
        ServedColumn("revenue", "numeric(14,2)", "What they brought after discounts, net of returns, in pounds"),
    ),
    key=("day", "category", "rank"),
    reads=("order_lines", "products", "categories"),
    compute=top_sellers,
    budget=timedelta(minutes=5),
    history=WINDOW,
)
