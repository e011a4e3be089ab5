"""Delivery: a day's rows become visible to consumers whole, or not at all, with a receipt.

What belongs here: the check against the contract and the one transaction that replaces a day. What does not: computing
the rows (`score`), and the tables' structure (`serving`).

A delivery holds an advisory lock for its job and day from the first statement to the commit, so two at once follow each
other, and the later one replaces the earlier. Readers see the old rows until the commit. A process that is killed
leaves what was there before.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import extensions, sql
from psycopg2.extras import Json

from ds_pipelines import postgres
from ds_pipelines.errors import DeliveryFailedError
from ds_pipelines.scoring import contract, receipt, serving
from ds_pipelines.scoring.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import polars as pl

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Input
    from ds_pipelines.settings import Settings

LONGEST_WAIT = "120s"
"""For another delivery of the same job and day; one that takes longer is stuck."""

SESSION_SQL = f"""
SET LOCAL lock_timeout = '{LONGEST_WAIT}';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL extra_float_digits = 1;
SET LOCAL client_encoding = 'UTF8';
"""
"""The last three make PostgreSQL print and read the rows in one way, whatever the server's defaults."""


def deliver(
    frame: pl.DataFrame, job: ScoringJob, day: date, *, release: str, inputs: Sequence[Input], settings: Settings
) -> Receipt:
    """Makes a day's rows visible in place of what was there for that day, in one transaction.

    Args:
        frame: The rows, exactly as the job's contract states.
        job: Whose they are.
        day: The business day; every row's `day`.
        release: Digest of the release that was in use; a column `release` holds it, too.
        inputs: What was read, for the receipt.
        settings: Name the serving database.

    Raises:
        ContractBrokenError: the rows break the contract; nothing was changed.
        ServingTableDiffersError: the serving table has other columns than the contract; nothing was changed.
        DeliveryFailedError: the database refused or went away; nothing was changed.
        DatabaseUnreachableError: nobody answers.
    """
    contract.require(frame, job, day, release)
    try:
        serving.ensure([job], settings)
        with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
            return _replace(cursor, frame, job, day, release=release, inputs=inputs)
    except psycopg2.Error as error:
        raise DeliveryFailedError(job.name, day, type(error).__name__) from None


def _replace(
    cursor: extensions.cursor,
    frame: pl.DataFrame,
    job: ScoringJob,
    day: date,
    *,
    release: str,
    inputs: Sequence[Input],
) -> Receipt:
    hold(cursor, job, day)
    replaced = _retire_receipt(cursor, job, day)
    table = sql.Identifier(job.table)
    cursor.execute(sql.SQL("DELETE FROM {} WHERE day = %s").format(table), (day,))
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in job.columns)
    cursor.copy_expert(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(table, names), _csv(frame))
    columns = sql.SQL(", ").join(map(sql.Identifier, receipt.COLUMNS))
    values = (
        job.name,
        day,
        str(uuid.uuid4()),
        release,
        frame.height,
        checksum(cursor, job, day),
        Json([each.model_dump(mode="json") for each in inputs]),
        replaced,
    )
    cursor.execute(
        sql.SQL(
            "INSERT INTO receipts ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp(), %s) "
            "RETURNING {columns}"
        ).format(columns=columns),
        values,
    )
    row = cursor.fetchone() or ()
    return Receipt(**dict(zip(receipt.COLUMNS, row, strict=True)))


def hold(cursor: extensions.cursor, job: ScoringJob, day: date) -> None:
    """Makes this transaction the only one that changes the job's day, and rows print in one way in it."""
    lock = f"ds_pipelines delivery {job.name} {day}"
    cursor.execute(SESSION_SQL)
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))


def checksum(cursor: extensions.cursor, job: ScoringJob, day: date) -> str:
    """SHA-256, in hex, of a day's rows as the database itself prints them: what consumers can read, not what was sent.

    `psql -c "COPY (SELECT … ORDER BY …) TO STDOUT (FORMAT csv)" | sha256sum` gives the same.
    """
    text = {column.name for column in job.columns if column.type == "text"}
    order = [sql.SQL('{} COLLATE "C"' if name in text else "{}").format(sql.Identifier(name)) for name in job.key]
    query = sql.SQL("COPY (SELECT {} FROM {} WHERE day = {} ORDER BY {}) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in job.columns),
        sql.Identifier(job.table),
        sql.Literal(day),
        sql.SQL(", ").join(order),
    )
    digest = _Hash()
    cursor.copy_expert(query, digest)
    return digest.hexdigest()


def _retire_receipt(cursor: extensions.cursor, job: ScoringJob, day: date) -> str | None:
    """Moves a day's receipt to those replaced, and says which delivery it was of."""
    cursor.execute(
        sql.SQL(
            "WITH old AS (DELETE FROM receipts WHERE job = %s AND day = %s RETURNING {columns}) "
            "INSERT INTO receipts_replaced ({columns}, replaced_at) SELECT {columns}, clock_timestamp() FROM old "
            "RETURNING delivery"
        ).format(columns=sql.SQL(", ").join(map(sql.Identifier, receipt.COLUMNS))),
        (job.name, day),
    )
    row = cursor.fetchone()
    return None if row is None else str(row[0])


class _Hash:
    """A file to write to that keeps only the digest of what is written."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._sha256.update(data)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _csv(frame: pl.DataFrame) -> io.BytesIO:
    """The rows as PostgreSQL reads them; text is always quoted, for an empty one bare would be a null."""
    file = io.BytesIO()
    frame.write_csv(file, include_header=False, quote_style="non_numeric")
    file.seek(0)
    return file
