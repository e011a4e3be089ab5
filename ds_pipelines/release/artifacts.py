"""What a run left in MLflow, for whoever offers it.

What belongs here: reading one artifact, or a record, and saying what is missing without it. What does not: judging it
(`conditions`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from ds_pipelines.errors import ProposalRefusedError
from ds_pipelines.evidence import Record
from ds_pipelines.settings import quiet_libraries

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

RETRIES = 1

AnyRecord = TypeVar("AnyRecord", bound=Record)


class Artifacts:
    """What a run left in MLflow."""

    def __init__(self, run_id: str, folder: Path, settings: Settings) -> None:
        quiet_libraries()
        from mlflow import MlflowClient
        from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, MLFLOW_HTTP_REQUEST_MAX_RETRIES
        from mlflow.exceptions import MlflowException

        # MLflow's own defaults would wait for minutes on a server that has gone.
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(RETRIES)
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
        folder.mkdir()
        self._run_id, self._folder = run_id, folder
        self._client = MlflowClient(tracking_uri=settings.tracking_base)
        try:
            self._client.get_run(run_id)
        except MlflowException as error:
            unknown = error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
            expected = "a run that MLflow knows" if unknown else "an answer from MLflow (`ds-pipelines up` starts it)"
            raise ProposalRefusedError(run_id, expected) from None

    def read(self, path: str, meant: str) -> bytes:
        """One artifact; `meant` says in a message what is missing without it."""
        from mlflow.exceptions import MlflowException

        try:
            return Path(self._client.download_artifacts(self._run_id, path, str(self._folder))).read_bytes()
        except (MlflowException, OSError):
            raise ProposalRefusedError(self._run_id, meant) from None

    def has(self, path: str) -> bool:
        """Whether the run left an artifact of this path."""
        folder = path.rpartition("/")[0]
        return any(each.path == path for each in self._client.list_artifacts(self._run_id, folder))

    def record(self, path: str, kind: type[AnyRecord], meant: str) -> AnyRecord:
        """One artifact that is a record."""
        content = self.read(path, meant)
        try:
            return kind.model_validate_json(content)
        except ValidationError:
            raise ProposalRefusedError(self._run_id, f"{meant}, in the form that is used now") from None
