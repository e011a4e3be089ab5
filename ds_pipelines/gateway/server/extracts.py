"""Routes that list what is published.

What belongs here: extracts, their manifests, days and columns. What does not: the files (`files`).
"""

from collections.abc import Callable
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from ds_pipelines.evidence import SnapshotManifest
from ds_pipelines.gateway.catalog import Catalog
from ds_pipelines.gateway.server.exchange import Exchange, Item, exchange_of
from ds_pipelines.gateway.server.shapes import Day
from ds_pipelines.gateway.wire import SUMMARIES, ExtractSummary, PublishedDay, TableSchema

T = TypeVar("T")


def routes(catalog: Catalog) -> APIRouter:
    """The routes over a catalog."""
    router = APIRouter(tags=["extracts"])

    @router.get("/v1/extracts", response_model=list[ExtractSummary])
    async def extracts(request: Request) -> Response:
        """What is published, by table."""
        exchange = exchange_of(request, "extracts")
        listings = await _ask(catalog, lambda: catalog.listings(exchange.grant.allows))
        return _json(SUMMARIES.dump_json([listing.summary for listing in listings]))

    @router.get("/v1/extracts/{table}", response_model=list[SnapshotManifest])
    async def extract(request: Request, table: str, since: Day | None = None, until: Day | None = None) -> Response:
        """What is published of a table, by day, both bounds included."""
        exchange = exchange_of(request, "extracts")
        encoded = await _ask(catalog, lambda: catalog.listing(table, exchange.grant.allows).encoded)
        wanted = [
            manifest
            for day, manifest in encoded.items()
            if (since is None or since <= day) and (until is None or day <= until)
        ]
        return _json(b"[" + b",".join(wanted) + b"]", exchange, table)

    @router.get("/v1/extracts/{table}/schema", response_model=TableSchema)
    async def schema(request: Request, table: str) -> Response:
        """The columns of a table's newest day, what the privacy policy made of each, and why."""
        exchange = exchange_of(request, "extracts")
        found = await _ask(catalog, lambda: catalog.listing(table, exchange.grant.allows).schema)
        return _json(found.model_dump_json().encode(), exchange, table)

    @router.get("/v1/extracts/{table}/days", response_model=list[PublishedDay])
    async def days(request: Request, table: str) -> Response:
        """The days that are published of a table, in short."""
        exchange = exchange_of(request, "extracts")
        found = await _ask(catalog, lambda: catalog.listing(table, exchange.grant.allows).days)
        return _json(found, exchange, table)

    @router.get("/v1/extracts/{table}/{day}", response_model=SnapshotManifest)
    async def snapshot(request: Request, table: str, day: Day) -> Response:
        """What is published of a table for a day."""
        exchange = exchange_of(request, "extracts")
        found = await _ask(catalog, lambda: catalog.listing(table, exchange.grant.allows).manifest(day))
        return _json(found.model_dump_json().encode(), exchange, table)

    return router


async def _ask(catalog: Catalog, question: Callable[[], T]) -> T:
    """What the catalog says: here and now if all is in memory, in a thread if files have to be read."""
    return question() if catalog.is_settled() else await run_in_threadpool(question)


def _json(content: bytes, exchange: Exchange | None = None, table: str = "") -> Response:
    if exchange is not None:
        exchange.items.append(Item(table))
    return Response(content, media_type="application/json")
