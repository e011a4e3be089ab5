"""Values as the database holds them: what is selected for a column, and the driver's answer in its exact type.

What belongs here: that a value survives exactly, or is refused by the name of its column. What does not: which rows are
asked for (`source`), and what each type is carried as (`types`).
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow as pa

from ds_pipelines.errors import UnreadableValueError
from ds_pipelines.extract.names import quoted
from ds_pipelines.extract.types import DIGITS, FRACTION, Carried

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH = date(1970, 1, 1)
_DAYS = ((date.min - _EPOCH).days, (date.max - _EPOCH).days + 1)
"""From the first to the one after the last that dates and instants may fall on, counted as Arrow does."""
_LONG_DIGITS = 18
"""So many always fit into a bigint."""
_NAN = -(2**63)
"""No number of so few digits."""
_MICROSECONDS_A_DAY = 86_400_000_000


def selection(columns: Mapping[str, Carried]) -> str:
    """What is selected for columns: themselves, and then whether a value would be changed in passing."""
    selected = [_expression(name, how) for name, how in columns.items()]
    selected += [how.refuses.format(quoted(name)) for name, how in columns.items() if how.refuses]
    return "SELECT " + ", ".join(f"{expression} AS c{number}" for number, expression in enumerate(selected))


def _expression(name: str, how: Carried) -> str:
    """What to select for a column: NUMERIC of up to 18 digits as a whole number of its last digit's unit.

    The driver gives NUMERIC as text, and making and parsing that took half of the time of reading.
    """
    value = how.sql.format(quoted(name))
    if not _counted(how):
        return value
    counted = f"({value} * {10**how.dtype.scale})::bigint"  # type: ignore[attr-defined]
    return f"CASE WHEN {value} = 'NaN' THEN {_NAN} ELSE {counted} END"


def _counted(how: Carried) -> bool:
    digits = how.dtype.precision if isinstance(how.dtype, pl.Decimal) else None
    return how.read and digits is not None and digits <= _LONG_DIGITS


def exactly(batch: Any, columns: Mapping[str, Carried], table: str) -> pl.DataFrame:
    """A batch of the driver's in the types by which columns are carried; a value survives exactly, or is refused."""
    frame = cast("pl.DataFrame", pl.from_arrow(batch))
    read, checks = frame.get_columns()[: len(columns)], frame.get_columns()[len(columns) :]
    for (name, how), refused in zip(((name, how) for name, how in columns.items() if how.refuses), checks, strict=True):
        if refused.any():
            raise UnreadableValueError(table, name, how.expects)
    made = []
    for series, (name, how) in zip(read, columns.items(), strict=True):
        exact = series.alias(name) if how.read else pl.Series(name, dtype=how.dtype).clear(frame.height)
        inner = how.dtype.inner if isinstance(how.dtype, pl.List) else how.dtype
        if isinstance(inner, pl.Decimal):
            exact = _decimal(exact, table, how)
        elif inner.is_temporal() and inner != pl.Time:
            _require_year(exact, table)
        elif inner == pl.Time:
            exact = exact.cast(how.dtype)
        if exact.dtype != how.dtype:
            raise UnreadableValueError(table, name, f"{how.dtype} from the driver, not {exact.dtype}")
        made.append(exact)
    return pl.DataFrame(made)


def _flat(series: pl.Series) -> pl.Series:
    """The values, or those in the lists."""
    return series.explode() if isinstance(series.dtype, pl.List) else series


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
    room = f"a finite number of {how.column.type}"
    if how.column.modifier < 0:
        room = f"a finite number of at most {DIGITS - FRACTION} digits before the point and {FRACTION} after it"
        # The cast would round what has more digits after the point.
        if not _flat(digits).str.contains(rf"^[^.]*(\.\d{{0,{FRACTION}}})?$").all():
            raise UnreadableValueError(table, series.name, room)
    try:
        return digits.cast(how.dtype)
    except pl.exceptions.InvalidOperationError:  # its message quotes the values
        raise UnreadableValueError(table, series.name, room) from None


def _require_year(series: pl.Series, table: str) -> None:
    values = _flat(series)
    unit = 1 if values.dtype == pl.Date else _MICROSECONDS_A_DAY
    first, end = (day * unit for day in _DAYS)
    if not values.to_physical().is_between(first, end, closed="left").all():  # nulls do not count
        raise UnreadableValueError(table, series.name, "a day of the years 1 to 9999, not infinity")
