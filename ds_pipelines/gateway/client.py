"""Extracts as development gets them: listed and fetched from the gateway, verified, kept by digest.

What belongs here: requests to the gateway, the cache of its files and listings, and clear errors. What does not: which
days a question needs, or reading the files as a table; and no database, ever.

The cache holds `<ab>/<digest>.parquet` and `listings/<gateway>/<table>.json`. A file enters it only after its SHA-256
was found to be its name. Later uses check the size alone, which notices a truncated file (it is fetched again) but not
bytes changed in place: the cache is as trustworthy as the account that owns it, and only that account can read it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import ssl
import tarfile
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import AwareDatetime, ValidationError

from ds_pipelines.errors import (
    DiskFullError,
    ForgedSnapshotError,
    GatewayAnswerError,
    GatewayRefusedError,
    GatewayUnreachableError,
    SettingsError,
    UnknownExtractError,
    UnknownSnapshotError,
    UnpublishedDayError,
)
from ds_pipelines.evidence import Record, SnapshotManifest
from ds_pipelines.gateway.archive import AT_ONCE, files
from ds_pipelines.gateway.tokens import read_token
from ds_pipelines.gateway.wire import MANIFEST, MANIFESTS, SUMMARIES, ExtractSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import IO, BinaryIO

    from pydantic import TypeAdapter

    from ds_pipelines.settings import Settings

T = TypeVar("T")

PAUSES = (0.1, 0.4)
"""Seconds before the second and the third attempt."""
DIGEST = re.compile("[0-9a-f]{64}")
CHUNK = 1 << 20
SPARE_BYTES = 50 << 20
"""What a download leaves free on the cache's disk."""

log = logging.getLogger(__name__)


class Listing(Record):
    """What the gateway published of one table, as it was told at a moment."""

    listed_at: AwareDatetime
    manifests: tuple[SnapshotManifest, ...]


class Gateway:
    """The client of one gateway; close it, or use it as a context manager. Safe to use from several threads."""

    def __init__(self, url: str, token: str, cache: Path) -> None:
        """Prepares, and contacts nobody.

        Args:
            url: Where the gateway is, as http://127.0.0.1:4280.
            token: Its bearer token.
            cache: Folder of the files that were fetched; made when needed, readable by this account only.

        Raises:
            SettingsError: the URL is none.
        """
        try:
            base = httpx.URL(url)
        except httpx.InvalidURL:
            raise SettingsError("DS_GATEWAY_ADDRESS", "a URL, as http://127.0.0.1:4280") from None
        if base.scheme not in {"http", "https"} or not base.host:
            raise SettingsError("DS_GATEWAY_ADDRESS", "a URL that starts with http:// or https:// and names a host")
        # Only what can be shown: a URL may hold a password.
        self._address = base.netloc.decode("ascii")
        self._cache = cache
        self._listings = cache / "listings" / quote(self._address, safe="")
        # trust_env=False: a proxy or .netrc of the environment must not see or replace the token. The system's own
        # certificate authorities decide about https.
        self._http = httpx.Client(
            base_url=base,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(60, connect=5),
            trust_env=False,
            verify=ssl.create_default_context(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def tables(self) -> list[ExtractSummary]:
        """What is published, by table name.

        Raises:
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        return self._parse(SUMMARIES, self._get("/v1/extracts"))

    def manifests(self, table: str) -> list[SnapshotManifest]:
        """What is published of a table, by day; kept for when the gateway is away.

        Raises:
            UnknownExtractError: nothing of this table is published; the message lists what is.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        response = self._get(self._route(table))
        if response.status_code == httpx.codes.NOT_FOUND:
            raise UnknownExtractError(table, [summary.table for summary in self.tables()])
        manifests = self._parse(MANIFESTS, response)
        listing = Listing(listed_at=datetime.now(UTC), manifests=tuple(manifests))
        with _replacing(self._listing_path(table)) as file:
            file.write(listing.model_dump_json().encode())
        return manifests

    def known_manifests(self, table: str) -> list[SnapshotManifest]:
        """As `manifests`; while the gateway does not answer, its last listing, with a warning that says how old it is.

        Raises:
            UnknownExtractError, GatewayRefusedError, GatewayAnswerError: as `manifests`.
            GatewayUnreachableError: no answer, and no listing of earlier.
        """
        try:
            return self.manifests(table)
        except GatewayUnreachableError as unreachable:
            try:
                listing = Listing.model_validate_json(self._listing_path(table).read_bytes())
            except (OSError, ValidationError):
                raise unreachable from None
            age = datetime.now(UTC) - listing.listed_at
            log.warning(
                "The gateway does not answer at %s: %r is read as it was listed %s ago (%s). "
                "Start the gateway with `ds-pipelines up` to see what was published since.",
                self._address, table, _words(age.total_seconds()), listing.listed_at.strftime("%Y-%m-%d %H:%M UTC"),
            )  # fmt: skip
            return list(listing.manifests)

    def manifest(self, table: str, day: date) -> SnapshotManifest:
        """What is published of a table for one day.

        Raises:
            UnknownExtractError: nothing of this table is published.
            UnpublishedDayError: nothing is published for this day.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        response = self._get(f"{self._route(table)}/{day}")
        if response.status_code == httpx.codes.NOT_FOUND:
            published = [manifest.day for manifest in self.manifests(table)]
            raise UnpublishedDayError(table, str(day), published[0], published[-1])
        return self._parse(MANIFEST, response)

    def fetch(self, manifest: SnapshotManifest) -> Path:
        """The Parquet file of a snapshot: from the cache, or fetched and verified into it.

        Raises:
            The errors of `fetch_all`.
        """
        return self.fetch_all([manifest])[0]

    def fetch_all(self, manifests: Sequence[SnapshotManifest]) -> list[Path]:
        """The files of many snapshots, in their order.

        Raises:
            DiskFullError: the cache's disk has no space for them.
            ForgedSnapshotError: what came is not what a manifest names; nothing of that file is kept.
            UnknownSnapshotError: the gateway no longer has one; its day was published anew, or erased.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        missing = list({manifest.digest: manifest for manifest in manifests if not self._has(manifest)}.values())
        self._require_space(sum(manifest.bytes for manifest in missing))
        for batch in (missing[start : start + AT_ONCE] for start in range(0, len(missing), AT_ONCE)):
            self._retrying(partial(self._download, batch))
        return [self._path(manifest) for manifest in manifests]

    def _require_space(self, needed: int) -> None:
        self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(self._cache).free
        if free < needed + SPARE_BYTES:
            raise DiskFullError(self._cache, free >> 20, (needed + SPARE_BYTES) >> 20)

    def _has(self, manifest: SnapshotManifest) -> bool:
        try:
            return self._path(manifest).stat().st_size == manifest.bytes
        except FileNotFoundError:
            return False

    def _path(self, manifest: SnapshotManifest) -> Path:
        if not DIGEST.fullmatch(manifest.digest):  # it becomes a path here, and came from elsewhere
            raise GatewayAnswerError(self._address, "a digest that is none")
        return self._cache / manifest.digest[:2] / f"{manifest.digest}.parquet"

    def _listing_path(self, table: str) -> Path:
        return self._listings / f"{quote(table, safe='')}.json"

    def _route(self, table: str) -> str:
        # Doubly quoted: servers decode once before routing, and a slash in a name would look like one of the route's.
        return f"/v1/extracts/{quote(table.replace('/', '%2F'), safe='')}"

    def _get(self, path: str) -> httpx.Response:
        return self._retrying(lambda: self._expected(self._http.get(path)))

    def _download(self, manifests: Sequence[SnapshotManifest]) -> None:
        """One attempt. Each file is kept, verified, as it arrives: another attempt asks only for the rest."""
        wanted = [manifest for manifest in manifests if not self._has(manifest)]
        with self._http.stream("POST", "/v1/files", json=[manifest.digest for manifest in wanted]) as response:
            if self._expected(response).status_code == httpx.codes.NOT_FOUND:
                raise UnknownSnapshotError(_days(wanted))
            try:
                for manifest, (name, content) in zip(wanted, files(response.iter_bytes()), strict=True):
                    self._keep(manifest, name, content)
            except (tarfile.TarError, ValueError):
                raise GatewayAnswerError(self._address, "not the files that were asked for") from None

    def _keep(self, manifest: SnapshotManifest, name: str, content: IO[bytes]) -> None:
        digest, size = hashlib.sha256(), 0
        with _replacing(self._path(manifest)) as file:
            while size <= manifest.bytes and (chunk := content.read(CHUNK)):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            if not name == manifest.digest == digest.hexdigest():
                raise ForgedSnapshotError(manifest.table, manifest.day)

    def _expected(self, response: httpx.Response) -> httpx.Response:
        """The response, if it is one that the gateway gives."""
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise GatewayRefusedError(self._address)
        if response.status_code not in {httpx.codes.OK, httpx.codes.NOT_FOUND}:
            raise GatewayAnswerError(self._address, f"status {response.status_code}")
        return response

    def _parse(self, adapter: TypeAdapter[T], response: httpx.Response) -> T:
        if response.status_code != httpx.codes.OK:
            raise GatewayAnswerError(self._address, f"status {response.status_code}")
        try:
            return adapter.validate_json(response.content)
        except ValidationError as error:
            raise GatewayAnswerError(
                self._address, f"{error.error_count()} parts of the answer are not as expected"
            ) from None

    def _retrying(self, attempt: Callable[[], T]) -> T:
        """Tries up to three times while the connection fails, once if time runs out; every request can be repeated."""
        pauses = iter(PAUSES)
        while True:
            try:
                return attempt()
            except httpx.TransportError as error:
                pause = None if isinstance(error, httpx.TimeoutException) else next(pauses, None)
                if pause is None:
                    raise GatewayUnreachableError(self._address, str(error) or type(error).__name__) from None
                time.sleep(pause)


def connect(settings: Settings) -> Gateway:
    """The client of the gateway that the settings name, with the token of their home.

    Raises:
        MissingSecretError: there is no usable token file.
        SettingsError: the gateway's address is no URL.
    """
    return Gateway(settings.gateway_base, read_token(settings), settings.cache)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
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


def _days(manifests: Sequence[SnapshotManifest]) -> str:
    first, last = manifests[0], manifests[-1]
    return f"{first.table!r} for {first.day}" + ("" if first == last else f" or a later day up to {last.day}")


def _words(seconds: float) -> str:
    """A duration as a person says it, in its largest whole unit."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
