"""The gateway with a production behind it that answers what was asked for.

The gateway and its queue are the real ones. Of production, only Dagster and the extraction are replaced: the scenario's
rows are published as if they had been extracted, a day each `SECONDS_A_DAY`. With both of them real, the way is
followed in `ds_pipelines_tests/production/test_requests.py`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.queue import Queue
from ds_pipelines_tests.gateway.scenario import customers_of, orders_of, publish, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.gateway.wire import RequestStatus
    from ds_pipelines.settings import Settings

SECONDS_A_DAY = 0.15
FAILING = "order_lines"
"""The table at which this production fails."""


@contextmanager
def asking(settings: Settings) -> Iterator[None]:
    """The gateway as a process of its own, with production behind it, until the block ends."""
    with serving(settings):
        production = Production(settings)
        production.start()
        try:
            yield
        finally:
            production.stop()


class Production(threading.Thread):
    """Takes requests from the queue, the oldest first, and publishes what they ask for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="production")
        self._settings = settings
        self._database = Database(settings)
        self._queue = Queue(self._database)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Works until it is stopped."""
        while not self._stopped.wait(SECONDS_A_DAY):
            for request in self._queue.open()[:1]:
                self._answer(request)

    def stop(self) -> None:
        """Leaves what it works on as it is."""
        self._stopped.set()
        self.join()
        self._database.close()

    def _answer(self, request: RequestStatus) -> None:
        self._queue.start(request.id, "")
        if request.table == FAILING:
            self._queue.fail(request.id, "the database is in its hours")
            return
        for offset in range(request.days):
            if self._stopped.wait(SECONDS_A_DAY):
                return
            self._publish(request, offset)
        self._queue.finish(request.id)

    def _publish(self, request: RequestStatus, offset: int) -> None:
        now = datetime.now(UTC)
        if request.since is None:
            today = now.date()
            publish(
                self._settings, request.table, {today: customers_of(today)}, rows_of="state", read_at=now,
                published_at=now,
            )  # fmt: skip
            return
        day = request.since + timedelta(days=offset)
        publish(self._settings, request.table, {day: orders_of(day)}, read_at=now, published_at=now)
