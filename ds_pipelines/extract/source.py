"""The production database, read by a policy: nothing is selected before the policy was found to fit the live table.

What belongs here: the live schema, the check of a policy against it, and exact reading in batches over one read-only
session. What does not: changing what was read (`transform`).

Values are never guessed at: NUMERIC goes from its digits to a decimal of the column's own precision, never through
floating point, and infinite or absurd dates, which Arrow cannot hold and would wrap around, are refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, cast

import adbc_driver_postgresql.dbapi as adbc
import polars as pl
import pyarrow as pa

from ds_pipelines import postgres
from ds_pipelines.errors import (
    AbsentColumnError,
    AbsentTableError,
    DatabaseUnreachableError,
    SourceRefusedError,
    UndeclaredColumnError,
    UndeclaredTableError,
    UnfitDayColumnError,
    UnfitTreatmentError,
    UnreadableValueError,
    UnsupportedTypeError,
)
from ds_pipelines.extract.types import SUPPORTED, Carried, LiveColumn, carried

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.settings import Settings

    LiveTables = Mapping[str, Mapping[str, LiveColumn]]

BATCH_BYTES = 4 << 20
"""Large enough that the work per batch does not show, small enough that memory stays flat."""
STATEMENT_SECONDS = 600
CONNECT_SECONDS = 10

_CATALOGUE = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL), format_type(a.atttypid, a.atttypmod),
           a.atttypmod, a.attnotnull
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
    ORDER BY c.relname, a.attnum
"""
_FOREIGN_KEYS = """
    SELECT child.relname::text, parent.relname::text, f.conname::text,
           array_to_string(ARRAY(SELECT attname FROM unnest(f.conkey) WITH ORDINALITY AS k(number, place)
               JOIN pg_catalog.pg_attribute ON attrelid = f.conrelid AND attnum = number ORDER BY place), chr(1)),
           array_to_string(ARRAY(SELECT attname FROM unnest(f.confkey) WITH ORDINALITY AS k(number, place)
               JOIN pg_catalog.pg_attribute ON attrelid = f.confrelid AND attnum = number ORDER BY place), chr(1))
    FROM pg_catalog.pg_constraint f
    JOIN pg_catalog.pg_class child ON child.oid = f.conrelid
    JOIN pg_catalog.pg_class parent ON parent.oid = f.confrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = child.relnamespace AND n.oid = parent.relnamespace
    WHERE f.contype = 'f' AND n.nspname = $1 AND child.relname = $2
    ORDER BY f.conname
"""
_EPOCH = date(1970, 1, 1)
_DAYS = ((date.min - _EPOCH).days, (date.max - _EPOCH).days + 1)
"""From the first to the one after the last that dates and instants may fall on, counted as Arrow does."""
_LONG_DIGITS = 18
"""So many always fit into a bigint."""
_NAN = -(2**63)
"""No number of so few digits."""
_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Readable:
    """A table that was found to fit its policy: the only thing that can be read."""

    policy: TablePolicy
    schema: str
    columns: Mapping[str, Carried]
    """The columns of the extract, in the policy's order, as they are read."""

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


class Source:
    """One read-only session of a role; made by `connect`."""

    def __init__(self, connection: adbc.Connection, role: postgres.Role, settings: Settings) -> None:
        self._connection = connection
        self._role = role
        self._settings = settings

    def live_tables(self, schema: str) -> LiveTables:
        """The tables and views of a schema by name, and their columns by name, in the database's order."""
        tables: dict[str, dict[str, LiveColumn]] = {}
        with self._connection.cursor() as cursor:
            cursor.execute(_CATALOGUE, parameters=(schema,))
            for table, name, base, type_, modifier, required in cursor.fetchall():
                columns = tables.setdefault(table, {})
                if name is not None:
                    columns[name] = LiveColumn(name, base, type_, modifier, required)
        return tables

    def foreign_keys(self, schema: str, table: str) -> list[ForeignKey]:
        """The foreign keys of a table to tables of the same schema, by name."""
        with self._connection.cursor() as cursor:
            cursor.execute(_FOREIGN_KEYS, parameters=(schema, table))
            return [
                ForeignKey(name, child, tuple(columns.split("\1")), parent, tuple(parent_columns.split("\1")))
                for child, parent, name, columns, parent_columns in cursor.fetchall()
            ]

    def withheld_texts(self, policy: Policy, table: str) -> Readable | None:
        """What the policy keeps from the extract of a table's text columns, to be sought in what is published.

        These are its dropped texts and those that it publishes as pseudonyms; None if there are none.
        """
        decisions = policy.table(table)
        live = self.live_tables(policy.database_schema).get(table, {})
        texts = {
            name: how
            for name, column in decisions.columns.items()
            if column.treatment.kind in ("drop", "pseudonym")
            and name in live
            and (how := carried(live[name])) is not None
            and how.family == "text"
        }
        return Readable(decisions, policy.database_schema, texts) if texts else None

    def readable(self, policy: Policy, table: str) -> Readable:
        """The table, if the policy fits it.

        Raises:
            UndeclaredTableError: the policy does not name it.
            AbsentTableError: the database does not have it.
            The errors of `check_table`.
        """
        decisions = policy.table(table)
        live = self.live_tables(policy.database_schema)
        if table not in live:
            raise AbsentTableError(table, policy.database_schema)
        return Readable(decisions, policy.database_schema, check_table(decisions, live[table]))

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
        try:
            with self._connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_bytes)})
                cursor.execute(self._select(table, since, until))
                for batch in cursor.fetch_record_batch():
                    yield _exact(batch, table)
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise SourceRefusedError(table.policy.name, self._role, *_explain(str(error))) from None

    def _select(self, table: Readable, since: date | None, until: date | None) -> str:
        """The query; instants are literals, because a statement with parameters cannot be read by COPY."""
        names = ", ".join(_expression(name, how) for name, how in table.columns.items())
        query = f"SELECT {names} FROM {_quoted(table.schema)}.{_quoted(table.policy.name)}"  # noqa: S608 — quoted
        if (by_day := table.policy.by_day) is None:
            return query
        is_date = table.columns[by_day].family == "date"
        conditions = []
        if since is not None:
            start = f"DATE '{since}'" if is_date else f"TIMESTAMPTZ '{self._settings.bounds(since)[0].isoformat()}'"
            conditions.append(f"{_quoted(by_day)} >= {start}")
        if until is not None:
            end = f"DATE '{until}' + 1" if is_date else f"TIMESTAMPTZ '{self._settings.bounds(until)[1].isoformat()}'"
            conditions.append(f"{_quoted(by_day)} < {end}")
        return query + (f" WHERE {' AND '.join(conditions)}" if conditions else "")


@contextmanager
def connect(role: postgres.Role, settings: Settings) -> Iterator[Source]:
    """A read-only session that names itself, and gives up on a statement after ten minutes.

    Raises:
        DatabaseUnreachableError: nobody answers, or the role is refused.
        ClusterError, DiskFullError: the embedded database cannot be started.
    """
    own = getattr(settings, f"{role}_url") is not None
    url = postgres.libpq_url(postgres.url(role, settings))
    if "connect_timeout=" not in url:
        url += f"{'&' if '?' in url else '?'}connect_timeout={CONNECT_SECONDS}"
    try:
        connection = adbc.connect(url, autocommit=True)
    except adbc.Error as error:
        # Other messages of libpq's are about the URL and quote it, password included.
        spoken = str(error).partition("connection to server")[2].splitlines()
        reason = f"connection to server{spoken[0]}" if spoken else "it is not a URL that PostgreSQL understands"
        raise DatabaseUnreachableError(role, reason, setting=f"DS_{role.upper()}_URL" if own else None) from None
    with connection:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            cursor.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
            cursor.execute(f"SET application_name = 'ds-pipelines {role}'")
        yield Source(connection, role, settings)


def live_tables(settings: Settings, schema: str = "public") -> LiveTables:
    """The tables of production, as the extract's role sees them; `Source.live_tables` says more.

    Raises:
        The errors of `connect`.
    """
    with connect("extract", settings) as source:
        return source.live_tables(schema)


def check(policy: Policy, live: LiveTables) -> None:
    """Whether a policy fits the whole live schema.

    Raises:
        UndeclaredTableError: there are tables that it does not name.
        AbsentTableError: it names one that is not there.
        The errors of `check_table`, for the first table that has one.
    """
    if undeclared := live.keys() - policy.tables.keys():
        raise UndeclaredTableError(undeclared, policy.tables)
    for name, decisions in policy.tables.items():
        if name not in live:
            raise AbsentTableError(name, policy.database_schema)
        check_table(decisions, live[name])


def check_table(policy: TablePolicy, live: Mapping[str, LiveColumn]) -> dict[str, Carried]:
    """How each visible column is carried, if the policy fits the live table.

    Raises:
        UndeclaredColumnError: the table has columns that the policy does not name.
        AbsentColumnError: the policy names columns that the table does not have.
        UnsupportedTypeError: a visible column is of a type that cannot be carried exactly.
        UnfitTreatmentError: a treatment does not fit its column's type.
        UnfitDayColumnError: the column by which days are told is of an unfit type, or may be null.
    """
    if undeclared := live.keys() - policy.columns.keys():
        raise UndeclaredColumnError(policy.name, undeclared)
    if absent := policy.columns.keys() - live.keys():
        raise AbsentColumnError(policy.name, absent)
    readable: dict[str, Carried] = {}
    for name, decision in policy.columns.items():
        column, treatment = live[name], decision.treatment
        how = carried(column)
        if treatment.visible:
            if how is None:
                raise UnsupportedTypeError(policy.name, name, column.type, SUPPORTED)
            readable[name] = how
        if how is not None and how.family not in treatment.fits:
            raise UnfitTreatmentError(
                policy.name, name, treatment=treatment.label, type_=column.type, fits=treatment.fits
            )
    if policy.by_day is not None:
        column = live[policy.by_day]
        if column.base not in ("timestamp with time zone", "date") or not column.required:
            raise UnfitDayColumnError(policy.name, column.name, column.type)
    return readable


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _expression(name: str, how: Carried) -> str:
    """What to select for a column: NUMERIC of up to 18 digits as a whole number of its last digit's unit.

    The driver gives NUMERIC as text, and making and parsing that took half of the time of reading.
    """
    quoted = _quoted(name)
    if not _counted(how):
        return quoted
    counted = f"({quoted} * {10**how.dtype.scale})::bigint"  # type: ignore[attr-defined]
    return f"CASE WHEN {quoted} = 'NaN' THEN {_NAN} ELSE {counted} END AS {quoted}"


def _counted(how: Carried) -> bool:
    return isinstance(how.dtype, pl.Decimal) and how.dtype.precision is not None and how.dtype.precision <= _LONG_DIGITS


def _exact(batch: Any, table: Readable) -> pl.DataFrame:
    """A batch of the driver's in the types by which the table is carried; a value survives exactly, or is refused."""
    frame = cast("pl.DataFrame", pl.from_arrow(batch))
    columns = []
    for name, how in table.columns.items():
        series = frame[name]
        if how.family == "decimal":
            series = _decimal(series, table.policy.name, how)
        elif how.column.base == "character":
            series = series.str.strip_chars_end(" ")  # padding, which SQL itself ignores
        elif how.family in ("date", "timestamp"):
            _require_year(series, table.policy.name)
        if series.dtype != how.dtype:
            raise UnreadableValueError(table.policy.name, name, f"{how.dtype} from the driver, not {series.dtype}")
        columns.append(series)
    return pl.DataFrame(columns)


def _decimal(series: pl.Series, table: str, how: Carried) -> pl.Series:
    """NUMERIC comes counted, or as its digits."""
    if _counted(how):
        if (series == _NAN).any():
            raise UnreadableValueError(table, series.name, f"a finite number of {how.column.type}")
        whole = series.cast(pl.Decimal(_LONG_DIGITS, 0)).to_arrow()
        type_ = pa.decimal128(how.dtype.precision, how.dtype.scale)  # type: ignore[attr-defined]
        scaled = pa.Array.from_buffers(type_, len(whole), whole.buffers(), whole.null_count, whole.offset)
        return cast("pl.Series", pl.from_arrow(scaled)).alias(series.name)
    digits = series.ext.storage() if isinstance(series.dtype, pl.BaseExtension) else series
    try:
        return digits.cast(how.dtype)
    except pl.exceptions.InvalidOperationError:  # its message quotes the values
        raise UnreadableValueError(table, series.name, f"a finite number of {how.column.type}") from None


def _require_year(series: pl.Series, table: str) -> None:
    unit = 1 if series.dtype == pl.Date else _MICROSECONDS_A_DAY
    first, end = (day * unit for day in _DAYS)
    if not series.to_physical().is_between(first, end, closed="left").all():  # nulls do not count
        raise UnreadableValueError(table, series.name, "a day of the years 1 to 9999, not infinity")


_REASONS = (
    ("permission denied", "it lacks the permission", "Grant it SELECT on the table, and USAGE on the schema."),
    ("statement timeout", f"it took longer than {STATEMENT_SECONDS} s", "Read fewer days, or index the column by_day."),
    ("terminating connection", "the server ended the connection", "Try again; the server's log tells who ended it."),
    ("server closed", "the server ended the connection", "Try again; the server's log tells why."),
)


def _explain(message: str) -> tuple[str, str]:
    """Reason and next step, of the driver's message; the rest of it is left out, because it may quote values."""
    for mark, reason, step in _REASONS:
        if mark in message:
            return reason, step
    return "PostgreSQL refused or failed", "The server's log has the whole message; it may quote data."
