"""Restoring delivered scores: what a release delivered before becomes visible again, as a new delivery.

What belongs here: finding the rows that are kept, and putting them in force. What does not: which release is to be in
use (`release`), and computing anything: days that the release never delivered are to be scored again.

Rows that were replaced are kept for `superseded_days`. A restored day has a receipt of its own, which names the release
that made the rows and the delivery that they came with; it begins now, so that no run of before replaces it.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql
from psycopg2.extras import Json

from ds_pipelines import postgres
from ds_pipelines.errors import DeliveryFailedError, NothingToRestoreError
from ds_pipelines.scoring import receipt, serving
from ds_pipelines.scoring.deliver import begin, hold, publish

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import date, datetime
    from typing import Any

    from psycopg2 import extensions

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.settings import Settings

KEPT_SQL = """
    SELECT DISTINCT ON (day) day, delivery, batch, release, code, rows, checksum, inputs, checks, in_force
    FROM (
        SELECT {columns}, batch, true AS in_force FROM receipts
        UNION ALL
        SELECT {columns}, batch, false FROM receipts_replaced WHERE kept AND rows > 0
    ) AS known
    WHERE job = %s AND release = %s AND day = ANY(%s)
    ORDER BY day, in_force DESC, delivered_at DESC
"""
"""For each day the newest delivery of a release whose rows are there."""


def restorable(job: ScoringJob, days: Collection[date], *, to_release: str, settings: Settings) -> set[date]:
    """Those of the days for which rows that a release delivered are kept, or visible still.

    Raises:
        DatabaseUnreachableError: the serving database does not answer.
    """
    serving.ensure([job], settings)
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        return {kept["day"] for kept in _kept(cursor, job, days, to_release)}


def restore(job: ScoringJob, days: Iterable[date], *, to_release: str, settings: Settings) -> list[Receipt]:
    """Makes what a release delivered for some days visible again, for all of them in one transaction.

    Args:
        job: Whose deliveries.
        days: Which; a day that shows the release's rows stays as it is.
        to_release: Digest of the release that delivered them.
        settings: Name the serving database.

    Returns:
        The receipts of all days, in their order, whether they were restored now or showed the release's rows before.

    Raises:
        NothingToRestoreError: of some day no rows of the release are kept; nothing was changed then.
        DeliveryFailedError: the database refused or went away; nothing was changed then.
        DatabaseUnreachableError: nobody answers.
    """
    wanted = sorted(set(days))
    began = begin(settings)
    try:
        serving.ensure([job], settings)
        with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
            for day in wanted:
                hold(cursor, job, day)
            kept = _kept(cursor, job, wanted, to_release)
            if missing := set(wanted) - {each["day"] for each in kept}:
                raise NothingToRestoreError(job.name, to_release, missing)
            return [_restored(cursor, job, each, began) for each in kept]
    except psycopg2.Error as error:
        raise DeliveryFailedError(job.name, wanted[0], type(error).__name__) from None


def _kept(cursor: extensions.cursor, job: ScoringJob, days: Collection[date], to_release: str) -> list[dict[str, Any]]:
    """What there is of a release's deliveries, one a day, by the names of the columns; oldest day first."""
    query = sql.SQL(KEPT_SQL).format(columns=receipt.LISTED)
    cursor.execute(query, (job.name, to_release, list(days)))
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _restored(cursor: extensions.cursor, job: ScoringJob, kept: dict[str, Any], began: datetime) -> Receipt:
    if kept["in_force"]:
        return receipt.read(cursor, job, kept["day"])
    facts = {name: kept[name] for name in ("release", "code", "rows", "checksum", "batch")}
    documents = {name: Json(kept[name]) for name in ("inputs", "checks")}
    return publish(cursor, job, kept["day"], {**facts, **documents, "began": began, "restores": kept["delivery"]})
