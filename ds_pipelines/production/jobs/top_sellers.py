"""Top sellers: what sold most in each category over the last four weeks, to everybody and to each segment.

What belongs here: this job's definition, which is released by the hash of this file. A computation: it needs no model.
`top_sellers.sql` defines the same in SQL, independently; both must give the same rows.

The rules:

- *Window*: the 28 business days that end with the day.
- *Segments*: `all` is everybody, guests included. The others are the customers of a segment, as it is when the day is
  scored.
- *Returns* count against the window in which they come back, at the price at which they were bought, whenever that was.
  A product of which not more was sold than came back is not listed.
- *Ties* go to the higher revenue, then to the lower product id: no rank is given twice.
- *Codes that are no products*, as postage, vouchers and manual entries, are not listed.
- *Thin categories*: a list has fewer rows where fewer products sold. In a segment, a category with sales in fewer than
  10 orders has no list, for it would tell what single customers bought; what `all` bought is listed however few did.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from ds_pipelines.scoring.job import ScoringJob, ServedColumn, Tables

WINDOW = timedelta(days=28)
PLACES = 5
FEWEST_ORDERS = 10
"""With a category's products, for the category to have a list in a segment."""
EVERYBODY = "all"
EXACT = pl.Decimal(18, 5)
"""Holds a price times a discount without rounding."""
LIST = ("segment", "category_id")


def top_sellers(tables: Tables, day: date, zone: str) -> pl.LazyFrame:
    """The best-selling products of each category, over the 28 days that end with `day`, by the rules above.

    Returns:
        segment, category, rank, product_id, product, quantity, revenue; at most five rows a segment and category.
    """
    lines = _lines(tables, day, zone)
    everybody = lines.with_columns(segment=pl.lit(EVERYBODY))
    of_segments = pl.concat([everybody, lines.filter(pl.col("segment").is_not_null())])
    orders = of_segments.filter(pl.col("quantity") > 0).group_by(LIST).agg(orders=pl.col("order_id").n_unique())
    sold = (
        of_segments.group_by(*LIST, "product_id", "product")
        .agg(pl.col("quantity", "revenue").sum())
        .filter(pl.col("quantity") > 0)
        .join(orders, on=LIST)
        .filter((pl.col("segment") == EVERYBODY) | (pl.col("orders") >= FEWEST_ORDERS))
    )
    best_first = pl.struct(-pl.col("quantity"), -pl.col("revenue"), pl.col("product_id"))
    return (
        sold.with_columns(rank=best_first.rank("ordinal").over(LIST).cast(pl.Int16))
        .filter(pl.col("rank") <= PLACES)
        .join(tables["categories"].select("category_id", category="name"), on="category_id")
        .select(
            "segment",
            "category",
            "rank",
            pl.col("product_id").cast(pl.Int64),
            "product",
            "quantity",
            # Away from zero at the half, as PostgreSQL rounds and people do; Polars' default is the nearest even.
            revenue=pl.col("revenue").round(2, mode="half_away_from_zero").cast(pl.Decimal(14, 2)),
        )
    )


def _lines(tables: Tables, day: date, zone: str) -> pl.LazyFrame:
    """The window's lines of real products: order_id, segment (null for guests), product, category, pieces, revenue."""
    on = pl.col("placed_at").dt.convert_time_zone(zone).dt.date()
    pieces = pl.col("quantity").cast(pl.Int64)
    worth = pieces * pl.col("unit_price").cast(EXACT) * (1 - pl.col("discount").cast(EXACT))
    products = tables["products"].filter("is_product").select("product_id", "category_id", product="name")
    return (
        tables["order_lines"]
        .filter(on > day - WINDOW, on <= day)
        .select("order_id", "customer_id", "product_id", quantity=pieces, revenue=worth)
        .join(products, on="product_id")
        .join(tables["customers"].select("customer_id", "segment"), on="customer_id", how="left")
        .drop("customer_id")
    )


JOB = ScoringJob(
    name="top_sellers",
    description="The five best-selling products of every category over the 28 days that end with the day, to everybody "
    "and to each segment of the customers.",
    owner="team:data-science",
    consumers=("the web shop's category pages",),
    table="top_sellers",
    columns=(
        ServedColumn("day", "date", "The business day with which the 28 days end"),
        ServedColumn("segment", "text", "Segment of the customers who bought; all for everybody, guests included"),
        ServedColumn("category", "text", "Name of the category"),
        ServedColumn("rank", "smallint", "1 for the best seller of the category in the segment", least=1, most=PLACES),
        ServedColumn("product_id", "bigint", "The product"),
        ServedColumn("product", "text", "Its name"),
        ServedColumn("quantity", "bigint", "Pieces sold, net of returns", least=1),
        ServedColumn("revenue", "numeric(14,2)", "What they brought after discounts, net of returns, in pounds"),
    ),
    key=("day", "segment", "category", "rank"),
    reads=("order_lines", "products", "categories", "customers"),
    compute=top_sellers,
    budget=timedelta(minutes=5),
    history=WINDOW,
)
