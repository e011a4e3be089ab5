"""How much a token may have: requests a minute, and bytes a day.

What belongs here: counting and refusing. What does not: how much it is; each token says so itself (`grants`).

Requests are counted in memory and start anew with the gateway. Bytes are counted from midnight, UTC, and a gateway that
is started anew reads from the audit what was had before.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ds_pipelines.gateway import audit

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from uuid import UUID

    from ds_pipelines.gateway.database import Database
    from ds_pipelines.gateway.grants import Grant

REMEMBERED = 10_000
"""Of how many, tokens or addresses, the rate is remembered: those seen last."""


class Rates:
    """So many a minute, of each; after a pause, as many at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[object, tuple[float, float]] = OrderedDict()
        """How many were left, and when."""

    def wait(self, who: object, per_minute: int) -> float:
        """Seconds until one more is allowed; 0 if it is now."""
        return max(0.0, 1 - self._now_left(who, per_minute)) * 60 / per_minute

    def take(self, who: object, per_minute: int) -> float:
        """Counts one, if it is allowed; if not, the seconds until then."""
        if (seconds := self.wait(who, per_minute)) > 0:
            return seconds
        self._left[who] = self._now_left(who, per_minute) - 1, self._clock()
        self._left.move_to_end(who)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return 0

    def _now_left(self, who: object, per_minute: int) -> float:
        if who not in self._left:
            return per_minute
        left, since = self._left[who]
        return min(per_minute, left + (self._clock() - since) * per_minute / 60)


class Volumes:
    """Bytes of each token since midnight, UTC. For one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: dict[UUID, tuple[date, int]] = {}

    async def take(self, grant: Grant, count: int) -> float:
        """Counts bytes, if they are still allowed today; if not, the seconds until midnight."""
        today = datetime.now(UTC).date()
        if grant.id not in self._used:
            used = await asyncio.to_thread(self._database.run, lambda cursor: audit.bytes_today(cursor, grant.id))
            self._used.setdefault(grant.id, (today, used))
        day, used = self._used[grant.id]
        used = used if day == today else 0
        if used + count > grant.bytes_per_day:
            midnight = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
            return (midnight - datetime.now(UTC)).total_seconds()
        self._used[grant.id] = today, used + count
        return 0
