"""From settings to a server that listens, until it is told to stop.

What belongs here: the port, TLS, and how much a connection may cost. What does not: what is served (`app`).
"""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
import socket
import ssl
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from ds_pipelines.errors import PortTakenError, SettingsError
from ds_pipelines.gateway import database, grants
from ds_pipelines.gateway.server.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ds_pipelines.gateway.server.scores import Offer
    from ds_pipelines.settings import Settings

HEADER_SECONDS = 10
"""Within which a request's headers arrive, or the connection is closed: whoever dawdles keeps nobody out."""
LARGEST_HEADERS = 64 * 1024
CONNECTIONS = 4_096
"""At once; more wait to be accepted."""


def serve(settings: Settings, offers: Iterable[Offer] = ()) -> None:
    """Serves until SIGINT or SIGTERM. Makes the database's tables and the lab's token first, where this process may.

    Raises:
        PortTakenError: another program listens on the gateway's port.
        SettingsError: the gateway's address is not one to listen on, or its certificate cannot be used.
        MissingSecretError: the token's file cannot be used.
        DatabaseUnreachableError, ClusterError: the database cannot be made ready.
    """
    _require_free_port(settings)
    _require_certificate(settings)
    if database.knows_owner(settings):
        grants.prepare(settings)
    _allow_connections()
    app = create_app(settings, offers)

    async def run() -> None:
        # In this very process, not in a worker of its own: no orphan keeps the port when the process is killed.
        server = Server(
            app,
            address=settings.host,
            port=settings.gateway_port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1_000, max_buffer_size=LARGEST_HEADERS),
            websockets=False,
            backlog=1_024,
            backpressure=CONNECTIONS,
            log_access=True,
            ssl_cert=settings.gateway_certificate,
            ssl_key=settings.gateway_key,
        )
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(stop, server.stop)
        await server.serve()

    asyncio.run(run())


def _allow_connections() -> None:
    """As many files as connections, and some more, if the system lets us; 1,024 is what it gives by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _require_certificate(settings: Settings) -> None:
    """A certificate and its key, or neither; whatever is wrong with them is said before the server starts."""
    certificate, key = settings.gateway_certificate, settings.gateway_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise SettingsError("DS_GATEWAY_CERTIFICATE or DS_GATEWAY_KEY", "both of them, or neither")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):
        raise SettingsError(
            "DS_GATEWAY_CERTIFICATE or DS_GATEWAY_KEY", "PEM files of a certificate and its key, without a password"
        ) from None


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
