"""What the production database has, and whether a policy fits it: nothing is read before it does.

What belongs here: the live schema, its scope, and the check of a policy against it. What does not: reading rows
(`source`), and how each type is carried (`types`).

In scope are the tables of one schema. A partition is no table of its own. A table that inherits from another is read
with it, once: alone if the policy names it, and with its parent otherwise; one with columns of its own must be named. A
view is read if the policy names it, and nobody has to decide on it otherwise. A table that the policy does not extract
is decided on, and is never read, not even with the one from which it inherits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines.errors import (
    AbsentColumnError,
    AbsentTableError,
    ChangedTypeError,
    UndeclaredColumnError,
    UndeclaredTableError,
    UnfitDayColumnError,
    UnfitTreatmentError,
    UnsupportedTypeError,
)
from ds_pipelines.extract.types import Carried, LiveColumn, Refused, carried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ds_pipelines.extract.policy import ColumnPolicy, Policy, TablePolicy

    LiveTables = Mapping[str, "LiveTable"]

_CATALOGUE = """
    SELECT c.relname::text, c.relkind IN ('v', 'm'), a.attname::text, a.atttypid::bigint,
           format_type(a.atttypid, a.atttypmod), a.atttypmod, a.attnotnull
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
    ORDER BY c.relname, a.attnum
"""
_HEIRS = """
    SELECT c.relname::text, p.relname::text
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relnamespace = p.relnamespace
"""
_TYPES = """
    SELECT t.oid::bigint, format_type(t.oid, NULL), t.typtype::text, t.typbasetype::bigint, t.typtypmod,
           CASE WHEN t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc THEN t.typelem::bigint ELSE 0 END
    FROM pg_catalog.pg_type t
"""
# Only what can be walked along in one direction, by the order that a comparison has without saying more.
_INDEXES = """
    SELECT i.indisunique AND i.indimmediate,
           array_to_string(ARRAY(SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY AS k(number, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = number
               WHERE place <= i.indnkeyatts ORDER BY place), chr(1))
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_am m ON m.oid = x.relam
    WHERE n.nspname = $1 AND c.relname = $2 AND m.amname = 'btree' AND i.indisvalid AND i.indisready
      AND i.indpred IS NULL AND i.indexprs IS NULL AND (0 = ALL (i.indoption) OR 3 = ALL (i.indoption))
      AND NOT EXISTS (SELECT FROM unnest(i.indclass) AS o(oid) JOIN pg_catalog.pg_opclass p USING (oid)
                      WHERE NOT p.opcdefault)
      AND NOT EXISTS (SELECT FROM unnest(i.indkey, i.indcollation) AS k(number, sorted)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = number
                      WHERE sorted <> a.attcollation)
      AND (c.relkind = 'p' OR NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid))
    ORDER BY i.indisprimary DESC, i.indnkeyatts, x.relname
"""


@dataclass(frozen=True, slots=True)
class Index:
    """An index along which rows can be read."""

    unique: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class LiveTable:
    """A table or view as the database has it."""

    columns: Mapping[str, LiveColumn]
    """By name, in the database's order."""
    view: bool = False
    parents: tuple[str, ...] = ()
    """The tables from which it inherits, its partitioned one excepted."""


def live_tables(cursor: Any, schema: str) -> LiveTables:
    """The tables and views of a schema by name, as the session of the cursor sees them."""
    columns: dict[str, dict[str, LiveColumn]] = {}
    views: dict[str, bool] = {}
    parents: dict[str, list[str]] = {}
    cursor.execute(_TYPES)
    types = _Types(cursor.fetchall())
    cursor.execute(_HEIRS, parameters=pl.DataFrame({"schema": schema}))
    for heir, parent in cursor.fetchall():
        parents.setdefault(heir, []).append(parent)
    cursor.execute(_CATALOGUE, parameters=pl.DataFrame({"schema": schema}))
    for table, view, name, type_oid, declared, modifier, required in cursor.fetchall():
        views[table] = view
        named = columns.setdefault(table, {})
        if name is not None:
            named[name] = types.column(name, type_oid, declared, modifier, required=required)
    return {table: LiveTable(columns[table], view, tuple(parents.get(table, ()))) for table, view in views.items()}


def indexes(cursor: Any, schema: str, table: str) -> list[Index]:
    """The indexes of a table along which all of its rows can be read, the primary key's first."""
    cursor.execute(_INDEXES, parameters=pl.DataFrame({"schema": schema, "table": table}))
    return [Index(unique, tuple(columns.split("\1"))) for unique, columns in cursor.fetchall()]


def check(policy: Policy, live: LiveTables) -> None:
    """Whether a policy fits the whole live schema.

    Raises:
        UndeclaredTableError: there are tables that it does not name.
        AbsentTableError: it names one that is not there, be it as not extracted.
        The errors of `check_table`, for the first table that has one.
    """
    if undeclared := [name for name in live if name not in policy.tables and not decided(name, policy, live)]:
        raise UndeclaredTableError(undeclared, policy.tables)
    for name, decisions in policy.tables.items():
        if name not in live:
            raise AbsentTableError(name, policy.database_schema)
        check_table(decisions, live[name].columns)
    if gone := [name for name in policy.not_extracted if name not in live]:
        raise AbsentTableError(gone[0], policy.database_schema)


def check_table(policy: TablePolicy, live: Mapping[str, LiveColumn]) -> dict[str, Carried]:
    """How each visible column is carried, if the policy fits the live table.

    Raises:
        UndeclaredColumnError: the table has columns that the policy does not name.
        AbsentColumnError: the policy names columns that the table does not have.
        ChangedTypeError: the policy states a type that a column does not have, or no longer.
        UnsupportedTypeError: a visible column is of a type that cannot be carried exactly.
        UnfitTreatmentError: a treatment does not fit its column's type.
        UnfitDayColumnError: the column by which days are told is of an unfit type, or may be null.
    """
    if undeclared := {name: column.type for name, column in live.items() if name not in policy.columns}:
        raise UndeclaredColumnError(policy.name, undeclared)
    if absent := policy.columns.keys() - live.keys():
        raise AbsentColumnError(policy.name, absent)
    readable: dict[str, Carried] = {}
    for name, decision in policy.columns.items():
        how = _fitted(policy.name, decision, live[name])
        if how is not None:
            readable[name] = how
    if policy.by_day is not None:
        column = live[policy.by_day]
        if column.base not in ("timestamp with time zone", "date") or not column.required:
            raise UnfitDayColumnError(policy.name, column.name, column.type)
    return readable


def _fitted(table: str, decision: ColumnPolicy, column: LiveColumn) -> Carried | None:
    """How a column is carried, if its decision fits it; None if it is not in the extract."""
    treatment = decision.treatment
    if decision.type not in (None, column.type):
        raise ChangedTypeError(table, column.name, stated=decision.type, type_=column.type)
    how = carried(column)
    if isinstance(how, Refused):
        if treatment.visible:
            raise UnsupportedTypeError(table, column.name, column.type, how.reason)
        return None
    if how.family not in treatment.fits:
        raise UnfitTreatmentError(table, column.name, treatment=treatment.label, type_=column.type, fits=treatment.fits)
    if not treatment.visible:
        return None
    return how if treatment.read else Carried(column, how.family, how.dtype, sql="NULL", read=False)


def apart(table: str, policy: Policy, live: LiveTables) -> tuple[str, ...]:
    """The tables that inherit from this one and are read by themselves, or with another that inherits from it."""
    heirs = {name: ancestors for name in live if table in (ancestors := _ancestors(name, live))}
    named = heirs.keys() & (policy.tables.keys() | policy.not_extracted.keys())
    return tuple(sorted(name for name, ancestors in heirs.items() if name in named or ancestors & named))


def _ancestors(table: str, live: LiveTables) -> set[str]:
    """The tables from which it inherits, directly or not."""
    found: set[str] = set()
    waiting = list(live[table].parents) if table in live else []
    while waiting:
        parent = waiting.pop()
        if parent not in found:
            found.add(parent)
            waiting += live[parent].parents if parent in live else ()
    return found


def decided(table: str, policy: Policy, live: LiveTables) -> bool:
    """Whether nothing has to be decided on a table that the policy does not name."""
    if live[table].view or table in policy.not_extracted:
        return True
    named = [parent for parent in _ancestors(table, live) if parent in policy.tables and parent in live]
    return any(live[table].columns.keys() <= live[parent].columns.keys() for parent in named)


class _Types:
    """PostgreSQL's types by oid, domains followed to what they are based on."""

    def __init__(self, rows: Iterable[tuple[int, str, str, int, int, int]]) -> None:
        self._types = {oid: (words, kind, base, own, element) for oid, words, kind, base, own, element in rows}

    def column(self, name: str, oid: int, declared: str, modifier: int, *, required: bool) -> LiveColumn:
        """A column of the type of that oid."""
        base, modifier, domain = self._based(oid, modifier)
        words, kind, _, _, element = self._types[base]
        if element:
            of_array = base
            base, modifier, of_domain = self._based(element, modifier)
            words, kind, _, _, deeper = self._types[base]
            if deeper:  # a domain over an array, in an array
                return LiveColumn(name, self._types[of_array][0], declared, -1, required, "b", domain=True)
            words, domain = f"{words}[]", domain or of_domain
        return LiveColumn(name, words, declared, modifier, required, kind, domain)

    def _based(self, oid: int, modifier: int) -> tuple[int, int, bool]:
        domain = False
        while self._types[oid][1] == "d":
            domain = True
            _, _, oid, own, _ = self._types[oid]
            modifier = own if modifier < 0 else modifier
        return oid, modifier, domain
