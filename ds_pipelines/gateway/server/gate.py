"""What every request passes before a route sees it, and every answer before it leaves.

What belongs here: the order of things: token, rate, body; then volume and audit, once it is known what the answer
holds. What does not: each of them, and the routes.

Without a valid token every path gives the same answer, whether it exists or not. Nothing of an answer leaves before the
audit has its lines.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from ds_pipelines.errors import DatabaseUnreachableError, UnpreparedGatewayError
from ds_pipelines.gateway import users
from ds_pipelines.gateway.audit import Line
from ds_pipelines.gateway.server.doorkeeper import Doorkeeper, TooManyGuesses
from ds_pipelines.gateway.server.exchange import Exchange, Item
from ds_pipelines.gateway.server.journal import Journal
from ds_pipelines.gateway.server.limits import Rates, Volumes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ds_pipelines.gateway.database import Database
    from ds_pipelines.gateway.grants import Grant
    from ds_pipelines.gateway.server.status import Metrics
    from ds_pipelines.settings import Settings

OPEN_PATHS = frozenset({"/health", "/health/live", "/docs", "/openapi.json"})
"""What is answered without a token; none of it depends on what is published."""
LARGEST_BODY = 1 << 17
"""Bytes; the longest list of digests takes 68,000."""
BODY_SECONDS = 10.0
RETRY_SECONDS = 5

NO_TOKEN = (
    "A valid token is needed, as `Authorization: Bearer <token>`; one that has expired or was revoked is none. "  # noqa: S105
    "The lab's own is in secrets/gateway.token of the gateway's DS_HOME; `ds-pipelines token create` makes others."
)
TOO_MANY_GUESSES = "Too many tokens came from this address that do not exist. Wait, and look at the token that is sent."
TOO_FAST = "This token has used up its requests for the moment. Wait as long as Retry-After says."
TOO_MUCH = (
    "This token has used up its bytes for today (UTC). Wait as long as Retry-After says, or ask for a larger limit."
)
TOO_LARGE = f"The request's body is larger than {LARGEST_BODY} bytes. Ask for less at a time."
TOO_SLOW = f"The request's body did not arrive within {BODY_SECONDS:.0f} s. Send it again."
NO_DATABASE = "The gateway's database does not answer, and nothing leaves without its audit. Try again later."


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """The request goes no further."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.answer = JSONResponse(
            {"detail": detail},
            status_code=status,
            headers={name.replace("_", "-"): said for name, said in headers.items()},
        )


class Gate:
    """The middleware around all routes."""

    def __init__(self, app: ASGIApp, settings: Settings, database: Database, metrics: Metrics) -> None:
        self._app = app
        self._doorkeeper = Doorkeeper(database)
        self._rates = Rates()
        self._volumes = Volumes(database)
        self._journal = Journal(database)
        self._metrics = metrics
        self._proxy, self._user_header = settings.gateway_proxy, settings.gateway_user_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        answer = _Answer(send)
        try:
            if scope["path"] in OPEN_PATHS:
                await self._app(scope, receive, answer.send)
            else:
                scope["state"]["exchange"] = answer.exchange = await self._admit(scope)
                answer.gate, answer.scope = self, scope
                await self._app(scope, await _whole_body(scope, receive), answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal)
        finally:
            self._metrics.count(_route(scope), answer.status, time.monotonic() - began, answer.length)

    async def _admit(self, scope: Scope) -> Exchange:
        headers, address = Headers(scope=scope), (scope.get("client") or ("", 0))[0]
        try:
            grant = await self._doorkeeper.admit(headers.get("authorization", ""), address)
        except TooManyGuesses as guesses:
            raise Refusal(429, TOO_MANY_GUESSES, Retry_After=_whole(guesses.seconds)) from None
        except (DatabaseUnreachableError, UnpreparedGatewayError):
            raise Refusal(503, NO_DATABASE, Retry_After=str(RETRY_SECONDS)) from None
        if grant is None:
            raise Refusal(401, NO_TOKEN, WWW_Authenticate="Bearer")
        if (seconds := self._rates.take(grant.id, grant.requests_per_minute)) > 0:
            raise Refusal(429, TOO_FAST, Retry_After=_whole(seconds))
        return self._exchange(grant, headers, address)

    def _exchange(self, grant: Grant, headers: Headers, address: str) -> Exchange:
        """For whom it is asked: the proxy's word counts before that of who holds the token."""
        if self._user_header and address == self._proxy and (user := users.name(headers.get(self._user_header, ""))):
            return Exchange(grant, user, "proxy")
        if user := users.read(headers.get(users.HEADER, "")):
            return Exchange(grant, user, "token")
        return Exchange(grant)

    async def leave(self, exchange: Exchange, scope: Scope, status: int, length: int) -> None:
        """Counts an answer, and notes it.

        Raises:
            Refusal: it must not leave.
        """
        try:
            seconds = await self._volumes.take(exchange.grant, length) if status < 300 else 0
            await self._journal.write(_lines(exchange, scope, 429 if seconds > 0 else status, length))
        except (DatabaseUnreachableError, UnpreparedGatewayError):
            raise Refusal(503, NO_DATABASE, Retry_After=str(RETRY_SECONDS)) from None
        if seconds > 0:
            raise Refusal(429, TOO_MUCH, Retry_After=_whole(seconds))


class _Answer:
    """An answer on its way out: held back until it may leave, or replaced by a refusal."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._refused = False
        self.status = 500
        self.length = 0
        self.exchange: Exchange | None = None
        self.gate: Gate | None = None
        self.scope: Scope = {}

    async def send(self, message: Message) -> None:
        """What the application sends."""
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            length = int(Headers(raw=message.get("headers", [])).get("content-length", "0"))
            self.length = 0 if self.scope.get("method") == "HEAD" else length
            if self.exchange is not None and self.gate is not None:
                try:
                    await self.gate.leave(self.exchange, self.scope, self.status, self.length)
                except Refusal as refusal:
                    await self.refuse(refusal)
                    return
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with a refusal, and drops whatever else is sent."""
        self._refused, self.status, self.length = True, refusal.status, len(refusal.answer.body)

        async def nothing() -> Message:
            return {"type": "http.disconnect"}

        await refusal.answer({"type": "http"}, nothing, self._send)


async def _whole_body(scope: Scope, receive: Receive) -> Receive:
    """Takes in what a request carries, if that is little and does not take long, so that no route waits for it."""
    if scope["method"] in {"GET", "HEAD"}:
        return receive
    if int(Headers(scope=scope).get("content-length", "0")) > LARGEST_BODY:
        raise Refusal(413, TOO_LARGE, Connection="close")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _body(receive)
    except TimeoutError:
        raise Refusal(408, TOO_SLOW, Connection="close") from None
    given = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return given.pop() if given else await receive()

    return replay


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_BODY:
            raise Refusal(413, TOO_LARGE, Connection="close")
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return body


def _lines(exchange: Exchange, scope: Scope, status: int, length: int) -> list[Line]:
    """A line for each item; the answer's bytes are told once, unless its items have their own."""
    grant, got = exchange.grant, status < 300
    items: list[Item | None] = [*exchange.items] if got and exchange.items else [None]
    return [
        Line(
            grant.id,
            grant.name,
            exchange.user,
            exchange.asserted_by,
            scope["method"],
            _route(scope),
            None if item is None else item.table,
            None if item is None else item.digest,
            (length if item is None or item.bytes is None else item.bytes) if got else 0,
            status,
        )
        for item in items
    ]


def _route(scope: Scope) -> str:
    """The route as the description of the routes has it; of what leads nowhere, nothing is repeated."""
    return str(getattr(scope.get("route"), "path", "")) or (scope["path"] if scope["path"] in OPEN_PATHS else "-")


def _whole(seconds: float) -> str:
    return str(max(1, math.ceil(seconds)))
