"""The exposed service: it lists published extracts and serves their files to who holds the token.

What belongs here: routes, the token's check, and starting the service. What does not: making or changing an extract;
the service only reads the store, and knows no database.

Everything but `/health` and the description of the routes needs the token, and without it every path gives the same
answer: nobody learns which tables exist. A file is served only by a digest that a published manifest names now.
"""

import asyncio
import errno
import hashlib
import hmac
import signal
import socket
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Body, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from granian.constants import Interfaces
from granian.server.embed import Server
from pydantic import Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ds_pipelines.errors import (
    DsPipelinesError,
    PortTakenError,
    SettingsError,
    UnknownExtractError,
    UnknownSnapshotError,
    UnpublishedDayError,
)
from ds_pipelines.evidence import SnapshotManifest
from ds_pipelines.gateway import archive
from ds_pipelines.gateway.catalog import Catalog
from ds_pipelines.gateway.tokens import ensure_token
from ds_pipelines.gateway.wire import ExtractSummary
from ds_pipelines.settings import Settings
from ds_pipelines.snapshots.store import SnapshotStore

OPEN_PATHS = frozenset({"/health", "/docs", "/openapi.json"})
"""What is answered without a token; none of it depends on what is published."""

DESCRIPTION = """\
Anonymized extracts for development. Send the token with every request: `Authorization: Bearer <token>`; it lies in
`secrets/gateway.token` of the gateway's `DS_HOME`.
"""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="The digest of a manifest")]


def create_app(settings: Settings) -> FastAPI:
    """The service over the settings' snapshot store; makes the token if there is none.

    Raises:
        MissingSecretError: the token's file cannot be used.
    """
    app = FastAPI(
        title="ds-pipelines gateway",
        description=DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,
        swagger_ui_oauth2_redirect_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_middleware(TokenRequired, token=ensure_token(settings))
    app.add_exception_handler(DsPipelinesError, _explained)
    app.add_exception_handler(RequestValidationError, _unusable)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(Exception, _failed)

    app.include_router(_routes(Catalog(SnapshotStore(settings.snapshots))))
    return app


def _routes(catalog: Catalog) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    def health() -> dict[str, str]:
        """Says that the service runs, and nothing else."""
        return {"status": "ok"}

    @router.get("/v1/extracts")
    def extracts() -> list[ExtractSummary]:
        """What is published, by table."""
        return catalog.summaries()

    @router.get("/v1/extracts/{table}")
    def extract(table: str, since: date | None = None, until: date | None = None) -> list[SnapshotManifest]:
        """What is published of a table, by day, both bounds included."""
        return [
            manifest
            for manifest in catalog.manifests(table)
            if (since is None or since <= manifest.day) and (until is None or manifest.day <= until)
        ]

    @router.get("/v1/extracts/{table}/{day}")
    def snapshot(table: str, day: date) -> SnapshotManifest:
        """What is published of a table for a day."""
        return catalog.manifest(table, day)

    @router.get("/v1/files/{digest}", response_class=FileResponse)
    def file(digest: Digest) -> FileResponse:
        """The Parquet file of a snapshot, whole or by ranges."""
        path = catalog.file(digest)
        return FileResponse(
            path,
            media_type="application/vnd.apache.parquet",
            headers={"ETag": f'"{digest}"', "Cache-Control": "private, max-age=31536000, immutable"},
            stat_result=path.stat(),
        )

    @router.post("/v1/files", response_class=StreamingResponse)
    def files(digests: Annotated[list[Digest], Body(max_length=archive.AT_ONCE)]) -> StreamingResponse:
        """The Parquet files of many snapshots, in the order of the digests, as a tar archive."""
        paths = [catalog.file(digest) for digest in digests]
        return StreamingResponse(
            archive.stream(paths),
            media_type=archive.MEDIA_TYPE,
            headers={"Content-Length": str(archive.length(paths))},
        )

    return router


class TokenRequired:
    """Refuses every request without the token, before anything else looks at it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.expected = hashlib.sha256(token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers 401."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or self._is_known(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"detail": "A valid token is needed. Send the gateway's own as `Authorization: Bearer <token>`."},
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        # Digests of equal length: the comparison's time says nothing, the token's length neither.
        given = hashlib.sha256(token.strip().encode()).digest()
        return hmac.compare_digest(given, self.expected) and scheme.lower() == "bearer"


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        PortTakenError: another program listens on the gateway's port.
        SettingsError: the gateway's address is not one to listen on.
        MissingSecretError: the token's file cannot be used.
    """
    _require_free_port(settings)
    app = create_app(settings)

    async def run() -> None:
        # In this very process, not in a worker of its own: no orphan keeps the port when the process is killed.
        server = Server(
            app,
            address=settings.host,
            port=settings.gateway_port,
            interface=Interfaces.ASGI,
            websockets=False,
            log_access=True,
        )
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(stop, server.stop)
        await server.serve()

    asyncio.run(run())


def _require_free_port(settings: Settings) -> None:
    """Granian shares a port with whoever allows it (SO_REUSEPORT); a plain socket finds out that it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.gateway_port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError("the gateway", settings.gateway_port, "DS_GATEWAY_PORT") from None
            raise SettingsError(
                "DS_HOST or DS_GATEWAY_PORT", "an address of this machine, and a port that this account may listen on"
            ) from None


def _answer(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=status)


async def _explained(_: Request, error: Exception) -> JSONResponse:
    absent = isinstance(error, UnknownExtractError | UnpublishedDayError | UnknownSnapshotError)
    return _answer(404 if absent else 500, str(error))


async def _unusable(_: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    named = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems)
    return _answer(422, f"The request cannot be used: {named}. The routes are described at /docs.")


async def _no_such_route(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _answer(status, "There is no such route. The routes are described at /docs.")


async def _failed(_: Request, __: Exception) -> JSONResponse:
    return _answer(500, "The gateway failed to answer; its log says why.")
