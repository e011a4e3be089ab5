"""When production works by itself: at five in the morning, business time, on the day that has ended."""

from typing import Any

import dagster as dg

from ds_pipelines.settings import Settings


def daily_at_five(job: Any, settings: Settings) -> dg.ScheduleDefinition:
    """A schedule for the newest day; outside production it starts stopped, and is there to be tried by hand."""

    @dg.schedule(
        name=f"{job.name}_at_five",
        job=job,
        cron_schedule="0 5 * * *",
        execution_timezone=settings.zone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if settings.environment == "production"
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description=f"{job.name} of the last day that can be extracted, at 05:00 {settings.zone}.",
    )
    def at_five(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        # The business's clock, not the tick's: where `today` is set, the newest day is the one before it.
        day = settings.last_extractable_day().isoformat()
        return dg.RunRequest(run_key=f"{job.name} {day}", partition_key=day)

    return at_five
