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
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ds_pipelines.errors import ProposalRefusedError, listing
from ds_pipelines.evidence import ModelCard, ModelFile, RunInput, RunRecord, Verdict
from ds_pipelines.release import conditions, waivers
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.artifacts import Artifacts
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import (
    EVIDENCE,
    INPUTS,
    PREDICTIONS,
    PROFILE,
    VERDICT,
    Evidence,
    InputRange,
    ReleaseManifest,
    code_of,
    contract_of,
    independent_of,
    source_of,
)
from ds_pipelines.scoring.model import MODEL_FILE, verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


def propose(
    run_id: str, job: ScoringJob, settings: Settings, *, owner: str | None = None, by: str | None = None
) -> Path:
    """Offers the model of a run to production.

    Copies model, code and evidence to `registry/offered/<digest>` and writes the manifest to `settings.releases`.
    Offering again what was offered last changes nothing.

    Args:
        run_id: MLflow's id of the run.
        job: The scoring job that is to use the model.
        settings: Name MLflow, the folder of manifests and the store of offered files.
        owner: Who answers for the release; by default the job's owner.
        by: Who offers it, by token; the ledger names them as an author, who cannot approve it. None: the ledger hears
            nothing, and nobody can approve it either.

    Returns:
        The manifest's path, to be committed and reviewed.

    Raises:
        ProposalRefusedError: a condition does not hold and is not waived (a verdict *signal*, a signed methodology
            review, a reproduction); or the run has no verdict, no model, one for another entity, or made-up rows among
            its inputs.
        UnsafeModelError: the model's file is not what its card says.
    """
    if job.entity is None:
        raise ProposalRefusedError(run_id, f"a job that uses a model, which {job.name} does not")
    with tempfile.TemporaryDirectory(prefix="ds-propose-") as folder:
        run = Artifacts(run_id, Path(folder) / "run", settings)
        verdict = run.record(VERDICT, Verdict, "a verdict, which the script gets from lab.verdict")
        card = run.record("evidence/model.json", ModelCard, "a model, which the script keeps by lab.save")
        if card.entity != job.entity:
            raise ProposalRefusedError(
                run_id, f"a model of {job.entity}, which job {job.name} scores, not {card.entity}"
            )
        ran = run.record("evidence/run.json", RunRecord, "its own record")
        if made_up := {each.table for each in ran.inputs if each.made_up}:
            raise ProposalRefusedError(run_id, f"rows of extracts, not a dummy of {listing(made_up)}")
        waived = waivers.of_subject(run_id, job.name, settings)
        shown = conditions.gather(run, verdict, card, ran, waived=waived, by=by)

        # Of the model's folder only what is loaded: the rest is MLflow's own, and differs from run to run.
        file = MODEL_FILE[card.format]
        released = card.model_copy(
            update={"artifact": "model", "files": tuple(each for each in card.files if each.path == file)}
        )
        offer = Path(folder) / "offer"
        _write(offer / "model" / file, run.read(f"{card.artifact}/{file}", f"the model's file {file}"))
        verified(released, offer / "model")
        _write(offer / VERDICT, run.read(VERDICT, "a verdict"))  # the very bytes that were reviewed
        _write(offer / PREDICTIONS, run.read(card.predictions, "held-out predictions"))
        inputs = sorted(ran.inputs, key=lambda each: (each.table, each.day))
        _write(offer / INPUTS, TypeAdapter(list[RunInput]).dump_json(inputs))
        _write(offer / PROFILE, _profile(offer / PREDICTIONS, card))
        for path, content in shown.files.items():
            _write(offer / path, content)
        manifest = _manifest(
            job,
            owner,
            by,
            run_id=run_id,
            margin=job.margin,
            model=released.model_copy(update={"predictions": PREDICTIONS}),
            evidence=_evidence(verdict, inputs, offer),
            review=shown.review,
            reproduction=shown.reproduction,
            waivers=tuple(shown.used),
        )
        return _offer(manifest, offer, job, settings, authors=[ran.user])


def propose_computation(
    job: ScoringJob, settings: Settings, *, owner: str | None = None, by: str | None = None
) -> Path:
    """Offers a job that needs no model, as its code and contract are now; otherwise as `propose`.

    Raises:
        ProposalRefusedError: the job needs a model, or has no independent definition and that is not waived.
    """
    if job.entity is not None:
        raise ProposalRefusedError("(none)", f"a run for job {job.name}, which uses a model")
    shown = conditions.Conditions(job.name, waivers.of_subject(job.name, job.name, settings))
    independent = independent_of(job)
    shown.require(
        "independent", None if independent else f"an independent definition, {job.name}.sql beside its module"
    )
    manifest = _manifest(job, owner, by, independent=independent, waivers=tuple(shown.used))
    with tempfile.TemporaryDirectory(prefix="ds-propose-") as folder:
        return _offer(manifest, Path(folder), job, settings, authors=[])


def experiment_of(run_id: str, settings: Settings) -> str:
    """The experiment that a run is of: the scoring job of that name is what it can be proposed for.

    Raises:
        ProposalRefusedError: MLflow does not know the run, or it is no experiment's.
    """
    with tempfile.TemporaryDirectory(prefix="ds-propose-") as folder:
        run = Artifacts(run_id, Path(folder) / "run", settings)
        return run.record("evidence/run.json", RunRecord, "an experiment's record").experiment


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
        files=tuple(_file(offer, path) for path in EVIDENCE if (offer / path).exists()),
    )


def _profile(predictions: Path, card: ModelCard) -> bytes:
    """How features and score were distributed where the model was judged: what production is compared with."""
    import polars as pl

    from ds_pipelines.scoring.drift import profile

    rows = pl.read_parquet(predictions, columns=[*(feature.name for feature in card.features), "score"])
    return profile(rows, score="score").model_dump_json().encode()


def _manifest(job: ScoringJob, owner: str | None, by: str | None, **parts: Any) -> ReleaseManifest:
    return ReleaseManifest(
        name=job.name,
        kind=job.kind,
        owner=owner or job.owner,
        consumers=job.consumers,
        code=code_of(job),
        contract=contract_of(job),
        budget_seconds=int(job.budget.total_seconds()),
        budget_memory=job.memory,
        proposed_by=by,
        proposed_at=datetime.now(UTC),
        **parts,
    )


def _offer(
    manifest: ReleaseManifest, offer: Path, job: ScoringJob, settings: Settings, *, authors: list[str | None]
) -> Path:
    """Puts the files in place, then the manifest that names them; what was the last offer already stays as it is."""
    for code in (manifest.code, manifest.independent):
        if code is not None:
            _write(offer / "code" / code.file, source_of(job).with_name(Path(code.file).name).read_bytes())
    target = settings.registry_artifacts / "offered" / manifest.digest
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as draft:
            whole = shutil.copytree(offer, Path(draft) / "whole")
            whole.rename(target)
    path = settings.releases / manifest.file_name
    if not path.exists() or manifests.newest(manifest.name, settings.releases) != path:
        manifests.dump(manifest, path)
    if manifest.proposed_by is not None:
        evidence = {"run": manifest.run_id, "authors": sorted({manifest.proposed_by, *filter(None, authors)})}
        Ledger(settings).append(
            "proposed", job=manifest.name, release=manifest.digest, actor=manifest.proposed_by, evidence=evidence
        )
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _file(folder: Path, path: str) -> ModelFile:
    content = (folder / path).read_bytes()
    return ModelFile(path=path, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
