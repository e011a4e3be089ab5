"""Installations of their own on the shared databases: with extracts, a champion, delivered scores and a cache."""

from __future__ import annotations

import itertools
import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.extract import publish
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release.propose import propose
from ds_pipelines.release.registry import import_release
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.score import score_day
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.release.conftest import HELD_OUT, Runs, publish_and_read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

REPURCHASE = JOBS["repurchase"]
TABLES = ("customers", "order_lines", "orders", "tickets")


@dataclass(frozen=True)
class Installation:
    """An installation that worked for a day, and the customers by how much is known about them."""

    settings: Settings
    customers: tuple[int, ...]

    @property
    def store(self) -> SnapshotStore:
        return SnapshotStore(self.settings.snapshots)

    def tables(self) -> dict[str, pl.DataFrame]:
        """All that is published, by table, in the order of days."""
        return {
            table: pl.concat([pl.read_parquet(self.store.path(each.digest)) for each in self.store.manifests(table)])
            for table in self.store.tables()
        }

    def parquets(self) -> dict[Path, pl.DataFrame]:
        """Every Parquet file of the installation, wherever it lies."""
        return {path: pl.read_parquet(path, glob=False) for path in self.settings.home.rglob("*.parquet")}

    def holding(self, words: set[str]) -> list[Path]:
        """The files that hold one of the words, in whatever column, or as text."""
        tables = [
            path
            for path, frame in self.parquets().items()
            if any(column.is_in(list(words)).any() for column in frame.select(pl.col(pl.String)).get_columns())
        ]
        texts = [
            path
            for path in self.settings.home.rglob("*")
            if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
        ]
        return tables + texts

    def bytes(self) -> dict[Path, bytes]:
        """Every file of the installation."""
        return {path: path.read_bytes() for path in self.settings.home.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def installation(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Installation]:
    """Makes installations: copies of one, so that each may be changed."""
    from mlflow import MlflowClient

    home = tmp_path_factory.mktemp("installation")
    urls = {
        f"{role}_url": SecretStr(postgres.url(role, settings))
        for role in ("owner", "extract", "scoring", "serving", "registry", "ledger", "ledger_owner")
    }
    tracking = postgres.sqlalchemy_url(postgres.url("mlflow", settings))
    made = settings.model_copy(
        update={"home": home / "model", "releases": home / "releases", "tracking_address": tracking, **urls}
    )
    experiment = publish_and_read(made)
    publish.extract_days("tickets", made.first_day, HELD_OUT, made)
    publish.extract_days("orders", HELD_OUT, HELD_OUT, made)
    run_id = Runs(experiment, made, home / "runs").lightgbm(seed=11)
    kept = made.artifacts / "1" / run_id / "artifacts"
    kept.mkdir(parents=True)
    MlflowClient(tracking).download_artifacts(run_id, "", str(kept))
    used = import_release(propose(run_id, REPURCHASE, made), REPURCHASE, made).champion
    scored = score_day(REPURCHASE, HELD_OUT, made, release=used.digest, model=used.model())
    facts = {"release": used.digest, "inputs": scored.inputs, "began": begin(made)}
    deliver(scored.frame, REPURCHASE, HELD_OUT, settings=made, **facts)
    orders = _most_active(made)
    numbers = itertools.count()

    def copied() -> Installation:
        place = shutil.copytree(made.home, home / f"copy-{next(numbers)}")
        own = made.model_copy(update={"home": place})
        for manifest in SnapshotStore(own.snapshots).manifests("orders"):
            cached = own.cache / manifest.digest[:2] / f"{manifest.digest}.parquet"
            cached.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SnapshotStore(own.snapshots).path(manifest.digest), cached)
            _spooled(own, cached)
        return Installation(own, orders)

    return copied


def _spooled(settings: Settings, extract: Path) -> None:
    """A run that MLflow has not got yet, which saved and printed what it read."""
    artifacts = settings.spool / "0123" / "artifacts"
    (artifacts / "tables").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(extract, artifacts / "tables" / "orders.parquet")
    printed = pl.read_parquet(extract)["customer_id"].drop_nulls().to_list()
    (artifacts / "stdout.txt").write_text("".join(f"{word} ordered\n" for word in printed))


def _most_active(settings: Settings) -> tuple[int, ...]:
    """Customers with tickets, those with most orders first."""
    with closing(postgres.connect("scoring", settings)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT customer_id FROM orders JOIN (SELECT DISTINCT customer_id FROM tickets WHERE opened_at < %s) t "
            "USING (customer_id) WHERE placed_at < %s GROUP BY customer_id ORDER BY count(*) DESC, customer_id",
            (settings.bounds(HELD_OUT)[0], settings.bounds(HELD_OUT - timedelta(days=30))[0]),
        )
        return tuple(customer for (customer,) in cursor.fetchall())
