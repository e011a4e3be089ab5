"""Real databases, every table of them: what is read equals what PostgreSQL's own COPY prints, value for value."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml
from pydantic import SecretStr

from ds_pipelines.extract import catalogue, source
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.publish import extract_state
from ds_pipelines.extract.types import Refused, carried
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.conftest import psql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.extract.catalogue import LiveTables
    from ds_pipelines.settings import Settings

TABLES = {"pagila": 15, "chinook": 11, "northwind": 14}
VIEWS = {"pagila": 8, "chinook": 0, "northwind": 0}
CANNOT = {("pagila", "film", "fulltext"): "an index of words"}
NULL = "\\N of no column"


def keeping(live: LiveTables, folder: Path) -> Path:
    """A policy that keeps whatever can be carried, views included."""
    tables: dict[str, Any] = {}
    for name, table in live.items():
        columns = {
            column.name: {"type": column.type, "because": "For the test."}
            | (
                {"treatment": "drop"}
                if isinstance(carried(column), Refused)
                else {"treatment": "keep", "description": "A value."}
            )
            for column in table.columns.values()
        }
        tables[name] = {"description": "A table.", "rows": "all", "key": "none", "columns": columns}
    folder.mkdir(parents=True)
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "schema": "public", "tables": tables}, allow_unicode=True))
    return path


def printed(url: str, table: str, frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """The table as COPY prints it, read by each column's kind."""
    names = [f'to_json("{name}")' if isinstance(frame.schema[name], pl.List) else f'"{name}"' for name in frame.columns]
    query = f"COPY (SELECT {', '.join(names)} FROM public.\"{table}\") TO STDOUT (FORMAT csv, NULL '{NULL}')"
    rows = csv.reader(io.StringIO(psql(url, f"SET TimeZone = 'UTC';\n{query};")))
    readers = [READ[dtype.base_type()] for dtype in frame.dtypes]
    return [
        tuple(None if text == NULL else read(text) for read, text in zip(readers, row, strict=True)) for row in rows
    ]


READ: dict[Any, Callable[[str], Any]] = {
    pl.String: lambda text: text.rstrip(" "),
    pl.Int16: int,
    pl.Int32: int,
    pl.Int64: int,
    pl.Float32: lambda text: pl.Series([text]).cast(pl.Float32).item(),
    pl.Float64: float,
    pl.Decimal: Decimal,
    pl.Boolean: {"t": True, "f": False}.__getitem__,
    pl.Date: date.fromisoformat,
    pl.Datetime: datetime.fromisoformat,
    pl.Binary: lambda text: bytes.fromhex(text.removeprefix("\\x")),
    pl.List: json.loads,
}


def comparable(rows: list[tuple[Any, ...]]) -> Counter[str]:
    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return value.rstrip(" ")  # the padding of char(n)
        return value.normalize() if isinstance(value, Decimal) else value

    return Counter(repr([plain(value) for value in row]).replace("zoneinfo.ZoneInfo(key='UTC')", "UTC").replace(
        "datetime.timezone.utc", "UTC") for row in rows)  # fmt: skip


def test_every_table_and_view_of_a_real_database_is_read_exactly(
    dump: tuple[str, str], place: Settings, tmp_path: Path
) -> None:
    name, url = dump
    there = place.model_copy(update={"extract_url": SecretStr(url)})
    live = catalogue_of(there)
    policy = load(keeping(live, tmp_path / "policy"))
    catalogue.check(policy, live)
    assert (sum(not table.view for table in live.values()), sum(table.view for table in live.values())) == (
        TABLES[name], VIEWS[name]
    )  # fmt: skip
    rows = 0
    with source.connect("extract", there) as session:
        for table in live:
            frame = session.read(session.readable(policy, table))
            assert comparable(frame.rows()) == comparable(printed(url, table, frame)), table
            rows += frame.height
    assert rows > 3_000


def catalogue_of(settings: Settings) -> LiveTables:
    with source.connect("extract", settings) as session:
        return session.live_tables("public")


def test_what_a_real_database_has_that_cannot_be_carried_is_known(dump: tuple[str, str], place: Settings) -> None:
    name, url = dump
    live = catalogue_of(place.model_copy(update={"extract_url": SecretStr(url)}))
    refused = {
        (name, table, column.name): how.reason
        for table, columns in live.items()
        for column in columns.columns.values()
        if isinstance(how := carried(column), Refused)
    }
    assert refused.keys() == {place for place in CANNOT if place[0] == name}
    for where, reason in refused.items():
        assert CANNOT[where] in reason


def test_every_table_of_a_real_database_is_published_under_its_name(
    dump: tuple[str, str], place: Settings, tmp_path: Path
) -> None:
    _, url = dump
    there = place.model_copy(update={"extract_url": SecretStr(url)})
    live = catalogue_of(there)
    there = there.model_copy(update={"policies": keeping(live, tmp_path / "policy").parent})
    made = {table: extract_state(table, there) for table in live}
    store = SnapshotStore(there.snapshots)
    assert store.tables() == sorted(live)
    for table, manifest in made.items():
        counted = psql(url, f'COPY (SELECT count(*) FROM public."{table}") TO STDOUT;')
        assert manifest.rows == int(counted) == pl.read_parquet(store.path(manifest.digest)).height
    table = min(live)
    assert extract_state(table, there).digest == made[table].digest
