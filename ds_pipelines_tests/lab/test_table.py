"""`lab.table`: which days it means, that they fit together, and what it says when it cannot answer."""

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
from ds_pipelines.errors import (
    GatewayUnreachableError,
    MissingDaysError,
    MissingSecretError,
    MixedExtractError,
    TableArgumentError,
    UnknownColumnError,
    UnknownExtractError,
    UnpublishedDayError,
)
from ds_pipelines.evidence import Column, RunInput
from ds_pipelines.lab.table import reading
from ds_pipelines_tests.gateway.scenario import (
    CUSTOMERS,
    DAYS,
    FRIDAY,
    MONDAY,
    NEXT_WEEK,
    ORDERS,
    database_of_its_own,
    make_installation,
    orders_of,
    publish,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

ALL_ORDERS = pl.concat(ORDERS.values())
NEVER_PUBLISHED = MONDAY - timedelta(days=30)


def work_at(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared: Settings) -> Iterator[Settings]:
    settings = make_installation(tmp_path_factory.mktemp("home"), database_of_its_own(shared))
    with serving(settings):
        yield settings


@pytest.fixture
def desk(served: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment of a data scientist beside a running gateway."""
    return work_at(served, monkeypatch)


@pytest.fixture
def installation(tmp_path: Path, database: dict[str, SecretStr], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same, with a gateway that the test starts and stops."""
    return work_at(make_installation(tmp_path / "home", database), monkeypatch)


# Which days


def test_a_table_by_day_is_all_its_days_in_order(desk: Settings) -> None:
    orders = lab.table("orders")
    assert isinstance(orders, pl.LazyFrame)
    assert_frame_equal(orders.collect(), ALL_ORDERS)


@pytest.mark.parametrize(
    ("bounds", "days"),
    [
        ({"since": "2025-03-06"}, DAYS[3:]),
        ({"until": DAYS[1]}, DAYS[:2]),
        ({"as_of": "2025-03-04"}, DAYS[:2]),
        ({"since": DAYS[1], "until": "2025-03-05"}, DAYS[1:3]),
        ({"since": DAYS[1], "as_of": DAYS[1]}, DAYS[1:2]),
    ],
)
def test_bounds_include_their_days(desk: Settings, bounds: dict[str, Any], days: tuple[date, ...]) -> None:
    assert_frame_equal(lab.table("orders", **bounds).collect(), pl.concat(ORDERS[day] for day in days))


@pytest.mark.parametrize(
    ("as_of", "read"),
    [(None, FRIDAY), (NEXT_WEEK, FRIDAY), ("2025-03-07", FRIDAY), ("2025-03-06", MONDAY), (MONDAY, MONDAY)],
)
def test_a_table_of_current_state_is_the_newest_known_then(
    desk: Settings, as_of: str | date | None, read: date
) -> None:
    assert_frame_equal(lab.table("customers", as_of=as_of).collect(), CUSTOMERS[read])


def test_a_state_before_the_first_one_is_refused(desk: Settings) -> None:
    with pytest.raises(
        UnpublishedDayError, match=r"'customers' is published for 2025-02-01 or before.*from 2025-03-03"
    ):
        lab.table("customers", as_of=NEVER_PUBLISHED)


@pytest.mark.parametrize("bounds", [{"since": NEXT_WEEK}, {"until": NEVER_PUBLISHED}])
def test_days_of_which_none_is_published_are_refused(desk: Settings, bounds: dict[str, date]) -> None:
    with pytest.raises(UnpublishedDayError, match="expected days from 2025-03-03 to 2025-03-07"):
        lab.table("orders", **bounds)


def test_days_beyond_the_published_ones_are_left_out_with_a_warning(
    desk: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert_frame_equal(lab.table("orders", since=NEVER_PUBLISHED, until=NEXT_WEEK).collect(), ALL_ORDERS)
    assert "'orders' is published from 2025-03-03 to 2025-03-07: the other days" in caplog.text


def test_missing_days_are_named_with_the_next_step(desk: Settings) -> None:
    publish(desk, "gappy", {MONDAY: orders_of(MONDAY), NEXT_WEEK: orders_of(NEXT_WEEK)})
    with pytest.raises(MissingDaysError) as raised:
        lab.table("gappy")
    for part in (
        "6 of the days", "2025-03-04, 2025-03-05, ", ", …", 'lab.request("gappy", since="2025-03-04"',
        "`ds-pipelines requests ask gappy --since 2025-03-04 --until 2025-03-09 ", "materializing lab/gappy",
    ):  # fmt: skip
        assert part in str(raised.value)
    assert lab.table("gappy", until=MONDAY).collect().height == 3


@pytest.mark.parametrize(
    ("name", "arguments", "culprit"),
    [
        ("customers", {"since": MONDAY}, "since or until"),
        ("customers", {"until": MONDAY}, "since or until"),
        ("orders", {"until": MONDAY, "as_of": MONDAY}, "until and as_of together"),
        ("orders", {"since": FRIDAY, "until": MONDAY}, "since as given: expected a day not after 2025-03-03"),
        ("orders", {"as_of": "last week"}, "as_of"),
        ("orders", {"as_of": datetime(2025, 3, 4, tzinfo=UTC)}, "as_of as given: expected a day without a time"),
        ("orders", {"as_of": pd.Timestamp("2025-03-04")}, "as_of as given: expected a day without a time"),
        ("orders", {"since": 20250303}, "since"),
        ("orders", {"columns": "kind"}, "columns"),
        ("orders", {"columns": ["kind", "kind"]}, "columns"),
        ("orders", {"as_": "spark"}, "as_ as given: expected 'polars' or 'pandas'"),
    ],
)
def test_what_cannot_be_meant_is_explained(desk: Settings, name: str, arguments: dict[str, Any], culprit: str) -> None:
    with pytest.raises(TableArgumentError, match=culprit):
        lab.table(name, **arguments)


def test_an_unknown_table_is_named_with_those_there_are(desk: Settings) -> None:
    with pytest.raises(UnknownExtractError, match=r"'invoices'.*customers, .*orders"):
        lab.table("invoices")


# Which columns


def test_columns_come_in_the_order_asked_for(desk: Settings) -> None:
    assert_frame_equal(
        lab.table("orders", columns=["kind", "order_id"]).collect(), ALL_ORDERS.select("kind", "order_id")
    )


def test_an_unknown_column_is_named_with_those_there_are(desk: Settings) -> None:
    with pytest.raises(UnknownColumnError, match=r"there is no 'price'.*There are: customer_id, kind, order_id, paid"):
        lab.table("orders", columns=["order_id", "price"])


def test_a_withheld_column_is_explained(desk: Settings) -> None:
    with pytest.raises(UnknownColumnError) as raised:
        lab.table("orders", columns=["ship_city"])
    assert "'ship_city' is withheld by the privacy policy (narrows down who ordered)" in str(raised.value)
    assert "there is no" not in str(raised.value)


def test_days_with_other_columns_are_one_table_only_in_what_they_share(desk: Settings) -> None:
    publish(desk, "widened", {MONDAY: orders_of(MONDAY)})
    publish(desk, "widened", {DAYS[1]: orders_of(DAYS[1]).select(pl.lit("web").alias("channel"), pl.all())})
    with pytest.raises(MixedExtractError, match=r"\(channel\) on 2025-03-03, unlike 2025-03-04"):
        lab.table("widened")
    shared = ["paid", "kind"]
    assert_frame_equal(lab.table("widened", columns=shared).collect(), ALL_ORDERS[:6].select(shared))
    assert lab.table("widened", since=DAYS[1]).collect().columns[0] == "channel"


def test_days_whose_columns_were_treated_differently_are_refused(desk: Settings) -> None:
    columns = tuple(
        Column(name=name, dtype=str(dtype), treatment="truncate(2)" if name == "kind" else "keep")
        for name, dtype in ALL_ORDERS.schema.items()
    )
    plain = tuple(column.model_copy(update={"treatment": "keep"}) for column in columns)
    publish(desk, "retreated", {MONDAY: orders_of(MONDAY)}, columns=columns)
    publish(desk, "retreated", {DAYS[1]: orders_of(DAYS[1])}, columns=plain)
    with pytest.raises(MixedExtractError, match=r"\(kind\)"):
        lab.table("retreated", columns=["kind"])
    assert lab.table("retreated", columns=["paid"]).collect().height == 6


def test_pseudonyms_of_different_keys_are_never_put_together(desk: Settings) -> None:
    publish(desk, "rekeyed", {MONDAY: orders_of(MONDAY)}, key_id="key-1")
    publish(desk, "rekeyed", {DAYS[1]: orders_of(DAYS[1])}, key_id="key-2")
    with pytest.raises(MixedExtractError, match="pseudonyms come from another key on 2025-03-03, unlike 2025-03-04"):
        lab.table("rekeyed")
    assert lab.table("rekeyed", columns=["paid"]).collect().height == 6


# In which form


def test_pandas_gets_a_frame_with_decimals_as_floats(desk: Settings) -> None:
    orders = lab.table("orders", as_="pandas")
    assert isinstance(orders, pd.DataFrame)
    assert orders["paid"].dtype == "float64"
    assert orders["paid"].sum() == pytest.approx(5 * 0.99)
    assert orders["customer_id"].isna().sum() == 5


def test_polars_keeps_decimals_exact(desk: Settings) -> None:
    assert lab.table("orders").select(pl.col("paid").sum()).collect().item() == Decimal("4.95")


# What was read


def test_a_run_learns_which_snapshots_were_read_each_once(desk: Settings) -> None:
    with reading() as inputs:
        lab.table("orders", since=DAYS[3])
        lab.table("orders", since=DAYS[2])
        lab.table("customers")
    assert [(item.table, item.day) for item in inputs] == [
        ("orders", DAYS[3]), ("orders", DAYS[4]), ("orders", DAYS[2]), ("customers", FRIDAY),
    ]  # fmt: skip
    assert all(isinstance(item, RunInput) and len(item.digest) == 64 for item in inputs)
    before = list(inputs)
    lab.table("orders")
    assert inputs == before


def test_what_could_not_be_read_is_not_noted(desk: Settings) -> None:
    with reading() as inputs, pytest.raises(UnknownColumnError):
        lab.table("orders", columns=["price"])
    assert inputs == []


# Without the gateway


def test_what_was_read_once_can_be_read_without_the_gateway_and_says_how_old_it_is(
    installation: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(installation):
        expected = lab.table("orders").collect()
    monkeypatch.setenv("DS_LISTING_AGE", "PT0S")
    assert_frame_equal(lab.table("orders").collect(), expected)
    for said in (
        r"does not answer at 127\.0\.0\.1:\d+", r"'orders' is read as listed \d+ seconds ago \(20\d\d-",
        r"last answered \d+ seconds ago \(20",
    ):  # fmt: skip
        assert re.search(said, caplog.text)


def test_days_that_were_not_fetched_need_the_gateway(installation: Settings) -> None:
    with serving(installation):
        lab.table("orders", until=MONDAY)
    assert lab.table("orders", until=MONDAY).collect().height == 3
    with pytest.raises(GatewayUnreachableError, match="ds-pipelines up"):
        lab.table("orders")
    with pytest.raises(GatewayUnreachableError, match="ds-pipelines up"):
        lab.table("customers")


def test_without_a_token_nothing_is_read(installation: Settings) -> None:
    with serving(installation):
        shutil.rmtree(installation.secrets)
        with pytest.raises(MissingSecretError, match="DS_HOME"):
            lab.table("orders")
