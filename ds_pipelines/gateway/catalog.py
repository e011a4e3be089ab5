"""What is published, as the gateway answers it.

What belongs here: the store's manifests, summed up and ready to be sent, and finding a file by its digest. What does
not: HTTP, or writing to the store.

What was published, replaced or erased a moment ago counts. Reading 365 manifests takes 15 ms, so they are kept in
memory for as long as the folder that holds them says that nothing in it changed; a folder that changed within the last
second is read anew each time, because its clock may be too coarse to show a second change.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ds_pipelines.errors import DamagedManifestError, UnknownExtractError, UnknownSnapshotError, UnpublishedDayError
from ds_pipelines.gateway.wire import DAYS, ExtractSummary, PublishedDay, TableSchema

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.snapshots.store import SnapshotStore

SETTLED_NS = 1_000_000_000
"""How long after a folder's last change its time can be trusted to show the next."""


@dataclass(frozen=True)
class Listing:
    """What is published of one table at a moment; at least one day."""

    manifests: tuple[SnapshotManifest, ...]

    @cached_property
    def by_digest(self) -> dict[str, SnapshotManifest]:
        """The manifests by the digest of their file; days with the same rows share one."""
        return {manifest.digest: manifest for manifest in self.manifests}

    @cached_property
    def encoded(self) -> dict[date, bytes]:
        """The manifests as JSON, by day."""
        return {manifest.day: manifest.model_dump_json().encode() for manifest in self.manifests}

    @cached_property
    def days(self) -> bytes:
        """The days in short, as JSON."""
        names = PublishedDay.model_fields
        return DAYS.dump_json([PublishedDay(**each.model_dump(include=set(names))) for each in self.manifests])

    @cached_property
    def summary(self) -> ExtractSummary:
        """All of it in one record."""
        first, last = self.manifests[0], self.manifests[-1]
        return ExtractSummary(
            table=last.table,
            rows_of=last.rows_of,
            first_day=first.day,
            last_day=last.day,
            days=len(self.manifests),
            rows=last.rows if last.rows_of == "state" else sum(manifest.rows for manifest in self.manifests),
        )

    @cached_property
    def schema(self) -> TableSchema:
        """The newest day's columns, and why they are as they are."""
        newest = self.manifests[-1]
        return TableSchema(**newest.model_dump(include=set(TableSchema.model_fields)))

    def manifest(self, day: date) -> SnapshotManifest:
        """What is published for a day.

        Raises:
            UnpublishedDayError: nothing is.
        """
        for manifest in self.manifests:
            if manifest.day == day:
                return manifest
        first, last = self.manifests[0], self.manifests[-1]
        raise UnpublishedDayError(last.table, str(day), first.day, last.day)


class Catalog:
    """The store's published extracts, read-only. Safe to use from several threads.

    Every question is asked on behalf of somebody who may see some of the tables; the others do not exist for them.
    """

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._kept: dict[Path, tuple[int, Listing]] = {}
        """By folder: when it last changed, and what was in it."""

    def listings(self, allows: Callable[[str], bool]) -> list[Listing]:
        """What is published, by table name.

        Raises:
            DamagedManifestError: a manifest cannot be read.
        """
        found = (
            self._listing(table, folder) for table, folder in sorted(self._store.folders().items()) if allows(table)
        )
        return [listing for listing in found if listing is not None]

    def listing(self, table: str, allows: Callable[[str], bool]) -> Listing:
        """What is published of a table.

        Raises:
            UnknownExtractError: nothing is, or not for them; the message lists what is, for them.
            DamagedManifestError: a manifest cannot be read.
        """
        folder = self._store.folders().get(table) if allows(table) else None
        listing = None if folder is None else self._listing(table, folder)
        if listing is None:
            raise UnknownExtractError(table, [each for each in self._store.tables() if allows(each)])
        return listing

    def file(self, digest: str, allows: Callable[[str], bool]) -> tuple[SnapshotManifest, Path]:
        """The Parquet file of a snapshot, and a manifest that names it.

        Raises:
            UnknownSnapshotError: no published manifest names the digest now.
            DamagedManifestError: a manifest cannot be read.
        """
        damaged: DamagedManifestError | None = None
        for table, folder in self._store.folders().items():
            try:
                listing = self._listing(table, folder) if allows(table) else None
            except DamagedManifestError as error:
                damaged = error  # of this table; the file may be another's
                continue
            if listing is not None and digest in listing.by_digest:
                return listing.by_digest[digest], self._store.path(digest)
        raise damaged or UnknownSnapshotError

    def is_settled(self) -> bool:
        """Whether every answer is in memory; if not, one may take a while."""
        try:
            return all(
                folder in self._kept and self._kept[folder][0] == folder.stat().st_mtime_ns
                for folder in self._store.folders().values()
            )
        except FileNotFoundError:
            return False

    def _listing(self, table: str, folder: Path) -> Listing | None:
        """From memory if nothing changed; None if the folder is empty, or gone."""
        try:
            changed = folder.stat().st_mtime_ns  # before it is read: a later change shows at the next question
        except FileNotFoundError:
            return None
        kept = self._kept.get(folder)
        if kept is not None and kept[0] == changed:
            return kept[1]
        try:
            listing = Listing(tuple(self._store.manifests(table)))
        except UnknownExtractError:
            return None
        if time.time_ns() - changed > SETTLED_NS:
            self._kept[folder] = changed, listing
        return listing
