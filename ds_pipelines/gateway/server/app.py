"""The application: the routes behind the gate, and errors as answers.

What belongs here: putting them together. What does not: the routes, and listening.
"""

import logging
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ds_pipelines import errors
from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.gateway.catalog import Catalog
from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.queue import Queue
from ds_pipelines.gateway.server import extracts, files, production, requests, scores, status
from ds_pipelines.gateway.server.gate import NO_DATABASE, RETRY_SECONDS, Gate
from ds_pipelines.gateway.server.scores import Offer
from ds_pipelines.gateway.server.shapes import PROBLEMS
from ds_pipelines.settings import Settings
from ds_pipelines.snapshots.store import SnapshotStore

DESCRIPTION = """\
Anonymized extracts for development, and scores for consumers. Send a token with every request:
`Authorization: Bearer <token>`. The lab's own lies in `secrets/gateway.token` of the gateway's `DS_HOME`;
`ds-pipelines token create` makes others. A token is for extracts or for scores, never for both.

Who asks for somebody else can name them in the header `DS-User`, percent-encoded. The audit records the name as the
token's word; that of the authenticating proxy, where there is one, counts before it.
"""

STATUS: dict[type[DsPipelinesError], int] = {
    errors.WrongKindOfTokenError: 403,
    errors.UnknownExtractError: 404,
    errors.UnpublishedDayError: 404,
    errors.UnknownSnapshotError: 404,
    errors.UnknownRequestedTableError: 404,
    errors.UnknownRequestError: 404,
    errors.UnknownScoresError: 404,
    errors.UnusableRequestError: 422,
    errors.UnknownDayError: 422,
    errors.TooManyRequestsOpenError: 429,
    errors.DamagedManifestError: 500,
}
"""Errors that whoever asks may read; of others only the log tells."""
OPEN_REQUESTS_SECONDS = 60

log = logging.getLogger(__name__)


def create_app(settings: Settings, offers: Iterable[Offer] = ()) -> FastAPI:
    """The service over the settings' snapshots and databases; contacts nobody.

    Args:
        settings: Where everything is.
        offers: The serving tables that consumers may read.
    """
    app = FastAPI(
        title="ds-pipelines gateway",
        description=DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,
        swagger_ui_oauth2_redirect_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    database, metrics = Database(settings), status.Metrics()
    app.add_middleware(Gate, settings=settings, database=database, metrics=metrics)
    app.add_exception_handler(DsPipelinesError, _explained)
    app.add_exception_handler(RequestValidationError, _unusable)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(Exception, _failed)

    catalog = Catalog(SnapshotStore(settings.snapshots))
    open_to_all, figures = status.routes(database, metrics)
    serving = Database(settings, "consumer")
    app.include_router(open_to_all)
    for router in (
        extracts.routes(catalog),
        files.routes(catalog),
        requests.routes(catalog, Queue(database), settings),
        scores.routes(offers, serving),
        figures,
        production.routes(serving),
    ):
        app.include_router(_guarded(router))
    return app


def _guarded(router: APIRouter) -> APIRouter:
    """The routes, described as what they are behind the gate: in need of a token."""
    described = APIRouter(dependencies=[Security(HTTPBearer(auto_error=False))], responses=PROBLEMS)
    described.include_router(router)
    return described


def _answer(code: int, detail: str, **headers: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=code, headers=headers)


async def _explained(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, errors.DatabaseUnreachableError | errors.UnpreparedGatewayError):
        log.error("%s", error)
        return _answer(503, NO_DATABASE, **{"Retry-After": str(RETRY_SECONDS)})
    code = next((code for kind, code in STATUS.items() if isinstance(error, kind)), None)
    if code is None:
        log.error("%s", error)
        return _answer(500, FAILED)
    return _answer(code, str(error), **({"Retry-After": str(OPEN_REQUESTS_SECONDS)} if code == 429 else {}))


async def _unusable(_: Request, error: Exception) -> JSONResponse:
    problems: Any = error.errors() if isinstance(error, RequestValidationError) else []
    named = "; ".join(f"{problem['loc'][-1]}: {problem['msg'].removeprefix('Value error, ')}" for problem in problems)
    return _answer(422, f"The request cannot be used: {named}. The routes are described at /docs.")


async def _no_such_route(request: Request, error: Exception) -> JSONResponse:
    code = error.status_code if isinstance(error, HTTPException) else 500
    headers = (error.headers or {}) if isinstance(error, HTTPException) else {}
    if code == 405:  # each route knows only its own methods
        described = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", ""), {})
        headers = {"Allow": ", ".join(sorted(method.upper() for method in described))}
    said = "The request's body cannot be read." if code == 400 else "There is no such route."
    return _answer(code, f"{said} The routes are described at /docs.", **headers)


FAILED = "The gateway failed to answer; its log says why."


async def _failed(_: Request, __: Exception) -> JSONResponse:
    return _answer(500, FAILED)
