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
from typing import TYPE_CHECKING, Literal, overload

import polars as pl
import polars.selectors as cs

from ds_pipelines.errors import (
    MissingDaysError,
    MixedExtractError,
    TableArgumentError,
    UnknownColumnError,
    UnknownSnapshotError,
    UnpublishedDayError,
)
from ds_pipelines.evidence import RunInput
from ds_pipelines.gateway.client import connect
from ds_pipelines.gateway.progress import bar
from ds_pipelines.lab.notes import current
from ds_pipelines.lab.pins import pinned
from ds_pipelines.lab.selection import Question, Selection, asking, choose
from ds_pipelines.lab.shares import spread
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    import pandas as pd

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.gateway.client import Gateway
    from ds_pipelines.settings import Settings

OUTDATED = (UnpublishedDayError, MissingDaysError, UnknownColumnError, MixedExtractError)
"""What a newer listing may put right."""

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
    dummy: int | None = None,
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
    dummy: int | None = None,
) -> pd.DataFrame: ...


def table(
    name: str,
    *,
    since: str | date | None = None,
    until: str | date | None = None,
    as_of: str | date | None = None,
    columns: Sequence[str] | None = None,
    as_: Literal["polars", "pandas"] = "polars",
    dummy: int | None = None,
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
        dummy: So many made-up rows of the table's shape instead, spread over the days; of the extract only the columns
            are asked. The run's record says so, and nothing can be released on them.

    Returns:
        One row per row of the table; within a day in the order of publication.

    Raises:
        UnknownExtractError: no such table is published.
        UnpublishedDayError: nothing is published within the bounds; `lab.request` asks for it.
        MissingDaysError: days between the bounds are not published; `lab.request` asks for them.
        UnknownColumnError: a column that does not exist, or that the policy withholds.
        MixedExtractError: days whose columns or pseudonyms do not fit together.
        TableArgumentError: bounds that this table cannot have, or that are no days.
        DummyError: no such number of rows can be made up.
        MissingSecretError: there is no usable token for the gateway.
        DiskFullError: the cache's disk has no space for what is missing.
        ForgedSnapshotError, UnknownSnapshotError: the gateway's file is not the published one, or is gone.
        GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: the gateway is needed and does not serve us.
    """
    if as_ not in {"polars", "pandas"}:
        raise TableArgumentError(name, "as_", "'polars' or 'pandas'")
    question = asking(name, since=since, until=until, as_of=as_of, columns=columns)
    settings = load_settings()
    if dummy is not None:
        from ds_pipelines.lab.dummy import read

        with connect(settings) as gateway:
            frame = read(gateway, name, question, dummy)
    else:
        selection, files = _found(name, question, settings)
        _note(selection.manifests)
        frame = scan(files, selection, settings.table_share)
    return frame if as_ == "polars" else frame.with_columns(cs.decimal().cast(pl.Float64)).collect().to_pandas()


def _found(name: str, question: Question, settings: Settings) -> tuple[Selection, list[Path]]:
    """What a question means, and its files: through the gateway, or as a run that is reproduced had them."""
    if settings.pins is None:
        with connect(settings) as gateway:
            return obtain(gateway, name, question)
    published, by_digest = pinned(settings.pins, name)
    selection = choose(published, question)
    return selection, [by_digest[manifest.digest] for manifest in selection.manifests]


def select(gateway: Gateway, name: str, question: Question) -> Selection:
    """What a question means; asks the gateway only where its last listing is too old, or has no answer.

    Raises:
        The errors of `table`, but for those of fetching.
    """
    known = gateway.known_manifests(name, up_to=question.until or question.as_of)
    try:
        selection = choose(known, question)
    except OUTDATED:
        newer = gateway.known_manifests(name, anew=True)
        if newer == known:
            raise
        selection = choose(newer, question)
    return selection


def obtain(gateway: Gateway, name: str, question: Question) -> tuple[Selection, list[Path]]:
    """What a question means, and its files; listed again if a day was published anew since it was listed.

    Raises:
        The errors of `table`.
    """
    selection = select(gateway, name, question)
    try:
        return selection, fetch(gateway, selection.manifests)
    except UnknownSnapshotError:
        gateway.manifests(name)
        newer = select(gateway, name, question)
        if newer == selection:
            raise
    return newer, fetch(gateway, newer.manifests)


def fetch(gateway: Gateway, manifests: Sequence[SnapshotManifest]) -> list[Path]:
    """The files of snapshots, with a bar where a person looks on.

    Raises:
        The errors of `Gateway.fetch_all`.
    """
    title, size = f"Fetching {manifests[-1].table}", sum(each.bytes for each in gateway.cache.missing(manifests))
    with bar(title, size) as advance:
        return gateway.fetch_all(manifests, advance)


def scan(files: Sequence[Path], selection: Selection, share: float = 1.0) -> pl.LazyFrame:
    """The files of a selection as one table, or a share of its rows."""
    # Columns that nobody asked for may come and go between days; those asked for were found to agree.
    found = pl.scan_parquet(
        list(files), glob=False, hive_partitioning=False, extra_columns="ignore", missing_columns="insert"
    ).select(selection.columns)
    return found if share == 1 else found.filter(spread(share))


def _note(chosen: Sequence[SnapshotManifest]) -> None:
    note([RunInput(table=manifest.table, day=manifest.day, digest=manifest.digest) for manifest in chosen])


def note(read: Sequence[RunInput]) -> None:
    """Notes what was read, for the run in which it is, and for whoever collects it with `reading`."""
    inputs, notes = _reading.get(), current()
    if notes is not None:
        notes.read(read)
    if inputs is not None:
        known = set(inputs)
        inputs.extend(item for item in read if item not in known)
