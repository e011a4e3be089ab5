"""Delivery: a day's rows become visible to consumers whole, once, or not at all, with a receipt.

What belongs here: staging the rows, checking them, and the one transaction that makes them visible. What does not:
computing the rows (`score`), what is checked (`contract`, `checks`), and the tables' structure (`serving`).

Rows are copied batch by batch under a number that no receipt names, so nobody sees them; a receipt that names it makes
all of them visible at its commit. A process that is killed before leaves what was there. The database itself keeps
order: a receipt is replaced only by one of a run that began later, so a run that is late, orphaned or started twice
never undoes what a newer one delivered.
"""

from __future__ import annotations

import hashlib
import inspect
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import psycopg2
from psycopg2 import extensions, sql
from psycopg2.extras import Json

from ds_pipelines import postgres
from ds_pipelines.errors import ContractBrokenError, DeliveryFailedError, LateDeliveryError
from ds_pipelines.scoring import checks, contract, receipt, serving
from ds_pipelines.scoring.checks import Expected
from ds_pipelines.scoring.copying import copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime
    from typing import Any

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Input, Receipt
    from ds_pipelines.settings import Settings

NEWER_IS_THERE = "DS001"
"""By which the database says that a receipt of a later run stands; see structure.sql."""
BATCH_ROWS = 100_000
LONGEST_WAIT = "120s"
"""For another delivery of the same job and day; one that takes longer is stuck."""

SESSION_SQL = f"""
SET LOCAL lock_timeout = '{LONGEST_WAIT}';
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL extra_float_digits = 1;
SET LOCAL client_encoding = 'UTF8';
"""
"""The last three make PostgreSQL print and read rows in one way, whatever the server's defaults."""


def begin(settings: Settings) -> datetime:
    """The moment at which a run begins, later than that of every run before, whatever clocks do; ask before reading.

    Raises:
        DatabaseUnreachableError: the serving database does not answer.
        ServingTableDiffersError: its receipts have other columns.
    """
    serving.ensure([], settings)
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        return _begin(cursor)


def _begin(cursor: extensions.cursor) -> datetime:
    cursor.execute(
        "UPDATE beginnings SET last = greatest(clock_timestamp(), last + interval '1 microsecond') RETURNING last"
    )
    rows: list[tuple[datetime]] = cursor.fetchall()
    return rows[0][0]


def deliver(
    frame: pl.DataFrame | Iterable[pl.DataFrame],
    job: ScoringJob,
    day: date,
    *,
    release: str,
    inputs: Sequence[Input],
    settings: Settings,
    began: datetime,
    expected: Expected | None = None,
) -> Receipt:
    """Makes a day's rows visible in place of what was there for that day, in one transaction.

    Args:
        frame: The rows, exactly as the job's contract states; batches of them take no more memory than one.
        job: Whose they are.
        day: The business day; every row's `day`.
        release: Digest of the release that was in use; a column `release` holds it, too.
        inputs: What was read, for the receipt; read after the last batch was drawn.
        settings: Name the serving database.
        began: When the run began, before it read anything; see `begin`.
        expected: What else is known about the rows, to check them against.

    Raises:
        ContractBrokenError: the rows break the contract; nothing was changed.
        DeliveryRefusedError: a check stopped them; nothing was changed.
        LateDeliveryError: a run that began later has delivered the day; nothing was changed.
        ServingTableDiffersError: the serving table has other columns than the contract; nothing was changed.
        DeliveryFailedError: the database refused or went away; nothing was changed.
        DatabaseUnreachableError: nobody answers.
    """
    batches = frame.iter_slices(BATCH_ROWS) if isinstance(frame, pl.DataFrame) else frame
    try:
        serving.ensure([job], settings)
        with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
            _drop_superseded(cursor, job, settings)
            connection.commit()
            cursor.execute(SESSION_SQL)
            cursor.execute("SELECT nextval('batches')")
            [(batch,)] = cursor.fetchall()
            watch = checks.Watch(job, expected or Expected())
            rows = copy(cursor, _checked(batches, job, day, release, watch), job, batch)
            if not rows:
                raise ContractBrokenError(job.name, [contract.EMPTY])
            found = watch.require(day)
            facts = {
                "release": release,
                "rows": rows,
                "inputs": Json([each.model_dump(mode="json") for each in inputs]),
                "checks": Json([each.model_dump(mode="json") for each in found]),
                "began": began,
                "batch": batch,
                "checksum": checksum(cursor, job, batch),
            }
            return publish(cursor, job, day, facts)
    except psycopg2.errors.UniqueViolation:
        raise ContractBrokenError(job.name, [(", ".join(job.key), contract.TWICE)]) from None
    except psycopg2.Error as error:
        if error.pgcode == NEWER_IS_THERE:
            raise LateDeliveryError(job.name, day) from None
        raise DeliveryFailedError(job.name, day, type(error).__name__) from None


def publish(cursor: extensions.cursor, job: ScoringJob, day: date, facts: Mapping[str, Any]) -> Receipt:
    """Puts a batch of rows in force for a day, with its receipt, and counts what differs from what was; commits not.

    Args:
        cursor: In a transaction of the scoring's role.
        job: Whose the batch is.
        day: For which day.
        facts: The receipt's other columns.
    """
    hold(cursor, job, day)
    row = {"job": job.name, "day": day, "delivery": str(uuid.uuid4()), "code": _code(job), **facts}
    cursor.execute(
        sql.SQL(
            "INSERT INTO receipts ({names}) VALUES ({values}) ON CONFLICT (job, day) DO UPDATE SET {news} "
            "RETURNING replaces, batch"
        ).format(
            names=sql.SQL(", ").join(map(sql.Identifier, row)),
            values=sql.SQL(", ").join(map(sql.Placeholder, row)),
            news=sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in (*receipt.COLUMNS, "batch")
            ),
        ),
        row,
    )
    [(replaced, batch)] = cursor.fetchall()
    if replaced is not None:
        _count_differences(cursor, job, replaced, batch, row["delivery"])
    return receipt.read(cursor, job, day)


def hold(cursor: extensions.cursor, job: ScoringJob, day: date) -> None:
    """Makes this transaction the only one that changes the job's day."""
    lock = f"ds_pipelines delivery {job.name} {day}"
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))


def checksum(cursor: extensions.cursor, job: ScoringJob, batch: int) -> str:
    """SHA-256, in hex, of a delivery's rows as the database prints them: what consumers can read, not what was sent.

    `psql -c "COPY (SELECT … ORDER BY …) TO STDOUT (FORMAT csv)" | sha256sum` gives the same.
    """
    text = {column.name for column in job.columns if column.type == "text"}
    order = [
        sql.SQL('{} COLLATE "C"' if name in text else "{}").format(sql.Identifier(name))
        for name in ("batch", *serving.stored_key(job))
    ]
    query = sql.SQL("COPY (SELECT {} FROM {} WHERE batch = {} ORDER BY {}) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in serving.stored(job)),
        sql.Identifier(serving.rows_table(job)),
        sql.Literal(batch),
        sql.SQL(", ").join(order),
    )
    digest = _Hash()
    cursor.execute(SESSION_SQL)
    cursor.copy_expert(query, digest)
    return digest.hexdigest()


def _count_differences(cursor: extensions.cursor, job: ScoringJob, replaced: str, batch: int, delivery: str) -> None:
    """Writes on a receipt how its rows differ from those that it replaced."""
    cursor.execute("SELECT batch FROM receipts_replaced WHERE delivery = %s", (replaced,))
    [(before,)] = cursor.fetchall()
    counted = [
        sql.SQL("count(*) FILTER (WHERE old.batch IS NULL)"),
        sql.SQL("count(*) FILTER (WHERE new.batch IS NULL)"),
        sql.SQL("count(*) FILTER (WHERE old.batch IS NOT NULL AND new.batch IS NOT NULL)"),
    ]
    compared = serving.differing(job, sql.Literal(before), sql.Literal(batch), counted)
    cursor.execute(
        sql.SQL("UPDATE receipts SET (added, removed, changed) = ({}) WHERE delivery = %s").format(compared),
        (delivery,),
    )


def _drop_superseded(cursor: extensions.cursor, job: ScoringJob, settings: Settings) -> None:
    """Lets go of rows that were replaced long ago; their receipts stay."""
    cursor.execute(
        "SELECT batch FROM receipts_replaced WHERE job = %s AND kept GROUP BY batch "
        "HAVING max(replaced_at) < now() - %s * interval '1 day' EXCEPT SELECT batch FROM receipts WHERE job = %s",
        (job.name, settings.superseded_days, job.name),
    )
    old = [batch for (batch,) in cursor.fetchall()]
    if old:
        rows = sql.Identifier(serving.rows_table(job))
        cursor.execute(sql.SQL("DELETE FROM {} WHERE batch = ANY(%s)").format(rows), (old,))
        cursor.execute("UPDATE receipts_replaced SET kept = false WHERE batch = ANY(%s)", (old,))


def _code(job: ScoringJob) -> str:
    """SHA-256 of the module that defines the job, as it lies on the disk."""
    return hashlib.sha256(Path(inspect.getsourcefile(job.compute) or "").read_bytes()).hexdigest()


def _checked(
    batches: Iterable[pl.DataFrame], job: ScoringJob, day: date, release: str, watch: checks.Watch
) -> Iterator[pl.DataFrame]:
    """The rows that a delivery keeps, of batches that hold to the contract."""
    columns = [column.name for column in serving.stored(job)]
    known = contract.schema(job, day, release, unique=False)
    for batch in batches:
        contract.require_batch(batch, known, job)
        watch.see(batch)
        yield batch.select(columns)


class _Hash:
    """A file to write to that keeps only the digest of what is written."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._sha256.update(data)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()
