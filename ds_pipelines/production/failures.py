"""Failed runs as problems, and the runs that end them.

What belongs here: reading Dagster's runs, what each was about, and why it failed. What does not: telling anybody.

A run of a scoring job is about the days that it did not deliver, each by itself: a day is well again when it is
delivered, by whichever run. Any other run is about its job, or the assets that were chosen, and their days; it is well
again when a later run of the same succeeds. A run that is retried by itself has not failed yet.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from ds_pipelines.production.attempts import REFUSED, days_of
from ds_pipelines.production.sensors import reason
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings
from ds_pipelines.watch.problems import Problem, Well
from ds_pipelines.watch.state import is_new, newest_run

if TYPE_CHECKING:
    import psycopg2.extensions

    from ds_pipelines.scoring.receipt import Receipt

LOCATION = "production"
WILL_RETRY = "dagster/will_retry"
OVERLAP = timedelta(hours=1)
"""So far back is looked again each time: a run may be written late, or by a clock that differs."""
MANY_ASSETS = 3
Delivered = Mapping[str, Mapping[date, "Receipt"]]
"""What consumers see, by job and day."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    run: dg.DagsterRun
    at: datetime

    @property
    def succeeded(self) -> bool:
        """Whether it did all that it was for."""
        return self.run.status == dg.DagsterRunStatus.SUCCESS


def ended_runs(cursor: "psycopg2.extensions.cursor", instance: dg.DagsterInstance, own: Collection[str]) -> list[Ended]:
    """Production's runs that ended since the last look, the oldest first.

    Args:
        cursor: Remembers which were looked at.
        instance: Has the runs.
        own: Names of production's jobs, by which a run is known that was launched without a code server.
    """
    newest = newest_run(cursor) or datetime.now(UTC)
    statuses = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
    filters = dg.RunsFilter(statuses=statuses, updated_after=newest - OVERLAP)
    records = instance.get_run_records(filters, order_by="update_timestamp", ascending=True)
    return [
        Ended(record.dagster_run, record.update_timestamp)
        for record in records
        if is_new(cursor, record.dagster_run.run_id, record.update_timestamp) and _is_ours(record.dagster_run, own)
    ]


def seen(
    runs: Collection[Ended], jobs: Collection[ScoringJob], delivered: Delivered, instance: dg.DagsterInstance,
    settings: Settings,
) -> Iterator[Problem | Well]:  # fmt: skip
    """What ended runs tell, in order."""
    tables = {dg.AssetKey(["serving", job.table]): job for job in jobs}
    for each in runs:
        scored = _scored(each.run, tables)
        if scored:
            for job in scored:
                yield from _of_days(job, each, delivered[job.name], instance, settings)
        elif each.succeeded:
            yield Well(
                "failure", _subject(each.run), "The run was made again and succeeded.", _page(each.run, settings)
            )
        elif each.run.tags.get(WILL_RETRY) != "true":
            yield _failure(_subject(each.run), each.run, instance, settings)


def delivered_since(open_days: Collection[str], delivered: Delivered, settings: Settings) -> Iterator[Well]:
    """Days of scoring jobs that could not be delivered and now are, whoever delivered them."""
    for job, receipts in delivered.items():
        for day, receipt in receipts.items():
            if (subject := f"{job} {day}") in open_days:
                words = f"{day} was delivered at {receipt.delivered_at:%Y-%m-%d %H:%M} UTC."
                yield Well("failure", subject, words, f"{settings.pages_base}/runs")


def _of_days(
    job: ScoringJob, each: Ended, receipts: "Mapping[date, Receipt]", instance: dg.DagsterInstance, settings: Settings
) -> Iterator[Problem]:
    if each.succeeded or each.run.tags.get(WILL_RETRY) == "true":
        return
    refused = {date.fromisoformat(day) for day in each.run.tags.get(REFUSED, "").split()}
    for day in sorted(refused or set(days_of(each.run.tags))):
        receipt = receipts.get(day)
        if receipt is None or (day in refused and receipt.delivered_at < each.at):
            yield _failure(f"{job.name} {day}", each.run, instance, settings)


def _failure(subject: str, run: dg.DagsterRun, instance: dg.DagsterInstance, settings: Settings) -> Problem:
    refused = run.tags.get(REFUSED)
    following = (
        "mend what it names, or release anew; then the day is tried again by itself."
        if refused
        else "open the run and read its error; a day of scores that crashed is tried again by itself, anything else is "
        "to be run again once it is mended."
    )
    return Problem("failure", subject, reason(run, instance), following, _page(run, settings))


def _scored(run: dg.DagsterRun, tables: Mapping[dg.AssetKey, ScoringJob]) -> list[ScoringJob]:
    """The scoring jobs whose days a run was for."""
    if not days_of(run.tags):
        return []
    if run.asset_selection is None:
        return list(tables.values()) if run.job_name == "daily_scoring" else []
    return [tables[key] for key in run.asset_selection if key in tables]


def _subject(run: dg.DagsterRun) -> str:
    chosen = sorted(key.to_user_string() for key in run.asset_selection or ())
    what = run.job_name if not chosen else ", ".join(chosen[:MANY_ASSETS])
    what += f" and {len(chosen) - MANY_ASSETS} more" if len(chosen) > MANY_ASSETS else ""
    days = days_of(run.tags)
    return what if not days else f"{what} {days[0]}" if len(days) == 1 else f"{what} {days[0]} to {days[-1]}"


def _is_ours(run: dg.DagsterRun, own: Collection[str]) -> bool:
    origin = run.remote_job_origin
    return run.job_name in own if origin is None else origin.location_name == LOCATION


def _page(run: dg.DagsterRun, settings: Settings) -> str:
    return f"{settings.pages_base}/runs/{run.run_id}"
