"""How the gateway is: alive, ready, and its figures for Prometheus.

What belongs here: counting answers, and the routes that tell. What does not: what is counted of tokens (`limits`).

No figure names a table, a token or a user, and all of them need a token of their own.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from ds_pipelines.errors import DatabaseUnreachableError, UnpreparedGatewayError
from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.server.exchange import exchange_of

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram."""
FRESH_SECONDS = 2.0
"""How long an answer of the database about itself is repeated: anybody may ask for it."""


class Metrics:
    """Counts of answers, by route and status."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._bytes: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}

    def count(self, route: str, status: int, seconds: float, length: int) -> None:
        """Counts one answer."""
        self._answers[route, status] += 1
        self._bytes[route] += length
        self._seconds[route] += seconds  # type: ignore[assignment]
        self._buckets.setdefault(route, [0] * (len(SECONDS) + 1))[bisect_left(SECONDS, seconds)] += 1

    def told(self) -> str:
        """As Prometheus reads it."""
        lines = ["# TYPE gateway_answers_total counter"]
        for (route, status), count in sorted(self._answers.items()):
            lines.append(f'gateway_answers_total{{route="{route}",status="{status}"}} {count}')
        lines.append("# TYPE gateway_bytes_total counter")
        lines += [f'gateway_bytes_total{{route="{route}"}} {count}' for route, count in sorted(self._bytes.items())]
        lines.append("# TYPE gateway_seconds histogram")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*SECONDS, "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'gateway_seconds_bucket{{route="{route}",le="{bound}"}} {total}')
            lines.append(f'gateway_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'gateway_seconds_count{{route="{route}"}} {total}')
        return "\n".join(lines) + "\n"


class _Readiness:
    """Whether the database answers, as of some seconds ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking = asyncio.Lock()
        self._said: tuple[float, bool] = (float("-inf"), False)

    async def ask(self) -> bool:
        async with self._asking:
            if time.monotonic() - self._said[0] > FRESH_SECONDS:
                self._said = time.monotonic(), await asyncio.to_thread(self._look)
        return self._said[1]

    def _look(self) -> bool:
        try:
            self._database.run(lambda cursor: cursor.execute("SELECT FROM tokens, requests, audit LIMIT 0"))
        except (DatabaseUnreachableError, UnpreparedGatewayError):
            return False
        return True


def routes(database: Database, metrics: Metrics) -> tuple[APIRouter, APIRouter]:
    """The routes that are open, and the one that needs a token."""
    open_to_all, guarded = APIRouter(tags=["status"]), APIRouter(tags=["status"])
    readiness = _Readiness(database)

    @open_to_all.get("/health/live")
    async def alive() -> dict[str, str]:
        """Says that the service runs, and nothing else."""
        return {"status": "ok"}

    @open_to_all.get("/health", responses={503: {"description": "Its database does not answer"}})
    async def ready() -> JSONResponse:
        """Says whether the service can work: 503 while its database does not answer."""
        if await readiness.ask():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "its database does not answer"}, status_code=503)

    @guarded.get("/metrics", response_class=PlainTextResponse)
    async def figures(request: Request) -> PlainTextResponse:
        """Counts of answers, for Prometheus."""
        exchange_of(request, "metrics")
        return PlainTextResponse(metrics.told(), media_type="text/plain; version=0.0.4")

    return open_to_all, guarded
