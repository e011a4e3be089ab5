"""No day lost: a sensor a scoring job compares receipts with expected days, and asks for what is missing or outdated.

What belongs here: its ticks: runs that nobody works on any more, requests, and what the pages are told. What does not:
deciding which days are wanted (`due`), and doing them.

It is the schedule, too: a day is asked for as soon as it is due, by the job's own clock time. Dagster's schedules would
lose the days on which their daemon was down. What was delivered is read from the receipts, so a day is not asked for
again whose run died after its delivery; Dagster's own record lacks such a day, and the receipts are what counts.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from ds_pipelines.errors import ClusterError, DatabaseUnreachableError, SourceRefusedError
from ds_pipelines.production.attempts import ATTEMPT, FIRST, INPUTS, JOB, LAST, PARTITION, attempts, going_on, told
from ds_pipelines.production.days import expected, freshness
from ds_pipelines.production.due import Sources, Standing, Wanted
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings, load_settings

SILENT_TICKS = {dg.DagsterRunStatus.STARTED: 2, dg.DagsterRunStatus.STARTING: 6}
"""At so many ticks in a row nobody works on a run: its process is gone, and its code server with it."""
START_SECONDS = 300
"""A run may need so long in addition to its days."""
IN_TIME = "delivered_in_time"
"""The asset check that says whether the newest delivered day is the one that consumers were promised."""


@dataclass
class Memory:
    """What a tick leaves to the next, as the sensor's cursor."""

    looked: str = ""
    """When sources were looked at, ISO 8601."""
    silent: dict[str, int] = field(default_factory=dict)
    """Runs on which nobody works, and at how many ticks that was seen."""
    late: bool | None = None

    @classmethod
    def of(cls, cursor: str | None) -> "Memory":
        """What was left; nothing, if it cannot be read."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (TypeError, ValueError):
            return cls()

    def look_due(self, now: datetime, settings: Settings) -> bool:
        """Whether sources are to be looked at again; they are, too, when the clock was set back."""
        try:
            since = now - datetime.fromisoformat(self.looked)
        except (TypeError, ValueError):
            return True
        return not timedelta() <= since < settings.source_interval


def missing_days(job: ScoringJob, scoring: Any, settings: Settings) -> dg.SensorDefinition:
    """`<job>_days`: asks for the days of a job; outside production it starts stopped, and is there to be tried."""

    @dg.sensor(
        name=f"{job.name}_days",
        job=scoring,
        minimum_interval_seconds=max(1, round(settings.days_interval.total_seconds())),
        default_status=(
            dg.DefaultSensorStatus.RUNNING if settings.environment == "production" else dg.DefaultSensorStatus.STOPPED
        ),
        description=(
            f"Asks for each day of {job.name} from {job.due:%H:%M} {settings.zone} on, and for days that are missing, "
            "crashed, or were made from what has changed since."
        ),
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            return _tick(job, scoring.name, context, load_settings())
        except (DatabaseUnreachableError, ClusterError, SourceRefusedError) as error:
            return dg.SkipReason(str(error))

    return look


def _tick(
    job: ScoringJob, scored_by: str, context: dg.SensorEvaluationContext, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    from ds_pipelines.scoring.receipt import delivered
    from ds_pipelines.scoring.sources import sources

    memory, now = Memory.of(context.cursor), datetime.now(UTC)
    found = attempts(job, context.instance, [scored_by])
    memory.silent = _end_silent([each.run for each in going_on(found)], memory.silent, context, settings)
    receipts = delivered(job, settings)
    looking = memory.look_due(now, settings)
    standing = Standing(expected(job, receipts, settings), receipts, found, now, settings.days_pause)

    def fingerprints(days: Collection[date]) -> Sources:
        return sources(job, days, settings)

    again = settings.rescore_days if looking else 0
    wanted = [] if settings.pause.exists() else standing.wanted(
        fingerprints, version=lambda: _version(job, settings), most=settings.days_a_tick, again=again
    )  # fmt: skip
    if looking:
        memory.looked = now.isoformat()
    events = _judged(job, receipts, memory, settings)
    return dg.SensorResult(
        run_requests=[_request(job, each) for each in wanted],
        skip_reason=None if wanted else _reason(standing, settings),
        cursor=json.dumps(asdict(memory)),
        asset_events=events,
    )


def _version(job: ScoringJob, settings: Settings) -> str:
    """What decides on a day beside its input: with another of these, a day that was refused is tried again."""
    from ds_pipelines.extract import policy
    from ds_pipelines.release.registered import in_use

    release = in_use(job.name, settings)
    return f"{policy.load(settings.policies / policy.SHOP).digest} {release[0] if release else 'no release'}"


def _end_silent(
    runs: Collection[str], silent: Mapping[str, int], context: dg.SensorEvaluationContext, settings: Settings
) -> dict[str, int]:
    """Marks runs as failed on which nobody works any more; those that are only suspected go on to the next tick."""
    from ds_pipelines.scoring.lease import held_of

    alive = held_of(runs, settings) if runs else set()
    suspected = {}
    for run_id in set(runs) - alive:
        run = context.instance.get_run_by_id(run_id)
        if run is None or run.status not in SILENT_TICKS:
            continue
        seen = silent.get(run_id, 0) + 1
        if seen < SILENT_TICKS[run.status]:
            suspected[run_id] = seen
        else:
            context.instance.report_run_failed(
                run, "Nobody works on this run any more: its process and its code server are gone. Its days are asked "
                "for again."
            )  # fmt: skip
    return suspected


def _request(job: ScoringJob, wanted: Wanted) -> dg.RunRequest:
    seconds = START_SECONDS + len(wanted.days) * int(job.budget.total_seconds())
    first, last = str(wanted.days[0]), str(wanted.days[-1])
    days = {PARTITION: first} if len(wanted.days) == 1 else {FIRST: first, LAST: last}
    return dg.RunRequest(
        run_key=wanted.key(job.name),
        asset_selection=[dg.AssetKey(["serving", job.table])],
        tags=days | {
            JOB: job.name,
            ATTEMPT: str(wanted.attempt),
            INPUTS: told(wanted.inputs),
            "dagster/max_runtime": str(seconds),
        },
    )  # fmt: skip


def _reason(standing: Standing, settings: Settings) -> str:
    if settings.pause.exists():
        return f"Reading production is paused by {settings.pause}."
    if not standing.missing:
        return "Every expected day is delivered or being worked on."
    return (
        f"{len(standing.missing)} days are missing, the newest of them {standing.missing[0]}: refused until their "
        "input or the release changes, or soon to be tried again after a crash."
    )


def _judged(
    job: ScoringJob, delivered: Collection[date], memory: Memory, settings: Settings
) -> list[dg.AssetCheckEvaluation]:
    """Tells the pages when a job falls behind its promise, and when it has caught up."""
    stands = freshness(job, delivered, settings)
    if stands.late == memory.late:
        return []
    memory.late = stands.late
    return [
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(["serving", job.table]),
            check_name=IN_TIME,
            passed=not stands.late,
            severity=dg.AssetCheckSeverity.ERROR,
            description=stands.words,
        )
    ]


def in_time(job: ScoringJob) -> dg.AssetChecksDefinition:
    """The check that Dagster's own freshness cannot make: it would take a backfill of any old day for fresh."""

    @dg.asset_check(
        asset=dg.AssetKey(["serving", job.table]),
        name=IN_TIME,
        description=f"The newest delivered day is the one that consumers were promised by {job.deadline:%H:%M}.",
    )
    def check() -> dg.AssetCheckResult:
        from ds_pipelines.scoring.receipt import delivered

        settings = load_settings()
        stands = freshness(job, delivered(job, settings), settings)
        return dg.AssetCheckResult(passed=not stands.late, description=stands.words)

    return check
