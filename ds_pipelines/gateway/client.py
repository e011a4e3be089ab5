"""Extracts as development gets them: listed, asked for and fetched from the gateway, verified, kept by digest.

What belongs here: what can be asked of the gateway, and answering from the cache what needs no asking. What does not:
HTTP (`gateway.transport`), where files lie (`gateway.cache`), waiting for a request (`gateway.waiting`), which days a
question needs, or reading the files as a table; and no database, ever.

A file enters the cache only after its SHA-256 was found to be its name.
"""

from __future__ import annotations

import hashlib
import logging
import tarfile
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import httpx

from ds_pipelines.errors import (
    ForgedSnapshotError,
    GatewayAnswerError,
    GatewayUnreachableError,
    NoSuchRequestError,
    RequestRefusedError,
    UnknownExtractError,
    UnknownSnapshotError,
    UnpublishedDayError,
)
from ds_pipelines.gateway.ages import moment
from ds_pipelines.gateway.archive import AT_ONCE, files
from ds_pipelines.gateway.cache import Cache, replacing
from ds_pipelines.gateway.progress import silent
from ds_pipelines.gateway.tokens import read_token
from ds_pipelines.gateway.transport import Transport, address_of, base_of, said
from ds_pipelines.gateway.users import SHARED
from ds_pipelines.gateway.wire import MANIFEST, MANIFESTS, REQUEST, REQUESTS, SUMMARIES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import IO

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.gateway.progress import Advance
    from ds_pipelines.gateway.wire import ExtractSummary, RequestStatus, RequestWanted
    from ds_pipelines.settings import Settings

CHUNK = 1 << 20
OPEN = frozenset({"queued", "running"})
"""States of a request that is not decided yet."""

log = logging.getLogger(__name__)


class Gateway:
    """The client of one gateway; close it, or use it as a context manager. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        token: str,
        cache: Path,
        *,
        current: timedelta = timedelta(),
        user: str | None = None,
        certificate: Path | None = None,
    ) -> None:
        """Prepares, and contacts nobody.

        Args:
            url: Where the gateway is, as http://127.0.0.1:4280.
            token: Its bearer token.
            cache: Folder of the files that were fetched; made when needed, readable by this account only.
            current: For how long a listing counts as what is published now.
            user: For whom is asked, if that is known; the audit records it as this client's word.
            certificate: The gateway's own, to be trusted whoever signed it.

        Raises:
            SettingsError: the URL is none.
        """
        self._transport = Transport(url, token, user, certificate)
        self.cache = Cache(cache, self._transport.address)
        self._transport.on_answer = self.cache.note_reached
        self._current, self._user = current, user

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def tables(self) -> list[ExtractSummary]:
        """What is published, by table name; kept for when the gateway is away.

        Raises:
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        tables = self._transport.parse(SUMMARIES, self._transport.get("/v1/extracts"))
        self.cache.keep_catalogue(tables)
        return tables

    def known_tables(self) -> list[ExtractSummary]:
        """As `tables`; while the gateway does not answer, its last list, with a warning that says how old it is.

        Raises:
            GatewayUnreachableError: no answer, and no list of earlier.
            GatewayRefusedError, GatewayAnswerError: as `tables`.
        """
        try:
            return self.tables()
        except GatewayUnreachableError as unreachable:
            kept = self.cache.catalogue()
            if kept is None:
                raise
            self._warn(unreachable, "the tables are shown", kept.listed_at)
            return list(kept.tables)

    def manifests(self, table: str) -> list[SnapshotManifest]:
        """What is published of a table, by day; kept for when the gateway is away.

        Raises:
            UnknownExtractError: nothing of this table is published; the message lists what is.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        response = self._transport.get(_route(table))
        if response.status_code == httpx.codes.NOT_FOUND:
            raise UnknownExtractError(table, [summary.table for summary in self.tables()])
        manifests = self._transport.parse(MANIFESTS, response)
        self.cache.keep_listing(table, manifests)
        return manifests

    def known_manifests(self, table: str, *, up_to: date | None = None, anew: bool = False) -> list[SnapshotManifest]:
        """As `manifests`, without asking if a listing counts as current.

        While the gateway does not answer, its last listing, with a warning that says how old it is.

        Args:
            table: Its name.
            up_to: The last day that the question is about; an earlier listing is not current if it ends before.
            anew: Whether to ask in any case.

        Raises:
            UnknownExtractError, GatewayRefusedError, GatewayAnswerError: as `manifests`.
            GatewayUnreachableError: no answer, and no listing of earlier.
        """
        kept = self.cache.listing(table)
        if kept is not None and not anew and kept.manifests:
            age, newest = datetime.now(UTC) - kept.listed_at, kept.manifests[-1]
            reaches = up_to is None or up_to <= newest.day or newest.rows_of == "state"
            if timedelta() <= age < self._current and reaches:
                log.info("%r is read as listed %s.", table, moment(kept.listed_at))
                return list(kept.manifests)
        try:
            return self.manifests(table)
        except GatewayUnreachableError as unreachable:
            if kept is None:
                raise
            self._warn(unreachable, f"{table!r} is read", kept.listed_at)
            return list(kept.manifests)

    def _warn(self, error: GatewayUnreachableError, what: str, listed_at: datetime) -> None:
        reached = self.cache.reached()
        log.warning(
            "%s Until then %s as listed %s. The gateway last answered %s.",
            error, what, moment(listed_at), "never" if reached is None else moment(reached),
        )  # fmt: skip

    def manifest(self, table: str, day: date) -> SnapshotManifest:
        """What is published of a table for one day.

        Raises:
            UnknownExtractError: nothing of this table is published.
            UnpublishedDayError: nothing is published for this day.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        response = self._transport.get(f"{_route(table)}/{day}")
        if response.status_code == httpx.codes.NOT_FOUND:
            published = [manifest.day for manifest in self.manifests(table)]
            raise UnpublishedDayError(table, str(day), published[0], published[-1], since=day)
        return self._transport.parse(MANIFEST, response)

    def fetch(self, manifest: SnapshotManifest) -> Path:
        """The Parquet file of a snapshot: from the cache, or fetched and verified into it.

        Raises:
            The errors of `fetch_all`.
        """
        return self.fetch_all([manifest])[0]

    def fetch_all(self, manifests: Sequence[SnapshotManifest], advance: Advance = silent) -> list[Path]:
        """The files of many snapshots, in their order; what is in the cache is not asked for.

        Args:
            manifests: Which.
            advance: Told of the bytes as they arrive.

        Raises:
            DiskFullError: the cache's disk has no space for them.
            ForgedSnapshotError: what came is not what a manifest names; nothing of that file is kept.
            UnknownSnapshotError: the gateway no longer has one; its day was published anew, or erased.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        missing = self.cache.missing(manifests)
        if missing:
            self.cache.require_space(sum(manifest.bytes for manifest in missing))
        for batch in (missing[start : start + AT_ONCE] for start in range(0, len(missing), AT_ONCE)):
            self._transport.retrying(partial(self._download, batch, advance))
        return [self.cache.path(manifest) for manifest in manifests]

    def ask(self, wanted: RequestWanted) -> RequestStatus:
        """Asks for what is not published yet; the same question that is still open is not asked again.

        Raises:
            RequestRefusedError: there is no such table for the token, or these days cannot be extracted.
            GatewayBusyError: too much was asked for already.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        body = wanted.model_dump(mode="json")

        def attempt() -> RequestStatus:
            # Looked for at each attempt: one whose answer was lost may have been taken all the same.
            if (same := next((each for each in self.requests() if self._is_open(each, wanted)), None)) is not None:
                return same
            response = self._transport.expected(self._transport.http.post("/v1/requests", json=body))
            if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY}:
                raise RequestRefusedError(wanted.table, said(response))
            return self._transport.parse(REQUEST, response)

        return self._transport.retrying(attempt)

    def request(self, id_: str) -> RequestStatus:
        """How a request stands.

        Raises:
            NoSuchRequestError: there is none of this id.
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        response = self._transport.get(f"/v1/requests/{_quoted(id_)}")
        if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY}:
            raise NoSuchRequestError([each.id for each in self.requests()])
        return self._transport.parse(REQUEST, response)

    def requests(self) -> list[RequestStatus]:
        """What was asked for, and how it stands.

        Raises:
            GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: no answer, or not the one expected.
        """
        return self._transport.parse(REQUESTS, self._transport.get("/v1/requests"))

    def _is_open(self, status: RequestStatus, wanted: RequestWanted) -> bool:
        """Whether a request is this very question, asked before and not decided yet."""
        asked = (status.table, status.since, status.until, status.reason)
        same = asked == (wanted.table, wanted.since, wanted.until, wanted.reason)
        # Whom a proxy names is not ours to know; without one, it is whom we state.
        ours = status.asserted_by == "proxy" or status.user == (self._user or SHARED)
        return same and ours and status.state in OPEN

    def _download(self, manifests: Sequence[SnapshotManifest], advance: Advance) -> None:
        """One attempt. Each file is kept, verified, as it arrives: another attempt asks only for the rest."""
        wanted = [manifest for manifest in manifests if not self.cache.has(manifest)]
        body = [manifest.digest for manifest in wanted]
        with self._transport.http.stream("POST", "/v1/files", json=body) as response:
            status = self._transport.expected(response).status_code
            if status == httpx.codes.NOT_FOUND:
                raise UnknownSnapshotError(_days(wanted))
            if status != httpx.codes.OK:
                raise GatewayAnswerError(self._transport.address, f"status {status}")
            try:
                for manifest, (name, content) in zip(wanted, files(response.iter_bytes()), strict=True):
                    self._keep(manifest, name, content, advance)
            except (tarfile.TarError, ValueError):
                raise GatewayAnswerError(self._transport.address, "not the files that were asked for") from None

    def _keep(self, manifest: SnapshotManifest, name: str, content: IO[bytes], advance: Advance) -> None:
        digest, size = hashlib.sha256(), 0
        with replacing(self.cache.path(manifest)) as file:
            while size <= manifest.bytes and (chunk := content.read(CHUNK)):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                advance(len(chunk))
            if not name == manifest.digest == digest.hexdigest():
                raise ForgedSnapshotError(manifest.table, manifest.day)


def connect(settings: Settings, *, user: str | None = None) -> Gateway:
    """The client of the gateway that the settings name, with the token of their home, for a user if one is known.

    Raises:
        MissingSecretError: there is no usable token file.
        SettingsError: the gateway's address is no URL.
    """
    token = read_token(settings)
    return Gateway(
        settings.gateway_base, token, settings.cache,
        current=settings.listing_age, user=user, certificate=settings.gateway_certificate,
    )  # fmt: skip


def last_tables(settings: Settings) -> tuple[ExtractSummary, ...]:
    """Which tables the gateway listed when it was last asked; contacts nobody, and needs no token.

    Raises:
        SettingsError: the gateway's address is no URL.
    """
    kept = Cache(settings.cache, address_of(base_of(settings.gateway_base))).catalogue()
    return () if kept is None else kept.tables


def _route(table: str) -> str:
    return f"/v1/extracts/{_quoted(table)}"


def _quoted(name: str) -> str:
    # Doubly: servers decode once before routing, and a slash in a name would look like one of the route's.
    return quote(name.replace("/", "%2F"), safe="")


def _days(manifests: Sequence[SnapshotManifest]) -> str:
    first, last = manifests[0], manifests[-1]
    return f"{first.table!r} for {first.day}" + ("" if first == last else f" or a later day up to {last.day}")
