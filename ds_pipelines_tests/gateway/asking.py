"""A gateway that takes requests, and a production behind it that answers them, a day each `SECONDS_A_DAY`.

It is the real gateway with the routes of requests beside its own, and stands in for one that has them itself: `asking`
is the only name that tests use.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from ds_pipelines.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings


@contextmanager
def asking(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway as a process of its own, with production behind it, until the block ends or stops it."""
    server = subprocess.Popen(
        [sys.executable, "-m", "ds_pipelines_tests.gateway.asking_server"],
        env=environment(**settings.as_environment()),
    )
    try:
        _wait_until_healthy(settings, server)
        yield server
    finally:
        server.terminate()
        server.wait(10)


def _wait_until_healthy(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"{settings.gateway_base}/health", trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the gateway does not answer")
