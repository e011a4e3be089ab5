"""The same shop around real transactions: real orders, invented people.

What belongs here: building the tables from the rows that the rules keep. What does not: the rules.

Real are invoices, products, prices, times, which orders one customer placed, and countries. Invented are everything
that identifies a person, registration, segment, newsletter, channel, payment, gift messages and tickets.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from ds_pipelines.errors import SampleArgumentError, UnreadableTransactionsError
from ds_pipelines.sample import people, reading, rules, tickets
from ds_pipelines.sample.catalogue import NOT_A_PRODUCT
from ds_pipelines.sample.clock import instants
from ds_pipelines.sample.keywords import OTHER, category
from ds_pipelines.sample.schema import TRUTH, conform, money
from ds_pipelines.sample.shop import CHANNELS, PAYMENTS, ZONE, Accounted, Shop, drawn, stream

TRADE_QUANTITY = 24
BUSINESS_QUANTITY = 10
"""Pieces on the middle line of a customer's first order, from which on it looks like trade, or a business."""


def from_transactions(path: Path | str, seed: int = 7) -> Shop:
    """A shop from a file in the layout of UCI's Online Retail.

    Args:
        path: a CSV file, plain or compressed with gzip, with the columns of `reading.COLUMNS`.
        seed: for what is invented; not negative.

    Returns:
        The shop. Its accounting says what became of every row: those read are those kept and those set aside.

    Raises:
        SampleArgumentError: the seed is negative.
        UnreadableTransactionsError: the file is missing, empty, damaged or no text, or no row of it is an order's.
        MissingTransactionColumnsError: its header lacks columns.
    """
    if seed < 0:
        raise SampleArgumentError("seed", "a whole number from 0")
    path = Path(path)
    rows = reading.read(path)
    kept, fates = rules.judge(rows.frame)
    if kept.is_empty():
        raise UnreadableTransactionsError(path, "none of its rows is a line of an order")
    read = Accounted("lines below the header", rows.read, "read")
    accounting = [read, *rows.accounting, *fates, *rules.details(kept)]
    kept = kept.with_columns(placed_at=instants(kept["placed"]))
    categories, products = _catalogue(kept)
    who = _customers(seed, kept)
    orders = _orders(seed, kept, who)
    lines = _order_lines(seed, kept, orders, products, who)
    days = rules.days(kept)
    first, last = days[0], days[-1]
    start, end = (datetime.combine(day, time(), ZoneInfo(ZONE)) for day in (first, last + timedelta(days=1)))
    tables = {
        "categories": categories,
        "products": products,
        "customers": who,
        "orders": orders,
        "order_lines": lines,
        "tickets": tickets.write(orders, who, seed=seed, start=start.astimezone(UTC), end=end.astimezone(UTC)),
    }
    truth = pl.DataFrame({"customer_id": who["customer_id"]}).select(
        pl.col(name).cast(dtype) if name == "customer_id" else pl.lit(None, dtype).alias(name)
        for name, dtype in TRUTH.items()
    )
    return Shop(tables, truth, accounting, first_day=first, last_day=last)


def _catalogue(kept: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables `categories` and `products`; a product's list price is the middle price of its sales."""
    sold = pl.col("pence").filter((pl.col("kind") == "sale") & (pl.col("pence") > 0)).median()
    products = (
        kept.with_columns(pence=(pl.col("price").round(2) * 100).cast(pl.Int64))
        .group_by("code")
        .agg(pl.col("name").first(), sold.fill_null(pl.col("pence").median()).round().cast(pl.Int64).alias("pence"))
        .sort("code")
        .with_columns(is_product=pl.col("code").str.contains(rules.PRODUCT_CODE))
    )
    products = products.with_columns(
        product_id=1 + pl.int_range(pl.len()),
        stock_code="code",
        list_price=money(pl.col("pence")),
        category=pl.when("is_product").then(category(pl.col("name"))).otherwise(pl.lit(NOT_A_PRODUCT)),
    )
    named = products.select(pl.col("category").unique()).sort(
        pl.col("category").is_in([OTHER, NOT_A_PRODUCT]), "category"
    )
    categories = named.select(category_id=1 + pl.int_range(pl.len(), dtype=pl.Int32), name="category")
    products = products.join(categories.rename({"name": "category"}), on="category", maintain_order="left")
    return conform("categories", categories), conform("products", products)


def _customers(seed: int, kept: pl.DataFrame) -> pl.DataFrame:
    """The table `customers`: an invented person behind each number, registered shortly before the first order."""
    rng = stream(seed, "customers")
    known = kept.filter(pl.col("customer").is_not_null())
    first = pl.col("placed_at") == pl.col("placed_at").min()
    seen = known.group_by("customer").agg(
        pl.col("placed_at").min(),
        pl.col("home").first(),
        pl.col("quantity").abs().filter(first).median().alias("pieces"),
    ).sort("customer")  # fmt: skip
    # By the first order only: a segment that knew later orders would leak them into every feature.
    pieces = seen["pieces"].to_numpy() * rng.lognormal(0, 0.3, seen.height)
    segment = 1 * (pieces >= BUSINESS_QUANTITY) + 1 * (pieces >= TRADE_QUANTITY)
    before = pl.Series(((0.05 + rng.exponential(48, seen.height)) * 3600).astype(np.int64)) * 1_000_000
    person = people.invent(stream(seed, "people"), seen["home"], on=rules.days(kept)[0])
    return conform(
        "customers",
        person.with_columns(
            customer_id=seen["customer"],
            segment=pl.Series(["private", "business", "trade"]).gather(segment),
            newsletter=pl.Series(rng.random(seen.height) < 0.4),
            registered_at=seen["placed_at"] - before.cast(pl.Duration("us")),
        ),
    )


def _orders(seed: int, kept: pl.DataFrame, who: pl.DataFrame) -> pl.DataFrame:
    """The table `orders`, by time; guests' orders go to an invented address."""
    rng = stream(seed, "orders")
    orders = kept.group_by("order_id").agg(
        pl.col("customer").first().alias("customer_id"),
        pl.col("placed_at", "kind", "country").first(),
    ).sort("placed_at", "order_id")  # fmt: skip
    invented = people.addresses(rng, orders["country"])
    home = orders.select("customer_id").join(who, on="customer_id", how="left", maintain_order="left")
    return conform(
        "orders",
        orders.with_columns(
            channel=drawn(rng, CHANNELS, orders.height),
            payment=drawn(rng, PAYMENTS, orders.height),
            ship_postcode=home["postcode"].fill_null(invented["postcode"]),
            ship_city=home["city"].fill_null(invented["city"]),
        ),
    )


def _order_lines(
    seed: int, kept: pl.DataFrame, orders: pl.DataFrame, products: pl.DataFrame, who: pl.DataFrame
) -> pl.DataFrame:
    """The table `order_lines`: a line for each row that is kept."""
    lines = (
        kept.select("row", "order_id", "code", "quantity", unit_price=pl.col("price").round(2))
        .join(orders, on="order_id", maintain_order="left")
        .join(products.select("product_id", code="stock_code"), on="code", maintain_order="left")
        .sort("placed_at", "order_id", "row")
    )
    return conform(
        "order_lines",
        lines.with_columns(
            order_line_id=1 + pl.int_range(pl.len()),
            discount=pl.lit("0").cast(pl.Decimal(4, 3)),
            tax_rate=pl.lit("0.2").cast(pl.Decimal(4, 3)),
            gift_message=tickets.gift_messages(lines["customer_id"], who, seed=seed),
        ),
    )
