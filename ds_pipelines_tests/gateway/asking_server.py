"""The gateway with the routes of requests, and a production that publishes what was asked for."""

import asyncio
import threading
import time
import uuid
from datetime import UTC, date, datetime, timedelta

from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from granian.constants import Interfaces
from granian.server.embed import Server

from ds_pipelines.gateway.server import create_app
from ds_pipelines.gateway.wire import RequestStatus, RequestWanted
from ds_pipelines.settings import Settings, load_settings
from ds_pipelines_tests.gateway.scenario import customers_of, orders_of, publish

SECONDS_A_DAY = 0.15
FIRST_DAY, LAST_DAY = date(2025, 1, 1), date(2025, 12, 31)
BY_DAY, STATES, FAILING = {"orders", "tickets"}, {"customers", "products"}, {"order_lines"}
"""What production knows, and what it fails at."""


class Production:
    """Publishes what is asked, one request after the other, in memory of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.asked: dict[str, RequestStatus] = {}
        self.waiting: list[str] = []
        self.more = threading.Condition()
        threading.Thread(target=self.work, daemon=True).start()

    def ask(self, wanted: RequestWanted) -> RequestStatus:
        """Queues a request."""
        since, until = wanted.since, wanted.until or wanted.since
        days = 1 if since is None or until is None else (until - since).days + 1
        status = RequestStatus(
            id=str(uuid.uuid4()), table=wanted.table, since=since, until=until, reason=wanted.reason,
            user=wanted.user or "shared", state="queued", asked_at=datetime.now(UTC), started_at=None,
            finished_at=None, days=days, done=0, message="",
        )  # fmt: skip
        with self.more:
            self.asked[status.id] = status
            self.waiting.append(status.id)
            self.more.notify()
        return status

    def work(self) -> None:
        """Serves them for as long as the process lives."""
        while True:
            with self.more:
                self.more.wait_for(lambda: self.waiting)
                status = self.asked[self.waiting.pop(0)]
            self.tell(status, state="running", started_at=datetime.now(UTC))
            if status.table in FAILING:
                self.tell(status, state="failed", finished_at=datetime.now(UTC), message="the database is in its hours")
                continue
            for done in range(status.days):
                time.sleep(SECONDS_A_DAY)
                self.publish(status, done)
                self.tell(status, done=done + 1)
            self.tell(status, state="done", finished_at=datetime.now(UTC))

    def publish(self, status: RequestStatus, offset: int) -> None:
        """One day of a request, or a state."""
        if status.since is None:
            publish(self.settings, status.table, {LAST_DAY: customers_of(LAST_DAY)}, rows_of="state")
        else:
            day = status.since + timedelta(days=offset)
            publish(self.settings, status.table, {day: orders_of(day)})

    def tell(self, status: RequestStatus, **news: object) -> None:
        """Notes what became of a request."""
        self.asked[status.id] = self.asked[status.id].model_copy(update=news)


def with_requests(settings: Settings) -> FastAPI:
    """The gateway's own application, and the routes of requests."""
    app, production = create_app(settings), Production(settings)

    @app.post("/v1/requests", status_code=201, response_model=RequestStatus)
    def ask(wanted: RequestWanted) -> RequestStatus | JSONResponse:
        if wanted.table not in BY_DAY | STATES | FAILING:
            raise HTTPException(404)
        if wanted.since is not None and not FIRST_DAY <= wanted.since <= LAST_DAY:
            words = f"Days from {FIRST_DAY} to {LAST_DAY} can be extracted."
            return JSONResponse({"detail": words}, status_code=422)
        return production.ask(wanted)

    @app.get("/v1/requests")
    def requests() -> list[RequestStatus]:
        return list(production.asked.values())

    @app.get("/v1/requests/{id_}")
    def request(id_: uuid.UUID) -> RequestStatus:
        if str(id_) not in production.asked:
            raise HTTPException(404)
        return production.asked[str(id_)]

    return app


async def serve(settings: Settings) -> None:
    """Serves until the process ends."""
    server = Server(
        with_requests(settings), address=settings.host, port=settings.gateway_port, interface=Interfaces.ASGI,
        websockets=False,
    )  # fmt: skip
    await server.serve()


if __name__ == "__main__":
    asyncio.run(serve(load_settings()))
