"""What the watch remembers: tables of its own, in the registry's database.

What belongs here: their structure, and transactions over them. What does not: what the rows mean.

The registry's database is production's own and no other system's: exploration cannot reach it. It is not the serving
database, because the watch has to speak when that one is away.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ds_pipelines import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import psycopg2.extensions

    from ds_pipelines.settings import Settings

STRUCTURE = "1"
"""Changes with the tables."""

TABLES_SQL = """
CREATE SCHEMA IF NOT EXISTS watch;

CREATE TABLE IF NOT EXISTS watch.problems (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('failure', 'lateness', 'drift', 'promise')),
    subject text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz CHECK (until >= since)
);
CREATE UNIQUE INDEX IF NOT EXISTS problems_open ON watch.problems (kind, subject) WHERE until IS NULL;

CREATE TABLE IF NOT EXISTS watch.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    problem bigint NOT NULL REFERENCES watch.problems,
    event text NOT NULL CHECK (event IN ('began', 'recovered')),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    title text NOT NULL,
    body text NOT NULL,
    UNIQUE (problem, event)
);
COMMENT ON INDEX watch.problems_open IS 'A problem is open once: whoever sees it again says nothing new';

CREATE TABLE IF NOT EXISTS watch.channels (
    id text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN watch.channels.id IS 'A slow hash of the address, which is a secret';

CREATE TABLE IF NOT EXISTS watch.sendings (
    alert bigint NOT NULL REFERENCES watch.alerts,
    channel text NOT NULL REFERENCES watch.channels,
    attempts integer NOT NULL DEFAULT 0,
    attempted_at timestamptz,
    answered boolean NOT NULL DEFAULT true,
    sent_at timestamptz,
    PRIMARY KEY (alert, channel)
);
COMMENT ON COLUMN watch.sendings.answered IS 'False from before an attempt until its end is known';

CREATE TABLE IF NOT EXISTS watch.runs (
    run text PRIMARY KEY,
    updated timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_updated ON watch.runs (updated);
COMMENT ON TABLE watch.runs IS 'Ended runs of Dagster that were looked at';

CREATE TABLE IF NOT EXISTS watch.performance (
    job text NOT NULL,
    day date NOT NULL,
    release text NOT NULL,
    delivery uuid NOT NULL,
    record jsonb,
    PRIMARY KEY (job, day)
);
COMMENT ON COLUMN watch.performance.record IS 'Null: too few outcomes to tell anything';
"""


@contextmanager
def remembered(settings: Settings) -> Iterator[psycopg2.extensions.cursor]:
    """One transaction over the watch's tables, which are made at the first need.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    with closing(postgres.connect("registry", settings, application="ds-pipelines watch")) as connection:
        with connection, connection.cursor() as cursor:
            _ensure(cursor)
        with connection, connection.cursor() as cursor:
            yield cursor


def _ensure(cursor: psycopg2.extensions.cursor) -> None:
    cursor.execute("SET LOCAL client_min_messages = warning; SET SESSION timezone = 'UTC'")
    cursor.execute("SELECT obj_description(to_regnamespace('watch'))")
    if cursor.fetchone() == (STRUCTURE,):
        return
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('ds_pipelines watch structure', 0))")
    cursor.execute(TABLES_SQL)
    cursor.execute("COMMENT ON SCHEMA watch IS %s", (STRUCTURE,))


def newest_run(cursor: psycopg2.extensions.cursor) -> datetime | None:
    """When the newest run changed that was looked at."""
    cursor.execute("SELECT max(updated) FROM watch.runs")
    row = cursor.fetchone()
    return None if row is None else row[0]


def is_new(cursor: psycopg2.extensions.cursor, run: str, updated: datetime) -> bool:
    """Whether an ended run was not looked at before; from now on it was."""
    cursor.execute("INSERT INTO watch.runs VALUES (%s, %s) ON CONFLICT DO NOTHING", (run, updated))
    return cursor.rowcount == 1
