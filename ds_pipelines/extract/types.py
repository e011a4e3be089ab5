"""PostgreSQL's types as the extract carries them: which ones, as what exactly, and why the others are refused.

What belongs here: the one mapping from a column of the database to the SQL that reads it, a Polars type and the family
of treatments that fit it. What does not: reading values. Nothing is carried approximately:

    text, varchar, name, "char", enums       text; char(n) without its padding, which SQL itself ignores
    smallint, integer, bigint, oid           integers of at least that width
    real, double precision                   floats, with their NaN and infinities
    numeric(p, s)                            a decimal of that precision, up to 38 digits
    numeric                                  a decimal of 38 digits, 18 of them after the point
    date, timestamp, timestamptz             of the years 1 to 9999; instants in UTC
    time                                     before 24:00, which is a time to PostgreSQL alone
    boolean, bytea                           as they are
    uuid, json, jsonb                        text as PostgreSQL prints it
    interval                                 text, ISO 8601
    timetz, inet, cidr, macaddr, bit, xml,
    ranges, geometry, pg_lsn, jsonpath       text as PostgreSQL prints it
    arrays of these                          lists, with their NULL elements; one dimension, counted from 1
    domains                                  what they are based on

A value that its type allows and the extract cannot hold (a NaN or an infinity in numeric, an infinite day, more digits
than there is room for, an array of arrays) is refused by the name of its column, never rounded, wrapped or skipped. Any
other type is refused before anything is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from ds_pipelines.extract.families import Family

INSTANT = pl.Datetime("us", "UTC")
DIGITS = 38
"""Of a decimal, at most."""
FRACTION = 18
"""Digits after the point of a numeric that states none."""


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """A column as the database has it."""

    name: str
    base: str
    """Its type without modifier, in SQL's words: `numeric`, `timestamp with time zone`, `text[]`; of a domain, what it
    is based on."""
    type: str
    """Its type as it was declared: `numeric(10,2)`, or a domain's name."""
    modifier: int
    """PostgreSQL's typmod; -1: none."""
    required: bool
    """Whether it is NOT NULL."""
    kind: str = "b"
    """PostgreSQL's typtype, of an array that of its elements: b base, e enum, r range, m multirange, c composite."""
    domain: bool = False
    """Whether it is declared by a domain."""


@dataclass(frozen=True, slots=True)
class Carried:
    """How the extract carries a column."""

    column: LiveColumn
    family: Family
    dtype: pl.DataType
    sql: str = "{0}"
    """What is selected, where {0} is the column."""
    refuses: str | None = None
    """The SQL condition of values that the driver would change in passing."""
    expects: str = ""
    """What is expected instead of those."""
    read: bool = True
    """Whether its values are asked for; where they are not, all are null."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the extract does not carry a column's type."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Value:
    """How a value is carried, by itself or in an array."""

    family: Family
    dtype: pl.DataType
    sql: str = "{0}"
    array_sql: str = "{0}"


_PRINTED = _Value("printed", pl.String(), "{0}::text", "{0}::text[]")
_TEXT = _Value("text", pl.String(), "{0}::text", "{0}::text[]")
_JSON = _Value("json", pl.String(), "{0}::text", "{0}::text[]")
# The cast of inet to text would add a mask that printing leaves out.
_INET = _Value(
    "printed", pl.String(), "abbrev({0})",
    "CASE WHEN {0} IS NOT NULL THEN ARRAY(SELECT abbrev(e) FROM unnest({0}) WITH ORDINALITY u(e, n) ORDER BY n) END",
)  # fmt: skip

_VALUES: dict[str, _Value] = {
    "text": _Value("text", pl.String()),
    "character varying": _Value("text", pl.String()),
    "character": _TEXT,
    "name": _TEXT,
    '"char"': _TEXT,
    "smallint": _Value("integer", pl.Int16()),
    "integer": _Value("integer", pl.Int32()),
    "bigint": _Value("integer", pl.Int64()),
    "oid": _Value("integer", pl.Int64(), "{0}::bigint", "{0}::bigint[]"),
    "real": _Value("float", pl.Float32()),
    "double precision": _Value("float", pl.Float64()),
    "boolean": _Value("boolean", pl.Boolean()),
    "date": _Value("date", pl.Date()),
    "timestamp with time zone": _Value("timestamp", INSTANT),
    "timestamp without time zone": _Value("timestamp", pl.Datetime("us")),
    "time without time zone": _Value("time", pl.Time()),
    "bytea": _Value("binary", pl.Binary()),
    "uuid": _Value("uuid", pl.String(), "{0}::text", "{0}::text[]"),
    "json": _JSON,
    "jsonb": _JSON,
    "inet": _INET,
    **dict.fromkeys(
        (
            "interval", "time with time zone", "cidr", "macaddr", "macaddr8", "bit", "bit varying", "xml", "jsonpath",
            "pg_lsn", "point", "line", "lseg", "box", "path", "polygon", "circle",
        ),
        _PRINTED,
    ),
}  # fmt: skip

_REASONS = {
    "money": "what it means depends on a setting of the server",
    "tsvector": "it is an index of words made from another column",
    "tsquery": "it is a search and no value",
}


def carried(column: LiveColumn) -> Carried | Refused:
    """How a column is carried, or why it cannot be."""
    base = column.base.removesuffix("[]")
    value = _value(base, column)
    if isinstance(value, Refused):
        return value
    named = "{0}"
    if column.domain:  # bpchar, because a bare `character` is one character to SQL
        named = f"{{0}}::{column.base.replace('character', 'bpchar') if base == 'character' else column.base}"
    midnight = base == "time without time zone"
    if base == column.base:
        refuses = "{0} = time '24:00'" if midnight else None
        return Carried(column, value.family, value.dtype, value.sql.format(named), refuses, "a time before 24:00")
    refuses = "array_ndims({0}) > 1 OR array_lower({0}, 1) <> 1" + (" OR time '24:00' = ANY({0})" if midnight else "")
    expects = "an array of one dimension, counted from 1" + (", of times before 24:00" if midnight else "")
    return Carried(column, "list", pl.List(value.dtype), value.array_sql.format(named), refuses, expects)


def _value(base: str, column: LiveColumn) -> _Value | Refused:
    if column.kind == "e":
        return _TEXT
    if column.kind in "rm":
        return _PRINTED
    if column.kind == "c":
        return Refused("a value is a whole row")
    if base == "numeric":
        dtype = _decimal(column.modifier)
        return (
            _Value("decimal", dtype, array_sql="{0}::text[]")
            if dtype
            else Refused(f"it has more than {DIGITS} digits after the point")
        )
    return _VALUES.get(base) or Refused(_REASONS.get(base, "the extract does not know it"))


def _decimal(modifier: int) -> pl.Decimal | None:
    """The decimal for numeric(precision, scale), where there is one; with room for what fits, if not for all.

    A negative scale counts zeros before the point, one above the precision zeros after it.
    """
    if modifier < 0:
        return pl.Decimal(DIGITS, FRACTION)
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 0x400) - 0x400
    if scale > DIGITS:
        return None
    digits = max(precision, scale) if scale >= 0 else precision - scale
    return pl.Decimal(min(digits, DIGITS), max(scale, 0))
