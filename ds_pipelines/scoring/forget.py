"""Forgetting persons in the serving tables: their rows go, and the receipts stay true.

What belongs here: that deletion. What does not: who is to be forgotten, or anything outside the serving database.

Rows that were replaced and are kept go like those that are visible. The receipt of a delivery from which rows went
tells the rows that are left and their checksum; it keeps its release and inputs, which are still what the rest was made
from. The table `erasures` marks it: from which delivery how many rows went, and when. A day of which nothing is left
loses its receipt: nothing is delivered for it any more.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from psycopg2 import extensions, sql

from ds_pipelines import postgres
from ds_pipelines.scoring import serving
from ds_pipelines.scoring.deliver import checksum, hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

DAYS_SQL = """
SELECT DISTINCT batch, day FROM (SELECT batch, day FROM receipts UNION ALL SELECT batch, day FROM receipts_replaced)
    AS known
WHERE batch = ANY(%s) ORDER BY day, batch
"""


@dataclass(frozen=True)
class Forgotten:
    """Rows of one day that go, or went, of all its deliveries that are kept."""

    job: str
    day: date
    rows: int


def forget(
    job: ScoringJob, column: str, erased: Callable[[pl.Series], pl.Series], settings: Settings, *, do_it: bool
) -> list[Forgotten]:
    """Removes the rows of erased persons from every delivery of a job, each in a transaction of its own.

    Args:
        job: Whose serving table.
        column: The column that names a person by the real identifier.
        erased: For a series of identifiers as text, which of them are an erased person's.
        settings: Name the serving database.
        do_it: Whether to remove them; otherwise they are only counted.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    rows, name = sql.Identifier(serving.rows_table(job)), sql.Identifier(column)
    with closing(postgres.connect("serving", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (serving.rows_table(job),))
        if cursor.fetchone() != (True,):
            return []
        cursor.execute(sql.SQL("SELECT DISTINCT {}::text FROM {}").format(name, rows))
        known = pl.Series([value for (value,) in cursor.fetchall()], dtype=pl.String)
        persons = known.filter(erased(known)).to_list()
        query = sql.SQL("SELECT batch, count(*) FROM {} WHERE {}::text = ANY(%s) GROUP BY batch ORDER BY batch")
        cursor.execute(query.format(rows, name), (persons,))
        batches = dict(cursor.fetchall())
        cursor.execute(DAYS_SQL, (list(batches),))
        found = dict(cursor.fetchall())
        connection.commit()
        for batch, day in found.items() if do_it else ():
            _forget_batch(cursor, job, column, persons, batch=batch, day=day)
            connection.commit()
    days = sorted(set(found.values()))
    return [Forgotten(job.name, day, sum(batches[batch] for batch in found if found[batch] == day)) for day in days]


def _forget_batch(
    cursor: extensions.cursor, job: ScoringJob, column: str, persons: list[str], *, batch: int, day: date
) -> None:
    hold(cursor, job, day)
    rows, name = sql.Identifier(serving.rows_table(job)), sql.Identifier(column)
    cursor.execute(
        sql.SQL("DELETE FROM {} WHERE batch = %s AND {}::text = ANY(%s)").format(rows, name), (batch, persons)
    )
    gone = cursor.rowcount
    cursor.execute(sql.SQL("SELECT count(*) FROM {} WHERE batch = %s").format(rows), (batch,))
    [(left,)] = cursor.fetchall()
    cursor.execute(
        "INSERT INTO erasures SELECT job, day, delivery, %s, clock_timestamp() FROM receipts WHERE batch = %s "
        "UNION ALL SELECT job, day, delivery, %s, clock_timestamp() FROM receipts_replaced WHERE batch = %s",
        (gone, batch, gone, batch),
    )
    if not left:
        cursor.execute("DELETE FROM receipts WHERE batch = %s", (batch,))
    for table in ("receipts", "receipts_replaced"):
        query = sql.SQL("UPDATE {} SET rows = %s, checksum = %s WHERE batch = %s").format(sql.Identifier(table))
        cursor.execute(query, (left, checksum(cursor, job, batch), batch))
