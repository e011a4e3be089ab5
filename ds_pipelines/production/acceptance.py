"""The code location of the environment acceptance: one job that takes a release through the gates.

What belongs here: an asset a scoring job, with a check for each gate. What does not: the gates' questions
(`release.gates`), and anything else that production runs: acceptance reads production and writes nothing of it.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from ds_pipelines.extract.policy import SHOP, load
from ds_pipelines.production.assets.shop import shop_tables
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release.gates.names import GATES, check_name
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from ds_pipelines.evidence import Acceptance, GateResult

JOB = "acceptance"
ACTOR, MANIFEST = "ds_pipelines/actor", "ds_pipelines/manifest"
"""The tags of a run that say by whose token it was asked for, and which release is meant if not the newest; `user` is
who launched it in Dagster's pages."""


def definitions(settings: Settings, jobs: Mapping[str, ScoringJob] = JOBS) -> dg.Definitions:
    """What acceptance loads, under settings of the environment acceptance."""
    assets = [_examined(job, settings) for job in jobs.values()]
    job = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(*assets),
        description="Takes the newest release that was offered of each scoring job through the gates.",
        tags={"dagster/max_runtime": "7200"},
    )
    tables = shop_tables(load(settings.policies / SHOP))
    return dg.Definitions(assets=[*tables, *assets], jobs=[job], executor=dg.in_process_executor)


def _examined(job: ScoringJob, settings: Settings) -> dg.AssetsDefinition:
    key = dg.AssetKey(["acceptance", job.name])

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(["shop", table]) for table in job.reads],
        description=(
            f"The newest release that was offered of {job.name}, before the gates. Those that load nothing are all "
            "asked; the model is loaded in a confined process, and only if none of them refuses."
        ),
        owners=[job.owner],
        group_name="acceptance",
        kinds={"postgres", "git"},
        check_specs=[dg.AssetCheckSpec(check_name(name), asset=key, description=asks) for name, asks in GATES.items()],
        pool="production_database",
        tags={"dagster/max_runtime": "7200"},
    )
    def examined(context: dg.AssetExecutionContext) -> Iterator[Any]:
        """Yields each gate's answer as it comes; the ledger has them all before this ends."""
        from ds_pipelines.release.gates.every import hearing

        by = context.run_tags.get(ACTOR) or context.run_tags.get("user") or "acceptance"
        with hearing(job, settings, by=by, wanted=context.run_tags.get(MANIFEST)) as heard:
            yield from map(_check, heard.results())
        yield from map(_not_asked, GATES.keys() - {result.gate for result in heard.answers})
        heard.require_accepted()
        yield _facts(heard.acceptance)

    return examined


def _check(result: "GateResult") -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=result.passed,
        check_name=check_name(result.gate),
        description=f"{result.words}. Expected: {result.expected}.",
        metadata={"seconds": result.seconds, **result.evidence},
    )


def _not_asked(name: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, check_name=check_name(name), severity=dg.AssetCheckSeverity.WARN,
        description="Not asked, since a gate before it refuses the release.",
    )  # fmt: skip


def _facts(found: "Acceptance") -> dg.MaterializeResult[Any]:
    passed = sum(result.passed for result in found.gates)
    return dg.MaterializeResult(
        metadata={
            "release": found.release, "accepted": found.passed, "gates passed": f"{passed} of {len(GATES)}",
            "code": found.code, "seconds": sum(result.seconds for result in found.gates),
        }
    )  # fmt: skip


defs = definitions(load_settings().in_acceptance())
