"""The lab's cache: files by their digest, and what the gateway listed, with the time at which it did.

What belongs here: where fetched files and listings lie, keeping them whole or not at all, and how old they are. What
does not: fetching, or verifying what was fetched (`gateway.client`).

It holds `<ab>/<digest>.parquet` and, for each gateway, `listings/<gateway>/<table>.json`, the `catalog` of its tables
and `reached`, whose date is when it last answered. Later uses of a file check its size alone, which notices a truncated
file (it is fetched again) but not bytes changed in place: the cache is as trustworthy as the account that owns it, and
only that account can read it.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from pydantic import AwareDatetime, ValidationError

from ds_pipelines.errors import DiskFullError, GatewayAnswerError, UnusableCacheError
from ds_pipelines.evidence import Record, SnapshotManifest
from ds_pipelines.gateway.wire import ExtractSummary

DIGEST = re.compile("[0-9a-f]{64}")
SPARE_BYTES = 50 << 20
"""What a download leaves free on the cache's disk."""


class Listing(Record):
    """What the gateway published of one table, as it was told at a moment."""

    listed_at: AwareDatetime
    manifests: tuple[SnapshotManifest, ...]


class Catalogue(Record):
    """Which tables the gateway published, as it was told at a moment."""

    listed_at: AwareDatetime
    tables: tuple[ExtractSummary, ...]


class Cache:
    """What was fetched from one gateway. Safe to use from several threads and processes."""

    def __init__(self, folder: Path, address: str) -> None:
        """Prepares, and makes nothing.

        Args:
            folder: Made when needed, readable by this account only.
            address: The gateway's host and port.
        """
        self._folder, self._address = folder, address
        self._listings = folder / "listings" / quote(address, safe="")

    def path(self, manifest: SnapshotManifest) -> Path:
        """Where the file of a snapshot lies, or would.

        Raises:
            GatewayAnswerError: the manifest's digest is none.
        """
        return self.file(manifest.digest)

    def file(self, digest: str) -> Path:
        """Where the file of this digest lies, or would.

        Raises:
            GatewayAnswerError: it is no digest.
        """
        if not DIGEST.fullmatch(digest):  # it becomes a path here, and came from elsewhere
            raise GatewayAnswerError(self._address, "a digest that is none")
        return self._folder / digest[:2] / f"{digest}.parquet"

    def has(self, manifest: SnapshotManifest) -> bool:
        """Whether the file of a snapshot is there, whole."""
        try:
            return self.path(manifest).stat().st_size == manifest.bytes
        except FileNotFoundError:
            return False

    def missing(self, manifests: Sequence[SnapshotManifest]) -> list[SnapshotManifest]:
        """Those whose file is not there, each file once, in their order."""
        return list({each.digest: each for each in manifests if not self.has(each)}.values())

    def require_space(self, needed: int) -> None:
        """Refuses to begin what would not fit.

        Raises:
            DiskFullError: the disk has no room for so many bytes.
        """
        self._make()
        free = shutil.disk_usage(self._folder).free
        if free < needed + SPARE_BYTES:
            raise DiskFullError(self._folder, free >> 20, (needed + SPARE_BYTES) >> 20)

    def listing(self, table: str) -> Listing | None:
        """The last listing of a table, if there is one."""
        try:
            return Listing.model_validate_json(self._listing_path(table).read_bytes())
        except (OSError, ValidationError):
            return None

    def keep_listing(self, table: str, manifests: Sequence[SnapshotManifest]) -> None:
        """Keeps what the gateway listed just now."""
        listing = Listing(listed_at=datetime.now(UTC), manifests=tuple(manifests))
        self._make()
        with replacing(self._listing_path(table)) as file:
            file.write(listing.model_dump_json().encode())

    def catalogue(self) -> Catalogue | None:
        """The last list of tables, if there is one."""
        try:
            return Catalogue.model_validate_json((self._listings / "catalog").read_bytes())
        except (OSError, ValidationError):
            return None

    def keep_catalogue(self, tables: Sequence[ExtractSummary]) -> None:
        """Keeps which tables the gateway listed just now."""
        self._make()
        with replacing(self._listings / "catalog") as file:
            file.write(Catalogue(listed_at=datetime.now(UTC), tables=tuple(tables)).model_dump_json().encode())

    def note_reached(self) -> None:
        """Notes that the gateway answered just now."""
        self._make()
        (self._listings / "reached").touch(mode=0o600)

    def reached(self) -> datetime | None:
        """When the gateway last answered, if it ever did."""
        with suppress(OSError):
            return datetime.fromtimestamp((self._listings / "reached").stat().st_mtime, UTC)
        return None

    def _make(self) -> None:
        """Each folder by itself: `parents` would make those above with the rights that everybody gets."""
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self._folder, self._listings.parent, self._listings):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise UnusableCacheError(self._folder, error.strerror or type(error).__name__) from None

    def _listing_path(self, table: str) -> Path:
        return self._listings / f"{quote(table, safe='')}.json"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the path's place if the block succeeds, and leaves no trace if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
