"""Serving tables: what each scoring job delivers to other systems, a day at a time.

What belongs here: the assets, and a receipt's facts as metadata. What does not: scoring and delivering, and telling
what was checked (`delivery_checks`).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from ds_pipelines.errors import DsPipelinesError, LateDeliveryError
from ds_pipelines.production.assets import delivery_checks
from ds_pipelines.production.working import working
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.evidence import Profile
    from ds_pipelines.release.registry import Champion
    from ds_pipelines.scoring.checks import Expected
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.scoring.score import Scored


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
        check_specs=delivery_checks.specs(job),
        pool="production_database",
        tags={"dagster/max_runtime": str(int(job.budget.total_seconds()))},
    )
    def delivered(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        from ds_pipelines.release.registry import champion
        from ds_pipelines.scoring.deliver import begin, deliver
        from ds_pipelines.scoring.score import score_day
        from ds_pipelines.scoring.sources import noted

        settings, checked = load_settings(), delivery_checks.Checked(job)
        try:
            with working(context, job, settings) as work:
                released = champion(job, settings)
                model = released.model()
                for day, source in work.days(released.manifest.budget_memory):
                    began = begin(settings)
                    with (
                        work.day(day),
                        score_day(released.job, day, settings, release=released.digest, model=model) as scored,
                    ):
                        try:
                            receipt = deliver(
                                scored.batches(),
                                released.job,
                                day,
                                release=released.digest,
                                inputs=noted(scored.inputs, source),
                                settings=settings,
                                began=began,
                                expected=_expected(scored, released),
                            )
                        except LateDeliveryError as error:
                            context.log.warning("%s", error)
                        except DsPipelinesError as error:
                            checked.add_refusal(day, error)
                            raise
                        else:
                            checked.add(day, receipt.checks)
                            context.add_asset_metadata(_facts(receipt), partition_key=str(day))
        except DsPipelinesError:
            yield from checked.results(complete=False)
            raise
        yield dg.MaterializeResult()
        yield from checked.results(complete=True)

    return delivered


def _expected(scored: "Scored", released: "Champion") -> "Expected":
    """What a day's rows are checked against: the job's own count, and the profile that came with the release."""
    from ds_pipelines.scoring import drift
    from ds_pipelines.scoring.checks import Expected

    features = None if scored.features is None else drift.sampled(scored.features)
    return Expected(scored.population, _profile(released), features)


def _profile(released: "Champion") -> "Profile | None":
    from ds_pipelines.evidence import Profile
    from ds_pipelines.release.manifest import PROFILE

    path = released.folder / PROFILE
    return Profile.model_validate_json(path.read_bytes()) if path.is_file() else None


def _facts(receipt: "Receipt") -> dict[str, Any]:
    return {
        "dagster/row_count": receipt.rows,
        "delivery": str(receipt.delivery),
        "release": receipt.release,
        "checksum": receipt.checksum,
        "replaces": str(receipt.replaces) if receipt.replaces else "nothing",
        **({"rows that differ": receipt.differing} if receipt.replaces else {}),
    }


def _column_schema(job: ScoringJob) -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(column.name, column.type, description=column.description) for column in job.columns]
    )
