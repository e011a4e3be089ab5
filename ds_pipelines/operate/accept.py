"""`ds-pipelines release accept`: the gates as one Dagster run in acceptance's own instance, in this process.

What belongs here: that instance and that run. What does not: the gates (`release.gates`), and the assets that show them
(`production.acceptance`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors import NotExaminedError
from ds_pipelines.evidence import Acceptance
from ds_pipelines.operate.services import prepare_instance
from ds_pipelines.release.ledger import Ledger

if TYPE_CHECKING:
    import dagster as dg

    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The pages of acceptance have the whole log; the command prints what each gate says."""


def accept(manifest: ReleaseManifest, job: ScoringJob, settings: Settings, *, by: str) -> Acceptance:
    """Takes a release through the gates; the ledger and the pages of acceptance keep what they say.

    Args:
        manifest: The release.
        job: Production's job of that name.
        settings: Of whatever environment.
        by: Who asks, by token.

    Raises:
        NotExaminedError: the gates could not be asked; the release is neither accepted nor refused.
        PortTakenError, DatabaseUnreachableError, ClusterError: acceptance's databases do not answer.
    """
    from ds_pipelines.production import acceptance

    settings = settings.in_acceptance()
    definitions = acceptance.definitions(settings, {job.name: job})
    before = _last(manifest, settings)
    with _instance(settings) as instance:
        result = definitions.resolve_job_def(acceptance.JOB).execute_in_process(
            instance=instance,
            tags={acceptance.ACTOR: by, acceptance.MANIFEST: manifest.file_name},
            run_config=QUIET,
            raise_on_error=False,
        )
    found = _last(manifest, settings)
    if found is None or (before is not None and found.at == before.at):
        raise NotExaminedError(job.name, _reason(result))
    return found


def _instance(settings: Settings) -> dg.DagsterInstance:
    """Acceptance's own, whatever this process's variables name."""
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    url = prepare_instance(settings)["DS_DAGSTER_STORAGE"]
    overrides = {"storage": {"postgres": {"postgres_url": url}}}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(settings.instance), overrides=overrides))


def _last(manifest: ReleaseManifest, settings: Settings) -> Acceptance | None:
    """What the gates said last of a release."""
    entries = Ledger(settings).entries(manifest.name, manifest.digest)
    found = [each for each in entries if each.action in {"accepted", "refused"}]
    return Acceptance.model_validate(found[-1].evidence) if found else None


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """Why the run failed, in the words of its error."""
    for event in result.all_events:
        failure = event.step_failure_data.error if event.is_step_failure else None
        if failure is not None:
            return (failure.cause or failure).message.partition(": ")[2].strip().splitlines()[0]
    return "see its log."
