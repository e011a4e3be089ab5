"""What a few values of a column show, read within bounds: a sample of rows, and counts of what seems to be categories.

What belongs here: one read-only session for looking, and what it looks at. What does not: what follows from it.

A sample is taken from all over a large table, not from its beginning. Whether values are categories is then counted on
the whole table, because a sample does not show the one row that names somebody. Every query gives up in time; what
could not be looked at is unknown, and who does not know withholds.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2

from ds_pipelines import postgres
from ds_pipelines.errors import SourceRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from ds_pipelines.settings import Settings

STATEMENT_SECONDS = 30
SAMPLE_ROWS = 5_000
LARGE_TABLE_ROWS = 50_000
"""Above, the sample is taken from blocks all over the table."""
LONGEST = 400
"""Characters of a value that are looked at."""
MOST_CATEGORIES = 50
FEW_PERSONS = 20
MOST_KNOWN = 50_000
"""Values of an identifying column that are kept in memory to find copies of them."""


@dataclass(frozen=True)
class Values:
    """What a sample of rows showed of a column."""

    rows: int
    distinct: tuple[str, ...]
    """Different values, as text, cut at `LONGEST` characters; in no particular order."""
    present: int
    """How many of the rows have a value."""

    @property
    def longest(self) -> int:
        """Characters of the longest value."""
        return max(map(len, self.distinct), default=0)

    @property
    def words(self) -> float:
        """Words of a value, on average."""
        return sum(value.count(" ") + 1 for value in self.distinct) / max(len(self.distinct), 1)


class Looking:
    """One read-only session of a role; made by `looking`."""

    def __init__(self, connection: Any, role: str, schema: str) -> None:
        self.cursor = connection.cursor()
        self._role = role
        self._schema = schema

    def readable(self, table: str) -> frozenset[str]:
        """The columns of a table that the role may read."""
        self.cursor.execute(
            "SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = %(table)s::regclass "
            "AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')",
            {"table": self._qualified(table)},
        )
        return frozenset(name for (name,) in self.cursor.fetchall())

    def sample(self, table: str, columns: Sequence[str]) -> Mapping[str, Values] | None:
        """Values of some columns in some rows; None: the table could not be looked at."""
        if not columns:
            return {}
        self.cursor.execute(
            "SELECT greatest(sum(c.reltuples), 0), bool_and(c.relkind IN ('r', 'p', 'm')) FROM pg_catalog.pg_class c "
            "WHERE c.oid = %(table)s::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree(%(table)s::regclass))",
            {"table": self._qualified(table)},
        )
        [(estimate, sampled)] = self.cursor.fetchall()
        selected = ", ".join(f"left({_quoted(name)}::text, {LONGEST})" for name in columns)
        query = f"SELECT {selected} FROM {self._qualified(table)}"  # noqa: S608 — quoted
        limit = f" LIMIT {SAMPLE_ROWS}"
        rows: list[tuple[str | None, ...]] | None = []
        if sampled and estimate > LARGE_TABLE_ROWS:
            share = min(100.0, 400.0 * SAMPLE_ROWS / float(estimate))
            rows = self._rows(f"{query} TABLESAMPLE SYSTEM ({share:.6f}) REPEATABLE (1){limit}", table)
        if not rows:
            rows = self._rows(query + limit, table)
        if rows is None:
            return None
        found = {}
        for number, name in enumerate(columns):
            present = [value for row in rows if (value := row[number]) is not None]
            found[name] = Values(len(rows), tuple(dict.fromkeys(present)), len(present))
        return found

    def categories(self, table: str, column: str, persons: Sequence[str]) -> Mapping[str, int] | None:
        """How many rows each value has in the whole table, or how many persons, if they are fewer.

        None: they are too many values, or could not be counted in time. `persons` are the columns that refer to some; a
        column with fewer than `FEW_PERSONS` different ones does not count, because it tells who worked on the row.
        """
        value, name = f"left({_quoted(column)}::text, {LONGEST})", _quoted(column)
        counts = ["count(*)", *(f"count(DISTINCT {_quoted(person)})" for person in persons)]
        counted = self._rows(
            f"SELECT {value}, {', '.join(counts)} FROM {self._qualified(table)} WHERE {name} IS NOT NULL "  # noqa: S608
            f"GROUP BY 1 LIMIT {MOST_CATEGORIES + 1}",
            table,
        )
        if counted is None or len(counted) > MOST_CATEGORIES:
            return None
        some = [
            1 + number
            for number, person in enumerate(persons, start=1)
            if len(self.distinct(table, person, most=FEW_PERSONS)) == FEW_PERSONS
        ]
        return {row[0]: min(row[number] for number in (1, *some)) for row in counted}

    def distinct(self, table: str, column: str, *, most: int = MOST_KNOWN) -> list[str]:
        """Different values of a column, at most so many; none if they could not be read in time."""
        rows = self._rows(
            f"SELECT DISTINCT left({_quoted(column)}::text, {LONGEST}) FROM {self._qualified(table)} "  # noqa: S608
            f"WHERE {_quoted(column)} IS NOT NULL LIMIT {most}",
            table,
        )
        return [value for (value,) in rows or ()]

    def within(self, table: str, column: str, *, first: date, last: date, zone: str, instant: bool) -> bool:
        """Whether a table has rows, and all of them fall on the days from first to last."""
        name = _quoted(column)
        day = f"({name} AT TIME ZONE '{zone}')::date" if instant else name
        rows = self._rows(
            f"SELECT bool_and(isfinite({name}) AND {day} BETWEEN '{first}' AND '{last}') "  # noqa: S608 — no user's text
            f"FROM {self._qualified(table)}",
            table,
        )
        return bool(rows and rows[0][0])

    def _rows(self, query: str, table: str) -> list[Any] | None:
        """The answer, or None if it was refused or took too long; the message would quote data, and is left out."""
        try:
            self.cursor.execute(query)
            return list(self.cursor.fetchall())
        except (psycopg2.InterfaceError, psycopg2.OperationalError) as error:
            if isinstance(error, psycopg2.errors.QueryCanceled):
                return None
            step = "Try again; the server's log tells why."
            raise SourceRefusedError(table, self._role, "the server ended the connection", step) from None
        except psycopg2.Error:
            return None

    def _qualified(self, table: str) -> str:
        return f"{_quoted(self._schema)}.{_quoted(table)}"


@contextmanager
def looking(role: postgres.Role, settings: Settings, schema: str) -> Iterator[Looking]:
    """A session that can change nothing, and gives up on a query after `STATEMENT_SECONDS`.

    Raises:
        DatabaseUnreachableError: nobody answers, or the role is refused.
    """
    with closing(postgres.connect(role, settings, application="ds-pipelines policy")) as connection:
        connection.set_session(readonly=True, autocommit=True)
        connection.set_client_encoding("UTF8")
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET row_security = off")
        yield Looking(connection, role, schema)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
