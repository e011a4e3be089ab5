"""The transformation: a table as production has it becomes the table that the privacy policy allows.

What belongs here: carrying out each treatment on a frame. What does not: reading, checking that a treatment fits, and
publishing. The extract and the scoring both call `transform`; they differ in the identifiers alone, so a feature
computed from either is the same.
"""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract.treatments import Bins, Keep, Period, Pseudonym, Round, Truncate

if TYPE_CHECKING:
    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.pseudonyms import Pseudonyms

_EVERY = {"year": "1y", "quarter": "1q", "month": "1mo"}


def transform(
    frame: pl.DataFrame, table: TablePolicy, pseudonyms: Pseudonyms | None, *, zone: str, keep_keys: bool = False
) -> pl.DataFrame:
    """The visible columns of a table as the policy leaves them, in the policy's order; rows keep theirs.

    Args:
        frame: The visible columns as `Source.read` gives them.
        table: The decisions about the table.
        pseudonyms: What replaces identifiers; may be None if keys are kept.
        zone: The business's time zone, in which timestamps are generalised.
        keep_keys: Whether identifiers keep their real value. For scoring alone: nothing like it may be published.
    """
    columns = []
    for name, decision in table.visible.items():
        series = frame[name]
        match decision.treatment:
            case Pseudonym(domain=domain) if not keep_keys:
                if pseudonyms is None:
                    raise ValueError("identifiers need pseudonyms unless they are kept")
                columns.append(pseudonyms.of(series, domain))
            case Keep() | Pseudonym():
                columns.append(series)
            case Truncate(characters=characters):
                columns.append(series.str.head(characters))
            case Period(period=period):
                columns.append(_period(series, _EVERY[period], zone))
            case Round(to=to):
                columns.append(_round(series, to))
            case Bins() as bins:
                columns.append(_bins(series, bins))
            case hidden:
                raise ValueError(f"{hidden.label} is not in the extract")
    return pl.DataFrame(columns)


def _period(series: pl.Series, every: str, zone: str) -> pl.Series:
    """The first day of the period; local in the business's zone where the value is an instant."""
    if getattr(series.dtype, "time_zone", None) is not None:
        series = series.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return series.cast(pl.Date).dt.truncate(every)


def _round(series: pl.Series, to: int) -> pl.Series:
    """The nearest multiple, halves up; exact in the number's own kind."""
    value, name = pl.lit(series), series.name
    if series.dtype.is_float():
        rounded = ((value / to + 0.5).floor() * to).cast(series.dtype)
    else:
        wide = pl.Int64() if series.dtype.is_integer() else pl.Decimal(38, getattr(series.dtype, "scale", 0))
        value = value.cast(wide)
        above = value % to  # never negative: Polars' remainder has the sign of the divisor
        rounded = (value - above + pl.when(above * 2 >= to).then(to).otherwise(0)).cast(wide)
    return pl.select(rounded.alias(name)).to_series()


def _bins(series: pl.Series, bins: Bins) -> pl.Series:
    """The name of the interval; NaN, which lies in none, has none."""
    value = pl.lit(series.fill_nan(None) if series.dtype.is_float() else series)
    # From the highest edge down: the first edge that a value reaches names its interval.
    lowest, *others = bins.names
    named = reduce(
        lambda below, step: pl.when(value >= pl.lit(Decimal(str(step[0])))).then(pl.lit(step[1])).otherwise(below),
        zip(bins.edges, others, strict=True),
        pl.lit(lowest),
    )
    return pl.select(pl.when(value.is_not_null()).then(named).alias(series.name)).to_series()
