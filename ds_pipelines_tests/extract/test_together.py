"""Tables that are extracted together are of one moment, for which a policy has to ask."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines.errors import ConsistencyError, SourceRefusedError
from ds_pipelines.extract.policy import SHOP, load, to_yaml
from ds_pipelines.extract.together import WARNING, extract_together
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import kept, policy_file

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings

TABLES = ("debits", "credits")


@pytest.fixture
def books(place: Settings, sql: Any, tmp_path: Path) -> Settings:
    """Two tables whose amounts cancel out at every moment, and a policy that asks for one."""
    parts = []
    for name in TABLES:
        sql(f"CREATE TABLE {name} (id int PRIMARY KEY, amount int NOT NULL)")
        columns = {"id": kept(), "amount": kept()}
        path = policy_file(tmp_path / name, columns, table=name, schema=sql.schema, rows="all", key="[id]")
        parts.append(path.read_text())
    whole = parts[0].replace("tables:", "consistency: snapshot\ntables:") + parts[1].partition("tables:\n")[2]
    (tmp_path / SHOP).write_text(whole)
    sql("INSERT INTO debits VALUES (1, 5); INSERT INTO credits VALUES (1, -5)")
    return place.model_copy(update={"policies": tmp_path})


def transfer(sql: Any) -> None:
    sql("INSERT INTO debits SELECT max(id) + 1, 7 FROM debits; INSERT INTO credits SELECT max(id) + 1, -7 FROM credits")


def test_all_tables_are_of_one_moment_whatever_changes_between_them(books: Settings, sql: Any) -> None:
    done = extract_together([], books, on_harm=lambda _: transfer(sql))
    store = SnapshotStore(books.snapshots)
    amounts = [pl.read_parquet(store.path(each.digest))["amount"].sum() for each in done.manifests]
    assert [each.table for each in done.manifests] == list(TABLES)
    assert amounts == [5, -5]
    assert sql("SELECT count(*) FROM debits") == [(3,)]
    assert done.warning == WARNING


def test_a_policy_that_does_not_ask_for_it_is_told_how(place: Settings) -> None:
    with pytest.raises(ConsistencyError, match="consistency: snapshot"):
        extract_together([], place)


def test_the_moment_is_not_held_for_longer_than_the_limit(books: Settings, sql: Any) -> None:
    import time

    short = books.model_copy(update={"snapshot_limit": timedelta(seconds=1)})
    with pytest.raises(SourceRefusedError, match="DS_SNAPSHOT_LIMIT"):
        extract_together([], short, on_harm=lambda _: time.sleep(2))


def test_what_a_policy_asks_for_is_written_and_read(books: Settings, tmp_path: Path) -> None:
    policy = load(books.policies / SHOP)
    (tmp_path / "again.yaml").write_text(to_yaml(policy))
    assert load(tmp_path / "again.yaml") == policy
    assert policy.consistency == "snapshot"
