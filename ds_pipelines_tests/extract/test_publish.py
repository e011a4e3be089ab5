"""What is published of the shop: right, whole, in no telling order, and naming nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import (
    AmbiguousKeyError,
    CollidingPseudonymsError,
    DsPipelinesError,
    RowsOfError,
    UndeclaredColumnError,
    UndeclaredTableError,
    UnknownDayError,
    UnknownExtractError,
)
from ds_pipelines.extract.policy import SHOP, load
from ds_pipelines.extract.production import transformed
from ds_pipelines.extract.pseudonyms import Pseudonyms, load_key
from ds_pipelines.extract.publish import WINDOW_DAYS, extract_day, extract_days, extract_state
from ds_pipelines.extract.source import Source
from ds_pipelines.settings import environment
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import (
    BY_DAY,
    BY_STATE,
    DIRECT_IDENTIFIERS,
    FALL_BACK,
    SPRING_FORWARD,
    VISITS_COLUMNS,
    kept,
    policy_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.sample import Shop
    from ds_pipelines.settings import Settings

    Sql = Callable[[str], list[tuple[object, ...]]]

MOMENT = {"orders": "placed_at", "order_lines": "placed_at", "tickets": "opened_at"}


def count(settings: Settings, query: str) -> int:
    with closing(postgres.connect("owner", settings)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        [(rows,)] = cursor.fetchall()
        return int(rows)


def store_of(settings: Settings) -> SnapshotStore:
    return SnapshotStore(settings.snapshots)


def rows_of(settings: Settings, table: str) -> pl.DataFrame:
    store = store_of(settings)
    return pl.concat([pl.read_parquet(store.path(manifest.digest)) for manifest in store.manifests(table)])


@pytest.mark.parametrize("table", BY_DAY)
@pytest.mark.parametrize("day", [SPRING_FORWARD, FALL_BACK, date(2025, 6, 17)])
def test_a_day_has_the_rows_that_sql_counts(published: Settings, table: str, day: date) -> None:
    counted = count(
        published,
        f"SELECT count(*) FROM {table} WHERE ({MOMENT[table]} AT TIME ZONE '{published.zone}')::date = '{day}'",
    )
    manifest = store_of(published).manifest(table, day)
    assert (manifest.rows, manifest.rows_of) == (counted, "day")
    assert pl.read_parquet(store_of(published).path(manifest.digest)).height == counted


@pytest.mark.parametrize("table", BY_DAY)
def test_all_days_together_are_the_table(published: Settings, table: str) -> None:
    manifests = store_of(published).manifests(table)
    days = (published.last_extractable_day() - published.first_day).days + 1
    assert [manifest.day for manifest in manifests] == [published.first_day + timedelta(n) for n in range(days)]
    assert sum(manifest.rows for manifest in manifests) == count(published, f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("table", BY_STATE)
def test_a_table_of_current_state_is_whole_and_of_the_businesss_today(published: Settings, table: str) -> None:
    [manifest] = store_of(published).manifests(table)
    assert (manifest.day, manifest.rows_of) == (published.today, "state")
    assert manifest.rows == count(published, f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("table", BY_DAY + BY_STATE)
def test_what_is_published_is_what_scoring_reads_but_for_the_identifiers(published: Settings, table: str) -> None:
    decisions = load(published.policies / SHOP).table(table)
    pseudonyms = Pseudonyms(load_key(published.pseudonym_key))
    real = transformed(table, published)
    replaced = real.with_columns(
        pseudonyms.of(real[name], column.treatment.domain)
        for name, column in decisions.visible.items()
        if column.treatment.kind == "pseudonym"
    )
    assert rows_of(published, table).sort(decisions.key).equals(replaced.sort(decisions.key))


def test_scoring_reads_real_keys_up_to_the_end_of_a_day(published: Settings, shop: Shop) -> None:
    until = date(2025, 6, 17)
    orders = transformed("orders", published, until=until)
    local = pl.col("placed_at").dt.convert_time_zone(published.zone).dt.date()
    expected = shop.tables["orders"].filter(local <= until).sort("order_id")
    assert orders["order_id"].equals(expected["order_id"])
    assert orders["customer_id"].equals(expected["customer_id"])


def test_numbers_are_published_exactly(published: Settings, shop: Shop) -> None:
    lines, truth = rows_of(published, "order_lines"), shop.tables["order_lines"]
    for name in ("unit_price", "discount", "tax_rate"):
        assert lines.schema[name] == truth.schema[name]
        assert lines[name].sum() == truth[name].sum()


def test_guests_have_no_pseudonym(published: Settings, shop: Shop) -> None:
    assert rows_of(published, "orders")["customer_id"].null_count() == shop.tables["orders"]["customer_id"].null_count()
    assert shop.tables["orders"]["customer_id"].null_count() > 0


def test_tables_join_as_they_do_in_production(published: Settings, shop: Shop) -> None:
    def joined(orders: pl.DataFrame, customers: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
        together = lines.join(orders, on="order_id").join(customers, on="customer_id")
        return together.group_by("segment").agg(pl.len(), pl.col("quantity").sum()).sort("segment")

    names = ("orders", "customers", "order_lines")
    assert joined(*(rows_of(published, name) for name in names)).equals(joined(*(shop.tables[name] for name in names)))


def test_rows_are_in_the_order_of_their_pseudonyms(published: Settings) -> None:
    for table, key in (("customers", "customer_id"), ("orders", "order_id")):
        for manifest in store_of(published).manifests(table)[:20]:
            assert pl.read_parquet(store_of(published).path(manifest.digest))[key].is_sorted()


def test_nobody_is_named_in_any_published_file(published: Settings, shop: Shop) -> None:
    people = shop.tables["customers"]
    named = sorted({value for column in DIRECT_IDENTIFIERS for value in people[column] if value})
    assert len(named) > 4 * people.height
    row_as_text = pl.concat_str(pl.all().cast(pl.String), separator="\n", ignore_nulls=True).alias("text")
    files = list(published.snapshots.glob("objects/*/*.parquet"))
    assert len(files) > 365
    published_rows = pl.concat([pl.read_parquet(path).select(row_as_text, file=pl.lit(path.name)) for path in files])
    assert published_rows.filter(pl.col("text").str.contains_any(named))["file"].to_list() == []
    manifests = pl.Series([path.read_text() for path in published.snapshots.glob("published/*/*.json")])
    assert not manifests.str.contains_any(named).any()
    found_in_production = people.select(pl.col(DIRECT_IDENTIFIERS).str.contains_any(named).all())
    assert found_in_production.row(0) == (True,) * len(DIRECT_IDENTIFIERS)


@pytest.mark.parametrize("table", ["customers", *BY_DAY])
def test_real_keys_are_in_no_published_file(published: Settings, table: str) -> None:
    decisions = load(published.policies / SHOP).table(table)
    names = [name for name, column in decisions.visible.items() if column.treatment.kind == "pseudonym"]
    rows = rows_of(published, table)
    assert "customer_id" in names
    assert rows.select(pl.col(names).str.contains("^[0-9a-f]{32}$").all()).row(0) == (True,) * len(names)


def test_the_secret_is_in_no_published_file(published: Settings) -> None:
    secret = load_key(published.pseudonym_key)
    customer_key = Pseudonyms(secret)._key("customer").item()
    for path in published.snapshots.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert secret not in content
            assert secret.hex().encode() not in content
            assert customer_key.encode() not in content


def test_the_manifest_says_what_became_of_every_column(published: Settings) -> None:
    [manifest] = store_of(published).manifests("customers")
    columns = {column.name: column for column in manifest.columns}
    assert columns["customer_id"].treatment == "pseudonym(customer)"
    assert (columns["birth_date"].treatment, columns["birth_date"].dtype) == ("generalise(year)", "Date")
    assert columns["postcode"].explanation.endswith("A whole postcode is a few houses.")
    assert {column.name: column.explanation for column in manifest.withheld}["full_name"] == "It says who it is."
    assert manifest.policy_digest == load(published.policies / SHOP).digest
    assert manifest.key_id == Pseudonyms(load_key(published.pseudonym_key)).key_id
    assert manifest.read_at <= manifest.published_at
    file = pl.read_parquet_schema(store_of(published).path(manifest.digest))
    assert {name: str(dtype) for name, dtype in file.items()} == {name: each.dtype for name, each in columns.items()}


def test_a_day_extracted_again_alone_has_the_same_bytes(published: Settings) -> None:
    before = store_of(published).manifest("order_lines", FALL_BACK)
    again = extract_day("order_lines", FALL_BACK, published)
    assert (again.digest, again.logical_digest, again.bytes) == (before.digest, before.logical_digest, before.bytes)
    assert again.read_at > before.read_at
    assert store_of(published).manifest("order_lines", FALL_BACK) == again


@pytest.fixture
def visits(place: Settings, sql: Any, tmp_path: Path) -> Settings:
    """A table of 250 days with one row a day but for every tenth day, and a policy for it."""
    sql(f"""
        CREATE TABLE visits (visit_id int, at timestamptz NOT NULL, note text);
        INSERT INTO visits SELECT n, timestamptz '{place.first_day} 12:00+00' + n * interval '1 day', 'Ada'
        FROM generate_series(0, 249) AS n WHERE n % 10 > 0
    """)
    path = policy_file(tmp_path / "policies", VISITS_COLUMNS, schema=sql.schema)
    return place.model_copy(update={"policies": path.parent})


def last_visit(visits: Settings) -> date:
    return visits.first_day + timedelta(249)


def test_a_day_without_rows_is_published_empty_with_the_same_columns(visits: Settings) -> None:
    empty, full = extract_days("visits", visits.first_day, visits.first_day + timedelta(1), visits)
    assert (empty.rows, full.rows) == (0, 1)
    assert empty.columns == full.columns
    path = store_of(visits).path(empty.digest)
    assert pl.read_parquet(path).schema == {"visit_id": pl.String(), "at": pl.Datetime("us", "UTC")}


def test_a_changed_day_is_replaced_and_its_old_file_stays_as_it_is(visits: Settings, sql: Sql) -> None:
    day = visits.first_day + timedelta(1)
    before = extract_day("visits", day, visits)
    sql("DELETE FROM visits")
    after = extract_day("visits", day, visits)
    assert store_of(visits).manifests("visits") == [after]
    assert after.digest != before.digest
    assert pl.read_parquet(store_of(visits).path(before.digest)).height == 1


def test_progress_is_told_once_a_day_in_order(visits: Settings) -> None:
    told: list[SnapshotManifest] = []
    made = extract_days("visits", visits.first_day, last_visit(visits), visits, on_day=told.append)
    assert told == made
    assert [manifest.day for manifest in made] == [visits.first_day + timedelta(n) for n in range(250)]


def test_what_was_visible_when_it_stopped_is_whole_and_nothing_else_is_left(visits: Settings) -> None:
    def stop(_: SnapshotManifest) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        extract_days("visits", visits.first_day, last_visit(visits), visits, on_day=stop)
    manifests = store_of(visits).manifests("visits")
    assert len(manifests) == WINDOW_DAYS
    for manifest in manifests:
        assert pl.read_parquet(store_of(visits).path(manifest.digest)).height == manifest.rows
    assert list(visits.snapshots.glob("staging/*")) == []


KILLED = """
import os, signal
from datetime import date
from ds_pipelines.extract.publish import extract_days
from ds_pipelines.settings import load_settings
settings = load_settings()
extract_days(
    "visits", settings.first_day, date.fromisoformat("{last}"), settings,
    on_day=lambda manifest: os.kill(os.getpid(), signal.SIGKILL),
)
"""


def test_a_killed_extract_leaves_whole_days_and_the_next_one_cleans_up(visits: Settings) -> None:
    urls = {f"DS_{role.upper()}_URL": getattr(visits, f"{role}_url").get_secret_value() for role in ("extract",)}
    script = KILLED.format(last=last_visit(visits))
    variables = environment(**visits.as_environment(), **urls)
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(store_of(visits).manifests("visits")) == WINDOW_DAYS
    assert len(list(visits.snapshots.glob("staging/*"))) == 1
    extract_days("visits", visits.first_day, last_visit(visits), visits)
    assert len(store_of(visits).manifests("visits")) == 250
    assert list(visits.snapshots.glob("staging/*")) == []


def test_rows_that_share_a_key_are_not_published(visits: Settings, sql: Sql) -> None:
    sql("INSERT INTO visits SELECT * FROM visits")
    with pytest.raises(AmbiguousKeyError, match="expected visit_id to identify a row"):
        extract_day("visits", visits.first_day + timedelta(1), visits)
    with pytest.raises(UnknownExtractError):
        store_of(visits).manifests("visits")


def of_state(place: Settings, sql: Any, folder: Path, key: str, visit: str) -> Settings:
    """A table of current state with 300 rows, of which the last two share everything but the guest."""
    sql("""
        CREATE TABLE visits (visit_id int, guest int, amount numeric(10, 2));
        INSERT INTO visits SELECT least(n, 299), n, least(n, 299) / 100.0 FROM generate_series(1, 300) AS n
    """)
    columns = {"visit_id": visit, "guest": pseudonym("guest"), "amount": kept()}
    path = policy_file(folder / "policies", columns, schema=sql.schema, rows="all", key=key)
    return place.model_copy(update={"policies": path.parent})


def pseudonym(domain: str) -> str:
    return f"{{treatment: {{pseudonym: {{domain: {domain}, as: bigint}}}}, description: Who., because: For the test.}}"


def test_rows_that_share_a_key_need_not_be_neighbours(place: Settings, sql: Any, tmp_path: Path) -> None:
    visits = of_state(place, sql, tmp_path, "[visit_id]", kept())
    with pytest.raises(AmbiguousKeyError, match="expected visit_id to identify a row"):
        extract_state("visits", visits)
    sql("DELETE FROM visits WHERE guest = 300")
    assert extract_state("visits", visits).rows == 299


def test_a_table_without_a_key_keeps_equal_rows(place: Settings, sql: Any, tmp_path: Path) -> None:
    visits = of_state(place, sql, tmp_path, "none", kept())
    sql("INSERT INTO visits SELECT * FROM visits")
    manifest = extract_state("visits", visits)
    rows = pl.read_parquet(store_of(visits).path(manifest.digest))
    assert rows.height == 600
    assert rows.equals(rows.sort("guest", "visit_id", "amount"))
    assert rows.unique().height == 300


def test_bigint_pseudonyms_are_counted_over_all_batches(
    place: Settings, sql: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = of_state(place, sql, tmp_path, "none", kept())
    of = Pseudonyms.of
    monkeypatch.setattr(Pseudonyms, "of", lambda *arguments: of(*arguments) % 64)
    batches = Source.batches

    def in_singles(*arguments: Any, **options: Any) -> Iterator[pl.DataFrame]:
        for batch in batches(*arguments, **options):
            yield from batch.iter_slices(1)

    monkeypatch.setattr(Source, "batches", in_singles)
    with pytest.raises(CollidingPseudonymsError):
        extract_state("visits", visits)
    assert store_of(visits).tables() == []


def test_a_column_added_to_production_refuses_the_extract(visits: Settings, sql: Sql) -> None:
    sql("ALTER TABLE visits ADD COLUMN diagnosis text")
    with pytest.raises(UndeclaredColumnError, match="does not name: diagnosis"):
        extract_day("visits", visits.first_day, visits)
    assert store_of(visits).tables() == []


@pytest.mark.parametrize(
    ("table", "extract", "error"),
    [
        ("salaries", "state", UndeclaredTableError),
        ("customers", "day", RowsOfError),
        ("orders", "state", RowsOfError),
    ],
)
def test_a_table_is_extracted_in_its_own_way_or_refused(
    place: Settings, table: str, extract: str, error: type[DsPipelinesError]
) -> None:
    with pytest.raises(error):
        extract_state(table, place) if extract == "state" else extract_day(table, place.first_day, place)
    assert store_of(place).tables() == []


def test_days_that_are_not_over_or_turned_around_are_refused(place: Settings) -> None:
    first, last = place.first_day, place.last_extractable_day()
    for since, until in ((first - timedelta(1), last), (first, last + timedelta(1)), (last, first)):
        with pytest.raises(UnknownDayError):
            extract_days("orders", since, until, place)


def test_a_table_without_rows_is_published_with_its_columns(place: Settings, sql: Any, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (id int, price numeric(6,2))")
    path = policy_file(tmp_path, {"id": kept(), "price": kept()}, schema=sql.schema, rows="all", key="[id]")
    manifest = extract_state("visits", place.model_copy(update={"policies": path.parent}))
    assert (manifest.rows, [column.dtype for column in manifest.columns]) == (
        0, ["Int32", "Decimal(precision=6, scale=2)"]
    )  # fmt: skip
