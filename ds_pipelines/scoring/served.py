"""What consumers see of a day, as a frame: for those who judge it, or publish it under pseudonyms.

What belongs here: that one query. What does not: receipts, which tell of a delivery without its rows.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import polars as pl
from psycopg2 import sql

from ds_pipelines import postgres

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

SCORE = "score"
"""The served column that holds a model's score."""


def served(job: ScoringJob, day: date, columns: Sequence[str], settings: Settings) -> pl.DataFrame:
    """Columns of a delivered day, in the order of the job's key; real keys are in them.

    Args:
        job: Whose rows.
        day: Which day; nothing is delivered for it where there are no rows.
        columns: Of the job's contract.
        settings: Name the serving database.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    query = sql.SQL("SELECT {} FROM {} WHERE day = %s ORDER BY {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(job.table),
        sql.SQL(", ").join(map(sql.Identifier, job.key)),
    )
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query, (day,))
        return pl.DataFrame(cursor.fetchall(), schema={name: job.schema[name] for name in columns}, orient="row")
