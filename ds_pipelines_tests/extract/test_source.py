"""Reading production: read-only, exact, and nothing before the policy was found to fit."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pydantic import SecretStr

from ds_pipelines.errors import (
    AbsentTableError,
    DatabaseUnreachableError,
    SourceRefusedError,
    UndeclaredColumnError,
    UndeclaredTableError,
    UnreadableValueError,
    UnsupportedTypeError,
)
from ds_pipelines.extract import catalogue, source
from ds_pipelines.extract.policy import SHOP, Policy, load
from ds_pipelines_tests.extract.scenario import FALL_BACK, SPRING_FORWARD, kept, policy_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.sample import Shop
    from ds_pipelines.settings import Settings

    Sql = Callable[[str], list[tuple[object, ...]]]

WALL_END = datetime.combine(date(9999, 12, 31), time.max)


def policy_of(folder: Path, sql: Any, *columns: str, hidden: tuple[str, ...] = (), **options: str) -> Policy:
    decisions = dict.fromkeys(columns, kept()) | dict.fromkeys(hidden, "{treatment: drop, because: B.}")
    options = {"rows": "all", "key": f"[{columns[0]}]"} | options
    return load(policy_file(folder, decisions, schema=sql.schema, **options))


def read(place: Settings, policy: Policy, **days: date) -> pl.DataFrame:
    with source.connect("extract", place) as session:
        return session.read(session.readable(policy, "visits"), **days)


def test_every_carried_type_arrives_exactly(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("""
        CREATE TABLE visits (id bigint, small smallint, whole int, price numeric(10,2), share numeric(38,37),
            single real, double double precision, yes boolean, words text, brief varchar(9), code char(5),
            born date, at timestamptz, wall timestamp);
        INSERT INTO visits VALUES
            (9223372036854775807, -32768, 2147483647, 12345678.91, 0.1000000000000000000000000000000000001, 0.1, 0.1,
             true, 'Ωμέγα', '', 'ab', '0001-01-01', '2025-06-30 23:59:59.999999+00', '9999-12-31 23:59:59.999999'),
            (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
    """)
    columns = [str(name) for (name,) in sql("SELECT attname FROM pg_attribute WHERE attrelid = 'visits'::regclass "
                                            "AND attnum > 0 ORDER BY attnum")]  # fmt: skip
    rows = read(place, policy_of(tmp_path, sql, *columns)).sort("id", descending=True)
    assert rows.dtypes == [
        pl.Int64, pl.Int16, pl.Int32, pl.Decimal(10, 2), pl.Decimal(38, 37), pl.Float32, pl.Float64, pl.Boolean,
        pl.String, pl.String, pl.String, pl.Date, pl.Datetime("us", "UTC"), pl.Datetime("us"),
    ]  # fmt: skip
    full, empty = rows.rows()
    assert full[:5] == (
        2**63 - 1, -(2**15), 2**31 - 1, Decimal("12345678.91"), Decimal("0.1000000000000000000000000000000000001")
    )  # fmt: skip
    assert full[6:11] == (0.1, True, "Ωμέγα", "", "ab")
    assert full[11:] == (
        date(1, 1, 1), datetime(2025, 6, 30, 23, 59, 59, 999_999, UTC), WALL_END
    )  # fmt: skip
    assert empty == (1, *[None] * 13)


@pytest.mark.parametrize(
    ("type_", "value"),
    [("numeric(10,2)", "NaN"), ("date", "infinity"), ("date", "0044-03-15 BC"), ("timestamptz", "-infinity"),
     ("timestamp", "infinity"), ("timestamptz", "12000-01-01")],
)  # fmt: skip
def test_a_value_that_cannot_be_represented_is_refused_and_not_shown(
    place: Settings, sql: Sql, tmp_path: Path, type_: str, value: str
) -> None:
    sql(f"CREATE TABLE visits (id int, c {type_}); INSERT INTO visits VALUES (1, NULL), (2, '{value}')")
    with pytest.raises(UnreadableValueError, match=r"Column visits\.c holds a value") as refusal:
        read(place, policy_of(tmp_path, sql, "id", "c"))
    assert value.lower().lstrip("-") not in str(refusal.value).lower().replace("not infinity", "")
    assert refusal.value.__cause__ is None


def test_hidden_columns_are_never_asked_for(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("""
        CREATE TABLE visits (id int, name text); INSERT INTO visits VALUES (1, 'Ada');
        REVOKE ALL ON visits FROM extract; GRANT SELECT (id) ON visits TO extract
    """)
    assert read(place, policy_of(tmp_path, sql, "id", hidden=("name",))).rows() == [(1,)]


def test_a_new_column_is_refused_before_anything_is_read(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (id int, name text); REVOKE ALL ON visits FROM extract")
    with pytest.raises(UndeclaredColumnError, match="does not name: name"):  # and not: permission denied
        read(place, policy_of(tmp_path, sql, "id"))


def test_a_dropped_column_of_the_table_leaves_no_trace(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (id int, gone text); ALTER TABLE visits DROP COLUMN gone; INSERT INTO visits VALUES (1)")
    assert read(place, policy_of(tmp_path, sql, "id")).rows() == [(1,)]


def test_names_are_quoted(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("""CREATE TABLE visits ("Order" int, "a ""b" int); INSERT INTO visits VALUES (1, 2)""")
    assert read(place, policy_of(tmp_path, sql, "Order", 'a "b')).rows() == [(1, 2)]


def test_a_view_can_be_read_like_a_table(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TABLE raw (id int); INSERT INTO raw VALUES (1); CREATE VIEW visits AS SELECT id FROM raw")
    assert read(place, policy_of(tmp_path, sql, "id")).rows() == [(1,)]


def test_a_table_that_is_gone_or_unreadable_is_refused(place: Settings, sql: Sql, tmp_path: Path) -> None:
    policy = policy_of(tmp_path, sql, "id")
    with pytest.raises(AbsentTableError, match="'visits'"):
        read(place, policy)
    sql("CREATE TABLE visits (id int); REVOKE ALL ON visits FROM extract")
    with pytest.raises(SourceRefusedError, match="could not read table 'visits': it lacks the permission"):
        read(place, policy)


def test_a_type_that_cannot_be_carried_is_refused(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TYPE colour AS (red int, green int); CREATE TABLE visits (id int, c colour)")
    with pytest.raises(UnsupportedTypeError, match=r"visits\.c is of type .*colour.* a value is a whole row"):
        read(place, policy_of(tmp_path, sql, "id", "c"))


def test_a_failure_of_the_server_is_told_without_its_words(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TABLE raw (id int, t text); INSERT INTO raw VALUES (1, 'Ada Lovelace')")
    sql("CREATE VIEW visits AS SELECT id, t::int AS n FROM raw")
    with pytest.raises(SourceRefusedError, match="PostgreSQL refused or failed") as refusal:
        read(place, policy_of(tmp_path, sql, "id", "n"))
    assert "Ada" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_the_session_can_only_read_and_says_who_it_is(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("""
        CREATE VIEW visits AS SELECT 1 AS id, current_setting('transaction_read_only') AS ro,
            current_setting('application_name') AS who, current_setting('statement_timeout') AS patience
    """)
    policy = policy_of(tmp_path, sql, "id", "ro", "who", "patience")
    assert read(place, policy).rows() == [(1, "on", "ds-pipelines extract", "10min")]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/shop", "Connection refused"),
        ("postgresql://u:hunter%ss@h/shop", "not a URL"),
    ],
)
def test_an_unreachable_database_is_told_without_its_password(place: Settings, url: str, said: str) -> None:
    elsewhere = place.model_copy(update={"extract_url": SecretStr(url)})
    with pytest.raises(DatabaseUnreachableError, match=said) as refusal, source.connect("extract", elsewhere):
        pass
    assert "DS_EXTRACT_URL" in str(refusal.value)
    assert "hunter" not in str(refusal.value)


@pytest.mark.parametrize(("day", "hours"), [(SPRING_FORWARD, 23), (FALL_BACK, 25), (date(2025, 6, 1), 24)])
def test_a_day_holds_the_hours_of_the_businesss_calendar(
    place: Settings, sql: Sql, tmp_path: Path, day: date, hours: int
) -> None:
    sql(f"""
        CREATE TABLE visits AS SELECT at FROM generate_series(timestamptz '{day} 00:30+00' - interval '3 days',
            timestamptz '{day} 00:30+00' + interval '3 days', interval '1 hour') AS at;
        ALTER TABLE visits ALTER at SET NOT NULL
    """)
    policy = policy_of(tmp_path, sql, "at", rows="{by_day: at}")
    rows = read(place, policy, since=day, until=day)
    assert rows.height == hours
    assert set(rows["at"].dt.convert_time_zone("Europe/London").dt.date()) == {day}


def test_days_of_a_date_column_need_no_zone(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql(
        "CREATE TABLE visits (on_day date NOT NULL);"
        "INSERT INTO visits VALUES ('2025-03-29'), ('2025-03-30'), ('2025-03-31')"
    )
    policy = policy_of(tmp_path, sql, "on_day", rows="{by_day: on_day}")
    assert read(place, policy, since=SPRING_FORWARD, until=SPRING_FORWARD).rows() == [(SPRING_FORWARD,)]


@effort(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(batch_bytes=st.integers(1, 20_000))
def test_where_batches_end_changes_nothing(place: Settings, shop: Shop, batch_bytes: int) -> None:
    policy = load(place.policies / SHOP)
    with source.connect("extract", place) as session:
        tickets = session.readable(policy, "tickets")
        batches = list(session.batches(tickets, batch_bytes=batch_bytes))
        whole = session.read(tickets)
    assert len(batches) > 1 or batch_bytes > 10_000
    assert pl.concat(batches).equals(whole)
    visible = list(policy.table("tickets").visible)
    assert whole.sort("ticket_id").equals(shop.tables["tickets"].select(visible).sort("ticket_id"))


def test_the_shops_policy_fits_the_whole_live_shop(settings: Settings) -> None:
    catalogue.check(load(settings.policies / SHOP), source.live_tables(settings))


def test_a_table_without_a_decision_is_noticed_in_the_live_schema(settings: Settings, sql: Any, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (id int); CREATE TABLE salaries (id int)")
    with pytest.raises(UndeclaredTableError, match="'salaries'"):
        catalogue.check(policy_of(tmp_path, sql, "id"), source.live_tables(settings, sql.schema))
