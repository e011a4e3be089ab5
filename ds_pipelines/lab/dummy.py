"""A dummy of an extract: made-up rows of its shape, so that code can be written with no data at all.

What belongs here: rows from the columns' names, types and treatments, as the gateway tells them. What does not: any
value that was ever in the extract; nothing of its files is read.

The same table, days and number of rows give the same rows everywhere. Keys hold between dummies of equally many rows:
those of a domain, as `pseudonym(customer)` or `product_id`, are one pool; the table that is named after the domain has
each once, other tables draw from it. Types, nesting and what the privacy policy does to a column are as in the extract;
distributions and relations between columns are not, and there are none to be found.
"""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines.errors import DummyError, TableArgumentError
from ds_pipelines.evidence import DUMMY, RunInput
from ds_pipelines.lab.selection import wanted_columns
from ds_pipelines.lab.table import note
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from ds_pipelines.evidence import Column, SnapshotManifest
    from ds_pipelines.gateway.client import Gateway
    from ds_pipelines.lab.selection import Question
    from ds_pipelines.settings import Settings

log = logging.getLogger(__name__)

MOST_ROWS = 10_000_000
NULLS = 0.05
"""Share of nulls, but in a table's own key and its moments: of no other does the extract say that it has none."""
WORDS = ("amber", "birch", "cedar", "dune", "ember", "fern", "grove", "heath")
PSEUDONYM = re.compile(r"pseudonym\((\w+)(?: as (\w+))?\)")
LARGEST = {"Int8": 100, "UInt8": 100}
PLAIN: dict[str, pl.DataType] = {
    str(each): each
    for each in (
        pl.Boolean(), pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64(),
        pl.Float32(), pl.Float64(), pl.String(), pl.Binary(), pl.Date(), pl.Time(), pl.Null(),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """The business days over which rows are spread, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many; at least one."""
        return max((self.last - self.first).days, 0) + 1


def read(gateway: Gateway, name: str, question: Question, rows: int) -> pl.LazyFrame:
    """A dummy from the columns that the gateway told last; noted as read, and marked.

    Raises:
        UnknownExtractError: no such table is published.
        UnknownColumnError: a column that does not exist, or that the policy withholds.
        DummyError: no such number of rows can be made up.
        The gateway's errors: the columns are not known from earlier, and it does not serve us.
    """
    from ds_pipelines.lab.dummy import Span, make

    published = gateway.known_manifests(name)
    first = question.since or published[0].day
    last = question.until or question.as_of or max(published[-1].day, first)
    if first > last:
        raise TableArgumentError(name, "since", f"a day not after {last}, the last one asked for")
    frame = make(
        published[-1], wanted_columns(published[-1], question.columns), rows, Span(first, last), load_settings()
    )
    log.warning("%r is a dummy: its %s rows are made up, and nothing can be learned from them.", name, f"{rows:,}")
    note([RunInput(table=name, day=last, digest=DUMMY)])
    return frame.lazy()


def make(newest: SnapshotManifest, columns: Sequence[str], rows: int, span: Span, settings: Settings) -> pl.DataFrame:
    """A dummy of a table.

    Args:
        newest: Tells the columns.
        columns: Which, in this order.
        rows: How many.
        span: The days of a table by day; of a table of current state, the last is its day.
        settings: When a business day begins and ends.

    Raises:
        DummyError: no such number of rows can be made, or a column's type is none that this version knows.
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= MOST_ROWS:
        raise DummyError(newest.table, f"a whole number of rows from 1 to {MOST_ROWS:,}")
    told = {column.name: column for column in newest.columns}
    table = _Table(newest, rows, span, settings)
    return pl.DataFrame([table.column(told[name]) for name in columns])


def dtype_of(text: str) -> pl.DataType | None:
    """The Polars type that prints like this; None if it is none that extracts have."""
    if text in PLAIN:
        return PLAIN[text]
    if found := re.fullmatch(r"Decimal\(precision=(\d+), scale=(\d+)\)", text):
        return pl.Decimal(int(found.group(1)), int(found.group(2)))
    if found := re.fullmatch(r"Datetime\(time_unit='(us|ms|ns)', time_zone=(?:None|'([^']+)')\)", text):
        return pl.Datetime(found.group(1), found.group(2))  # type: ignore[arg-type]  # one of the three
    if found := re.fullmatch(r"List\((.+)\)", text):
        inner = dtype_of(found.group(1))
        return None if inner is None else pl.List(inner)
    return None


def pooled(domain: str, shape: str, number: int) -> str | int:
    """The key of this number in a domain's pool, in the shape of its pseudonyms."""
    digest = hashlib.blake2b(f"dummy:{domain}:{number}".encode(), digest_size=16).digest()
    if shape == "bigint":
        return int.from_bytes(digest[:8], "big") >> 1
    return str(uuid.UUID(bytes=digest, version=4)) if shape == "uuid" else digest.hex()


class _Table:
    """What the columns of one dummy have in common."""

    def __init__(self, newest: SnapshotManifest, rows: int, span: Span, settings: Settings) -> None:
        self._newest, self._rows, self._span, self._settings = newest, rows, span, settings
        temporal = (each.name for each in newest.columns if each.dtype.startswith("Date") and each.treatment == "keep")
        self._clock = next(temporal, None) if newest.rows_of == "day" else None
        own = [each.name for each in newest.columns if _domain(each) in _singulars(newest.table)]
        keys = [each.name for each in newest.columns if PSEUDONYM.match(each.treatment)]
        self._own = next(iter(own or (keys if newest.rows_of == "state" else ())), None)

    def column(self, column: Column) -> pl.Series:
        """One column of it."""
        dtype = dtype_of(column.dtype)
        if dtype is None:
            raise DummyError(self._newest.table, f"a type that is known here; {column.name!r} has another")
        rng = _random(self._newest.table, column.name)
        values = self._values(column, dtype, rng)
        series = values if isinstance(values, pl.Series) else pl.Series(column.name, values, dtype=dtype, strict=False)
        series = series.alias(column.name).cast(dtype, strict=False)
        if column.name in {self._own, self._clock} or column.treatment.startswith("constant("):
            return series
        present = pl.Series(rng.random(self._rows) >= NULLS)
        return pl.select(pl.when(present).then(series)).to_series().alias(column.name)

    def _values(self, column: Column, dtype: pl.DataType, rng: Generator) -> pl.Series | list[Any]:
        domain, treatment = _domain(column), column.treatment
        if treatment == "null" or isinstance(dtype, pl.Null):
            return [None] * self._rows
        if treatment.startswith("constant("):
            return pl.Series([treatment[len("constant(") : -1]] * self._rows)
        if domain is not None:
            return self._keys(column, domain, dtype, rng)
        if isinstance(dtype, pl.List):
            flat = self._plain(column, dtype.inner, rng)  # type: ignore[arg-type]  # an instance, as dtype_of makes it
            return [[each, each] for each in pl.Series(flat).to_list()]
        return self._plain(column, dtype, rng)

    def _keys(self, column: Column, domain: str, dtype: pl.DataType, rng: Generator) -> pl.Series:
        numbers = range(self._rows) if column.name == self._own else rng.integers(self._rows, size=self._rows).tolist()
        found = PSEUDONYM.match(column.treatment)
        if found is None:
            plain = [number + 1 for number in numbers]
            return pl.Series(plain if dtype.is_numeric() else [f"{domain} {number}" for number in plain])
        shape = found.group(2) or "text"
        pool = [pooled(domain, shape, number) for number in range(self._rows)]
        return pl.Series([pool[number] for number in numbers])

    def _plain(self, column: Column, dtype: pl.DataType, rng: Generator) -> pl.Series | list[Any]:
        if dtype.is_temporal():
            return self._times(column, dtype, rng)
        if isinstance(dtype, pl.Boolean):
            return pl.Series(rng.random(self._rows) < 0.5)
        if isinstance(dtype, pl.String):
            return self._texts(column, rng)
        if isinstance(dtype, pl.Binary):
            return [rng.bytes(8) for _ in range(self._rows)]
        return self._numbers(column, dtype, rng)

    def _numbers(self, column: Column, dtype: pl.DataType, rng: Generator) -> pl.Series | list[Any]:
        step = re.fullmatch(r"generalise\(round ([\d.]+)\)", column.treatment)
        largest = min(1_000, 10 ** (dtype.precision - dtype.scale) - 1) if isinstance(dtype, pl.Decimal) else 1_000
        numbers = rng.integers(1, min(largest, LARGEST.get(str(dtype), largest)) + 1, size=self._rows)
        if step is not None:
            every = float(step.group(1))
            return pl.Series([Decimal(str(round(each / every) * every)) for each in numbers.tolist()]).cast(pl.Float64)
        if isinstance(dtype, pl.Decimal):
            unit = 10**dtype.scale
            cents = rng.integers(unit, size=self._rows).tolist() if unit < 2**62 else [0] * self._rows
            return [
                Decimal(whole - 1) + Decimal(part) / unit for whole, part in zip(numbers.tolist(), cents, strict=True)
            ]
        return pl.Series(numbers + (rng.random(self._rows) if dtype.is_float() else 0))

    def _texts(self, column: Column, rng: Generator) -> pl.Series:
        choices = _choices(column)
        return pl.Series([choices[place] for place in rng.integers(len(choices), size=self._rows).tolist()])

    def _times(self, column: Column, dtype: pl.DataType, rng: Generator) -> pl.Series | list[Any]:
        if isinstance(dtype, pl.Time):
            return [time(hour, 30) for hour in rng.integers(24, size=self._rows).tolist()]
        if self._newest.rows_of == "day":
            places = [number * self._span.days // self._rows for number in range(self._rows)]
            if column.name != self._clock:
                places = rng.integers(self._span.days, size=self._rows).tolist()
            days = [self._span.first + timedelta(days=place) for place in places]
        else:
            days = [
                self._span.last - timedelta(days=back) for back in rng.integers(1, 20_000, size=self._rows).tolist()
            ]
        if isinstance(dtype, pl.Date):
            return pl.Series([_coarse(day, column.treatment) for day in days], dtype=pl.Date)
        moments = self._moments(days, column, rng)
        zoned = pl.Series(moments, dtype=pl.Datetime("us", "UTC"))
        if not isinstance(dtype, pl.Datetime):
            return zoned
        zone = dtype.time_zone
        return (
            zoned.dt.convert_time_zone(zone)
            if zone
            else zoned.dt.convert_time_zone(self._settings.zone).dt.replace_time_zone(None)
        )

    def _moments(self, days: Sequence[date], column: Column, rng: Generator) -> list[datetime]:
        """Instants within the business's days, ascending within each; the beginning of a period, if generalised."""
        bounds = {day: self._settings.bounds(_coarse(day, column.treatment)) for day in set(days)}
        shares = rng.random(self._rows) * (0 if column.treatment.startswith("generalise(") else 1)
        moments = [
            bounds[day][0] + (bounds[day][1] - bounds[day][0]) * share
            for day, share in zip(days, shares.tolist(), strict=True)
        ]
        return sorted(moments) if column.name == self._clock else moments


def _random(*what: str) -> Generator:
    import numpy as np

    seed = hashlib.blake2b(":".join(what).encode(), digest_size=8).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))


def _singulars(table: str) -> set[str]:
    """What one row of a table may be called: orders holds an order, categories a category, boxes a box."""
    endings = {"": "", "s": "", "es": "", "ies": "y"}
    return {table.removesuffix(end) + new for end, new in endings.items() if table.endswith(end)}


def _domain(column: Column) -> str | None:
    """What a column is a key of: the domain of its pseudonyms, or what stands before `_id` in its name."""
    if found := PSEUDONYM.match(column.treatment):
        return found.group(1)
    kept = column.treatment == "keep" and re.fullmatch(r"U?Int\d+|String", column.dtype)
    return column.name.removesuffix("_id") if kept and column.name.endswith("_id") else None


def _choices(column: Column) -> list[str]:
    """What a column of text may hold."""
    treatment = column.treatment
    if found := re.fullmatch(r"truncate\((\d+)\)", treatment):
        return [word.upper()[: int(found.group(1))] for word in WORDS]
    if found := re.fullmatch(r"generalise\(bins ([-\d., ]+)\)", treatment):
        edges = found.group(1).split(", ")
        middle = [f"{low} to below {high}" for low, high in pairwise(edges)]
        return [f"below {edges[0]}", *middle, f"{edges[-1]} and above"]
    if treatment.startswith("json("):
        return ['{"dummy":true}', "{}"]
    if treatment.startswith("free_text("):
        return [f"A made-up text about {word}." for word in WORDS]
    words = [f"{column.name} {word}" for word in WORDS]
    return [*words, "other"] if "rarer than" in treatment else words


def _coarse(day: date, treatment: str) -> date:
    """The first day of the period to which days are generalised."""
    if treatment == "generalise(year)":
        return day.replace(month=1, day=1)
    if treatment == "generalise(quarter)":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(day=1) if treatment == "generalise(month)" else day
