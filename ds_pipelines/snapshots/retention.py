"""Retention: which published days and stored snapshots are let go, and why the others stay.

What belongs here: the rule and carrying it out. What does not: erasure, which prevails over it (`operate.erase`).

The rule. A day older than `retention_days` goes. But every snapshot stays that a release, offered or accepted, was made
from; that a run younger than `retention_days` read; or that the newest run of an experiment read. Of a table by day
the days go from the oldest on, up to the first that is needed, so that what is published never has a gap. Of a table of
current state each day goes by itself, except for the newest. Snapshots that no manifest names any more, because their
day was published anew, go at once unless they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ds_pipelines.snapshots.locks import alone
from ds_pipelines.snapshots.records import readers
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Pruned:
    """What goes, and what stays although it is old."""

    days: tuple[SnapshotManifest, ...]
    unnamed: frozenset[str]
    """Digests of stored snapshots that no manifest names, before this."""
    kept: Mapping[str, int]
    """How many old days stay, by the reason."""
    done: bool


def prune(settings: Settings, *, do_it: bool) -> Pruned:
    """Lets go what the rule lets go; waits for extracts that are running.

    Args:
        settings: Name the store, `retention_days`, and the runs and releases that need snapshots.
        do_it: Whether to remove it; otherwise it is only told.

    Raises:
        DamagedRecordError, DamagedManifestError: what is needed cannot be told; nothing is removed.
    """
    with alone(settings):
        store = SnapshotStore(settings.snapshots)
        needed = needs(settings)
        going: list[SnapshotManifest] = []
        staying: list[SnapshotManifest] = []
        kept: dict[str, int] = {}
        for table in store.tables():
            manifests = store.manifests(table)
            old = _going(manifests, _cutoff(settings), needed, kept)
            going += old
            staying += [manifest for manifest in manifests if manifest not in old]
        unneeded = store.digests() - {manifest.digest for manifest in staying} - needed.keys()
        unnamed = unneeded - {manifest.digest for manifest in going}
        if do_it:
            store.unpublish(going)
            store.discard(unneeded)
    return Pruned(tuple(going), frozenset(unnamed), kept, do_it)


def needs(settings: Settings) -> dict[str, str]:
    """The snapshots that something needs, each with what needs it.

    Raises:
        DamagedRecordError: a record of a run or a release cannot be read.
    """
    needed: dict[str, str] = {}
    newest: dict[str, tuple[str, frozenset[str]]] = {}
    cutoff = _cutoff(settings)
    for reader in sorted(readers(settings), key=lambda each: (each.started_at is not None, each.started_at)):
        if reader.experiment is None or reader.started_at is None:
            needed |= dict.fromkeys(reader.digests, reader.words)
            continue
        newest[reader.experiment] = (reader.words, reader.digests)
        if cutoff is None or reader.started_at.date() >= cutoff:
            needed = dict.fromkeys(reader.digests, reader.words) | needed
    for words, digests in newest.values():
        needed = dict.fromkeys(digests, words) | needed
    return needed


def _cutoff(settings: Settings) -> date | None:
    """The first day that is young enough to stay; None: all are."""
    if settings.retention_days is None:
        return None
    return settings.now().date() - timedelta(days=settings.retention_days)


def _going(
    manifests: Sequence[SnapshotManifest], cutoff: date | None, needed: Mapping[str, str], kept: dict[str, int]
) -> list[SnapshotManifest]:
    """Of one table's manifests, by day, those that go; counts in `kept` the old ones that stay."""
    going: list[SnapshotManifest] = []
    because: str | None = None
    for manifest in manifests:
        if cutoff is None or manifest.day >= cutoff:
            break
        if manifest.rows_of == "state":
            because = needed.get(manifest.digest)
            if manifest is manifests[-1]:
                because = because or "a table that has no newer state"
        elif because is None:
            because = needed.get(manifest.digest)
        if because is None:
            going.append(manifest)
        else:
            kept[because] = kept.get(because, 0) + 1
    return going


def told(pruned: Pruned) -> Iterator[str]:
    """What goes and what stays, in lines for a terminal."""
    verb = "removed" if pruned.done else "would remove"
    for table in sorted({manifest.table for manifest in pruned.days}):
        days = [manifest.day for manifest in pruned.days if manifest.table == table]
        yield f"{verb} {len(days):,} days of {table}, {min(days)} to {max(days)}: older than DS_RETENTION_DAYS"
    if pruned.unnamed:
        yield f"{verb} {len(pruned.unnamed):,} snapshots that no manifest names any more"
    for reason, days_kept in sorted(pruned.kept.items()):
        yield f"kept {days_kept:,} older days: {reason} needs them"
    if not (pruned.days or pruned.unnamed):
        yield "nothing is to be removed"
    if not pruned.done:
        yield "This was a dry run: nothing was changed. Repeat it with --do-it."
