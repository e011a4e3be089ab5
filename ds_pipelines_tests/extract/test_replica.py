"""A replica is read instead of production, as long as it keeps up; here a real one, streaming from the cluster."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.extract.publish import extract_day, extract_state
from ds_pipelines.extract.pulse import open_pulse
from ds_pipelines.postgres import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.extract.harm import Harm
    from ds_pipelines.settings import Settings


@pytest.fixture(scope="module")
def replica(settings: Settings) -> Iterator[Cluster]:
    """A hot standby of the production cluster."""
    primary = postgres.cluster("production", settings)
    with tempfile.TemporaryDirectory(prefix="ds-r-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        made = Cluster("production", Path(folder) / "r", primary.secrets_dir)
        made.root.mkdir()
        source = f"host={primary.sockets} user=postgres password={primary._password('postgres')}"
        done = made._run("pg_basebackup", "-D", str(made.data), "-d", source, "-R", "-X", "stream", "-c", "fast")
        assert done.returncode == 0, done.stderr
        user = postgres._server_user(made.root)
        for path in (made.data, *made.data.rglob("*")) if user else ():
            shutil.chown(path, user)
        (made.data / "postmaster.pid").unlink(missing_ok=True)
        made._start()
        yield made
        made._run("pg_ctl", "stop", "-D", str(made.data), "-m", "immediate", "-w")


@pytest.fixture
def beside(place: Settings, replica: Cluster) -> Settings:
    """An installation that knows the replica."""
    url = SecretStr(replica.url("shop", "extract"))
    return place.model_copy(update={"replica_url": url, "pace_active": 1_000, "pace_waiting": 1_000})


def ask(cluster: Cluster, statement: str) -> list[Any]:
    with closing(psycopg2.connect(cluster.url("shop", "postgres"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def caught_up(replica: Cluster, settings: Settings) -> None:
    [(now,)] = ask(postgres.cluster("production", settings), "SELECT pg_current_wal_lsn()")
    for _ in range(100):
        if ask(replica, f"SELECT pg_last_wal_replay_lsn() >= '{now}'") == [(True,)]:
            return
        time.sleep(0.1)
    raise AssertionError("the replica never caught up")


def test_the_extract_reads_the_replica_and_says_so(beside: Settings, place: Settings, replica: Cluster) -> None:
    caught_up(replica, place)
    told: list[Harm] = []
    day = beside.first_day + timedelta(30)
    from_replica = extract_day("orders", day, beside)
    state = extract_state("products", beside, on_harm=told.append)
    assert told[0].database == "replica"
    assert from_replica.watermark is not None
    assert extract_day("orders", day, place).logical_digest == from_replica.logical_digest
    assert extract_state("products", place).logical_digest == state.logical_digest


def test_of_a_replica_that_does_not_catch_up_production_is_read(
    beside: Settings, settings: Settings, replica: Cluster
) -> None:
    hasty = beside.model_copy(
        update={"replica_lag": timedelta(seconds=0.2), "replica_patience": timedelta(seconds=0.3)}
    )
    caught_up(replica, settings)
    ask(replica, "SELECT pg_wal_replay_pause()")
    try:
        primary = postgres.cluster("production", settings)
        ask(primary, "CREATE TABLE IF NOT EXISTS behind (id int); DROP TABLE behind; SELECT pg_switch_wal()")
        time.sleep(0.5)
        told: list[Harm] = []
        extract_state("products", hasty, on_harm=told.append)
    finally:
        ask(replica, "SELECT pg_wal_replay_resume()")
    assert told[0].database == "primary"
    assert any("behind, so production is read" in note for note in told[0].notes)


def test_a_replica_that_has_replayed_everything_is_not_behind_however_quiet_production_is(
    beside: Settings, settings: Settings, replica: Cluster
) -> None:
    caught_up(replica, settings)
    there = settings.model_copy(update={"extract_url": beside.replica_url})
    time.sleep(1)
    with open_pulse("extract", there) as pulse:
        assert pulse.beat().lag == 0
