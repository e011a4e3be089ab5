"""Forgetting persons in the serving tables: their rows go, and the receipts stay true.

What belongs here: that deletion. What does not: who is to be forgotten, or anything outside the serving database.

The receipt of a day from which rows went tells the rows that are left and their checksum; it keeps its delivery,
release and inputs, which are still what the rest was made from. The table `erasures` marks it: from which delivery how
many rows went, and when. A day of which nothing is left loses its receipt: nothing is delivered for it any more.
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
    from collections.abc import Callable, Iterable
    from datetime import date

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

ERASURES_SQL = """
CREATE TABLE IF NOT EXISTS erasures (
    job text NOT NULL,
    day date NOT NULL,
    delivery uuid,
    rows bigint NOT NULL,
    erased_at timestamptz NOT NULL
);
COMMENT ON TABLE erasures IS 'Deliveries that lost rows of erased persons; their receipts tell what is left'
"""


@dataclass(frozen=True)
class Forgotten:
    """Rows of one delivered day that go, or went."""

    job: str
    day: date
    rows: int


def forget(
    job: ScoringJob, column: str, erased: Callable[[pl.Series], pl.Series], settings: Settings, *, do_it: bool
) -> list[Forgotten]:
    """Removes the rows of erased persons from every delivered day of a job, each day in a transaction of its own.

    Args:
        job: Whose serving table.
        column: The column that names a person by the real identifier.
        erased: For a series of identifiers as text, which of them are an erased person's.
        settings: Name the serving database.
        do_it: Whether to remove them; otherwise they are only counted.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    table, name = sql.Identifier(job.table), sql.Identifier(column)
    with closing(postgres.connect("serving", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (f"public.{job.table}",))
        if cursor.fetchone() != (True,):
            return []
        cursor.execute(sql.SQL("SELECT DISTINCT {}::text FROM {}").format(name, table))
        delivered = pl.Series([value for (value,) in cursor.fetchall()], dtype=pl.String)
        persons = delivered.filter(erased(delivered)).to_list()
        query = sql.SQL("SELECT day, count(*) FROM {} WHERE {}::text = ANY(%s) GROUP BY day ORDER BY day")
        cursor.execute(query.format(table, name), (persons,))
        found = [Forgotten(job.name, day, rows) for day, rows in cursor.fetchall()]
        connection.commit()
        if do_it and found:
            cursor.execute(ERASURES_SQL)
            serving.grant(cursor, ["erasures"], settings)
            connection.commit()
            for each in found:
                _forget_day(cursor, job, column, persons, each.day)
                connection.commit()
    return found


def _forget_day(cursor: extensions.cursor, job: ScoringJob, column: str, persons: Iterable[str], day: date) -> None:
    hold(cursor, job, day)
    table, name = sql.Identifier(job.table), sql.Identifier(column)
    cursor.execute(
        sql.SQL("DELETE FROM {} WHERE day = %s AND {}::text = ANY(%s)").format(table, name), (day, list(persons))
    )
    gone = cursor.rowcount
    cursor.execute(sql.SQL("SELECT count(*) FROM {} WHERE day = %s").format(table), (day,))
    ((left,),) = cursor.fetchall()
    if left:
        changed = "UPDATE receipts SET rows = %s, checksum = %s WHERE job = %s AND day = %s RETURNING delivery"
        cursor.execute(changed, (left, checksum(cursor, job, day), job.name, day))
    else:
        cursor.execute("DELETE FROM receipts WHERE job = %s AND day = %s RETURNING delivery", (job.name, day))
    delivery = cursor.fetchone()
    cursor.execute(
        "INSERT INTO erasures VALUES (%s, %s, %s, %s, clock_timestamp())",
        (job.name, day, None if delivery is None else delivery[0], gone),
    )
