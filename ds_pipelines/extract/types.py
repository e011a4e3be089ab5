"""PostgreSQL's types as the extract carries them: which ones, and as what exactly.

What belongs here: the one mapping from a column of the database to a Polars type and to the family of treatments that
fit it. What does not: reading values. A type that is not here is refused by name; nothing is carried approximately.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from ds_pipelines.extract.treatments import Family

INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class LiveColumn:
    """A column as the database has it."""

    name: str
    base: str
    """Its type without modifier, in SQL's words: `numeric`, `timestamp with time zone`."""
    type: str
    """Its type with modifier: `numeric(10,2)`."""
    modifier: int
    """PostgreSQL's typmod; -1: none."""
    required: bool
    """Whether it is NOT NULL."""


@dataclass(frozen=True, slots=True)
class Carried:
    """How the extract carries a column."""

    column: LiveColumn
    family: Family
    dtype: pl.DataType


_CARRIED: dict[str, tuple[Family, pl.DataType]] = {
    "text": ("text", pl.String()),
    "character varying": ("text", pl.String()),
    "character": ("text", pl.String()),
    "smallint": ("integer", pl.Int16()),
    "integer": ("integer", pl.Int32()),
    "bigint": ("integer", pl.Int64()),
    "real": ("float", pl.Float32()),
    "double precision": ("float", pl.Float64()),
    "boolean": ("boolean", pl.Boolean()),
    "date": ("date", pl.Date()),
    "timestamp with time zone": ("timestamp", INSTANT),
    "timestamp without time zone": ("timestamp", pl.Datetime("us")),
}
SUPPORTED = (*_CARRIED, "numeric(precision, scale) of at most 38 digits")
_MOST_DIGITS = 38


def carried(column: LiveColumn) -> Carried | None:
    """How a column is carried; None if it cannot be."""
    if column.base == "numeric":
        dtype = _decimal(column.modifier)
        return None if dtype is None else Carried(column, "decimal", dtype)
    if column.base not in _CARRIED:
        return None
    return Carried(column, *_CARRIED[column.base])


def _decimal(modifier: int) -> pl.Decimal | None:
    """The exact type for numeric(precision, scale); None without them: any number of digits may then follow."""
    if modifier < 0:
        return None
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    if precision > _MOST_DIGITS or scale > precision:  # a negative scale, allowed in PostgreSQL, reads as a large one
        return None
    return pl.Decimal(precision, scale)
