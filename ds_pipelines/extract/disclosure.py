"""What extracts tell by being compared: with yesterday's, and with each other over time.

What belongs here: the two measures. What does not: judging them; they are told, not forbidden, because an extract that
keeps pseudonyms stable, so that tables can be joined, cannot avoid either.

Large tables are compared on the sixteenth of the rows whose pseudonym begins with 0, which is a random sample of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import UnknownExtractError, UnknownSnapshotError
from ds_pipelines.extract.order import columns_of_order
from ds_pipelines.extract.treatments import Pseudonym

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.snapshots.store import SnapshotStore

ALL_ROWS = 500_000
"""Up to so many rows are compared all."""
SAMPLED = 16
SEQUENCE_DAYS = 90
"""Days over which a person's sequence is followed."""


@dataclass(frozen=True)
class Difference:
    """How an extract differs from the one published before it."""

    before: date
    appeared: int
    disappeared: int
    of: int
    """Rows that were compared."""


@dataclass(frozen=True)
class Sequences:
    """How many people are told from all others by their days alone."""

    persons: int
    unique: int
    days: int
    tables: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of the persons."""
        return self.unique / self.persons if self.persons else 0.0


def difference(store: SnapshotStore, table: TablePolicy, day: date, rows: int, staged: Path) -> Difference | None:
    """What the difference to the last extract before it, or of the same day, reveals; None if there is none."""
    before = _before(store, table, day)
    if before is None:
        return None
    leading = columns_of_order(table)[0]
    sampled = max(rows, before.rows) > ALL_ROWS and isinstance(table.columns[leading].treatment, Pseudonym)
    try:
        old = _keys(store.path(before.digest), leading, sampled=sampled)
    except UnknownSnapshotError:
        return None
    new = _keys(staged, leading, sampled=sampled)
    if old.dtype != new.dtype:
        return None
    appeared = int((~new.is_in(old.implode())).sum())
    disappeared = int((~old.is_in(new.implode())).sum())
    return Difference(before.day, appeared, disappeared, new.len())


def _before(store: SnapshotStore, table: TablePolicy, day: date) -> SnapshotManifest | None:
    try:
        manifests = store.manifests(table.name)
    except UnknownExtractError:
        return None
    if table.by_day is not None:
        manifests = [manifest for manifest in manifests if manifest.day == day]
    return max((manifest for manifest in manifests if manifest.day <= day), key=lambda each: each.day, default=None)


def _keys(path: Path, leading: str, *, sampled: bool) -> pl.Series:
    rows = pl.scan_parquet(path).select(pl.col(leading))
    if sampled and rows.collect_schema()[leading] == pl.String:
        rows = rows.filter(pl.col(leading) < "1")  # the first of its row groups: they are in this order
    return rows.collect().to_series().unique()


def sequences(store: SnapshotStore, policy: Policy, table: TablePolicy) -> Sequences | None:
    """How many of a domain's persons no other shares the sequence of: the tables and days on which they occur.

    None unless the table is the home of persons, and something of them is published by day.
    """
    if table.person is None or not table.of_persons:
        return None
    domain = table.columns[table.person].treatment
    published = set(store.tables())
    followed: list[str] = []
    parts: list[pl.LazyFrame] = []
    days: set[date] = set()
    for other in policy.tables.values():
        if other.by_day is None or other.name not in published or other.person is None:
            continue
        if other.columns[other.person].treatment != domain:
            continue
        manifests = store.manifests(other.name)
        since = manifests[-1].day - timedelta(days=SEQUENCE_DAYS - 1)
        recent = [manifest for manifest in manifests if manifest.day >= since and manifest.rows]
        if not recent:
            continue
        followed.append(other.name)
        days |= {manifest.day for manifest in recent}
        sampled = sum(manifest.rows for manifest in recent) > ALL_ROWS
        parts.append(_occurrences(store, other.name, recent, other.person, sampled=sampled))
    if not parts:
        return None
    every = pl.concat(parts).unique().group_by("person").agg(pl.struct("table", "file").hash(7).sort())
    counted = every.select("person", sequence=pl.col("table").list.eval(pl.element().cast(pl.String)).list.join(","))
    found = counted.collect()
    unique = int((~found["sequence"].is_duplicated()).sum())
    return Sequences(found.height, unique, len(days), tuple(followed))


def _occurrences(
    store: SnapshotStore, table: str, manifests: list[SnapshotManifest], person: str, *, sampled: bool
) -> pl.LazyFrame:
    rows = pl.scan_parquet([store.path(manifest.digest) for manifest in manifests], include_file_paths="file")
    if sampled:
        rows = rows.filter(pl.col(person).str.starts_with("0"))
    named = rows.select(person=pl.col(person), file=pl.col("file"), table=pl.lit(table))
    return named.filter(pl.col("person").is_not_null()).unique()
