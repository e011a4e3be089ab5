"""Fingerprints of production's days: whether a day's rows are what they were, without reading them.

What belongs here: that one question. What does not: what follows from it (`production.due`), and the rows themselves.

A row's version is named by the transaction that wrote it (`xmin`), so the count, the sum and the greatest of these
change with every row that is added, changed or taken away: a changed value that a policy drops changes them, too, which
costs a needless look and never misses one. Where the role may not see `xmin`, rows are counted only. A database that
was restored from a dump has other transactions everywhere.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from ds_pipelines.errors import RowsOfError
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import source
from ds_pipelines.extract.names import literal, qualified, quoted

if TYPE_CHECKING:
    from datetime import date

    from ds_pipelines.extract.source import Readable, Source
    from ds_pipelines.postgres import Role
    from ds_pipelines.settings import Settings

NOTHING = hashlib.sha256(b"").hexdigest()[:16]
"""Of a day without rows."""


def fingerprints(
    table: str, settings: Settings, *, since: date, until: date, role: Role = "scoring"
) -> dict[date, str]:
    """What tells the rows of each day from what they were before, for the days from since to until, both included.

    One statement over the rows of these days, by the index of the day's column.

    Raises:
        RowsOfError: the policy does not extract the table by day.
        DatabaseUnreachableError, SourceRefusedError, PolicyError and the errors of `Source.readable`.
    """
    policy = policies.load(settings.policies / policies.SHOP)
    by_day = policy.table(table).by_day
    if by_day is None:
        raise RowsOfError(table, by_day=False)
    days = [since + timedelta(days=offset) for offset in range((until - since).days + 1)]
    with source.connect(role, settings) as session:
        readable = session.readable(policy, table)
        versions = "xmin::text::bigint" if _shows_versions(session, readable) else "NULL::bigint"
        starts = ", ".join(_start(readable, by_day, day, settings) for day in days)
        found = session.answer(
            readable,
            f"SELECT width_bucket({quoted(by_day)}, ARRAY[{starts}]), count(*), sum({versions})::text, max({versions}) "
            f"{session.rows_of(readable, since, until)} GROUP BY 1",
        )
    told = {days[int(bucket) - 1]: repr(rest) for bucket, *rest in found}
    return {day: hashlib.sha256(told.get(day, "").encode()).hexdigest()[:16] for day in days}


def _start(readable: Readable, by_day: str, day: date, settings: Settings) -> str:
    told_by = readable.columns.get(by_day)
    if told_by is not None and told_by.family == "date":
        return f"DATE '{day}'"
    return f"TIMESTAMPTZ '{settings.bounds(day)[0].isoformat()}'"


def _shows_versions(session: Source, readable: Readable) -> bool:
    """Whether it is a table, not a view, and the role may see who wrote a row."""
    named = literal(qualified(readable.schema, readable.policy.name))
    kept = f"SELECT FROM pg_catalog.pg_attribute WHERE attrelid = {named}::regclass AND attname = 'xmin'"
    asked = f"SELECT CASE WHEN EXISTS ({kept}) THEN has_column_privilege({named}, 'xmin', 'SELECT') ELSE false END"
    [(shown,)] = session.answer(readable, asked)
    return bool(shown)
