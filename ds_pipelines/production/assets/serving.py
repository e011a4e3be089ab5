"""Serving tables: what each scoring job delivers to other systems, a day at a time.

What belongs here: the assets, and a receipt's facts as metadata. What does not: scoring and delivering.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from ds_pipelines.production.working import working
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.scoring.receipt import Receipt


def serving_asset(job: ScoringJob, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """`serving/<table>`: one day's delivery, whole or not at all."""

    @dg.asset(
        key=["serving", job.table],
        deps=[dg.AssetDep(["release", job.name]), *(dg.AssetDep(["shop", table]) for table in job.reads)],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=f"{job.description} A rerun of a day replaces it whole. Read by {', '.join(job.consumers)}.",
        owners=[job.owner],
        group_name="serving_tables",
        kinds={"postgres", "table", "polars"},
        metadata={"dagster/column_schema": _column_schema(job), "dagster/table_name": f"serving.public.{job.table}"},
        pool="production_database",
        tags={"dagster/max_runtime": str(int(job.budget.total_seconds()))},
    )
    def delivered(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from ds_pipelines.release.registry import champion
        from ds_pipelines.scoring.deliver import begin, deliver
        from ds_pipelines.scoring.score import score_day
        from ds_pipelines.scoring.sources import noted

        settings = load_settings()
        with working(context, job, settings) as work:
            released = champion(job, settings)
            model = released.model()
            for day, source in work.days(released.manifest.budget_memory):
                began = begin(settings)
                with work.day(day), score_day(job, day, settings, release=released.digest, model=model) as scored:
                    inputs = noted(scored.inputs, source)
                    receipt = deliver(
                        scored.frame, job, day, release=released.digest, inputs=inputs, settings=settings, began=began
                    )
                    context.add_asset_metadata(_facts(receipt), partition_key=str(day))
        yield dg.MaterializeResult()

    return delivered


def _facts(receipt: "Receipt") -> dict[str, Any]:
    return {
        "dagster/row_count": receipt.rows,
        "delivery": str(receipt.delivery),
        "release": receipt.release,
        "checksum": receipt.checksum,
        "replaces": str(receipt.replaces) if receipt.replaces else "nothing",
    }


def _column_schema(job: ScoringJob) -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(column.name, column.type, description=column.description) for column in job.columns]
    )
