"""From the shop's wall clock to instants.

What belongs here: what a change to or from summer time does to a local time. What does not: when anything happens.
"""

from __future__ import annotations

import polars as pl

from ds_pipelines.sample.shop import ZONE


def instants(local: pl.Series, *, later: pl.Series | None = None) -> pl.Series:
    """UTC instants of times on the shop's wall clock.

    A time that the clock skips (the hour lost in March) is an hour later. A time that it shows twice (in October) is
    the first of the two, or the second where `later` is true.

    Args:
        local: datetimes without a zone.
        later: booleans of the same length.
    """
    frame = pl.DataFrame(
        {"local": local, "later": pl.repeat(False, len(local), eager=True) if later is None else later}
    )
    # Not one call with an expression for `ambiguous`: Polars 2.1 panics on it where the column is empty.
    first = pl.col("local").dt.replace_time_zone(ZONE, non_existent="null", ambiguous="earliest")
    second = pl.col("local").dt.replace_time_zone(ZONE, non_existent="null", ambiguous="latest")
    shown = pl.when("later").then(second).otherwise(first)
    pushed = (pl.col("local") + pl.duration(hours=1)).dt.replace_time_zone(ZONE, ambiguous="earliest")
    instant = pl.when(shown.is_null()).then(pushed).otherwise(shown)
    return frame.select(instant.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))).to_series()


def skipped(local: pl.Expr) -> pl.Expr:
    """Whether the shop's wall clock never shows a time."""
    return local.is_not_null() & local.dt.replace_time_zone(ZONE, non_existent="null", ambiguous="earliest").is_null()
