"""A delivered day as a Parquet file, for consumers that read files.

What belongs here: writing it, whole or not at all, from what consumers see. What does not: the other ways to read,
which are the serving views and the gateway.

Rows and receipt are of one moment of the database, read as the consumers' role. The receipt lies in the file's own
metadata, under `receipt`, so that a copy of the file still says which delivery it is; `stale` says beside it whether a
newer day was due when the file was written.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from ds_pipelines import postgres
from ds_pipelines.errors import DatabaseUnreachableError, NothingDeliveredError
from ds_pipelines.scoring import receipt

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa
    from psycopg2 import extensions

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.settings import Settings

ROWS = 50_000
"""That are in memory at a time."""


def export(job: ScoringJob, day: date | None, folder: Path, settings: Settings) -> Path:
    """Writes a delivered day to `<folder>/<table>/<day>.parquet`, in place of what an earlier export wrote of it.

    Args:
        job: Whose.
        day: Which; None: the newest.
        folder: Where; it is made if it is not there.
        settings: Name the serving database.

    Raises:
        NothingDeliveredError: nothing is delivered for the day, or at all.
        DatabaseUnreachableError: the serving database does not answer, or went away.
    """
    connection = postgres.connect("consumer", settings)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection, connection.cursor() as cursor:
            given, stale = _newest(cursor, job, day)
            target = folder / job.table / f"{given.day}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(cursor, job, given, target, stale=stale)
            return target
    except psycopg2.Error as error:
        setting = None if settings.consumer_url is None else "DS_CONSUMER_URL"
        raise DatabaseUnreachableError("consumer", type(error).__name__, setting=setting) from None
    finally:
        connection.close()


def _newest(cursor: extensions.cursor, job: ScoringJob, day: date | None) -> tuple[Receipt, bool]:
    """The receipt of the day, and whether a newer one was due by now."""
    cursor.execute("SELECT to_regclass('freshness') IS NOT NULL")
    if cursor.fetchone() == (True,):
        cursor.execute(
            "SELECT receipts.day, stale OR receipts.day < freshness.day FROM receipts JOIN freshness USING (job) "
            "WHERE job = %s AND receipts.day = coalesce(%s, freshness.day)",
            (job.name, day),
        )
        for found, stale in cursor.fetchall():
            return receipt.read(cursor, job, found), stale
    raise NothingDeliveredError(job.name, day)


def _write(cursor: extensions.cursor, job: ScoringJob, given: Receipt, target: Path, *, stale: bool) -> None:
    """A file that has its name only when it is whole."""
    import pyarrow.parquet as pq

    descriptor, draft = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".draft")
    os.close(descriptor)
    try:
        query = sql.SQL("DECLARE delivered NO SCROLL CURSOR FOR SELECT {} FROM {} WHERE day = %s ORDER BY {}").format(
            sql.SQL(", ").join(map(sql.Identifier, job.schema)),
            sql.Identifier(job.table),
            sql.SQL(", ").join(map(sql.Identifier, job.key)),
        )
        cursor.execute(query, (given.day,))
        piece = _fetched(cursor, job)
        about = {"receipt": given.model_dump_json(), "stale": str(stale).lower()}
        with pq.ParquetWriter(draft, piece.schema.with_metadata(about), compression="zstd") as writer:
            while piece.num_rows:
                writer.write_table(piece.replace_schema_metadata(about))
                piece = _fetched(cursor, job)
        Path(draft).chmod(0o644)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _fetched(cursor: extensions.cursor, job: ScoringJob) -> pa.Table:
    import polars as pl

    cursor.execute(f"FETCH {ROWS} FROM delivered")
    return pl.DataFrame(cursor.fetchall(), schema=job.schema, orient="row").to_arrow()
