"""Waiting for what was asked of production.

What belongs here: following a request to its end, with patience and in words. What does not: asking (`gateway.client`),
or what is done with the days that came.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ds_pipelines.errors import GatewayUnreachableError, RequestFailedError, StillWaitingError
from ds_pipelines.gateway.ages import words

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, timedelta

    from ds_pipelines.gateway.client import Gateway
    from ds_pipelines.gateway.wire import RequestStatus

FIRST_PAUSE, LAST_PAUSE, GROWTH = 0.25, 10.0, 1.5
"""Seconds between two looks at a request: soon at first, then ever less often."""
REMIND = 60.0
"""Seconds after which it is said again how a request stands, though nothing changed."""


def wait(
    gateway: Gateway, request: RequestStatus, patience: timedelta, tell: Callable[[RequestStatus], None]
) -> RequestStatus:
    """Waits until a request is done; a gateway that is away for a while is waited for, too.

    Args:
        gateway: Where it was asked.
        request: As `ask` answered.
        patience: For how long at most.
        tell: Told how it stands whenever that changes, and once a minute.

    Raises:
        RequestFailedError: production could not do it.
        StillWaitingError: it is not done in that time; it goes on in production.
        NoSuchRequestError, GatewayRefusedError, GatewayAnswerError: the gateway no longer knows the request, or us.
    """
    began, told, pause, away = time.monotonic(), float("-inf"), FIRST_PAUSE, ""
    status, before = request, None
    while True:
        now = time.monotonic()
        if standing(status) != before or now - told >= REMIND:
            tell(status)
            before, told = standing(status), now
        if status.state == "done":
            return status
        if status.state == "failed":
            raise RequestFailedError(status.id, status.table, status.message)
        rest = patience.total_seconds() - (now - began)
        if rest <= 0:
            raise StillWaitingError(status.id, status.table, away or standing(status), words(patience))
        time.sleep(min(pause, rest))
        pause = min(pause * GROWTH, LAST_PAUSE)
        try:
            status, away = gateway.request(status.id), ""
        except GatewayUnreachableError:
            away = f"the gateway does not answer now; before that, {standing(status)}"


def standing(status: RequestStatus) -> str:
    """How a request stands, in a few words."""
    counted = f", {status.done} of {status.days} days" if status.since is not None else ""
    message = f" ({status.message.rstrip('.')})" if status.message else ""
    return f"{status.state}{counted}{message}"


def asked_for(since: date | None, until: date | None) -> str:
    """The days of a request, in words."""
    if since is None:
        return "the state as it is now"
    return str(since) if until in {None, since} else f"{since} to {until}"
