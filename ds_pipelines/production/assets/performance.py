"""Live performance: what came true of the scores of a day, against what their release promised.

What belongs here: an asset a job, its figures as metadata, and the promise as an asset check. What does not: measuring.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import load_settings

KEPT = "promise_kept"


def performance_asset(job: ScoringJob, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """`performance/<job>`: by the day that was scored; there is something to measure once its outcomes are known."""

    @dg.asset(
        key=["performance", job.name],
        deps=[dg.AssetDep(["serving", job.table]), *(dg.AssetDep(["shop", table]) for table in job.reads)],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=(
            f"How the delivered scores of {job.name} did, measured {job.horizon.days if job.horizon else 0} days after "
            "the day, when it is known what came true; compared with what the release promised. Aggregates only."
        ),
        owners=[job.owner],
        group_name="watch",
        kinds={"postgres", "polars"},
        check_specs=[
            dg.AssetCheckSpec(
                KEPT,
                asset=["performance", job.name],
                description="The release's promise is not shown to be broken by the newest of these days.",
            )
        ],
        pool="production_database",
        tags={"dagster/max_runtime": "3600"},
    )
    def measured(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        from ds_pipelines.watch.performance import measure

        found = measure(job, [date.fromisoformat(key) for key in context.partition_keys], load_settings())
        for each in found:
            figures = {
                name: value
                for name, value in each.model_dump(mode="json", exclude={"job", "day", "at"}).items()
                if value is not None
            }
            context.add_asset_metadata(figures, partition_key=str(each.day))
        yield dg.MaterializeResult()
        words = found[-1].words if found else "no day of these had enough outcomes to tell"
        yield dg.AssetCheckResult(
            passed=not found or found[-1].kept, check_name=KEPT, description=words, severity=dg.AssetCheckSeverity.WARN
        )

    return measured
