"""`lab.request`: asking production for an extract, or days of it, that is not published yet.

What belongs here: which days are missing, and asking for them once. What does not: the request's way to the gateway
(`gateway.client`), following it (`gateway.waiting`), or extracting anything, which is production's, at its own pace.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ds_pipelines.errors import TableArgumentError, UnknownExtractError, UnusableReasonError
from ds_pipelines.gateway.ages import moment
from ds_pipelines.gateway.client import connect
from ds_pipelines.gateway.progress import bar
from ds_pipelines.gateway.waiting import asked_for, standing, wait
from ds_pipelines.gateway.wire import LONGEST_REASON, SHORTEST_REASON, RequestWanted
from ds_pipelines.lab.selection import as_day
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.gateway.client import Gateway
    from ds_pipelines.gateway.wire import RequestStatus

DAY = timedelta(days=1)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plea:
    """How to ask for what is missing."""

    because: str
    patience: timedelta
    tell: Callable[[str], None]
    """Told in words how it stands."""


def request(
    name: str,
    *,
    since: str | date | None = None,
    until: str | date | None = None,
    because: str,
    wait: bool = True,
    patience: timedelta = timedelta(hours=1),
) -> RequestStatus:
    """Asks production to extract a table, or days of it; reads nothing.

    Production takes its time: it reads at a pace that the production database does not notice, perhaps only at night.
    A question that is still open is not asked twice.

    Args:
        name: The table, as orders.
        since: First day, for tables by day.
        until: Last day; by default the first.
        because: What it is needed for, in 5 to 500 characters; those who answer for the data read it.
        wait: Whether to return only when it is published; `lab.table` reads it then.
        patience: For how long to wait at most.

    Returns:
        How the request stands.

    Raises:
        RequestRefusedError: there is no such table, or these days cannot be extracted; the message says what can.
        UnusableReasonError, TableArgumentError: the reason says too little, or a day is none.
        RequestFailedError: production could not do it.
        StillWaitingError: it is not done yet, and goes on.
        GatewayBusyError: too much was asked for already.
        MissingSecretError: there is no usable token for the gateway.
        GatewayUnreachableError, GatewayRefusedError, GatewayAnswerError: the gateway does not serve us.
    """
    with connect(load_settings()) as gateway:
        asked = ask(gateway, name, as_day(name, "since", since), as_day(name, "until", until), because=because)
        if not wait:
            return asked
        done = follow(gateway, asked, patience)
        gateway.manifests(name)  # what was listed before is not what is published now
        return done


def ask(gateway: Gateway, table: str, since: date | None, until: date | None, *, because: str) -> RequestStatus:
    """Asks, and does not wait.

    Raises:
        The errors of `request`, but for those of waiting.
    """
    if until is not None and (since is None or since > until):
        raise TableArgumentError(table, "until", "a day not before since")
    try:
        wanted = RequestWanted(table=table, since=since, until=until or since, reason=because.strip())
    except ValidationError:
        raise UnusableReasonError(table, SHORTEST_REASON, LONGEST_REASON) from None
    return gateway.ask(wanted)


def follow(gateway: Gateway, asked: RequestStatus, patience: timedelta) -> RequestStatus:
    """Waits for a request, with a bar where a person looks on, and with lines in the log.

    Raises:
        RequestFailedError, StillWaitingError: it failed, or takes longer than that.
    """
    seen = asked.done
    with bar(f"{asked.table}, {asked_for(asked.since, asked.until)}", asked.days, of_bytes=False, patient=False) as on:

        def tell(status: RequestStatus) -> None:
            nonlocal seen
            log.info("Request %s for %r: %s.", status.id, status.table, standing(status))
            on(status.done - seen)
            seen = status.done

        return wait(gateway, asked, patience, tell)


def ensure(gateway: Gateway, table: str, days: Sequence[date] | None, plea: Plea) -> list[SnapshotManifest]:
    """What is published of days, in their order, or of the newest state; what is not there is asked for and awaited.

    Args:
        gateway: Whom to ask.
        table: Its name.
        days: Of a table by day; None: of a table of current state.
        plea: Why, and for how long to wait.

    Raises:
        The errors of `request`.
    """
    published = _published(gateway, table, plea)
    pending: list[RequestStatus] = []
    for since, until in _absent(published, days):
        asked = ask(gateway, table, since, until, because=plea.because)
        plea.tell(f"{table!r}, {asked_for(since, until)}, is not published yet: asked production for it as {asked.id}.")
        pending.append(asked)
    if pending:
        _await(gateway, pending, plea)
        published = gateway.manifests(table)
    if days is None:
        return published[-1:]
    by_day = {each.day: each for each in published}
    return [by_day[day] for day in days]


def _await(gateway: Gateway, pending: Iterable[RequestStatus], plea: Plea) -> None:
    """Waits for all of them, in one patience."""
    deadline = time.monotonic() + plea.patience.total_seconds()

    def tell(status: RequestStatus) -> None:
        plea.tell(f"Request {status.id}: {standing(status)}.")

    for asked in pending:
        wait(gateway, asked, max(timedelta(), timedelta(seconds=deadline - time.monotonic())), tell)


def _published(gateway: Gateway, table: str, plea: Plea) -> list[SnapshotManifest]:
    before = gateway.cache.listing(table)
    try:
        published = gateway.known_manifests(table, anew=True)
    except UnknownExtractError:  # nothing of it yet, or no such table: the answer to the request tells
        return []
    if before is not None and before == gateway.cache.listing(table):
        plea.tell(f"The gateway does not answer: {table!r} is what it listed {moment(before.listed_at)}.")
    return published


def _absent(
    published: Sequence[SnapshotManifest], days: Sequence[date] | None
) -> Iterator[tuple[date | None, date | None]]:
    """What to ask for: each stretch of days of which none is there; a table of current state whole."""
    if days is None:
        if not published:
            yield None, None
        return
    there = {each.day for each in published}
    stretch: tuple[date, date] | None = None
    for day in sorted(set(days) - there):
        if stretch is not None and day - stretch[1] == DAY:
            stretch = (stretch[0], day)
            continue
        if stretch is not None:
            yield stretch
        stretch = (day, day)
    if stretch is not None:
        yield stretch
