"""Released champions: what production scores with.

What belongs here: one asset a scoring job that takes the newest release manifest into production. What does not:
verifying and registering, which are the release's.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.release.registry import ImportedRelease


def champion_asset(job: ScoringJob) -> dg.AssetsDefinition:
    """`release/<job>`: the release in git becomes production's champion, if every hash and check holds."""

    @dg.asset(
        key=["release", job.name],
        deps=[dg.AssetDep(["experiments", job.name])],
        description=(
            f"The champion of {job.name}, taken in from its manifest in git: "
            "hashes verified before anything is loaded, then proved faithful to the experiment."
        ),
        owners=[job.owner],
        group_name="releases",
        kinds={"mlflow", "git"},
        tags={"dagster/max_runtime": "1800"},
    )
    def champion() -> dg.MaterializeResult[Any]:
        from ds_pipelines.release.manifest import newest
        from ds_pipelines.release.registry import import_release

        settings = load_settings()
        return dg.MaterializeResult(metadata=_facts(import_release(newest(job.name, settings.releases), job, settings)))

    return champion


def _facts(imported: "ImportedRelease") -> dict[str, Any]:
    champion = imported.champion
    facts: dict[str, Any] = {
        "release": champion.digest,
        "manifest": champion.manifest.file_name,
        "files verified": len(champion.manifest.files),
        "code": champion.manifest.code.sha256,
    }
    if champion.manifest.evidence is not None:
        evidence = champion.manifest.evidence
        facts |= {"verdict": evidence.answer, "question": evidence.question, "held-out rows": evidence.rows}
    if imported.faithful is not None:
        facts |= {"faithful on rows": imported.faithful.rows, "largest difference": imported.faithful.difference}
    return facts
