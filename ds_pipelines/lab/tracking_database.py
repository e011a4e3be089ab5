"""MLflow's database, without a server before it.

What belongs here: the same as in tracking_server.py, by MLflow's library. What does not: what a run is made of
(tracking.py).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ds_pipelines.errors import TrackingUnreachableError
from ds_pipelines.lab.tracking import EXPERIMENT_TAGS, Opened, Result, batches, datasets, milliseconds, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from ds_pipelines.settings import Settings


class Database:
    """MLflow's library on one database."""

    def __init__(self, settings: Settings) -> None:
        from mlflow import MlflowClient
        from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
        self._settings = settings
        self.address = shown(settings.tracking_base)
        with self._reported():
            self._client = MlflowClient(tracking_uri=settings.tracking_base)

    def close(self) -> None:
        """The library keeps its connections for the next run."""

    def open(self, experiment: str, *, name: str, tags: Mapping[str, str], started_at: datetime) -> Opened:
        """Opens a run; as `Tracking.open`."""
        with self._reported():
            experiment_id = self._experiment(experiment)
            opened = self._client.create_run(
                experiment_id, start_time=milliseconds(started_at), tags=dict(tags), run_name=name
            )
        run_id = str(opened.info.run_id)
        pages = f"http://{self._settings.host}:{self._settings.mlflow_port}"
        return Opened(run_id, str(opened.info.artifact_uri), f"{pages}/#/experiments/{experiment_id}/runs/{run_id}")

    def finish(self, run: Opened, result: Result, artifacts: Path) -> None:
        """Writes everything a run left; as `Tracking.finish`."""
        from mlflow import entities

        now = milliseconds(result.ended_at)
        with self._reported():
            for batch in batches(result):
                self._client.log_batch(
                    run.run_id,
                    metrics=[entities.Metric(name, value, now, 0) for name, value in batch.metrics.items()],
                    params=[entities.Param(name, value) for name, value in batch.parameters.items()],
                    tags=[entities.RunTag(name, value) for name, value in batch.tags.items()],
                )
            if result.inputs:
                context = [entities.InputTag("mlflow.data.context", "input")]
                read = [
                    entities.DatasetInput(
                        entities.Dataset(each.name, each.digest, each.source_type, each.source), context
                    )
                    for each in datasets(result.inputs)
                ]
                self._client.log_inputs(run.run_id, datasets=read)
            self._client.log_artifacts(run.run_id, str(artifacts))
            self._client.set_terminated(run.run_id, result.status, end_time=now)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            # A bare database would take a place below the working directory.
            location = (self._settings.artifacts / name).as_uri()
            try:
                return str(self._client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))
            except MlflowException:
                found = self._client.get_experiment_by_name(name)  # another run may have made it at the same moment
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turns what MLflow raises into one sentence; its own messages may quote values or URLs."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise TrackingUnreachableError(self.address, f"it reports {error.error_code}") from None
        except OSError as error:
            raise TrackingUnreachableError(self.address, f"no connection ({type(error).__name__})") from None
