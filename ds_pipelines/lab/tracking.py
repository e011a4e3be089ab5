"""One run in MLflow: opened when the script starts, written in a few calls when it ends.

What belongs here: all that knows MLflow's tracking API and its limits. What does not: what is noted and why.

Inputs are written as one MLflow dataset a table, because a run may read hundreds of days; each snapshot by itself is in
`evidence/run.json`.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from ds_pipelines.errors import TrackingUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from ds_pipelines.evidence import RunInput
    from ds_pipelines.settings import Settings

Status = Literal["FINISHED", "FAILED", "KILLED"]

PROBE_SECONDS = 2.0
REQUEST_SECONDS = 30
RETRIES = 2
MOST_PARAMETERS = 100
MOST_METRICS = 800
"""In one call; MLflow takes 100 parameters and 1,000 entries in all."""
DIGEST_LENGTH = 32
"""Hexadecimal digits of a dataset's digest; MLflow keeps 36 characters."""


@dataclass(frozen=True)
class TrackedRun:
    """An open run of MLflow's."""

    run_id: str
    url: str
    """The run in MLflow's pages."""
    address: str
    _client: MlflowClient

    @classmethod
    def start(cls, experiment: str, *, name: str, tags: Mapping[str, str], settings: Settings) -> TrackedRun:
        """Opens a run, making its experiment if there is none.

        Raises:
            TrackingUnreachableError: nobody answers within seconds, or MLflow refuses.
        """
        address = _shown(settings.tracking_base)
        _probe(settings.tracking_base, address)
        from mlflow import MlflowClient
        from mlflow.environment_variables import (
            MLFLOW_HTTP_REQUEST_MAX_RETRIES,
            MLFLOW_HTTP_REQUEST_TIMEOUT,
            MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
        )

        # MLflow's own defaults would wait for many minutes on a server that has gone.
        MLFLOW_HTTP_REQUEST_TIMEOUT.set(REQUEST_SECONDS)
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(RETRIES)
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
        with _reported(address):
            client = MlflowClient(tracking_uri=settings.tracking_base)
            experiment_id = _experiment(client, experiment, settings)
            opened = client.create_run(experiment_id, tags={"mlflow.source.type": "LOCAL", **tags}, run_name=name)
        pages = address if _is_http(address) else f"http://{settings.host}:{settings.mlflow_port}"
        run_id = opened.info.run_id
        return cls(run_id, f"{pages}/#/experiments/{experiment_id}/runs/{run_id}", address, client)

    def finish(
        self,
        status: Status,
        *,
        parameters: Mapping[str, str],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        inputs: Sequence[RunInput],
        artifacts: Path,
    ) -> None:
        """Writes everything the run left, and closes it; `artifacts` is a folder whose content is uploaded.

        Raises:
            TrackingUnreachableError: MLflow has gone since the run was opened, or refuses.
        """
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1_000)
        params = [Param(name, value) for name, value in parameters.items()]
        numbers = [Metric(name, value, now, 0) for name, value in metrics.items()]
        calls = max(1, math.ceil(len(params) / MOST_PARAMETERS), math.ceil(len(numbers) / MOST_METRICS))
        with _reported(self.address):
            for call in range(calls):
                self._client.log_batch(
                    self.run_id,
                    metrics=numbers[call * MOST_METRICS : (call + 1) * MOST_METRICS],
                    params=params[call * MOST_PARAMETERS : (call + 1) * MOST_PARAMETERS],
                    tags=[RunTag(name, value) for name, value in tags.items()] if call == 0 else [],
                )
            if inputs:
                self._client.log_inputs(self.run_id, datasets=_datasets(inputs))
            self._client.log_artifacts(self.run_id, str(artifacts))
            self._client.set_terminated(self.run_id, status)


@contextmanager
def connected(settings: Settings) -> Iterator[MlflowClient]:
    """A client of the settings' MLflow, whose troubles within the block are said in one sentence.

    Raises:
        TrackingUnreachableError: nobody answers within seconds, or MLflow refuses.
    """
    address = _shown(settings.tracking_base)
    _probe(settings.tracking_base, address)
    from mlflow import MlflowClient
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

    MLFLOW_HTTP_REQUEST_TIMEOUT.set(REQUEST_SECONDS)
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(RETRIES)
    with _reported(address):
        yield MlflowClient(tracking_uri=settings.tracking_base)


def pages(settings: Settings) -> str:
    """Where MLflow's pages are."""
    address = _shown(settings.tracking_base)
    return address if _is_http(address) else f"http://{settings.host}:{settings.mlflow_port}"


def _experiment(client: MlflowClient, name: str, settings: Settings) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # A server has its own place for artifacts; a bare database would take one below the working directory.
        bare = not _is_http(settings.tracking_base)
        location = (settings.artifacts / name).as_uri() if bare else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another run may have made it at the same moment
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _datasets(inputs: Sequence[RunInput]) -> list[object]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    datasets: list[object] = []
    ordered = sorted(inputs, key=lambda item: (item.table, item.day))
    for table, group in groupby(ordered, key=lambda item: item.table):
        snapshots = list(group)
        source = {
            "table": table,
            "first_day": str(snapshots[0].day),
            "last_day": str(snapshots[-1].day),
            "digest": _digest(snapshots),
            "snapshots": len(snapshots),
            "each": "evidence/run.json",
        }
        dataset = Dataset(
            name=table,
            digest=_digest(snapshots)[:DIGEST_LENGTH],
            source_type="ds_pipelines",
            source=json.dumps(source),
        )
        datasets.append(DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "input")]))
    return datasets


def _digest(snapshots: Sequence[RunInput]) -> str:
    """The snapshot's own digest, or one over the days and digests of several."""
    if len(snapshots) == 1:
        return snapshots[0].digest
    lines = "".join(f"{snapshot.day} {snapshot.digest}\n" for snapshot in snapshots)
    return hashlib.sha256(lines.encode()).hexdigest()


def _probe(tracking: str, address: str) -> None:
    """Asks once whether a server answers at all, before anything is imported or run for it."""
    if not _is_http(tracking):
        return
    import httpx

    try:
        answer = httpx.get(f"{tracking}/health", timeout=PROBE_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TrackingUnreachableError(address, _reason(error)) from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise TrackingUnreachableError(address, "another program answers there")


@contextmanager
def _reported(address: str) -> Iterator[None]:
    """Turns what MLflow raises into one sentence; its own messages may quote values or URLs."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        lost = error.__cause__ or error.__context__
        reason = _reason(lost) if isinstance(lost, OSError) else f"it reports {error.error_code}"
        raise TrackingUnreachableError(address, reason) from None
    except OSError as error:
        raise TrackingUnreachableError(address, _reason(error)) from None


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    return "it does not answer in time" if "Timeout" in kind else f"no connection ({kind})"


def _is_http(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _shown(tracking: str) -> str:
    """The address without anything secret: of a database its kind, of a server all but user and password."""
    scheme, _, rest = tracking.partition("://")
    if not _is_http(tracking):
        return f"its database ({scheme})"
    host, separator, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{separator}{path}"
