"""Proposing a release: what a run left in MLflow, or a computation, is offered to production by a manifest.

What belongs here: gathering the files, the conditions for offering them at all, and the manifest. What does not:
verifying an offer; `registry` trusts nothing that was done here.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from ds_pipelines.errors import ProposalRefusedError, listing
from ds_pipelines.evidence import ModelCard, ModelFile, Record, RunInput, RunRecord, Verdict
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.manifest import (
    INPUTS,
    PREDICTIONS,
    VERDICT,
    Evidence,
    InputRange,
    ReleaseManifest,
    code_of,
    contract_of,
)
from ds_pipelines.scoring.model import MODEL_FILE, verified
from ds_pipelines.settings import quiet_libraries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

RETRIES = 1

AnyRecord = TypeVar("AnyRecord", bound=Record)


def propose(run_id: str, job: ScoringJob, settings: Settings, *, owner: str | None = None) -> Path:
    """Offers the model of a run to production.

    Copies the model and its evidence to `registry/offered/<digest>` and writes the manifest to `settings.releases`.
    Offering again what was offered last changes nothing.

    Args:
        run_id: MLflow's id of the run.
        job: The scoring job that is to use the model.
        settings: Name MLflow, the folder of manifests and the store of offered files.
        owner: Who answers for the release; by default the job's owner.

    Returns:
        The manifest's path, to be committed and reviewed.

    Raises:
        ProposalRefusedError: the run has no verdict or another than *signal*, no model, one for another entity, or
            made-up rows among its inputs.
        UnsafeModelError: the model's file is not what its card says.
    """
    if job.entity is None:
        raise ProposalRefusedError(run_id, f"a job that uses a model, which {job.name} does not")
    with tempfile.TemporaryDirectory(prefix="ds-propose-") as folder:
        run = _Artifacts(run_id, Path(folder) / "run", settings)
        verdict = run.record(VERDICT, Verdict, "a verdict, which the script gets from lab.verdict")
        if verdict.answer != "signal":
            raise ProposalRefusedError(run_id, f"the verdict signal, not {verdict.answer}")
        card = run.record("evidence/model.json", ModelCard, "a model, which the script keeps by lab.save")
        if card.entity != job.entity:
            raise ProposalRefusedError(
                run_id, f"a model of {job.entity}, which job {job.name} scores, not {card.entity}"
            )
        ran = run.record("evidence/run.json", RunRecord, "its own record")
        if made_up := {each.table for each in ran.inputs if each.made_up}:
            raise ProposalRefusedError(run_id, f"rows of extracts, not a dummy of {listing(made_up)}")

        # Of the model's folder only what is loaded: the rest is MLflow's own, and differs from run to run.
        file = MODEL_FILE[card.format]
        released = card.model_copy(
            update={"artifact": "model", "files": tuple(each for each in card.files if each.path == file)}
        )
        offer = Path(folder) / "offer"
        _write(offer / "model" / file, run.read(f"{card.artifact}/{file}", f"the model's file {file}"))
        verified(released, offer / "model")
        _write(offer / VERDICT, verdict.model_dump_json(indent=1).encode())
        _write(offer / PREDICTIONS, run.read(card.predictions, "held-out predictions"))
        inputs = sorted(ran.inputs, key=lambda each: (each.table, each.day))
        _write(offer / INPUTS, TypeAdapter(list[RunInput]).dump_json(inputs))
        manifest = _manifest(
            job,
            owner,
            run_id=run_id,
            model=released.model_copy(update={"predictions": PREDICTIONS}),
            evidence=_evidence(verdict, inputs, offer),
        )
        return _offer(manifest, offer, settings)


def propose_computation(job: ScoringJob, settings: Settings, *, owner: str | None = None) -> Path:
    """Offers a job that needs no model, as its code and contract are now; otherwise as `propose`.

    Raises:
        ProposalRefusedError: the job needs a model.
    """
    if job.entity is not None:
        raise ProposalRefusedError("(none)", f"a run for job {job.name}, which uses a model")
    with tempfile.TemporaryDirectory(prefix="ds-propose-") as folder:
        return _offer(_manifest(job, owner), Path(folder), settings)


def experiment_of(run_id: str, settings: Settings) -> str:
    """The experiment that a run is of: the scoring job of that name is what it can be proposed for.

    Raises:
        ProposalRefusedError: MLflow does not know the run, or it is no experiment's.
    """
    with tempfile.TemporaryDirectory(prefix="ds-propose-") as folder:
        run = _Artifacts(run_id, Path(folder) / "run", settings)
        return run.record("evidence/run.json", RunRecord, "an experiment's record").experiment


class _Artifacts:
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

    def record(self, path: str, kind: type[AnyRecord], meant: str) -> AnyRecord:
        """One artifact that is a record."""
        content = self.read(path, meant)
        try:
            return kind.model_validate_json(content)
        except ValidationError:
            raise ProposalRefusedError(self._run_id, f"{meant}, in the form that is used now") from None


def _evidence(verdict: Verdict, inputs: Sequence[RunInput], offer: Path) -> Evidence:
    best = max(verdict.families, key=lambda family: family.auc)
    ranges = []
    for table, group in groupby(inputs, key=lambda each: each.table):
        days = [each.day for each in group]
        ranges.append(InputRange(table=table, first=days[0], last=days[-1], snapshots=len(days)))
    return Evidence(
        question=verdict.question,
        answer=verdict.answer,
        family=best.name,
        p=verdict.p,
        effect=verdict.effect,
        interval=(best.low, best.high),
        rows=verdict.rows,
        inputs=tuple(ranges),
        files=tuple(_file(offer, path) for path in (VERDICT, PREDICTIONS, INPUTS)),
    )


def _manifest(
    job: ScoringJob,
    owner: str | None,
    *,
    run_id: str | None = None,
    model: ModelCard | None = None,
    evidence: Evidence | None = None,
) -> ReleaseManifest:
    return ReleaseManifest(
        name=job.name,
        kind=job.kind,
        owner=owner or job.owner,
        consumers=job.consumers,
        code=code_of(job),
        contract=contract_of(job),
        budget_seconds=int(job.budget.total_seconds()),
        model=model,
        evidence=evidence,
        run_id=run_id,
        proposed_at=datetime.now(UTC),
    )


def _offer(manifest: ReleaseManifest, offer: Path, settings: Settings) -> Path:
    """Puts the files in place, then the manifest that names them; what was the last offer already stays as it is."""
    target = settings.registry_artifacts / "offered" / manifest.digest
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as draft:
            whole = shutil.copytree(offer, Path(draft) / "whole")
            whole.rename(target)
    path = settings.releases / manifest.file_name
    if not path.exists() or manifests.newest(manifest.name, settings.releases) != path:
        manifests.dump(manifest, path)
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _file(folder: Path, path: str) -> ModelFile:
    content = (folder / path).read_bytes()
    return ModelFile(path=path, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
