"""The production database, read by a policy: nothing is selected before the policy was found to fit the live table.

What belongs here: one read-only session, and reading in batches. What does not: what the database has and whether a
policy fits it (`catalogue`), reading in chunks (`chunks`), and changing what was read (`transform`).

Values are never guessed at: NUMERIC goes from its digits to a decimal, never through floating point, and infinite or
absurd dates, which Arrow cannot hold and would wrap around, are refused (`exact`, `types`). A session reads all rows or
none: row-level security, which would hide some, is an error. PostgreSQL itself stores neither NUL nor lone surrogates
in text.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl
import pyarrow as pa

from ds_pipelines import postgres
from ds_pipelines.errors import (
    AbsentTableError,
    DatabaseUnreachableError,
    SourceRefusedError,
)
from ds_pipelines.extract import catalogue
from ds_pipelines.extract.driver import adbc
from ds_pipelines.extract.exact import exactly, selection
from ds_pipelines.extract.names import literal, qualified, quoted
from ds_pipelines.extract.types import Carried, carried

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from ds_pipelines.extract.catalogue import Index, LiveTables
    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.settings import Settings

BATCH_BYTES = 2 << 20
"""Large enough that the work per batch does not show, small enough that memory stays flat."""
STATEMENT_SECONDS = 600
LOCK_SECONDS = 5
IDLE_SECONDS = 60
CONNECT_SECONDS = 10
_SESSION = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    # Who waits for a lock makes others wait behind it, and who idles in a transaction holds vacuum back.
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
    "row_security": "off",  # an error, where it would hide rows
    # How values are printed must not depend on how the role, the database or the server is set up.
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "xmloption": "content",
    "standard_conforming_strings": "on",
}

_FOREIGN_KEYS = """
    SELECT DISTINCT ON (4, 5, 2) child.relname::text, parent.relname::text, f.conname::text,
           array_to_string(ARRAY(SELECT attname FROM unnest(f.conkey) WITH ORDINALITY AS k(number, place)
               JOIN pg_catalog.pg_attribute ON attrelid = f.conrelid AND attnum = number ORDER BY place), chr(1)),
           array_to_string(ARRAY(SELECT attname FROM unnest(f.confkey) WITH ORDINALITY AS k(number, place)
               JOIN pg_catalog.pg_attribute ON attrelid = f.confrelid AND attnum = number ORDER BY place), chr(1))
    FROM pg_catalog.pg_constraint f
    JOIN pg_catalog.pg_class child ON child.oid = COALESCE(pg_partition_root(f.conrelid), f.conrelid)
    JOIN pg_catalog.pg_class parent ON parent.oid = COALESCE(pg_partition_root(f.confrelid), f.confrelid)
    JOIN pg_catalog.pg_namespace n ON n.oid = child.relnamespace AND n.oid = parent.relnamespace
    WHERE f.contype = 'f' AND n.nspname = $1 AND child.relname = $2
    ORDER BY 4, 5, 2, 3
"""


@dataclass(frozen=True)
class Readable:
    """A table that was found to fit its policy: the only thing that can be read."""

    policy: TablePolicy
    schema: str
    columns: Mapping[str, Carried]
    """The columns of the extract, in the policy's order, as they are read."""
    apart: tuple[str, ...] = ()
    """Tables whose rows this one inherits, and that are read by themselves."""

    @property
    def dtypes(self) -> dict[str, pl.DataType]:
        """What a frame of this table holds before the transformation."""
        return {name: carried.dtype for name, carried in self.columns.items()}


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key as the database has it."""

    name: str
    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


S = TypeVar("S", bound="Source")


class Source:
    """One read-only session of a role; made by `connect`."""

    def __init__(self, connection: adbc.Connection, role: postgres.Role, settings: Settings) -> None:
        self.at: str | None = None
        """The exported moment as of which `moment` reads; None: the one at which it begins."""
        self._connection = connection
        self._role = role
        self._settings = settings

    def live_tables(self, schema: str) -> LiveTables:
        """The tables and views of a schema by name, and their columns by name, in the database's order."""
        with self._connection.cursor() as cursor:
            return catalogue.live_tables(cursor, schema)

    def foreign_keys(self, schema: str, table: str) -> list[ForeignKey]:
        """The foreign keys of a table to tables of the same schema, those of its partitions once."""
        with self._connection.cursor() as cursor:
            cursor.execute(_FOREIGN_KEYS, parameters=pl.DataFrame({"schema": schema, "table": table}))
            return [
                ForeignKey(name, child, tuple(columns.split("\1")), parent, tuple(parent_columns.split("\1")))
                for child, parent, name, columns, parent_columns in cursor.fetchall()
            ]

    def identifying(self, policy: Policy, table: str) -> Readable | None:
        """The columns of a table of persons by which somebody is known, to be sought in what is published.

        These are those that its `known_by` lists; without one, its dropped texts and those that the policy publishes as
        pseudonyms. None if there are none.
        """
        decisions = policy.table(table)
        live = self.live_tables(policy.database_schema)
        columns = live[table].columns if table in live else {}
        listed = decisions.known_by.columns if decisions.known_by else decisions.columns
        found = {
            name: how
            for name in listed
            if name in columns
            and isinstance(how := carried(columns[name]), Carried)
            and (how.family in ("text", "integer", "uuid") if decisions.known_by else how.family == "text")
            and (decisions.known_by or decisions.columns[name].treatment.kind in ("drop", "pseudonym"))
        }
        return Readable(decisions, policy.database_schema, found) if found else None

    def readable(self, policy: Policy, table: str) -> Readable:
        """The table, if the policy fits it.

        Raises:
            UndeclaredTableError: the policy does not name it.
            AbsentTableError: the database does not have it, or has it as a partition of another.
            The errors of `check_table`.
        """
        decisions = policy.table(table)
        live = self.live_tables(policy.database_schema)
        if table not in live:
            raise AbsentTableError(table, policy.database_schema)
        columns = catalogue.check_table(decisions, live[table].columns)
        return Readable(decisions, policy.database_schema, columns, catalogue.apart(table, policy, live))

    def read(self, table: Readable, *, since: date | None = None, until: date | None = None) -> pl.DataFrame:
        """As `batches`, in one frame."""
        frames = [pl.DataFrame(schema=table.dtypes), *self.batches(table, since=since, until=until)]
        return pl.concat(frames, rechunk=True)

    def batches(
        self, table: Readable, *, since: date | None = None, until: date | None = None, batch_bytes: int = BATCH_BYTES
    ) -> Iterator[pl.DataFrame]:
        """The visible columns of a table, real and exact, in the database's own order.

        Args:
            table: What to read.
            since: For a table by day, the first business day; None: from the beginning.
            until: For a table by day, the last business day, included; None: to the end.
            batch_bytes: About how much to hold at a time.

        Raises:
            SourceRefusedError: the role may not read it, it took too long, or the connection was lost.
            UnreadableValueError: a value cannot be represented exactly.
        """
        yield from self.frames(table, self.rows_of(table, since, until), batch_bytes=batch_bytes)

    def frames(self, table: Readable, rows: str, *, batch_bytes: int = BATCH_BYTES) -> Iterator[pl.DataFrame]:
        """The visible columns of some rows of a table, in batches; `rows` is SQL from FROM on, made by `rows_of`.

        Raises:
            SourceRefusedError, UnreadableValueError: as `batches`.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_bytes)})
                cursor.execute(f"{selection(table.columns)} {rows}")
                for batch in cursor.fetch_record_batch():
                    yield exactly(batch, table.columns, table.policy.name)
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise SourceRefusedError(table.policy.name, self._role, *_explain(str(error))) from None

    @contextmanager
    def moment(self, table: Readable) -> Iterator[str]:
        """All that is read inside is as it was at one moment: what the database had seen by then, as a pg_snapshot.

        Meanwhile vacuum keeps what has changed since. So be brief.

        Raises:
            SourceRefusedError: as `batches`.
        """
        self.tell(table, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            if self.at is not None:
                self.tell(table, f"SET TRANSACTION SNAPSHOT {literal(self.at)}")
            [(seen,)] = self.answer(table, "SELECT pg_current_snapshot()::text")
            yield str(seen)
        finally:
            with suppress(SourceRefusedError):
                self.tell(table, "ROLLBACK")  # nothing was written; and it ends a failed transaction as well

    @contextmanager
    def exported(self, seconds: int) -> Iterator[str]:
        """A moment that other sessions can read as of, for so long at most; its name.

        Raises:
            SourceRefusedError: the database does not answer.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"SET idle_in_transaction_session_timeout = '{seconds:d}s'")
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute("SELECT pg_export_snapshot()")
                [(name,)] = cursor.fetchall()
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise SourceRefusedError("pg_export_snapshot", self._role, *_explain(str(error))) from None
        yield str(name)

    def tell(self, table: Readable, command: str) -> None:
        """Gives a command that has no answer.

        Raises:
            SourceRefusedError: as `batches`.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(command)
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise SourceRefusedError(table.policy.name, self._role, *_explain(str(error))) from None

    def indexes(self, schema: str, table: str) -> list[Index]:
        """The indexes by which a table's rows can be had in their order; none of a table with heirs, nor of a view."""
        with self._connection.cursor() as cursor:
            return catalogue.indexes(cursor, schema, table)

    def quantiles(self, table: Readable, column: str, shares: Sequence[float]) -> list[Decimal] | None:
        """For each share the lowest of a column's finite numbers that so many are not above; None if it has none.

        Raises:
            SourceRefusedError: as `batches`.
        """
        name = quoted(column)
        finite = f" FILTER (WHERE {name} < 'infinity' AND {name} > '-infinity')"
        if table.columns[column].family == "integer":
            finite = ""
        wanted = ", ".join(str(share) for share in shares)
        found = f"percentile_disc(ARRAY[{wanted}]::float8[]) WITHIN GROUP (ORDER BY {name}){finite}::text[]"
        [(values,)] = self.answer(table, f"SELECT {found} {self.rows_of(table)}")
        return None if values is None else [Decimal(value) for value in values]

    def frequent(self, table: Readable, column: str, least: int) -> list[str]:
        """The values of a column that at least so many persons have, or rows where the table names no person.

        Raises:
            SourceRefusedError: as `batches`.
        """
        value = table.columns[column].sql.format(quoted(column))
        person = table.policy.person
        counted = f"count(DISTINCT {quoted(person)})" if person else "count(*)"
        query = f"SELECT {value} AS v {self.rows_of(table)} GROUP BY 1 HAVING {counted} >= {least:d}"
        return sorted(value for (value,) in self.answer(table, query) if value is not None)

    def answer(self, table: Readable, query: str) -> list[tuple[Any, ...]]:
        """What a query about a table says.

        Raises:
            SourceRefusedError: as `batches`.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise SourceRefusedError(table.policy.name, self._role, *_explain(str(error))) from None

    def rows_of(self, table: Readable, since: date | None = None, until: date | None = None, *more: str) -> str:
        """SQL for the rows of some days that also meet conditions; instants are literals, because COPY takes none."""
        conditions = list(more)
        if table.apart:
            apart = ", ".join(f"{literal(qualified(table.schema, name))}::regclass" for name in table.apart)
            conditions.append(f"tableoid NOT IN ({apart})")
        if (by_day := table.policy.by_day) is None:
            since = until = None
        told_by = table.columns.get(by_day or "")
        is_date = told_by is not None and told_by.family == "date"
        day = quoted(by_day or "")
        if since is not None:
            start = f"DATE '{since}'" if is_date else f"TIMESTAMPTZ '{self._settings.bounds(since)[0].isoformat()}'"
            conditions.append(f"{day} >= {start}")
        if until is not None:
            end = f"DATE '{until}' + 1" if is_date else f"TIMESTAMPTZ '{self._settings.bounds(until)[1].isoformat()}'"
            conditions.append(f"{day} < {end}")
        rows = f"FROM {qualified(table.schema, table.policy.name)}"
        return rows + (f" WHERE {' AND '.join(conditions)}" if conditions else "")


def connect(role: postgres.Role, settings: Settings) -> AbstractContextManager[Source]:
    """A read-only session that names itself, and gives up on a statement after ten minutes.

    Raises:
        DatabaseUnreachableError: nobody answers, or the role is refused.
        ClusterError, DiskFullError: the embedded database cannot be started.
    """
    return connect_as(Source, role, settings)


@contextmanager
def connect_as(kind: type[S], role: postgres.Role, settings: Settings) -> Iterator[S]:
    """As `connect`, by a kind of source."""
    own = getattr(settings, f"{role}_url") is not None
    url = postgres.libpq_url(postgres.url(role, settings))
    if "connect_timeout=" not in url:
        url += f"{'&' if '?' in url else '?'}connect_timeout={CONNECT_SECONDS}"
    try:
        connection = adbc.connect(url, autocommit=True)
    except adbc.Error as error:
        reason = postgres.harmless(str(error))
        raise DatabaseUnreachableError(role, reason, setting=f"DS_{role.upper()}_URL" if own else None) from None
    with connection:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            session = _SESSION | {"application_name": f"ds-pipelines {role}"}
            chosen = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in session.items())
            cursor.execute(f"SELECT {chosen}")
        yield kind(connection, role, settings)


def live_tables(settings: Settings, schema: str = "public") -> LiveTables:
    """The tables of production, as the extract's role sees them; `Source.live_tables` says more.

    Raises:
        The errors of `connect`.
    """
    with connect("extract", settings) as source:
        return source.live_tables(schema)


_REASONS = (
    (
        'snapshot "',  # … does not exist
        "the moment that was held for it is over",
        "Extract fewer tables together, or raise DS_SNAPSHOT_LIMIT.",
    ),
    ("permission denied", "it lacks the permission", "Grant it SELECT on the table, and USAGE on the schema."),
    ("row-level security", "row-level security would hide rows from it", "Grant the role BYPASSRLS, or read a view."),
    ("has not been populated", "it is a view that was never filled", "Run REFRESH MATERIALIZED VIEW in production."),
    ("statement timeout", "it took longer than it may", "Read fewer days, or index the column by_day."),
    ("lock timeout", f"the table was locked for longer than {LOCK_SECONDS} s", "Try again when the lock is gone."),
    ("conflict with recovery", "the replica ended it to catch up", "Try again: it goes on from there."),
    ("terminating connection", "the server ended the connection", "Try again; the server's log tells who ended it."),
    ("server closed", "the server ended the connection", "Try again; the server's log tells why."),
)


def _explain(message: str) -> tuple[str, str]:
    """Reason and next step, of the driver's message; the rest of it is left out, because it may quote values."""
    for mark, reason, step in _REASONS:
        if mark in message:
            return reason, step
    return "PostgreSQL refused or failed", "The server's log has the whole message; it may quote data."
