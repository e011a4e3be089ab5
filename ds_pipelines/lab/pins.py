"""Pins: the exact snapshots that `lab.table` answers from while a run is reproduced.

What belongs here: their file, and finding what they name in the cache, or through the gateway. What does not: which of
them a question means (table.py).

A snapshot whose day was published anew since has no manifest any more, so what is known of it is read from its file.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 — pydantic reads it
from typing import TYPE_CHECKING, Literal

import polars as pl
from pydantic import TypeAdapter

from ds_pipelines.errors import DsPipelinesError, NotReproducibleError, UnknownExtractError
from ds_pipelines.evidence import Column, Record, RunInput, SnapshotManifest
from ds_pipelines.gateway.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ds_pipelines.gateway.client import Gateway
    from ds_pipelines.settings import Settings


class Pin(Record):
    """One snapshot that a run read, and where it lies now."""

    input: RunInput
    rows_of: Literal["day", "state"]
    path: Path


_PINS = TypeAdapter(tuple[Pin, ...])
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def write(pins: tuple[Pin, ...], path: Path) -> None:
    """Writes pins where `DS_PINS` will name them."""
    path.write_bytes(_PINS.dump_json(pins))


def pinned(path: Path, table: str) -> tuple[list[SnapshotManifest], dict[str, Path]]:
    """The snapshots of a table that are pinned, by day, and their files by digest.

    Raises:
        UnknownExtractError: none is.
    """
    every = _PINS.validate_json(path.read_bytes())
    pins = sorted((pin for pin in every if pin.input.table == table), key=lambda pin: pin.input.day)
    if not pins:
        raise UnknownExtractError(table, {pin.input.table for pin in every})
    return [_manifest(pin) for pin in pins], {pin.input.digest: pin.path for pin in pins}


def restore(inputs: Iterable[RunInput], settings: Settings) -> tuple[Pin, ...]:
    """Finds every snapshot that a run read, verified by its digest.

    Raises:
        NotReproducibleError: one is not to be had any more; the message says which, and why as far as that is known.
    """
    wanted = tuple(inputs)
    if not wanted:
        return ()
    with connect(settings) as gateway:
        published = {table: _published(gateway, table) for table in sorted({each.table for each in wanted})}
        return tuple(_found(each, published[each.table], gateway) for each in wanted)


def _published(gateway: Gateway, table: str) -> list[SnapshotManifest]:
    """What is published of a table, as far as anybody can tell."""
    try:
        return gateway.known_manifests(table, anew=True)
    except DsPipelinesError:
        return []


def _found(wanted: RunInput, published: list[SnapshotManifest], gateway: Gateway) -> Pin:
    rows_of = published[0].rows_of if published else "day"
    cached = gateway.cache.file(wanted.digest)
    if cached.is_file() and _digest(cached) == wanted.digest:
        return Pin(input=wanted, rows_of=rows_of, path=cached)
    same = next((each for each in published if each.digest == wanted.digest), None)
    if same is None:
        raise _gone(wanted, published)
    try:
        return Pin(input=wanted, rows_of=rows_of, path=gateway.fetch(same))
    except DsPipelinesError as error:
        raise NotReproducibleError("data gone", f"{wanted.table} of {wanted.day} cannot be fetched ({error})") from None


def _gone(wanted: RunInput, published: list[SnapshotManifest]) -> NotReproducibleError:
    """Why a snapshot is not to be had, as what is published of its day now tells."""
    where = f"{wanted.table} of {wanted.day} as the run read it ({wanted.digest[:12]})"
    now = next((each for each in published if each.day == wanted.day), None)
    if now is not None and now.erased_rows:
        return NotReproducibleError(
            "erased data", f"{where} is erased: {now.erased_rows} rows of persons who were erased are out of it now"
        )
    if now is not None:
        return NotReproducibleError(
            "data gone", f"{where} is gone: the day was published anew at {now.published_at:%Y-%m-%d %H:%M %Z}"
        )
    if published:
        return NotReproducibleError("data gone", f"{where} is gone: the day is published no longer")
    return NotReproducibleError("data gone", f"{where} is not in the cache, and the gateway tells nothing of the table")


def _manifest(pin: Pin) -> SnapshotManifest:
    """What the file itself tells of a snapshot; treatments and keys were found to fit when the run read it."""
    schema = pl.read_parquet_schema(pin.path)
    return SnapshotManifest(
        table=pin.input.table,
        rows_of=pin.rows_of,
        day=pin.input.day,
        rows=0,
        bytes=pin.path.stat().st_size,
        digest=pin.input.digest,
        logical_digest="",
        columns=tuple(Column(name=name, dtype=str(dtype), treatment="as read") for name, dtype in schema.items()),
        policy_digest="",
        key_id="",
        read_at=_NEVER,
        published_at=_NEVER,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
