"""Released champions: what production scores with.

What belongs here: one asset a scoring job that shows its champion, verified. What does not: deploying one, which people
do by their tokens (`ds-pipelines release deploy`), and verifying, which is the release's.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.release.ledger import Entry
    from ds_pipelines.release.registry import Champion


def champion_asset(job: ScoringJob) -> dg.AssetsDefinition:
    """`release/<job>`: the champion, shown to be what was deployed, byte for byte, and by whom."""

    @dg.asset(
        key=["release", job.name],
        deps=[dg.AssetDep(["experiments", job.name])],
        description=(
            f"The champion of {job.name}: its files, their signature and the ledger of releases, verified. "
            "It changes by `ds-pipelines release deploy` and `rollback`, not by materializing it."
        ),
        owners=[job.owner],
        group_name="releases",
        kinds={"mlflow", "git"},
        tags={"dagster/max_runtime": "1800"},
    )
    def champion() -> dg.MaterializeResult[Any]:
        from ds_pipelines.release.history import history
        from ds_pipelines.release.ledger import champion_of
        from ds_pipelines.release.registry import champion as in_use

        settings = load_settings()
        used = in_use(job, settings)
        return dg.MaterializeResult(metadata=_facts(used, champion_of(history(settings, job.name))))

    return champion


def _facts(champion: "Champion", entry: "Entry | None") -> dict[str, Any]:
    manifest = champion.manifest
    facts: dict[str, Any] = {
        "release": champion.digest,
        "manifest": manifest.file_name,
        "files verified": len(manifest.files),
        "code": manifest.code.sha256,
    }
    if entry is not None:
        facts |= {entry.action: f"by {entry.actor} at {entry.at:%Y-%m-%d %H:%M %Z}", "because": entry.because}
    if manifest.evidence is not None:
        evidence = manifest.evidence
        facts |= {"verdict": evidence.answer, "question": evidence.question, "held-out rows": evidence.rows}
    if manifest.review is not None:
        facts["method answered for by"] = manifest.review.by
    if manifest.reproduction is not None:
        facts["reproduction"] = manifest.reproduction.answer
    for waiver in manifest.waivers:
        facts[f"waived: {waiver.gate}"] = f"by {waiver.by}: {waiver.because}"
    return facts
