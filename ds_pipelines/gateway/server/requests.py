"""Routes by which somebody asks for what is not published yet, and watches what becomes of it.

What belongs here: whether a request can be carried out at all, and how far it is. What does not: carrying it out, which
production does.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AfterValidator

from ds_pipelines.errors import UnknownExtractError, UnknownRequestedTableError, UnusableRequestError
from ds_pipelines.extract.policy import SHOP, load
from ds_pipelines.gateway.catalog import Catalog
from ds_pipelines.gateway.grants import Grant
from ds_pipelines.gateway.queue import Queue
from ds_pipelines.gateway.server.exchange import Exchange, Item, exchange_of
from ds_pipelines.gateway.server.shapes import BODY_PROBLEMS
from ds_pipelines.gateway.wire import RequestStatus, RequestWanted
from ds_pipelines.settings import Settings


def _writable(wanted: RequestWanted) -> RequestWanted:
    if any("\0" in text for text in (wanted.table, wanted.reason)):
        raise ValueError("no text may hold a NUL")
    return wanted


def routes(catalog: Catalog, queue: Queue, settings: Settings) -> APIRouter:
    """The routes over a queue, for the tables of the privacy policy."""
    router = APIRouter(tags=["requests"])

    @router.post("/v1/requests", status_code=201, responses=BODY_PROBLEMS)
    def ask(request: Request, wanted: Annotated[RequestWanted, AfterValidator(_writable)]) -> RequestStatus:
        """Asks production to extract days of a table, or a table as it is now; the answer can be watched."""
        exchange = exchange_of(request, "extracts")
        days = _days(wanted, exchange.grant, settings)
        exchange.items.append(Item(wanted.table))
        return queue.ask(wanted, days, token=exchange.grant.id, user=exchange.user, asserted_by=exchange.asserted_by)

    @router.get("/v1/requests")
    def listed(request: Request) -> list[RequestStatus]:
        """What was asked for with this token, the newest first."""
        exchange = exchange_of(request, "extracts")
        return [_counted(status, catalog, exchange) for status in queue.of(exchange.grant.id)]

    @router.get("/v1/requests/{identifier}")
    def watched(request: Request, identifier: UUID) -> RequestStatus:
        """One request of this token, and how far it is."""
        exchange = exchange_of(request, "extracts")
        return _counted(queue.find(identifier, token=exchange.grant.id), catalog, exchange)

    return router


def _days(wanted: RequestWanted, grant: Grant, settings: Settings) -> int:
    """How many days are asked for.

    Raises:
        UnknownRequestedTableError: there is no such table, or not for this token.
        UnusableRequestError, UnknownDayError: the days cannot be extracted.
    """
    policy = load(settings.policies / SHOP)
    if wanted.table not in policy.tables or not grant.allows(wanted.table):
        raise UnknownRequestedTableError(wanted.table, filter(grant.allows, policy.tables))
    if policy.tables[wanted.table].by_day is None:
        if wanted.since is not None or wanted.until is not None:
            raise UnusableRequestError(f"{wanted.table} is extracted as it is now; expected neither since nor until")
        return 1
    if wanted.since is None or wanted.until is None:
        bounds = f"from {settings.first_day} to {settings.last_extractable_day()}"
        raise UnusableRequestError(f"{wanted.table} is extracted by day; expected since and until, days {bounds}")
    first, last = settings.require_day(wanted.since), settings.require_day(wanted.until)
    if last < first:
        raise UnusableRequestError(f"until {last} is before since {first}; expected it not to be")
    return (last - first).days + 1


def _counted(status: RequestStatus, catalog: Catalog, exchange: Exchange) -> RequestStatus:
    """The request with how many of its days are published since it was asked."""
    if status.state == "done":
        return status
    try:
        manifests = catalog.listing(status.table, exchange.grant.allows).manifests
    except UnknownExtractError:
        return status
    since, until = status.since, status.until
    done = sum(
        manifest.published_at >= status.asked_at
        and (since is None or since <= manifest.day)
        and (until is None or manifest.day <= until)
        for manifest in manifests
    )
    return status.model_copy(update={"done": min(done, status.days)})
