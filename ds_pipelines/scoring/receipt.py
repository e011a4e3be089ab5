"""The receipt of a delivery: what consumers see of a job and a day, and what it was made from.

What belongs here: the record, and reading it. What does not: writing it, which is part of the delivery's transaction.
"""

import uuid
from contextlib import closing
from datetime import date

from psycopg2 import sql
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


class Receipt(Record):
    """What was delivered for a job and a day."""

    job: str
    day: date
    delivery: uuid.UUID
    release: str = Field(description="Digest of the release that was in use")
    rows: int
    checksum: str = Field(description="SHA-256 of the rows, see the table's comment")
    inputs: tuple[Input, ...]
    delivered_at: AwareDatetime
    replaces: uuid.UUID | None = Field(None, description="The delivery that this one replaced")


COLUMNS = tuple(Receipt.model_fields)
"""The columns of the tables of receipts, in order."""


def find(job: ScoringJob, day: date, settings: Settings) -> Receipt | None:
    """The receipt of what consumers see of a job for a day; None when nothing is delivered."""
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('receipts') IS NOT NULL")
        if cursor.fetchone() == (False,):
            return None
        columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        query = sql.SQL("SELECT {} FROM receipts WHERE job = %s AND day = %s").format(columns)
        cursor.execute(query, (job.name, day))
        row = cursor.fetchone()
    return None if row is None else Receipt(**dict(zip(COLUMNS, row, strict=True)))


def delivered(job: ScoringJob, settings: Settings) -> dict[date, Receipt]:
    """The receipts of what consumers see of a job, by day."""
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('receipts') IS NOT NULL")
        if cursor.fetchone() == (False,):
            return {}
        columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        cursor.execute(sql.SQL("SELECT {} FROM receipts WHERE job = %s ORDER BY day").format(columns), (job.name,))
        found = [Receipt(**dict(zip(COLUMNS, row, strict=True))) for row in cursor.fetchall()]
    return {each.day: each for each in found}
