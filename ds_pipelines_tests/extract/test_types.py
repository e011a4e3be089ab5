"""Every type of PostgreSQL, by itself and in arrays: carried exactly, or refused by the name of its column."""

from __future__ import annotations

import json
from datetime import date, time
from decimal import Decimal
from math import inf, isnan, nan
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ds_pipelines.errors import AbsentTableError, SourceRefusedError, UnreadableValueError
from ds_pipelines.extract import source
from ds_pipelines.extract.policy import Policy, load
from ds_pipelines.extract.publish import extract_state
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import kept, policy_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

    Sql = Callable[[str], list[tuple[object, ...]]]


def keeping(folder: Path, sql: Any, *columns: str, **options: str) -> Policy:
    options = {"rows": "all", "key": "none", "schema": sql.schema} | options
    return load(policy_file(folder, dict.fromkeys(columns, kept()), **options))


def read(place: Settings, policy: Policy, table: str = "visits") -> pl.DataFrame:
    with source.connect("extract", place) as session:
        return session.read(session.readable(policy, table))


WIDE = pl.Decimal(38, 18)
CARRIED: dict[str, tuple[str, pl.DataType, Any]] = {
    "numeric": ("12345678901234567890.123456789012345678", WIDE, Decimal("12345678901234567890.123456789012345678")),
    "numeric(4,-2)": ("123456", pl.Decimal(6, 0), Decimal(123500)),
    "numeric(3,5)": ("0.00999", pl.Decimal(5, 5), Decimal("0.00999")),
    "numeric(50,2)": ("-1.05", pl.Decimal(38, 2), Decimal("-1.05")),
    "double precision": ("-Infinity", pl.Float64(), -inf),
    "real": ("Infinity", pl.Float32(), inf),
    "oid": ("4294967295", pl.Int64(), 2**32 - 1),
    "name": ("pg_class", pl.String(), "pg_class"),
    '"char"': ("x", pl.String(), "x"),
    "character(4)": ("ab", pl.String(), "ab"),
    "time": ("23:59:59.999999", pl.Time(), time(23, 59, 59, 999_999)),
    "timetz": ("04:05:06.5-08", pl.String(), "04:05:06.5-08"),
    "uuid": ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", pl.String(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "bytea": ("\\x00ff", pl.Binary(), b"\x00\xff"),
    "interval": ("1 year 2 mons -3 days 04:05:06.000007", pl.String(), "P1Y2M-3DT4H5M6.000007S"),
    "inet": ("192.168.1.5", pl.String(), "192.168.1.5"),
    "cidr": ("10/8", pl.String(), "10.0.0.0/8"),
    "macaddr": ("08-00-2b-01-02-03", pl.String(), "08:00:2b:01:02:03"),
    "bit(4)": ("0101", pl.String(), "0101"),
    "varbit": ("10", pl.String(), "10"),
    "json": ('{"b":1.00,  "a":2}', pl.String(), '{"b":1.00,  "a":2}'),
    "jsonb": ('{"b":1.00,  "a":2}', pl.String(), '{"a": 2, "b": 1.00}'),
    "point": ("(0.1,2)", pl.String(), "(0.1,2)"),
    "daterange": ("[2025-01-01,2025-01-03]", pl.String(), "[2025-01-01,2025-01-04)"),
    "tstzmultirange": (
        "{[2025-06-01 00:00+01,2025-06-02 00:00+01)}", pl.String(),
        '{["2025-05-31 23:00:00+00","2025-06-01 23:00:00+00")}',
    ),
    "mood": ("ångström", pl.String(), "ångström"),
    '"bıgınt"': ("7", pl.Int64(), 7),
    "code": ("ab", pl.String(), "ab"),
    "price": ("1.5", pl.Decimal(10, 2), Decimal("1.50")),
}  # fmt: skip
OWN_TYPES = """
    CREATE TYPE mood AS ENUM ('sad', 'ångström');
    CREATE DOMAIN whole AS bigint; CREATE DOMAIN "bıgınt" AS whole CHECK (VALUE > 0);
    CREATE DOMAIN code AS char(4); CREATE DOMAIN price AS numeric(10,2); CREATE DOMAIN tags AS text[]
"""


@pytest.mark.parametrize("type_", CARRIED)
def test_a_value_arrives_exactly_and_so_it_does_in_an_array(
    place: Settings, sql: Sql, tmp_path: Path, type_: str
) -> None:
    written, dtype, expected = CARRIED[type_]
    sql(OWN_TYPES)
    sql(f"CREATE TABLE visits (c {type_}, a {type_}[])")
    sql(f"INSERT INTO visits VALUES ('{written}', ARRAY['{written}', NULL]::{type_}[]), (NULL, '{{}}'), (NULL, NULL)")
    rows = read(place, keeping(tmp_path, sql, "c", "a"))
    assert rows.dtypes == [dtype, pl.List(dtype)]
    assert rows.rows() == [(expected, [expected, None]), (None, []), (None, None)]


def test_infinities_and_nan_of_floats_are_carried_as_they_are(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (c float8, a float4[]); INSERT INTO visits VALUES ('NaN', '{NaN,-Infinity,-0}')")
    [(value, values)] = read(place, keeping(tmp_path, sql, "c", "a")).rows()
    assert isnan(value)
    assert repr(values) == repr([nan, -inf, -0.0])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (("numeric", "NaN"), "at most 20 digits before the point and 18 after it"),
        (("numeric", "Infinity"), "finite number"),
        (("numeric", "0.1234567890123456789"), "18 after it"),
        (("numeric", "123456789012345678901"), "20 digits before"),
        (("numeric[]", "{1,0.1234567890123456789}"), "18 after it"),
        (("numeric(50,2)", "1" * 40), r"finite number of numeric\(50,2\)"),
        (("time", "24:00"), "a time before 24:00"),
        (("time[]", "{10:00,24:00}"), "times before 24:00"),
        (("integer[]", "{{1,2},{3,4}}"), "an array of one dimension, counted from 1"),
        (("integer[]", "[0:1]={1,2}"), "counted from 1"),
        (("date[]", "{2025-01-01,infinity}"), "years 1 to 9999"),
        (("timestamptz[]", "{-infinity}"), "years 1 to 9999"),
    ],
)
def test_a_value_that_would_change_in_passing_is_refused_by_its_columns_name(
    place: Settings, sql: Sql, tmp_path: Path, column: tuple[str, str], expected: str
) -> None:
    type_, value = column
    sql(f"CREATE TABLE visits (id int, c {type_}); INSERT INTO visits VALUES (1, NULL), (2, '{value}')")
    with pytest.raises(UnreadableValueError, match=r"Column visits\.c holds .*" + expected) as refusal:
        read(place, keeping(tmp_path, sql, "id", "c"))
    assert value not in str(refusal.value) or value == "24:00"


def test_a_domain_over_arrays_is_read_like_its_array(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql(OWN_TYPES)
    sql("CREATE TABLE visits (c tags); INSERT INTO visits VALUES ('{a,NULL,b}')")
    assert read(place, keeping(tmp_path, sql, "c")).rows() == [(["a", None, "b"],)]


def test_generated_and_identity_columns_are_columns(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("""
        CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED,
            thrice int GENERATED ALWAYS AS (n * 3) VIRTUAL);
        INSERT INTO visits (n) VALUES (7)
    """)
    assert read(place, keeping(tmp_path, sql, "id", "n", "twice", "thrice")).rows() == [(1, 7, 14, 21)]


def test_a_partitioned_table_is_read_once_and_a_partition_is_no_table(
    place: Settings, sql: Sql, tmp_path: Path
) -> None:
    sql("""
        CREATE TABLE visits (id int, year int) PARTITION BY LIST (year);
        CREATE TABLE early PARTITION OF visits FOR VALUES IN (2024);
        CREATE TABLE late PARTITION OF visits FOR VALUES IN (2025) PARTITION BY RANGE (id);
        CREATE TABLE late_low PARTITION OF late FOR VALUES FROM (0) TO (10);
        INSERT INTO visits VALUES (1, 2024), (2, 2025)
    """)
    assert sorted(read(place, keeping(tmp_path, sql, "id", "year")).rows()) == [(1, 2024), (2, 2025)]
    with pytest.raises(AbsentTableError, match="'late'"):
        read(place, keeping(tmp_path, sql, "id", "year", table="late"), "late")


def test_what_a_table_inherits_is_read_once(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql("""
        CREATE TABLE visits (id int); INSERT INTO visits VALUES (1);
        CREATE TABLE late () INHERITS (visits); INSERT INTO late VALUES (2);
        CREATE TABLE later () INHERITS (late); INSERT INTO later VALUES (3)
    """)
    alone = keeping(tmp_path, sql, "id")
    assert sorted(read(place, alone).rows()) == [(1,), (2,), (3,)]
    named = alone.model_copy(
        update={
            "tables": {name: alone.table("visits").model_copy(update={"name": name}) for name in ("visits", "late")}
        }
    )
    assert read(place, named).rows() == [(1,)]
    assert sorted(read(place, named, "late").rows()) == [(2,), (3,)]


def test_rows_that_row_level_security_would_hide_are_an_error(place: Settings, sql: Sql, tmp_path: Path) -> None:
    sql(
        "CREATE TABLE visits (id int); INSERT INTO visits VALUES (1), (2); ALTER TABLE visits ENABLE ROW LEVEL SECURITY"
    )
    sql("CREATE POLICY one ON visits FOR SELECT USING (id = 1)")
    with pytest.raises(SourceRefusedError, match="row-level security would hide rows"):
        read(place, keeping(tmp_path, sql, "id"))


@pytest.mark.parametrize("name", ["Order Details", "select", "ſchön", 'a "b"', "x.y", "100%", "{0}", "ж" * 31])
def test_tables_and_columns_of_any_name_are_published_under_it(
    place: Settings, sql: Any, tmp_path: Path, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    sql(f"CREATE TABLE {quoted} ({quoted} int, other int[]); INSERT INTO {quoted} VALUES (1, '{{2}}')")
    written = json.dumps(name, ensure_ascii=False)
    path = policy_file(
        tmp_path / "policy",
        {written: kept(), "other": kept()},
        schema=sql.schema,
        table=written,
        rows="all",
        key="none",
    )
    there = place.model_copy(update={"policies": path.parent})
    manifest = extract_state(name, there)
    store = SnapshotStore(there.snapshots)
    assert store.tables() == [name]
    assert pl.read_parquet(store.path(manifest.digest)).rows(named=True) == [{name: 1, "other": [2]}]


def test_a_table_without_a_key_is_in_the_order_of_all_its_columns_with_its_duplicates(
    place: Settings, sql: Any, tmp_path: Path
) -> None:
    sql("CREATE TABLE visits (a int, b text[])")
    sql("INSERT INTO visits VALUES (2, '{x}'), (1, '{z}'), (1, '{y}'), (2, '{x}')")
    policy = policy_file(tmp_path / "policy", {"a": kept(), "b": kept()}, schema=sql.schema, rows="all", key="none")
    there = place.model_copy(update={"policies": policy.parent})
    manifest = extract_state("visits", there)
    rows = pl.read_parquet(SnapshotStore(there.snapshots).path(manifest.digest)).rows()
    assert rows == [(1, ["y"]), (1, ["z"]), (2, ["x"]), (2, ["x"])]
    assert extract_state("visits", there).digest == manifest.digest


@pytest.mark.parametrize("rows", ["", "(NULL, NULL, NULL), (NULL, NULL, NULL)", "(1, 'one', '{1}')"])
def test_tables_without_rows_or_values_and_with_one_row_keep_their_types(
    place: Settings, sql: Any, tmp_path: Path, rows: str
) -> None:
    sql("CREATE TABLE visits (a int, b text, c numeric[])")
    if rows:
        sql(f"INSERT INTO visits VALUES {rows}")
    frame = read(place, keeping(tmp_path, sql, "a", "b", "c"))
    assert frame.dtypes == [pl.Int32, pl.String, pl.List(WIDE)]
    assert frame.height == rows.count("(")


def test_naughty_strings_and_a_megabyte_arrive_exactly(
    place: Settings, sql: Any, tmp_path: Path, shared_data: Path
) -> None:
    texts = json.loads((shared_data / "adversarial" / "naughty_strings.json").read_text())
    assert len(texts) == 515
    texts += ["é" * 500_000, "a" * (1 << 20)]
    sql("CREATE TABLE visits (id int, t text)")
    sql("INSERT INTO visits SELECT * FROM unnest(%s, %s)", (list(range(517)), texts))
    assert read(place, keeping(tmp_path, sql, "id", "t")).sort("id")["t"].to_list() == texts


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_postgresql_itself_holds_neither_nul_nor_lone_surrogates(sql: Any, text: str) -> None:
    sql("CREATE TABLE visits (t text)")
    with pytest.raises((ValueError, psycopg2.Error)):
        sql("INSERT INTO visits VALUES (%s)", (text,))
    with pytest.raises(psycopg2.Error):
        sql("INSERT INTO visits VALUES (convert_from(%s, 'UTF8'))", (text.encode(errors="surrogatepass"),))


WALL = st.datetimes()
ROWS = st.lists(
    st.tuples(
        st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12),
        st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31)),
        st.none() | WALL,
        st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        st.none() | st.binary(max_size=20),
        st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)),
    ),
    min_size=1,
    max_size=20,
)


@effort(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(rows=ROWS, batch_bytes=st.integers(1, 500))
def test_any_rows_arrive_exactly_wherever_batches_end(
    place: Settings, sql: Any, tmp_path: Path, rows: list[tuple[Any, ...]], batch_bytes: int
) -> None:
    sql("DROP TABLE IF EXISTS visits")
    sql("CREATE TABLE visits (id int, n numeric, d date, w timestamp, t text, b bytea, a int[])")
    values = ", ".join(["(%s, %s, %s, %s, %s, %s, %s::int[])"] * len(rows))
    sql(f"INSERT INTO visits VALUES {values}", [value for number, row in enumerate(rows) for value in (number, *row)])
    policy = keeping(tmp_path, sql, "id", "n", "d", "w", "t", "b", "a")
    with source.connect("extract", place) as session:
        visits = session.readable(policy, "visits")
        whole = pl.concat(session.batches(visits, batch_bytes=batch_bytes))
    assert whole.sort("id").drop("id").rows() == rows
