"""Erasure within the store of snapshots: published days are published anew without erased persons, others go whole.

What belongs here: reading, splitting and replacing snapshots by the tombstones. What does not: whose tombstones, and
everything outside the store.

Which column identifies whom stands in each manifest, as the policy said when it was made. A snapshot that no manifest
names any more, because its day was published anew, has none: it goes if anything in it is marked.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract.rotation import domains_of, written_anew
from ds_pipelines.extract.tombstones import PERSON, split
from ds_pipelines.snapshots import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.extract.tombstones import Tombstones
    from ds_pipelines.snapshots.store import SnapshotStore


@dataclass(frozen=True)
class ErasedSnapshots:
    """What went, or goes, from the store."""

    days: tuple[tuple[SnapshotManifest, int], ...]
    """Each published day as it was, with the number of rows that go; 0: only references to records go."""
    unnamed: frozenset[str]
    """Digests of snapshots that no manifest named, which go whole."""

    @property
    def digests(self) -> frozenset[str]:
        """Every snapshot that is not to be had any more."""
        return self.unnamed | {manifest.digest for manifest, _ in self.days}


def remove(
    store: SnapshotStore, stones: Tombstones, fates: traces.Fates, policy: Policy, *, reason: str, do_it: bool
) -> ErasedSnapshots:
    """Publishes each day that names an erased person anew without, then removes the old snapshots for good.

    Raises:
        DiskFullError, DamagedManifestError: what was done until then stays; the rest is done by the next call.
    """
    days: list[tuple[SnapshotManifest, int]] = []
    with store.stage() if do_it else nullcontext() as stage:
        for manifest in _published(store):
            domains = domains_of(manifest)
            path = store.path(manifest.digest)
            named = pl.read_parquet(path, columns=list(domains), glob=False, hive_partitioning=False)
            if not any(_is_marked(stones, named[name], domain).any() for name, domain in domains.items()):
                continue
            frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
            kept, gone = split(
                frame,
                person=[
                    _is_marked(stones, frame[name], domain) for name, domain in domains.items() if domain == PERSON
                ],
                records={
                    name: _is_marked(stones, frame[name], domain)
                    for name, domain in domains.items()
                    if domain != PERSON
                },
                domains=domains,
                key=_key(policy, manifest.table),
            )
            days.append((manifest, gone.height))
            if stage is not None:
                written = written_anew(stage, kept, manifest, policy)
                changes = {
                    "rows": written.rows,
                    "bytes": written.bytes,
                    "digest": written.digest,
                    "logical_digest": written.logical_digest,
                    "erased_rows": manifest.erased_rows + gone.height,
                    "published_at": datetime.now(UTC),
                }
                stage.publish([manifest.model_copy(update=changes)])
    replaced = {manifest.digest for manifest, _ in days}
    named_now = {manifest.digest for manifest in _published(store)} | replaced
    unnamed = frozenset(
        digest for digest in store.digests() - named_now if traces.follow(store.path(digest), fates, do_it=False)
    )
    if do_it:
        store.withdraw(replaced | unnamed, reason)
    return ErasedSnapshots(tuple(days), unnamed)


def records_of(person: str, store: SnapshotStore, policy: Policy) -> set[str]:
    """The pseudonyms of what a person's rows record, as their orders: the keys of those rows, where they are any."""
    found: set[str] = set()
    for manifest in _published(store):
        domains = domains_of(manifest)
        persons = [name for name, domain in domains.items() if domain == PERSON]
        keys = [name for name in _key(policy, manifest.table) if domains.get(name, PERSON) != PERSON]
        if persons and keys:
            rows = pl.read_parquet(
                store.path(manifest.digest), columns=persons + keys, glob=False, hive_partitioning=False
            ).filter(pl.any_horizontal(pl.col(name) == person for name in persons))
            found |= {value for name in keys for value in rows[name].drop_nulls()}
    return found


def under_other_keys(store: SnapshotStore, key_id: str) -> list[str]:
    """Tables with days whose pseudonyms another secret made: nobody can be recognised in them."""
    return sorted({each.table for each in _published(store) if domains_of(each) and each.key_id != key_id})


def _published(store: SnapshotStore) -> Iterator[SnapshotManifest]:
    for table in store.tables():
        yield from store.manifests(table)


def _key(policy: Policy, table: str) -> tuple[str, ...]:
    return policy.tables[table].key if table in policy.tables else ()


def _is_marked(stones: Tombstones, values: pl.Series, domain: str) -> pl.Series:
    return stones.has("person" if domain == PERSON else "record", values)
