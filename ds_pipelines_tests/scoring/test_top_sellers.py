"""The stated rules of the top sellers, each on a few lines; and every day of a retailer's real transactions."""

from __future__ import annotations

import inspect
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines import postgres, sample
from ds_pipelines.extract import production
from ds_pipelines.production.jobs.top_sellers import FEWEST_ORDERS, JOB
from ds_pipelines.sample.schema import COLUMNS
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

DAY, ZONE = date(2025, 3, 30), "Europe/London"
MUG, TRAY, LAMP, POSTAGE = 1, 2, 3, 4
GUEST, ANNE, BILL = None, 11, 12


PRODUCTS = pl.LazyFrame(
    [(MUG, "mug", 1, True), (TRAY, "tray", 1, True), (LAMP, "lamp", 2, True), (POSTAGE, "POSTAGE", 3, False)],
    schema={"product_id": pl.Int32, "name": pl.String, "category_id": pl.Int32, "is_product": pl.Boolean},
    orient="row",
)
CATEGORIES = pl.LazyFrame({"category_id": [1, 2, 3], "name": ["Kitchen", "Light", "Books"]}).cast(
    {"category_id": pl.Int32}
)
CUSTOMERS = pl.LazyFrame({"customer_id": [ANNE, BILL], "segment": ["private", "trade"]})
LINE = (
    "order_id", "customer_id", "product_id", "quantity", "placed_at", "unit_price", "discount",
)  # fmt: skip


def line(
    product: int, quantity: int, *, who: int | None = GUEST, order: int = 1, day: date = DAY, price: str = "2"
) -> tuple[Any, ...]:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return order, who, product, quantity, noon, Decimal(price), Decimal(0)


def listed(*lines: tuple[Any, ...], segment: str = "all") -> list[tuple[str, int, str, int]]:
    """Category, rank, product and pieces, as listed for a segment."""
    schema = {name: COLUMNS["order_lines"][name] for name in LINE}
    sold = pl.LazyFrame(list(lines), schema=schema, orient="row")
    shop = {"order_lines": sold, "products": PRODUCTS, "categories": CATEGORIES, "customers": CUSTOMERS}
    found = JOB.compute(shop, DAY, ZONE).filter(pl.col("segment") == segment).sort("category", "rank").collect()
    return found.select("category", "rank", "product", "quantity").rows()


def test_returns_count_against_the_window_in_which_they_come_back() -> None:
    assert listed(line(MUG, 5), line(TRAY, 4), line(MUG, -3)) == [("Kitchen", 1, "tray", 4), ("Kitchen", 2, "mug", 2)]


def test_what_came_back_as_often_as_it_was_sold_is_not_listed() -> None:
    assert listed(line(MUG, 5), line(MUG, -5), line(LAMP, -1), line(TRAY, 1)) == [("Kitchen", 1, "tray", 1)]


def test_ties_go_to_the_higher_revenue_then_to_the_lower_product_id() -> None:
    assert listed(line(MUG, 5), line(TRAY, 5, price="3")) == [("Kitchen", 1, "tray", 5), ("Kitchen", 2, "mug", 5)]
    assert listed(line(TRAY, 5), line(MUG, 5)) == [("Kitchen", 1, "mug", 5), ("Kitchen", 2, "tray", 5)]


def test_codes_that_are_no_products_are_not_listed() -> None:
    assert listed(line(POSTAGE, 50), line(MUG, 1)) == [("Kitchen", 1, "mug", 1)]


def test_the_window_is_the_28_days_that_end_with_the_day() -> None:
    first = DAY - timedelta(days=27)
    sold = [
        line(MUG, 1, day=first),
        line(MUG, 10, day=first - timedelta(days=1)),
        line(MUG, 10, day=DAY + timedelta(days=1)),
    ]
    assert listed(*sold) == [("Kitchen", 1, "mug", 1)]


def test_guests_count_for_everybody_and_for_no_segment() -> None:
    orders = [line(MUG, 1, who=ANNE, order=number) for number in range(FEWEST_ORDERS)]
    assert listed(*orders, line(MUG, 7)) == [("Kitchen", 1, "mug", 17)]
    assert listed(*orders, line(MUG, 7), segment="private") == [("Kitchen", 1, "mug", 10)]


def test_a_thin_category_has_no_list_in_a_segment_but_one_for_everybody() -> None:
    too_few = [line(MUG, 9, who=BILL, order=number) for number in range(FEWEST_ORDERS - 1)]
    returned = line(MUG, -1, who=BILL, order=99)
    assert listed(*too_few, returned, segment="trade") == []
    assert listed(*too_few, returned) == [("Kitchen", 1, "mug", 80)]


@pytest.fixture
def real(shared_data: Path) -> Iterator[Settings]:
    """A shop of the real transactions."""
    with tempfile.TemporaryDirectory(prefix="ds-", ignore_cleanup_errors=True) as folder:
        yield from _real(Path(folder), shared_data)


def _real(home: Path, shared_data: Path) -> Iterator[Settings]:
    shop = sample.from_transactions(shared_data / "retail" / "online_retail_until_2011-08.csv.gz")
    sample.load(shop, load_settings(home=home))
    yield load_settings(home=home, first_day=shop.first_day, today=shop.last_day + timedelta(days=1), zone=shop.zone)
    for name in ("production", "platform"):
        postgres._handle(name, home / "postgres", home / "secrets" / "postgres").release()


@pytest.mark.chaos
def test_every_day_of_the_real_transactions_equals_independent_sql(
    real: Settings, tmp_path: Path, chaos_rounds: int
) -> None:
    """Every day by `make chaos`, else one in eight."""
    independent = Path(inspect.getfile(JOB.compute)).with_suffix(".sql").read_text()
    tables = {name: production.kept(name, real, tmp_path).scan().collect().lazy() for name in JOB.reads}
    assert real.today is not None
    days = [real.first_day + timedelta(days=number) for number in range((real.today - real.first_day).days)]
    assert len(days) == 274
    unlike = []
    with closing(postgres.connect("scoring", real)) as connection, connection, connection.cursor() as cursor:
        for day in days[:: max(80 // chaos_rounds, 1)]:
            found = JOB.compute(tables, day, real.zone).sort(JOB.key[1:]).collect()
            cursor.execute(independent, {"day": day, "zone": real.zone})
            assert found.height > 20
            if found.rows() != cursor.fetchall():
                unlike.append(day)
    assert unlike == []
