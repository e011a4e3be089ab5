"""Killed at random moments while others insert, change and delete, an extract publishes what the database held.

Every published day says what the database had seen when it was settled. The database's own history, written by a
trigger, tells what it held at that moment: both must be equal, after every kill. Ten rounds in every test run; `make
chaos` asks for two hundred.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg2
import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.extract.pseudonyms import load
from ds_pipelines.settings import environment
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import kept, policy_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.settings import Settings

pytestmark = pytest.mark.chaos

DAYS, ROWS = 4, 40_000
SECONDS = 2.5
"""In which an extract is killed; undisturbed it takes about as long."""
COLUMNS = {
    "visit_id": "{treatment: {pseudonym: visit}, description: The visit., because: Its number is on a slip.}",
    "at": kept(),
    "amount": kept(),
}
TABLES = """
    CREATE SCHEMA chaos; GRANT USAGE ON SCHEMA chaos TO extract; SET search_path = chaos;
    CREATE TABLE visits (visit_id bigint PRIMARY KEY, at timestamptz NOT NULL, amount int NOT NULL);
    CREATE INDEX ON visits (at);
    CREATE TABLE history (step bigserial PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        gone boolean NOT NULL, visit_id bigint NOT NULL, at timestamptz NOT NULL, amount int NOT NULL);
    CREATE INDEX ON history (visit_id, step DESC);
    CREATE SEQUENCE visit_ids START 1000000;
    CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO chaos.history (gone, visit_id, at, amount) VALUES (true, OLD.visit_id, OLD.at, OLD.amount);
        ELSE
            INSERT INTO chaos.history (gone, visit_id, at, amount) VALUES (false, NEW.visit_id, NEW.at, NEW.amount);
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER remember AFTER INSERT OR UPDATE OR DELETE ON visits FOR EACH ROW EXECUTE FUNCTION remember();
    GRANT SELECT ON visits TO extract;
"""
HELD_THEN = """
    SELECT visit_id, at, amount FROM (
        SELECT DISTINCT ON (visit_id) * FROM chaos.history
        WHERE pg_visible_in_snapshot(xid, %(seen)s::pg_snapshot) ORDER BY visit_id, step DESC
    ) AS newest WHERE NOT gone AND at >= %(start)s AND at < %(end)s
"""
NURSERY = """
import os, sys, traceback
from datetime import date
from ds_pipelines.extract import publish
from ds_pipelines.settings import load_settings
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            first, last = line.split()
            publish.extract_days("visits", date.fromisoformat(first), date.fromisoformat(last), load_settings())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Forks extracts off a process that has loaded all libraries and started none of their threads."""


class Nursery:
    """Runs extracts, one at a time."""

    def __init__(self, settings: Settings) -> None:
        variables = settings.as_environment() | {"DS_EXTRACT_URL": postgres.url("extract", settings)}
        self._log = settings.policies / "extracts.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                text=True, env=environment(**variables),
            )  # fmt: skip
        assert self.said() == "ready"

    def said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def start(self, span: str) -> int:
        """Starts an extract; returns its process id."""
        assert self._process.stdin is not None
        print(span, file=self._process.stdin, flush=True)
        return int(self.said())

    def last_words(self) -> str:
        """What the last extract said when it failed."""
        return self._log.read_text()[-2_000:]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def busy(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """An installation of its own whose table others keep changing."""
    with closing(postgres.connect("owner", settings)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(TABLES)
        cursor.execute(
            "INSERT INTO visits SELECT n, %s + n * (%s / %s), n FROM generate_series(0, %s) AS n",
            (settings.bounds(settings.first_day)[0], timedelta(days=DAYS), ROWS, ROWS - 1),
        )
        folder = policy_file(tmp_path / "policies", COLUMNS, schema="chaos").parent
        place = settings.model_copy(
            update={
                "home": tmp_path / "home", "policies": folder, "pace_active": 1_000, "pace_waiting": 1_000,
                "pace_chunk": timedelta(seconds=0.003), "pace_sleep": 1.5,
                **{f"{role}_url": SecretStr(postgres.url(role, settings)) for role in ("owner", "extract")},
            }
        )  # fmt: skip
        stop = threading.Event()
        writers = [threading.Thread(target=change, args=(settings, stop, seed)) for seed in range(2)]
        for writer in writers:
            writer.start()
        try:
            yield place
        finally:
            stop.set()
            for writer in writers:
                writer.join()
            cursor.execute("DROP SCHEMA chaos CASCADE")


def change(settings: Settings, stop: threading.Event, seed: int) -> None:
    """Inserts, changes, moves to another moment and deletes, in transactions of which some take long to commit."""
    chance = random.Random(seed)
    first = settings.bounds(settings.first_day)[0]
    at = "%(at)s + n * interval '1 second'"
    insert = f"INSERT INTO visits SELECT nextval('chaos.visit_ids'), {at}, 0 FROM generate_series(1, 3) AS n"
    commands = (
        insert,
        "UPDATE visits SET amount = amount + 1 WHERE visit_id BETWEEN %(id)s AND %(id)s + 4",
        "UPDATE visits SET at = %(at)s WHERE visit_id = %(id)s",
        "DELETE FROM visits WHERE visit_id BETWEEN %(id)s AND %(id)s + 1",
    )
    with closing(postgres.connect("owner", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SET search_path = chaos; SET lock_timeout = '1s'")
        connection.commit()
        while not stop.is_set():
            try:
                for _ in range(chance.randint(1, 3)):
                    at = first + timedelta(days=DAYS) * chance.random()
                    cursor.execute(chance.choice(commands), {"at": at, "id": chance.randrange(ROWS)})
                time.sleep(chance.choice((0.0, 0.0, 0.01, 0.2)))
                connection.commit()
            except psycopg2.Error:  # two changed the same rows in another order
                connection.rollback()


def held_then(settings: Settings, manifest: SnapshotManifest) -> pl.DataFrame:
    """What the database held of a day when it was settled, with pseudonyms."""
    start, end = settings.bounds(manifest.day)
    with closing(postgres.connect("owner", settings)) as connection, connection.cursor() as cursor:
        cursor.execute(HELD_THEN, {"seen": manifest.watermark, "start": start, "end": end})
        rows: list[Any] = cursor.fetchall()
    schema = {"visit_id": pl.Int64(), "at": pl.Datetime("us", "UTC"), "amount": pl.Int32()}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(load(settings).of(frame["visit_id"], "visit")).sort("visit_id")


def require_equal(settings: Settings) -> int:
    """Every published day is what the database held; how many days there are."""
    store = SnapshotStore(settings.snapshots)
    if "visits" not in store.tables():
        return 0
    manifests = store.manifests("visits")
    for manifest in manifests:
        assert manifest.watermark is not None
        assert pl.read_parquet(store.path(manifest.digest)).equals(held_then(settings, manifest)), manifest.day
    return len(manifests)


def end_sessions(settings: Settings) -> None:
    """Ends the extract's sessions, as a database does that goes down."""
    url = postgres.cluster("production", settings).url("shop", "postgres")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'extract'")


def test_what_is_published_is_what_the_database_held_whenever_the_extract_was_killed(
    busy: Settings, settings: Settings, chaos_rounds: int
) -> None:
    chance = random.Random(13)
    days = [busy.first_day + timedelta(days=number) for number in range(DAYS)]
    spans = [f"{days[0]} {days[-1]}", f"{days[1]} {days[1]}"]
    load(busy)  # the secret is made before anything is forked
    nursery, finished = Nursery(busy), 0
    try:
        for number in range(chaos_rounds):
            child = nursery.start(spans[number % 5 == 4])
            time.sleep(chance.uniform(0, SECONDS))
            if number % 3 == 2:
                end_sessions(settings)
            else:
                with suppress(ProcessLookupError):  # it was faster
                    os.kill(child, signal.SIGKILL)
            finished += nursery.said() == "0"
            require_equal(busy)
        nursery.start(spans[0])
        assert nursery.said() == "0", nursery.last_words()
    finally:
        nursery.close()
    assert finished < chaos_rounds
    assert require_equal(busy) == DAYS
