"""Loading: what is in the database afterwards, and when it is refused."""

import importlib
import tomllib
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import psycopg2
import psycopg2.extensions
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import ForeignDatabaseError, LoadFailedError, ShopInUseError
from ds_pipelines.sample import Shop, load
from ds_pipelines.settings import Settings, load_settings

NUMBERS = {
    "order_lines": "sum(quantity), sum(unit_price), sum(quantity * unit_price), sum(discount), count(gift_message)",
    "products": "sum(list_price)",
}


@pytest.fixture
def owner(settings: Settings) -> Iterator[psycopg2.extensions.connection]:
    with closing(postgres.connect("owner", settings)) as connection:
        connection.autocommit = True
        yield connection


def query(connection: psycopg2.extensions.connection, statement: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@pytest.mark.parametrize("role", ["extract", "scoring"])
def test_readers_count_every_row(shop: Shop, settings: Settings, role: postgres.Role) -> None:
    with closing(postgres.connect(role, settings)) as reader:
        counts = {table: query(reader, f"SELECT count(*) FROM {table}")[0][0] for table in shop.tables}
    assert counts == shop.rows


def test_readers_cannot_write(settings: Settings) -> None:
    with closing(postgres.connect("extract", settings)) as reader, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(reader, "DELETE FROM tickets RETURNING 1")


def test_numbers_arrive_exactly(shop: Shop, owner: psycopg2.extensions.connection) -> None:
    lines = shop.tables["order_lines"]
    wide = pl.col("unit_price").cast(pl.Decimal(20, 2))
    expected = lines.select(
        pl.col("quantity").sum(),
        wide.sum(),
        (wide * pl.col("quantity")).sum().alias("paid"),
        pl.col("discount").cast(pl.Decimal(20, 3)).sum(),
        pl.col("gift_message").count(),
    ).row(0)
    assert query(owner, f"SELECT {NUMBERS['order_lines']} FROM order_lines") == [expected]
    listed = sum(shop.tables["products"]["list_price"], Decimal(0))
    assert query(owner, f"SELECT {NUMBERS['products']} FROM products") == [(listed,)]


@pytest.mark.parametrize("table", ["customers", "orders", "order_lines", "tickets"])
def test_rows_arrive_as_they_are(shop: Shop, owner: psycopg2.extensions.connection, table: str) -> None:
    frame = shop.tables[table]
    rows = query(owner, f"SELECT {', '.join(frame.columns)} FROM {table} ORDER BY 1 LIMIT 300")
    assert rows == frame.head(300).rows()


def test_days_are_those_of_the_business(shop: Shop, owner: psycopg2.extensions.connection) -> None:
    days = query(owner, "SELECT DISTINCT (placed_at AT TIME ZONE 'Europe/London')::date FROM orders ORDER BY 1")
    assert (days[0][0], days[-1][0], len(days)) == (shop.first_day, shop.last_day, 365)


def test_keys_and_indexes_are_there(owner: psycopg2.extensions.connection) -> None:
    kinds = query(
        owner,
        "SELECT contype, count(*) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f') GROUP BY 1 ORDER BY 1",
    )
    assert kinds == [("f", 6), ("p", 6)]
    indexed = query(owner, "SELECT tablename FROM pg_indexes WHERE indexdef ~ '(placed|opened)_at' ORDER BY 1")
    assert indexed == [("order_lines",), ("orders",), ("tickets",)]


def test_the_installation_knows_the_shops_days(shop: Shop, settings: Settings) -> None:
    chosen = load_settings(home=settings.home)
    assert (chosen.zone, chosen.first_day, chosen.today) == ("Europe/London", shop.first_day, date(2026, 1, 1))


def test_what_was_planted_is_kept(shop: Shop, settings: Settings) -> None:
    assert pl.read_parquet(settings.home / "sample" / "truth.parquet").equals(shop.truth)


def test_loading_again_replaces_the_sample_and_keeps_other_settings(
    shop: Shop, settings: Settings, owner: psycopg2.extensions.connection
) -> None:
    file = settings.home / "settings.toml"
    before = file.read_text()
    file.write_text('# mine\nextract_delay = "PT3H"\ntoday=1999-01-01\n')
    try:
        load(shop, settings)
        text = file.read_text()
    finally:
        file.write_text(before)
    assert text.startswith('# mine\nextract_delay = "PT3H"\n')
    assert tomllib.loads(text)["today"] == date(2026, 1, 1)
    assert query(owner, "SELECT count(*) FROM orders") == [(shop.rows["orders"],)]


def test_a_foreign_database_is_left_alone(
    shop: Shop, settings: Settings, owner: psycopg2.extensions.connection
) -> None:
    with owner.cursor() as cursor:
        cursor.execute("CREATE TABLE payroll (amount int)")
    try:
        with pytest.raises(ForeignDatabaseError, match="payroll"):
            load(shop, settings)
    finally:
        with owner.cursor() as cursor:
            cursor.execute("DROP TABLE payroll")
    assert query(owner, "SELECT count(*) FROM orders") == [(shop.rows["orders"],)]


def test_a_table_of_the_same_name_without_the_mark_is_foreign(
    shop: Shop, settings: Settings, owner: psycopg2.extensions.connection
) -> None:
    with owner.cursor() as cursor:
        cursor.execute("COMMENT ON TABLE tickets IS NULL")
    try:
        with pytest.raises(ForeignDatabaseError, match="tickets"):
            load(shop, settings)
    finally:
        with owner.cursor() as cursor:
            cursor.execute("COMMENT ON TABLE tickets IS 'ds_pipelines sample'")


def test_tables_that_are_being_read_are_not_waited_for_without_end(
    shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("ds_pipelines.sample.load"), "PATIENCE", "100ms")
    with closing(postgres.connect("extract", settings)) as reader:
        query(reader, "SELECT 1 FROM orders LIMIT 1")  # its transaction stays open
        with pytest.raises(ShopInUseError):
            load(shop, settings)


def test_a_refusal_of_the_database_is_one_sentence_and_changes_nothing(
    shop: Shop, settings: Settings, owner: psycopg2.extensions.connection, tmp_path: Path
) -> None:
    broken = dict(shop.tables, orders=shop.tables["orders"].head(10))
    with pytest.raises(LoadFailedError, match="foreign key"):
        load(Shop(broken, shop.truth, [], shop.first_day, shop.last_day), settings)
    assert query(owner, "SELECT count(*) FROM orders") == [(shop.rows["orders"],)]
