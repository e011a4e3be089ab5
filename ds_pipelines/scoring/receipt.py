"""The receipt of a delivery: what consumers see of a job and a day, and what it was made from.

What belongs here: the record, and reading it. What does not: writing it, which is part of the delivery's transaction.
"""

import uuid
from contextlib import closing
from datetime import date
from typing import Any

from psycopg2 import extensions, sql
from pydantic import AwareDatetime, Field

from ds_pipelines import postgres
from ds_pipelines.evidence import Record
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings


class Input(Record):
    """A production table as a job read and transformed it."""

    table: str
    rows: int
    since: date | None = Field(description="First day of the rows; None: from the beginning, or a table as it is now")
    until: date | None = Field(description="Last day of the rows; None: a table as it is now")
    policy_digest: str = Field(description="Of the privacy policy that transformed it")
    read_at: AwareDatetime
    source: str = Field("", description="Fingerprint of the rows of its newest days in production, before it was read")


class Check(Record):
    """What was found of the rows before they became visible."""

    name: str
    passed: bool
    words: str = Field(description="What was found, for a colleague; no value of a row")
    figures: dict[str, float] = Field(default_factory=dict, description="The figures behind it; aggregates only")


class Receipt(Record):
    """What was delivered for a job and a day."""

    job: str
    day: date
    delivery: uuid.UUID
    release: str = Field(description="Digest of the release that was in use")
    code: str = Field(description="SHA-256 of the module that defines the job")
    rows: int
    checksum: str = Field(description="SHA-256 of the rows, see the column's comment")
    inputs: tuple[Input, ...]
    checks: tuple[Check, ...] = ()
    began: AwareDatetime = Field(description="Before anything was read for it; a later one is never replaced by it")
    delivered_at: AwareDatetime
    replaces: uuid.UUID | None = Field(None, description="The delivery that this one replaced")
    restores: uuid.UUID | None = Field(None, description="The delivery whose rows were brought back, if they were")
    added: int | None = Field(None, description="Rows that the replaced delivery had not; None: it replaced nothing")
    removed: int | None = Field(None, description="Rows that only the replaced delivery had")
    changed: int | None = Field(None, description="Rows of both with another value")

    @property
    def differing(self) -> int:
        """How many rows are not as the replaced delivery had them."""
        return (self.added or 0) + (self.removed or 0) + (self.changed or 0)


COLUMNS = tuple(Receipt.model_fields)
"""The columns of the tables of receipts, in order; they have some more, which are the delivery's own."""
LISTED = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))


def read(cursor: extensions.cursor, job: ScoringJob, day: date) -> Receipt:
    """The receipt of a day that is delivered, as this transaction sees it."""
    query = sql.SQL("SELECT {} FROM receipts WHERE job = %s AND day = %s").format(LISTED)
    cursor.execute(query, (job.name, day))
    [row] = cursor.fetchall()
    return _of(row)


def find(job: ScoringJob, day: date, settings: Settings) -> Receipt | None:
    """The receipt of what consumers see of a job for a day; None when nothing is delivered.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    return next(iter(_read("receipts", job, settings, day)), None)


def delivered(job: ScoringJob, settings: Settings) -> dict[date, Receipt]:
    """The receipts of what consumers see of a job, by day, the oldest first.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    return {each.day: each for each in _read("receipts", job, settings)}


def replaced(job: ScoringJob, settings: Settings, day: date | None = None) -> list[Receipt]:
    """The receipts of deliveries that others replaced, the oldest first; of one day, or of all.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    return _read("receipts_replaced", job, settings, day)


def _read(table: str, job: ScoringJob, settings: Settings, day: date | None = None) -> list[Receipt]:
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
        if cursor.fetchone() == (False,):
            return []
        query = sql.SQL("SELECT {} FROM {} WHERE job = %s AND day = coalesce(%s, day) ORDER BY day, began")
        cursor.execute(query.format(LISTED, sql.Identifier(table)), (job.name, day))
        return [_of(row) for row in cursor.fetchall()]


def _of(row: tuple[Any, ...]) -> Receipt:
    return Receipt(**dict(zip(COLUMNS, row, strict=True)))
