"""MLflow's own client, for reading what was recorded; its import takes seconds, which reading may.

What belongs here: opening it, and saying its troubles in one sentence. What does not: recording runs, which spares that
import where it can (tracking.py), and what is read (history.py).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from ds_pipelines.errors import TrackingUnreachableError
from ds_pipelines.lab.tracking import is_http, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

    from ds_pipelines.settings import Settings

PROBE_SECONDS = 2.0
REQUEST_SECONDS = 30
RETRIES = 2


@contextmanager
def connected(settings: Settings) -> Iterator[MlflowClient]:
    """A client of the settings' MLflow.

    Raises:
        TrackingUnreachableError: nobody answers within seconds, or MLflow refuses, also later within the block.
    """
    address = shown(settings.tracking_base)
    if is_http(settings.tracking_base):
        _probe(settings.tracking_base, address)
    from mlflow import MlflowClient
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
    from mlflow.exceptions import MlflowException

    MLFLOW_HTTP_REQUEST_TIMEOUT.set(REQUEST_SECONDS)
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(RETRIES)
    try:
        yield MlflowClient(tracking_uri=settings.tracking_base)
    except MlflowException as error:
        raise TrackingUnreachableError(address, f"it reports {error.error_code}") from None


def pages(settings: Settings) -> str:
    """Where MLflow's pages are."""
    address = shown(settings.tracking_base)
    return address if is_http(address) else f"http://{settings.host}:{settings.mlflow_port}"


def _probe(tracking: str, address: str) -> None:
    """Asks once whether a server answers at all, before anything is imported for it."""
    try:
        answer = httpx.get(f"{tracking}/health", timeout=PROBE_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TrackingUnreachableError(address, f"no connection ({type(error).__name__})") from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise TrackingUnreachableError(address, "another program answers there")
