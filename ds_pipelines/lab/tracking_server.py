"""MLflow's server, spoken to over its REST API.

What belongs here: requests, and what their answers mean. What does not: what a run is made of (tracking.py).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from ds_pipelines.errors import TrackingUnreachableError
from ds_pipelines.lab.tracking import EXPERIMENT_TAGS, Opened, Result, batches, datasets, milliseconds, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from ds_pipelines.settings import Settings

PROBE_SECONDS = 4.0
REQUEST_SECONDS = 60.0
AT_ONCE = 4
"""Files that are uploaded at a time."""
API = "/api/2.0/mlflow"
PROXIED = "mlflow-artifacts:/"
"""How the address of artifacts begins that the server takes itself."""


class Server:
    """A connection to one server."""

    def __init__(self, settings: Settings) -> None:
        """Asks once whether a server answers at all, before anything is done for it.

        Raises:
            TrackingUnreachableError: nobody answers within seconds, or another program does.
        """
        self._base = settings.tracking_base
        self.address = shown(self._base)
        with self._reported():
            self._http = httpx.Client(
                base_url=self._base, timeout=REQUEST_SECONDS, transport=httpx.HTTPTransport(retries=2)
            )
            health = self._http.get("/health", timeout=PROBE_SECONDS)
        if health.status_code == httpx.codes.NOT_FOUND:
            self.close()
            raise TrackingUnreachableError(self.address, "another program answers there")

    def close(self) -> None:
        """Ends the connection."""
        self._http.close()

    def open(self, experiment: str, *, name: str, tags: Mapping[str, str], started_at: datetime) -> Opened:
        """Opens a run; as `Tracking.open`."""
        experiment_id = self._experiment(experiment)
        body = {
            "experiment_id": experiment_id,
            "run_name": name,
            "start_time": milliseconds(started_at),
            "tags": _pairs(tags),
        }
        info = self._post("runs/create", body)["run"]["info"]
        run_id = str(info["run_id"])
        return Opened(run_id, str(info["artifact_uri"]), f"{self.address}/#/experiments/{experiment_id}/runs/{run_id}")

    def finish(self, run: Opened, result: Result, artifacts: Path) -> None:
        """Writes everything a run left; as `Tracking.finish`."""
        now = milliseconds(result.ended_at)
        for batch in batches(result):
            metrics = [{"key": k, "value": v, "timestamp": now, "step": 0} for k, v in batch.metrics.items()]
            body = {"metrics": metrics, "params": _pairs(batch.parameters), "tags": _pairs(batch.tags)}
            self._post("runs/log-batch", {"run_id": run.run_id, **body})
        if result.inputs:
            context = [{"key": "mlflow.data.context", "value": "input"}]
            read = [{"dataset": vars(each), "tags": context} for each in datasets(result.inputs)]
            self._post("runs/log-inputs", {"run_id": run.run_id, "datasets": read})
        self._upload(run, artifacts)
        self._post("runs/update", {"run_id": run.run_id, "status": result.status, "end_time": now})

    def _experiment(self, name: str) -> str:
        found = self._ask("GET", "experiments/get-by-name", params={"experiment_name": name})
        if found.status_code == httpx.codes.NOT_FOUND:
            tags = [{"key": key, "value": value} for key, value in EXPERIMENT_TAGS.items()]
            made = self._ask("POST", "experiments/create", json={"name": name, "tags": tags})
            if made.is_success:
                return str(made.json()["experiment_id"])
            # Another run may have made it at the same moment.
            found = self._ask("GET", "experiments/get-by-name", params={"experiment_name": name})
        experiment = self._content(found)["experiment"]
        if experiment["lifecycle_stage"] == "deleted":
            self._post("experiments/restore", {"experiment_id": experiment["experiment_id"]})
        return str(experiment["experiment_id"])

    def _upload(self, run: Opened, folder: Path) -> None:
        """A file a request, some at a time; `evidence/run.json` last, so that what it names is there when it is."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not run.artifact_uri.startswith(PROXIED):
            self._upload_elsewhere(run, folder)
            return
        root = run.artifact_uri.removeprefix(PROXIED).lstrip("/")

        def put(path: Path) -> None:
            place = quote(f"{root}/{path.relative_to(folder).as_posix()}")
            with self._reported():
                answer = self._http.put(f"/api/2.0/mlflow-artifacts/artifacts/{place}", content=path.read_bytes())
            self._content(answer)

        record = folder / "evidence" / "run.json"
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(put, [path for path in files if path != record]))
        put(record)

    def _upload_elsewhere(self, run: Opened, folder: Path) -> None:
        """To a store that the server names and does not stand before, as one in a cloud: MLflow's library knows it."""
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            MlflowClient(tracking_uri=self._base).log_artifacts(run.run_id, str(folder))
        except MlflowException as error:
            raise TrackingUnreachableError(self.address, f"it reports {error.error_code}") from None

    def _post(self, call: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._content(self._ask("POST", call, json=body))

    def _ask(self, method: str, call: str, **request: Any) -> httpx.Response:
        with self._reported():
            return self._http.request(method, f"{API}/{call}", **request)

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        """The answer, if it is one; MLflow's own messages may quote values, so its code is all that is passed on."""
        if answer.is_success:
            return dict(answer.json()) if answer.content else {}
        try:
            code = str(answer.json()["error_code"])
        except (ValueError, KeyError, TypeError):
            code = f"status {answer.status_code}"
        raise TrackingUnreachableError(self.address, f"it reports {code}")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = type(error).__name__
            words = "it does not answer in time" if "Timeout" in kind else f"no connection ({kind})"
            raise TrackingUnreachableError(self.address, words) from None


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
