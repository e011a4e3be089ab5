"""Making values coarser, moving them and adding noise, on columns of a frame.

What belongs here: one function a treatment of `generalisations`. What does not: which column gets which (`transform`).
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import reduce
from math import ceil, floor
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract.generalisations import OTHER, Limits, Quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ds_pipelines.extract.generalisations import Bins

_EVERY = {"year": "1y", "quarter": "1q", "month": "1mo"}
_DIGITS = 38
_BIGINT = (-(2**63), 2**63 - 1)
_STEPS = 1 << 20
"""Of noise, for each unit of its scale: far coarser than what logarithms of two machines differ by."""
DRAWS = 1 << 53
"""As many different noises there are."""
_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def period(series: pl.Series, name: str, zone: str) -> pl.Series:
    """The first day of the year, quarter or month; local in the business's zone where the value is an instant."""
    if getattr(series.dtype, "time_zone", None) is None:
        return series.cast(pl.Date).dt.truncate(_EVERY[name])
    days = _local(pl.Series([series.min(), series.max()], dtype=series.dtype), name, zone)
    begins = pl.date_range(days[0], days[1], _EVERY[name], eager=True) if days[0] is not None else days
    midnights = begins.cast(series.dtype).dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    if midnights.null_count():  # no value at all, or a period that begins while the clocks are changed
        return _local(series, name, zone)
    # Far fewer conversions between zones than there are values: each value's period is looked up by its beginning.
    place = midnights.to_physical().search_sorted(series.to_physical().fill_null(strategy="max"), side="right")
    return begins.gather(place - 1).set(series.is_null(), None).alias(series.name)


def _local(instants: pl.Series, name: str, zone: str) -> pl.Series:
    """The first days of the periods in which instants lie, each converted by itself."""
    return instants.dt.convert_time_zone(zone).dt.replace_time_zone(None).cast(pl.Date).dt.truncate(_EVERY[name])


def rounded(series: pl.Series, to: int) -> pl.Series:
    """The nearest multiple, halves up; exact in the number's own kind."""
    value, name = pl.lit(series), series.name
    if series.dtype.is_float():
        result = ((value / to + 0.5).floor() * to).cast(series.dtype)
    else:
        wide = _wide(series.dtype)
        value = value.cast(wide)
        above = value % to  # never negative: Polars' remainder has the sign of the divisor
        result = (value - above + pl.when(above * 2 >= to).then(to).otherwise(0)).cast(wide)
    return pl.select(result.alias(name)).to_series()


def binned(series: pl.Series, bins: Bins) -> pl.Series:
    """The name of the interval; NaN, which lies in none, has none."""
    value = pl.lit(series.fill_nan(None) if series.dtype.is_float() else series)
    # From the highest edge down: the first edge that a value reaches names its interval.
    lowest, *others = bins.names
    named = reduce(
        lambda below, step: pl.when(value >= pl.lit(Decimal(str(step[0])))).then(pl.lit(step[1])).otherwise(below),
        zip(bins.edges or (), others, strict=True),
        pl.lit(lowest),
    )
    return pl.select(pl.when(value.is_not_null()).then(named).alias(series.name)).to_series()


def limited(series: pl.Series, limits: Limits) -> pl.Series:
    """Numbers between the limits; a limit that the type cannot hold moves inwards to one that it can."""
    wide = _wide(series.dtype)
    top, bottom = (_limit(limit, wide, down) for limit, down in ((limits.top, True), (limits.bottom, False)))
    value = pl.lit(series).cast(wide)
    if top is not None:
        value = pl.when(value > pl.lit(top, dtype=wide)).then(pl.lit(top, dtype=wide)).otherwise(value)
    if bottom is not None:
        value = pl.when(value < pl.lit(bottom, dtype=wide)).then(pl.lit(bottom, dtype=wide)).otherwise(value)
    if any(isinstance(limit, Decimal) and limit.is_nan() for limit in (limits.top, limits.bottom)):
        value = pl.lit(pl.Series(dtype=wide).clear(len(series)))
    return pl.select(value.alias(series.name)).to_series()


def _limit(limit: float | Decimal | Quantile | None, dtype: pl.DataType, down: bool) -> int | float | Decimal | None:
    if isinstance(limit, Quantile):
        raise TypeError("limits by quantile must be fitted first")
    if limit is None or (isinstance(limit, Decimal) and limit.is_nan()):
        return None
    if dtype.is_integer():
        whole = floor(limit) if down else ceil(limit)
        return min(max(whole, _BIGINT[0]), _BIGINT[1])
    if isinstance(dtype, pl.Decimal):
        step = Decimal(1).scaleb(-dtype.scale)
        return Decimal(str(limit)).quantize(step, ROUND_FLOOR if down else ROUND_CEILING)
    return float(limit)


def frequent(series: pl.Series, categories: Sequence[str]) -> pl.Series:
    """The category, if it is one of these; what stands for all others, if not."""
    value = pl.lit(series)
    known = value.is_in(pl.Series(categories, dtype=pl.String).implode())
    result = pl.when(value.is_null() | known).then(value).otherwise(pl.lit(OTHER))
    return pl.select(result.alias(series.name)).to_series()


def shifted(series: pl.Series, drawn: pl.Series, days: int) -> pl.Series:
    """Dates or times moved by -days to days whole days, never by none; null where nothing is drawn.

    Args:
        series: Dates or times, shape (n,).
        drawn: Numbers from 0 to below 2 · days, null where there is no person, shape (n,).
        days: At most so many.
    """
    offset = drawn.cast(pl.Int64) - days
    offset = offset + (offset >= 0).cast(pl.Int64)
    unit = 1 if series.dtype == pl.Date else _DAY[getattr(series.dtype, "time_unit", "us")]
    moved = series.to_physical().cast(pl.Int64) + offset * unit
    return moved.cast(series.to_physical().dtype).cast(series.dtype).alias(series.name)


def noisy(series: pl.Series, drawn: pl.Series, scale: float) -> pl.Series:
    """Numbers with Laplace noise, in a type as wide as there is; integers stop at the ends of 64 bits.

    Args:
        series: Numbers, shape (n,).
        drawn: Numbers from 0 to below DRAWS, shape (n,).
        scale: The mean size of the noise.
    """
    share = (pl.lit(drawn).cast(pl.Float64) + 0.5) / DRAWS - 0.5
    laplace = -share.sign() * (1 - 2 * share.abs()).log()
    noise = (laplace * _STEPS).round() / _STEPS * scale
    value = pl.lit(series)
    if series.dtype.is_float():
        result = (value + noise).cast(series.dtype)
    elif series.dtype.is_integer():
        result = (value.cast(pl.Int128) + noise.round().cast(pl.Int128)).clip(*_BIGINT).cast(pl.Int64)
    else:
        wide = _wide(series.dtype)
        result = (value.cast(wide) + noise.cast(wide)).cast(wide)
    return pl.select(result.alias(series.name)).to_series()


def _wide(dtype: pl.DataType) -> pl.DataType:
    """The type for results that the column's own might not hold."""
    if dtype.is_integer():
        return pl.Int64()
    return pl.Decimal(_DIGITS, dtype.scale) if isinstance(dtype, pl.Decimal) else dtype
