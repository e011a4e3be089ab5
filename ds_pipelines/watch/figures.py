"""What the watch knows in figures, where the gateway can read them for Prometheus.

What belongs here: the table `figures` in the serving database, written whole at each look. What does not: what follows
from receipts alone, which the gateway reads itself and which is right though the watch has died; and the wire format.

No figure is about a person, and no label names one.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extras import Json

from ds_pipelines import postgres
from ds_pipelines.errors import DatabaseUnreachableError
from ds_pipelines.scoring import serving
from ds_pipelines.watch.performance import measured
from ds_pipelines.watch.problems import KINDS
from ds_pipelines.watch.state import remembered

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings
    from ds_pipelines.watch.problems import Open

TABLE_SQL = """
CREATE TABLE IF NOT EXISTS figures (
    name text NOT NULL,
    labels jsonb NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (name, labels)
);
COMMENT ON TABLE figures IS 'What the watch over production knows, as of its last look; for the gateway''s metrics'
"""


@dataclass(frozen=True)
class Figure:
    """One number at one moment."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def publish(still_open: Collection[Open], jobs: Collection[ScoringJob], settings: Settings) -> bool:
    """Writes the figures in place of the last; whether the serving database took them."""
    found = list(_figures(still_open, jobs, settings))
    try:
        with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL client_min_messages = warning")
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('ds_pipelines figures', 0))")
            cursor.execute("SELECT to_regclass('public.figures') IS NULL")
            if cursor.fetchone() == (True,):
                cursor.execute(TABLE_SQL)
                serving.grant(cursor, ["figures"], settings)
            cursor.execute("DELETE FROM figures")
            for each in found:
                cursor.execute("INSERT INTO figures VALUES (%s, %s, %s)", (each.name, Json(each.labels), each.value))
    except (DatabaseUnreachableError, psycopg2.Error):
        return False  # that it is away was told; the figures of the last look stay, and say when it was
    return True


def _figures(still_open: Collection[Open], jobs: Collection[ScoringJob], settings: Settings) -> Iterator[Figure]:
    yield Figure("watch_looked_timestamp_seconds", datetime.now(UTC).timestamp())
    counted = Counter(each.kind for each in still_open)
    for kind in KINDS:
        yield Figure("watch_problems_open", counted[kind], {"kind": kind})
    with remembered(settings) as cursor:
        cursor.execute(
            "SELECT count(*) FROM watch.sendings s JOIN watch.alerts a ON a.id = s.alert "
            "WHERE s.sent_at IS NULL AND a.at > clock_timestamp() - interval '7 days'"
        )
        ((unsent,),) = cursor.fetchall()
        yield Figure("watch_alerts_unsent", unsent)
        for job in jobs:
            if known := measured(cursor, job.name):
                of, newest = {"job": job.name}, known[-1]
                yield Figure("watch_live_performance", newest.value, of)
                if newest.promised_low is not None:
                    yield Figure("watch_promised_performance", newest.promised_low, of | {"bound": "low"})
