"""A dummy of an extract: its shape, its keys, its days, and nothing of its rows."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ds_pipelines import lab
from ds_pipelines.errors import DummyError, TableArgumentError, UnknownColumnError, UnknownExtractError
from ds_pipelines.evidence import Column, RunInput, SnapshotManifest
from ds_pipelines.lab.dummy import Span, dtype_of, make
from ds_pipelines.lab.table import reading
from ds_pipelines.settings import load_settings
from ds_pipelines_tests.gateway.scenario import FRIDAY, MONDAY, ORDERS, make_installation, serving

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

MARCH = Span(date(2025, 3, 1), date(2025, 3, 31))
LONDON = load_settings(zone="Europe/London")


def told(
    table: str, rows_of: str = "day", /, **columns: tuple[pl.DataType | type[pl.DataType], str]
) -> SnapshotManifest:
    """What the gateway tells of a table with these columns: type and treatment by name."""
    return SnapshotManifest(
        table=table, rows_of=rows_of, day=MARCH.last, rows=1, bytes=1, digest="0" * 64, logical_digest="0" * 64,
        columns=tuple(Column(name=name, dtype=str(each), treatment=said) for name, (each, said) in columns.items()),
        policy_digest="0" * 64, key_id="key-1", read_at=datetime(2025, 4, 1, tzinfo=UTC),
        published_at=datetime(2025, 4, 1, tzinfo=UTC),
    )  # type: ignore[arg-type]  # fmt: skip


def dummy(manifest: SnapshotManifest, rows: int = 1_000) -> pl.DataFrame:
    return make(manifest, [column.name for column in manifest.columns], rows, MARCH, LONDON)


ORDER = told(
    "orders",
    order_id=(pl.String, "pseudonym(order)"),
    customer_id=(pl.String, "pseudonym(customer)"),
    placed_at=(pl.Datetime("us", "UTC"), "keep"),
    paid=(pl.Decimal(10, 2), "keep"),
)
CUSTOMER = told(
    "customers", "state", customer_id=(pl.String, "pseudonym(customer)"), birth_date=(pl.Date, "generalise(year)")
)


def test_pseudonyms_look_like_pseudonyms_and_a_table_s_own_are_unique() -> None:
    keys = dummy(ORDER)["order_id"]
    assert keys.null_count() == 0
    assert keys.n_unique() == 1_000
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)


def test_foreign_keys_hold_between_dummies_of_one_size() -> None:
    customers, orders = dummy(CUSTOMER), dummy(ORDER)
    lines = dummy(told("order_lines", order_id=(pl.String, "pseudonym(order)"), product_id=(pl.Int64, "keep")))
    products = dummy(told("products", "state", product_id=(pl.Int64, "keep"), category_id=(pl.Int64, "keep")))
    for many, one, key in (
        (orders, customers, "customer_id"), (lines, orders, "order_id"), (lines, products, "product_id"),
    ):  # fmt: skip
        asked = many[key].drop_nulls()
        assert set(asked) <= set(one[key])
        assert 1 < asked.n_unique() < len(asked)  # some are asked for more than once


def test_rows_are_spread_over_the_days_in_order() -> None:
    days = dummy(ORDER)["placed_at"].dt.convert_time_zone("Europe/London").dt.date()
    assert days.is_sorted()
    assert days.unique().to_list() == [MARCH.first + timedelta(days=each) for each in range(31)]


def test_nulls_appear_except_in_the_table_s_own_key() -> None:
    frame = dummy(ORDER)
    assert {name for name in frame.columns if frame[name].null_count() == 0} == {"order_id", "placed_at"}


@pytest.mark.parametrize(
    ("treatment", "dtype", "holds"),
    [
        ("truncate(2)", pl.String, lambda each: len(each) == 2),
        ("generalise(round 10)", pl.Int64, lambda each: each % 10 == 0),
        ("generalise(bins 18, 30)", pl.String, lambda each: each in {"below 18", "18 to below 30", "30 and above"}),
        ("generalise(year)", pl.Date, lambda each: (each.month, each.day) == (1, 1)),
        ("generalise(month)", pl.Date, lambda each: each.day == 1),
        (
            "pseudonym(parcel as uuid)",
            pl.String,
            lambda each: re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-.{12}", each),
        ),
        ("pseudonym(parcel as bigint)", pl.Int64, lambda each: 0 <= each < 2**63),
        ("constant(7)", pl.Int64, lambda each: each == 7),
        ("json(keep a.b)", pl.String, lambda each: each.startswith("{")),
        ("keep", pl.Decimal(38, 18), lambda each: isinstance(each, Decimal)),
        ("keep", pl.List(pl.Int32), lambda each: len(each) == 2),
        ("keep", pl.Boolean, lambda each: each in {True, False}),
        ("keep", pl.Binary, lambda each: len(each) == 8),
        ("keep", pl.Time, lambda each: each.minute == 30),
        ("keep", pl.Float32, lambda each: each > 0),
        ("keep", pl.Datetime("us", None), lambda each: date(2025, 3, 1) <= each.date() <= date(2025, 3, 31)),
    ],
)
def test_each_treatment_shows(treatment: str, dtype: Any, holds: Any) -> None:
    frame = dummy(told("visits", what=(dtype, treatment)), rows=100)
    assert frame.schema["what"] == dtype
    present = frame["what"].drop_nulls().to_list()
    assert len(present) > 50
    assert all(holds(each) for each in present)


def test_a_column_without_values_has_none() -> None:
    assert dummy(told("visits", what=(pl.String, "null")))["what"].null_count() == 1_000


def test_every_type_of_an_extract_is_known_by_how_it_prints() -> None:
    for dtype in (
        pl.Decimal(38, 0), pl.Datetime("us", "UTC"), pl.Datetime("us", None), pl.List(pl.List(pl.Date)), pl.UInt8(),
        pl.List(pl.Decimal(4, 2)), pl.Int16(), pl.Binary(),
    ):  # fmt: skip
        assert dtype_of(str(dtype)) == dtype
    assert dtype_of("Struct({'a': Int64})") is None


def test_it_is_the_same_every_time_and_other_for_another_table() -> None:
    assert_frame_equal(dummy(ORDER), dummy(ORDER))
    assert not dummy(ORDER)["paid"].equals(dummy(told("refunds", paid=(pl.Decimal(10, 2), "keep")))["paid"])


@pytest.mark.parametrize("rows", [0, -1, True, 1.5, 10**9])
def test_no_such_number_of_rows_is_made(rows: Any) -> None:
    with pytest.raises(DummyError, match=r"lab\.table\('orders', dummy=…\).*whole number of rows"):
        dummy(ORDER, rows)


# ---------------------------------------------------------------- through lab.table


@pytest.fixture
def alone(tmp_path: Path, database: dict[str, SecretStr], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A data scientist's environment; the gateway is the test's to start and stop."""
    settings = make_installation(tmp_path / "home", database)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return settings


def test_lab_table_gives_a_frame_of_the_table_s_own_schema(desk: Settings) -> None:
    made = lab.table("orders", dummy=50)
    assert isinstance(made, pl.LazyFrame)
    assert made.collect_schema() == lab.table("orders").collect_schema()
    assert made.collect().height == 50
    assert isinstance(lab.table("orders", dummy=5, as_="pandas"), pd.DataFrame)
    chosen = lab.table("orders", dummy=5, columns=["paid", "kind"]).collect()
    assert chosen.columns == ["paid", "kind"]


def test_it_is_noted_as_a_dummy_and_holds_no_value_of_the_extract(desk: Settings) -> None:
    shutil.rmtree(desk.cache, ignore_errors=True)
    with reading() as inputs:
        made = lab.table("orders", dummy=50).collect()
    assert inputs == [RunInput(table="orders", day=FRIDAY, digest="dummy")]
    assert inputs[0].made_up
    assert not set(made["order_id"]) & set(ORDERS[MONDAY]["order_id"])
    assert not (desk.cache / "orders").exists()
    assert not list(desk.cache.rglob("*.parquet"))  # none of its files was fetched


def test_it_is_made_while_the_gateway_is_away_once_its_columns_are_known(alone: Settings) -> None:
    with serving(alone):
        before = lab.table("orders", dummy=20).collect()
    assert_frame_equal(lab.table("orders", dummy=20).collect(), before)


def test_what_cannot_be_meant_is_refused_as_for_the_extract(desk: Settings) -> None:
    with pytest.raises(UnknownExtractError, match="invoices"):
        lab.table("invoices", dummy=5)
    with pytest.raises(UnknownColumnError, match="ship_city"):
        lab.table("orders", dummy=5, columns=["ship_city"])
    with pytest.raises(TableArgumentError, match="since"):
        lab.table("orders", dummy=5, since="2025-04-01", until="2025-03-01")
