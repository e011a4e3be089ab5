"""`lab.table`: an extract as one table, fetched through the gateway.

What belongs here: which snapshots a question means, whether they fit together, and noting which were read. What does
not: requests and the cache (`gateway.client`), or any other source of data.

An extract by day is the days asked for, one below the other, and a gap among them is an error. A table of current state
is its newest snapshot, or the newest up to `as_of`. Whoever runs an experiment collects what was read with `reading`.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, overload

import polars as pl
import polars.selectors as cs

from ds_pipelines.errors import (
    MissingDaysError,
    MixedExtractError,
    TableArgumentError,
    UnknownColumnError,
    UnpublishedDayError,
    listing,
)
from ds_pipelines.evidence import RunInput
from ds_pipelines.gateway.client import connect
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from ds_pipelines.evidence import SnapshotManifest

log = logging.getLogger(__name__)

_reading: ContextVar[list[RunInput] | None] = ContextVar("_reading", default=None)


@contextmanager
def reading() -> Iterator[list[RunInput]]:
    """Collects the snapshots that `table` reads within the block, each once, in the order of first reading.

    It sees the calls of its own thread and of tasks started from it, not those of other threads.
    """
    inputs: list[RunInput] = []
    token = _reading.set(inputs)
    try:
        yield inputs
    finally:
        _reading.reset(token)


@overload
def table(
    name: str,
    *,
    since: str | date | None = None,
    until: str | date | None = None,
    as_of: str | date | None = None,
    columns: Sequence[str] | None = None,
    as_: Literal["polars"] = "polars",
) -> pl.LazyFrame: ...


@overload
def table(
    name: str,
    *,
    since: str | date | None = None,
    until: str | date | None = None,
    as_of: str | date | None = None,
    columns: Sequence[str] | None = None,
    as_: Literal["pandas"],
) -> pd.DataFrame: ...


def table(
    name: str,
    *,
    since: str | date | None = None,
    until: str | date | None = None,
    as_of: str | date | None = None,
    columns: Sequence[str] | None = None,
    as_: Literal["polars", "pandas"] = "polars",
) -> pl.LazyFrame | pd.DataFrame:
    """An extract, from the local cache as far as it is there, else through the gateway.

    Without bounds: all published days, or the newest state. Days are dates or text as YYYY-MM-DD, both ends included.

    Args:
        name: The table, as orders.
        since: First day, for tables by day.
        until: Last day, for tables by day.
        as_of: What was known at the end of this day: the days up to it, or the newest state read up to it.
        columns: Which columns, in this order; None gives all that the privacy policy lets through.
        as_: "polars" for a LazyFrame, which reads nothing until collected; "pandas" for a DataFrame, read at once, with
            decimals as float64.

    Returns:
        One row per row of the table; within a day in the order of publication.

    Raises:
        UnknownExtractError: no such table is published.
        UnpublishedDayError: nothing is published within the bounds.
        MissingDaysError: days between the bounds are not published.
        UnknownColumnError: a column that does not exist, or that the policy withholds.
        MixedExtractError: days whose columns or pseudonyms do not fit together.
        TableArgumentError: bounds that this table cannot have, or that are no days.
        MissingSecretError: there is no usable token for the gateway.
        DiskFullError: the cache's disk has no space for what is missing.
        ForgedSnapshotError, UnknownSnapshotError: the gateway's file is not the published one, or is gone.
        GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: the gateway is needed and does not serve us.
    """
    if as_ not in {"polars", "pandas"}:
        raise TableArgumentError(name, "as_", "'polars' or 'pandas'")
    with connect(load_settings()) as gateway:
        published = gateway.known_manifests(name)
        chosen = _chosen(
            published,
            since=_day(name, "since", since),
            until=_day(name, "until", until),
            as_of=_day(name, "as_of", as_of),
        )
        wanted = _wanted(chosen[-1], columns)
        _require_agreement(chosen, None if columns is None else wanted)
        files = gateway.fetch_all(chosen)
    _note(chosen)
    # Columns that nobody asked for may come and go between days; those asked for were found to agree.
    frame = pl.scan_parquet(
        files, glob=False, hive_partitioning=False, extra_columns="ignore", missing_columns="insert"
    ).select(wanted)
    return frame if as_ == "polars" else frame.with_columns(cs.decimal().cast(pl.Float64)).collect().to_pandas()


def _day(table: str, argument: str, value: str | date | None) -> date | None:
    if isinstance(value, datetime):  # a subclass of date; its midnight would be taken for the day's end
        raise TableArgumentError(table, argument, "a day without a time, as YYYY-MM-DD or a date")
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise TableArgumentError(table, argument, "a day, as YYYY-MM-DD or a date") from None


def _chosen(
    published: Sequence[SnapshotManifest], *, since: date | None, until: date | None, as_of: date | None
) -> list[SnapshotManifest]:
    """The snapshots that the bounds mean, by day; at least one."""
    newest = published[-1]
    if newest.rows_of == "state":
        if since is not None or until is not None:
            raise TableArgumentError(newest.table, "since or until", "as_of, because it holds a state and not days")
        return [_newest_state(published, as_of)]
    if until is not None and as_of is not None:
        raise TableArgumentError(newest.table, "until and as_of together", "one of them; both mean the last day")
    return _days(published, since, as_of or until)


def _newest_state(published: Sequence[SnapshotManifest], as_of: date | None) -> SnapshotManifest:
    known = [manifest for manifest in published if as_of is None or manifest.day <= as_of]
    if not known:
        raise UnpublishedDayError(published[0].table, f"{as_of} or before", published[0].day, published[-1].day)
    return known[-1]


def _days(published: Sequence[SnapshotManifest], since: date | None, until: date | None) -> list[SnapshotManifest]:
    table, first, last = published[0].table, published[0].day, published[-1].day
    if since is not None and until is not None and since > until:
        raise TableArgumentError(table, "since", f"a day not after {until}, the last one asked for")
    begin, end = max(since or first, first), min(until or last, last)
    if begin > end:
        raise UnpublishedDayError(table, f"{since or first} to {until or last}", first, last)
    if (since or begin) < begin or (until or end) > end:
        log.warning("%r is published from %s to %s: the other days asked for are not in the table.", table, first, last)
    by_day = {manifest.day: manifest for manifest in published}
    asked = [begin + timedelta(days=offset) for offset in range((end - begin).days + 1)]
    if missing := [day for day in asked if day not in by_day]:
        raise MissingDaysError(table, missing)
    return [by_day[day] for day in asked]


def _wanted(manifest: SnapshotManifest, columns: Sequence[str] | None) -> list[str]:
    """The columns to read, in order, all of them known to exist."""
    available = [column.name for column in manifest.columns]
    if columns is None:
        return available
    if isinstance(columns, str) or len(set(columns)) < len(columns):
        raise TableArgumentError(manifest.table, "columns", "a list of column names, each once")
    if absent := [name for name in columns if name not in available]:
        reasons = {column.name: column.explanation for column in manifest.withheld if column.name in absent}
        unknown = [name for name in absent if name not in reasons]
        raise UnknownColumnError(manifest.table, unknown, available, reasons)
    return list(columns)


def _require_agreement(chosen: Sequence[SnapshotManifest], columns: Sequence[str] | None) -> None:
    """Refuses days that would be one table in form only: other columns, other treatments, pseudonyms of another key."""
    newest = chosen[-1]
    expected = _meaning(newest, columns)
    pseudonymous = any(treatment.startswith("pseudonym") for _, treatment in expected.values())
    for manifest in chosen:
        found = _meaning(manifest, columns)
        if found != expected:
            names = {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
            difference = f"columns are missing, or of another type or treatment ({listing(names)})"
            raise MixedExtractError(newest.table, manifest.day, newest.day, difference)
        if pseudonymous and manifest.key_id != newest.key_id:
            raise MixedExtractError(newest.table, manifest.day, newest.day, "pseudonyms come from another key")


def _meaning(manifest: SnapshotManifest, columns: Sequence[str] | None) -> dict[str, tuple[str, str]]:
    return {
        column.name: (column.dtype, column.treatment)
        for column in manifest.columns
        if columns is None or column.name in columns
    }


def _note(chosen: Sequence[SnapshotManifest]) -> None:
    inputs = _reading.get()
    if inputs is None:
        return
    known = set(inputs)
    read = [RunInput(table=manifest.table, day=manifest.day, digest=manifest.digest) for manifest in chosen]
    inputs.extend(item for item in read if item not in known)
