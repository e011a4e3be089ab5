"""The champion's shadow: a candidate scores the real day beside it, undelivered.

What belongs here: an asset a job, and its report as metadata. What does not: scoring, comparing and concluding.
"""

import base64
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.evidence import Disagreement


def shadow_asset(job: ScoringJob, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """`shadow/<job>`: how the candidate's scores of a day differ from those that were delivered."""

    @dg.asset(
        key=["shadow", job.name],
        deps=[dg.AssetDep(["serving", job.table]), *(dg.AssetDep(["shop", table]) for table in job.reads)],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=(
            f"What a candidate of {job.name} gives for a delivered day, compared with the champion: by rank, decile "
            "and segment, in aggregates. Nothing of it is delivered, and no row is kept."
        ),
        owners=[job.owner],
        group_name="watch",
        kinds={"postgres", "polars"},
        pool="production_database",
        tags={"dagster/max_runtime": str(int(job.budget.total_seconds()))},
    )
    def shadowed(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from ds_pipelines.release.shadow import compare
        from ds_pipelines.release.shadow_plot import plot

        settings = load_settings()
        compared = []
        for key in context.partition_keys:
            compared.append(compare(job, date.fromisoformat(key), settings))
            context.add_asset_metadata(_facts(compared[-1]), partition_key=key)
        picture = base64.b64encode(plot(compared)).decode()
        return dg.MaterializeResult(
            metadata={"disagreement": dg.MetadataValue.md(f"![](data:image/png;base64,{picture})")}
        )

    return shadowed


def _facts(found: "Disagreement") -> dict[str, Any]:
    return {
        "candidate": found.candidate,
        "champion": found.champion,
        "rows of both": found.rows,
        "only the champion's": found.only_champion,
        "only the candidate's": found.only_candidate,
        "same inputs": found.same_inputs,
        "agreement of ranks": found.rank_agreement,
        "champion's best tenth kept": found.top_kept,
        "mean difference": found.mean_difference,
        "seconds": found.seconds,
    }
