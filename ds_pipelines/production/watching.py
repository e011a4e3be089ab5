"""When production is watched by work of its own: outcomes measured once they are known, days scored by a candidate.

What belongs here: a sensor that asks for both, and the schedule of the weekly report. What does not: doing any of it,
and telling people (`alerts`).

The sensor asks for what is missing, so nothing is lost while its daemon is down. A run key names what a run is made
from, so the same is not asked for twice; what failed is asked for again, some times.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

from ds_pipelines.errors import ClusterError, DatabaseUnreachableError
from ds_pipelines.production.attempts import FIRST, LAST, PARTITION
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings, load_settings

SECONDS = 300
MOST_DAYS = 31
"""In one run: outcomes of as many days are read together."""
ATTEMPTS = 3
FOR = "ds_pipelines/watch"
"""The tag of a run that names what it measures or compares."""
DAY = timedelta(days=1)


def watched_days(jobs: Collection[ScoringJob], watch: Any, settings: Settings) -> dg.SensorDefinition:
    """The sensor `watched_days`; outside production it starts stopped, and is there to be tried."""

    @dg.sensor(
        name="watched_days",
        job=watch,
        minimum_interval_seconds=SECONDS,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if settings.environment == "production" else dg.DefaultSensorStatus.STOPPED
        ),
        description="Asks for the performance of days whose outcomes are known by now, and for the days that a "
        "candidate has still to score in the champion's shadow.",
    )
    def look(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        try:
            requests = list(_requests(jobs, context.instance, load_settings()))
        except (DatabaseUnreachableError, ClusterError) as error:
            yield dg.SkipReason(str(error))
            return
        yield from requests
        if not requests:
            yield dg.SkipReason("No outcome that became known is unmeasured, and no candidate waits for a day.")

    return look


def weekly(job: Any, settings: Settings) -> dg.ScheduleDefinition:
    """The report of the last seven days, on Mondays at seven, business time."""
    return dg.ScheduleDefinition(
        name="weekly_report_on_mondays",
        job=job,
        cron_schedule="0 7 * * 1",
        execution_timezone=settings.zone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if settings.environment == "production"
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description=f"Draws the report of the last seven days, on Mondays at 07:00 {settings.zone}.",
    )


def _requests(
    jobs: Collection[ScoringJob], instance: dg.DagsterInstance, settings: Settings
) -> Iterator[dg.RunRequest]:
    from ds_pipelines.release.shadow import going_on, wanted
    from ds_pipelines.watch.performance import ripe

    for job in jobs:
        if days := ripe(job, settings):
            yield from _request(["performance", job.name], "", _together(days), instance)
        if job.entity is not None and (shadow := going_on(job, settings)) and (days := wanted(job, settings)):
            yield from _request(["shadow", job.name], shadow.manifest.digest[:12], _together(days), instance)


def _together(days: Sequence[date]) -> list[date]:
    """The first days in a row."""
    row = [days[0]]
    for day in days[1:MOST_DAYS]:
        if day != row[-1] + DAY:
            break
        row.append(day)
    return row


def _request(asset: list[str], of: str, days: Sequence[date], instance: dg.DagsterInstance) -> Iterator[dg.RunRequest]:
    told = f"{'/'.join(asset)} {of} {days[0]}..{days[-1]}"
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    before = instance.get_runs(dg.RunsFilter(tags={FOR: name}), limit=ATTEMPTS)
    unfinished = any(not run.is_finished for run in before)
    if unfinished or len(before) >= ATTEMPTS:
        return
    span = {PARTITION: str(days[0])} if len(days) == 1 else {FIRST: str(days[0]), LAST: str(days[-1])}
    yield dg.RunRequest(
        run_key=f"{told} attempt {len(before) + 1}", asset_selection=[dg.AssetKey(asset)], tags=span | {FOR: name}
    )
