"""The generated shop: the same for the same seed, whole, and with what is planted in it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from ds_pipelines.errors import SampleArgumentError
from ds_pipelines.sample import Shop, generate
from ds_pipelines.sample.clock import instants
from ds_pipelines.sample.schema import COLUMNS

CUSTOMERS = 3_000
SEED = 11
AS_OF = date(2025, 10, 1)
SPRING_FORWARD = date(2025, 3, 30)
PARENTS = [
    ("products", "category_id", "categories"),
    ("orders", "customer_id", "customers"),
    ("order_lines", "order_id", "orders"),
    ("order_lines", "customer_id", "customers"),
    ("order_lines", "product_id", "products"),
    ("tickets", "customer_id", "customers"),
    ("tickets", "order_id", "orders"),
]


@pytest.fixture(scope="module")
def shop() -> Shop:
    return generate(CUSTOMERS, SEED)


def local(column: str) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone("Europe/London")


def eighths(value: pl.Expr) -> pl.Expr:
    return value.rank("ordinal") * 8 // (pl.len() + 1)


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """How often a positive outranks a negative; ties count half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = label.sum()
    return float((rank[label].sum() - positives * (positives + 1) / 2) / (positives * (~label).sum()))


def test_equal_seeds_give_equal_shops(shop: Shop) -> None:
    again = generate(CUSTOMERS, SEED)
    assert all(again.tables[name].equals(frame) for name, frame in shop.tables.items())
    assert again.truth.equals(shop.truth)


@pytest.mark.parametrize("table", ["customers", "orders", "order_lines", "tickets"])
def test_another_seed_gives_another_shop(shop: Shop, table: str) -> None:
    assert not generate(CUSTOMERS, SEED + 1).tables[table].equals(shop.tables[table])


def test_tables_have_the_columns_and_types_of_the_schema(shop: Shop) -> None:
    assert {name: dict(frame.schema) for name, frame in shop.tables.items()} == COLUMNS
    assert list(shop.tables) == list(COLUMNS)
    assert shop.tables["order_lines"].width == 12


@pytest.mark.parametrize(("child", "key", "parent"), PARENTS)
def test_every_foreign_key_finds_its_row(shop: Shop, child: str, key: str, parent: str) -> None:
    keys = shop.tables[child].select(key).drop_nulls()
    assert keys.join(shop.tables[parent], on=key, how="anti").is_empty()


@pytest.mark.parametrize("table", list(COLUMNS))
def test_the_first_column_is_unique_and_ascends(shop: Shop, table: str) -> None:
    key = shop.tables[table].to_series(0)
    assert key.n_unique() == len(key)
    assert key.is_sorted()


def test_a_line_repeats_its_orders_facts(shop: Shop) -> None:
    facts = ["order_id", "customer_id", "placed_at", "channel", "ship_postcode"]
    repeated = shop.tables["order_lines"].select(facts).unique()
    assert repeated.sort("order_id").equals(shop.tables["orders"].select(facts).sort("order_id"))


def test_every_day_of_the_year_has_sales_and_no_other_day_has(shop: Shop) -> None:
    days = shop.tables["orders"].filter(pl.col("kind") == "sale").select(local("placed_at").dt.date()).to_series()
    assert days.n_unique() == 365
    assert (days.min(), days.max()) == (shop.first_day, shop.last_day) == (date(2025, 1, 1), date(2025, 12, 31))


def test_nobody_orders_in_the_hour_that_the_clock_skips(shop: Shop) -> None:
    start = datetime.combine(SPRING_FORWARD, time(), ZoneInfo("Europe/London")).astimezone(UTC)
    orders = shop.tables["orders"].filter(local("placed_at").dt.date() == SPRING_FORWARD)
    assert orders["placed_at"].is_between(start, start + timedelta(hours=23), closed="left").all()
    assert not orders.filter(local("placed_at").dt.hour() == 1).height


def test_a_time_that_the_clock_shows_twice_is_the_first_or_the_later_of_the_two() -> None:
    twice = pl.Series(["2025-10-26 01:30:00"] * 2).str.to_datetime()
    assert instants(twice, later=pl.Series([False, True])).dt.hour().to_list() == [0, 1]


def test_a_time_that_the_clock_skips_is_an_hour_later() -> None:
    skipped, shown = instants(pl.Series(["2025-03-30 01:30:00", "2025-03-30 02:30:00"]).str.to_datetime())
    assert skipped == shown == datetime(2025, 3, 30, 1, 30, tzinfo=UTC)


def test_customers_register_before_they_order(shop: Shop) -> None:
    orders = shop.tables["orders"].join(shop.tables["customers"], on="customer_id")
    assert (orders["registered_at"] < orders["placed_at"]).all()


def test_returns_bring_back_what_the_same_customer_bought_earlier(shop: Shop) -> None:
    lines = shop.tables["order_lines"].join(shop.tables["orders"].select("order_id", "kind"), on="order_id")
    back, bought = (lines.filter(pl.col("kind") == kind) for kind in ("return", "sale"))
    assert (back["quantity"] < 0).all()
    assert (bought["quantity"] > 0).all()
    pairs = back.join(bought, on=["customer_id", "product_id", "unit_price"], suffix="_sale")
    explained = pairs.filter(
        pl.col("placed_at_sale") < pl.col("placed_at"), pl.col("quantity_sale") >= -pl.col("quantity")
    )
    assert 0 < back.height == explained["order_line_id"].n_unique()


def test_size_and_shares_are_those_of_a_shop(shop: Shop) -> None:
    rows = shop.rows
    orders, lines = shop.tables["orders"], shop.tables["order_lines"]
    assert 2.7 < rows["orders"] / CUSTOMERS < 3.4
    assert 2.1 < rows["order_lines"] / rows["orders"] < 2.6
    assert 0.12 < rows["tickets"] / rows["orders"] < 0.18
    assert 0.01 < (orders["kind"] == "return").mean() < 0.06
    assert 0.01 < orders["customer_id"].is_null().mean() < 0.06
    assert 0.01 < lines["gift_message"].is_not_null().mean() < 0.06
    assert shop.tables["categories"].height == 13
    assert shop.tables["products"]["name"].n_unique() == rows["products"] == 601


def test_recency_and_frequency_rank_who_buys_again_within_30_days(shop: Shop) -> None:
    day = datetime.combine(AS_OF, time(), ZoneInfo("Europe/London")).astimezone(UTC)
    sales = shop.tables["orders"].filter(pl.col("kind") == "sale", pl.col("customer_id").is_not_null())
    past = sales.filter(pl.col("placed_at") < day)
    next_month = pl.col("placed_at").is_between(day, day + timedelta(days=30), closed="left")
    again = sales.filter(next_month)["customer_id"].unique().implode()
    since = (day - pl.col("placed_at").max()).dt.total_days()
    known = past.group_by("customer_id").agg(score=pl.len() / (since + 20))
    label = known.select(pl.col("customer_id").is_in(again)).to_series().to_numpy()
    assert 0.1 < label.mean() < 0.4
    assert 0.65 < auc(label, known["score"].to_numpy()) < 0.85


def test_propensity_is_what_customers_live_by(shop: Shop) -> None:
    counts = shop.tables["orders"].group_by("customer_id").len()
    truth = shop.truth.join(counts, on="customer_id", how="left").fill_null(0)
    assert auc((truth["len"] >= 4).to_numpy(), truth["propensity"].to_numpy()) > 0.75


def test_mood_depends_on_nothing() -> None:
    large = generate(20_000, SEED)
    tickets = large.tables["tickets"].join(large.truth, on="customer_id")
    tickets = tickets.with_columns(bad=pl.col("mood") == "dissatisfied")
    share = tickets["bad"].mean()
    groups = {
        "topic": pl.col("topic"),
        "month": pl.col("opened_at").dt.month(),
        "speed": eighths(pl.col("minutes_to_answer")),
        "length": eighths(pl.col("body").str.len_chars()),
        "customer": eighths(pl.col("propensity")),
    }
    for name, group in groups.items():
        cells = tickets.group_by(group.alias("group")).agg(pl.len(), pl.col("bad").sum())
        expected = cells["len"] * share
        chi2 = ((cells["bad"] - expected) ** 2 / (expected * (1 - share))).sum()
        freedom = cells.height - 1
        assert chi2 < freedom + 4 * np.sqrt(2 * freedom), name


def test_tickets_mention_their_customers_in_many_ways(shop: Shop) -> None:
    told = shop.tables["tickets"].join(shop.tables["customers"], on="customer_id")
    for detail in ("full_name", "email", "phone", "street", "postcode", "city"):
        mentioned = told.filter(pl.col("body").str.contains(pl.col(detail), literal=True))
        assert mentioned.height > 0.02 * told.height, detail
    ordered = told.filter(pl.col("order_id").is_not_null())
    assert ordered.filter(pl.col("body").str.contains(pl.col("order_id").cast(pl.String), literal=True)).height > 0
    assert not told["body"].str.contains(r"[{}]").any()
    assert told.filter(pl.col("order_id").is_null()).height > 0


def test_tickets_are_opened_after_their_order_and_within_the_year(shop: Shop) -> None:
    told = shop.tables["tickets"].join(shop.tables["orders"].select("order_id", "placed_at"), on="order_id")
    assert (told["opened_at"] >= told["placed_at"].dt.truncate("1s")).all()
    assert shop.tables["tickets"].select(local("opened_at").dt.year() == 2025).to_series().all()


def test_no_full_name_is_found_in_a_product(shop: Shop) -> None:
    names = "|".join(re.escape(name) for name in shop.tables["customers"]["full_name"])
    assert not shop.tables["products"]["name"].str.contains(f"(?i){names}").any()


@pytest.mark.parametrize("customers", [1, 7])
def test_a_tiny_shop_still_has_orders_every_day(customers: int) -> None:
    shop = generate(customers, SEED)
    assert shop.tables["orders"].select(local("placed_at").dt.date()).n_unique() == 365


@pytest.mark.parametrize(("customers", "seed", "culprit"), [(0, 1, "customers"), (-5, 1, "customers"), (5, -1, "seed")])
def test_numbers_out_of_range_are_refused(customers: int, seed: int, culprit: str) -> None:
    with pytest.raises(SampleArgumentError, match=culprit):
        generate(customers, seed)
