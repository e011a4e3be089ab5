"""Scores for development: delivered days under pseudonyms, as extracts.

What belongs here: an asset a job with a model. What does not: what may be in them (`scoring.pseudonymised`).
"""

from datetime import date
from typing import Any

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.scoring.pseudonymised import columns_of, table_of
from ds_pipelines.settings import load_settings


def scores_extract(job: ScoringJob, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """`extract/scores_<job>`: published when an engineer materializes it, by no schedule and no request."""
    meaning = {column.name: column.description for column in job.columns}

    @dg.asset(
        key=["extract", table_of(job)],
        deps=[dg.AssetDep(["serving", job.table])],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=(
            f"Delivered scores of {job.name} for data scientists: persons under the pseudonyms of all extracts, scores "
            "rounded. The only way in which scores reach development. Still personal data."
        ),
        owners=["team:platform-engineering"],
        group_name="anonymized_scores",
        kinds={"postgres", "parquet"},
        metadata={
            "dagster/column_schema": dg.TableSchema(
                [
                    dg.TableColumn(name, "see what is published", f"{meaning[name]}. {treatment}: {explanation}")
                    for name, (treatment, explanation) in columns_of(job).items()
                ]
            )
        },
        pool="production_database",
        tags={"dagster/max_runtime": "3600"},
    )
    def published(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from ds_pipelines.scoring.pseudonymised import publish_scores

        wanted = [date.fromisoformat(key) for key in context.partition_keys]
        for manifest in publish_scores(job, wanted, load_settings()):
            facts = {
                "dagster/row_count": manifest.rows,
                "snapshot": manifest.digest,
                "policy": manifest.policy_digest,
                "key": manifest.key_id,
            }
            context.add_asset_metadata(facts, partition_key=str(manifest.day))
        return dg.MaterializeResult()

    return published
