"""Whether a token is known: asked of the database, and believed for some seconds.

What belongs here: recognising tokens, and slowing down who guesses them. What does not: what a token may do (`grants`).

A token is looked up by its SHA-256, so the time that it takes says nothing about a token that exists: nobody can choose
a hash, and `grants.find` compares in constant time what it found. Only what has the form of a token is looked
up at all; whoever sends too many of that form that do not exist is refused for a while before anything is looked up,
but who has shown a good one in the last seconds is not.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ds_pipelines.gateway.grants import find, hashed
from ds_pipelines.gateway.server.limits import Rates
from ds_pipelines.gateway.tokens import FORM

if TYPE_CHECKING:
    from ds_pipelines.gateway.database import Database
    from ds_pipelines.gateway.grants import Grant

BELIEVED_SECONDS = 3.0
"""How long an answer of the database counts: a revoked token is refused at the latest this long after."""
GUESSES_PER_MINUTE = 30
"""Well-formed tokens that do not exist, of one address."""
REMEMBERED = 10_000


class TooManyGuesses(Exception):  # noqa: N818 - not an error of ours: the gate answers it
    """An address has sent too many tokens that do not exist."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Doorkeeper:
    """Tells whose token a request carries. For one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, tuple[float, Grant]] = {}
        self._asking: dict[bytes, asyncio.Task[Grant | None]] = {}
        self._guesses = Rates()

    async def admit(self, authorization: str, address: str) -> Grant | None:
        """The token that an Authorization header carries; None if it carries none that is in force.

        Raises:
            TooManyGuesses: nothing was looked up.
            DatabaseUnreachableError, UnpreparedGatewayError: it cannot be told.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not FORM.fullmatch(token := token.strip()):
            return None
        digest = hashed(token)
        grant = self._remembered(digest)
        if grant is None:
            if (seconds := self._guesses.wait(address, GUESSES_PER_MINUTE)) > 0:
                raise TooManyGuesses(seconds)
            grant = await self._ask(digest)
            if grant is None:
                self._guesses.take(address, GUESSES_PER_MINUTE)
                return None
        return grant if grant.state(datetime.now(UTC)) == "in force" else None

    def _remembered(self, digest: bytes) -> Grant | None:
        since, grant = self._known.get(digest, (0.0, None))
        return grant if time.monotonic() - since < BELIEVED_SECONDS else None

    async def _ask(self, digest: bytes) -> Grant | None:
        """Asks the database, once for all who want to know at the same time."""
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._look_up(digest))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)

    async def _look_up(self, digest: bytes) -> Grant | None:
        asked = time.monotonic()
        grant = await asyncio.to_thread(self._database.run, lambda cursor: find(cursor, digest))
        if grant is None:
            self._known.pop(digest, None)
            return None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[digest] = asked, grant
        return grant
