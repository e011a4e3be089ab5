"""Whether a job's champion is already what would be offered: the same model, code and contract.

What belongs here: that comparison. What does not: offering (`propose`), and whether it may be used (`registry`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.evidence import ModelCard
from ds_pipelines.release.artifacts import Artifacts
from ds_pipelines.release.manifest import code_of, contract_of, independent_of
from ds_pipelines.release.registry import in_use
from ds_pipelines.scoring.model import MODEL_FILE

if TYPE_CHECKING:
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


def stands(job: ScoringJob, run_id: str | None, settings: Settings) -> bool:
    """Whether the release in use has the run's model, byte for byte, and the job's code and contract of today.

    Args:
        job: The scoring job.
        run_id: MLflow's id of the run; of a computation none is needed.
        settings: Name the registry and MLflow.

    Raises:
        ProposalRefusedError: MLflow does not have the run, or it left no model.
        DatabaseUnreachableError: the registry does not answer.
    """
    used = in_use(job.name, settings)
    if used is None:
        return False
    manifest = used[0]
    if (manifest.code, manifest.contract, manifest.independent) != (code_of(job), contract_of(job), _second(job)):
        return False
    if manifest.model is None or run_id is None:
        return manifest.model is None and job.entity is None
    with tempfile.TemporaryDirectory(prefix="ds-standing-") as folder:
        run = Artifacts(run_id, Path(folder) / "run", settings)
        card = run.record("evidence/model.json", ModelCard, "a model, which the script keeps by lab.save")
    offered = {file.sha256 for file in card.files if file.path == MODEL_FILE[card.format]}
    return offered == {file.sha256 for file in manifest.model.files}


def _second(job: ScoringJob) -> object:
    return independent_of(job) if job.entity is None else None
