"""What is published, as the gateway answers it.

What belongs here: summing up the store's manifests, and finding a file by its digest. What does not: HTTP, or writing
to the store.

Manifests are read anew for each answer, so that what was published, replaced or erased a moment ago counts: 365 of them
take 15 ms. Only a file's digest is looked up in memory first, and then in the one manifest that it led to.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ds_pipelines.errors import UnknownExtractError, UnknownSnapshotError, UnpublishedDayError
from ds_pipelines.gateway.wire import ExtractSummary

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.snapshots.store import SnapshotStore


class Catalog:
    """The store's published extracts, read-only. Safe to use from several threads."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._places: dict[str, tuple[str, date]] = {}
        """Where a digest was last seen: its table and day."""
        self._searching = threading.Lock()

    def summaries(self) -> list[ExtractSummary]:
        """What is published, by table name."""
        return [_summary(self.manifests(table)) for table in self._store.tables()]

    def manifests(self, table: str) -> list[SnapshotManifest]:
        """What is published of a table, by day.

        Raises:
            UnknownExtractError: nothing of this table is published.
            DamagedManifestError: a manifest cannot be read.
        """
        manifests = self._store.manifests(table)
        self._places.update({manifest.digest: (table, manifest.day) for manifest in manifests})
        return manifests

    def manifest(self, table: str, day: date) -> SnapshotManifest:
        """What is published of a table for a day.

        Raises:
            UnknownExtractError, UnpublishedDayError: nothing is.
            DamagedManifestError: the manifest cannot be read.
        """
        return self._store.manifest(table, day)

    def file(self, digest: str) -> Path:
        """The Parquet file of a snapshot.

        Raises:
            UnknownSnapshotError: no published manifest names the digest now.
            DamagedManifestError: a manifest cannot be read.
        """
        if not self._is_named(digest):
            self._search(digest)
        return self._store.path(digest)

    def _search(self, digest: str) -> None:
        with self._searching:  # several requests need one search
            if self._is_named(digest):
                return
            self._places.clear()
            self.summaries()
            if digest not in self._places:
                raise UnknownSnapshotError

    def _is_named(self, digest: str) -> bool:
        """Whether the manifest in which the digest was last seen still names it."""
        place = self._places.get(digest)
        if place is None:
            return False
        try:
            return self._store.manifest(*place).digest == digest
        except (UnknownExtractError, UnpublishedDayError):
            return False


def _summary(manifests: list[SnapshotManifest]) -> ExtractSummary:
    first, last = manifests[0], manifests[-1]
    return ExtractSummary(
        table=last.table,
        rows_of=last.rows_of,
        first_day=first.day,
        last_day=last.day,
        days=len(manifests),
        rows=last.rows if last.rows_of == "state" else sum(manifest.rows for manifest in manifests),
    )
