"""When people are told: a sensor that sees what is wrong in production, and what is well again, and has it sent.

What belongs here: one look: failed runs, late jobs, drift, broken promises. What does not: remembering what was told
and sending (`watch`), and what a run was about (`failures`).
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from ds_pipelines.errors import ClusterError, DatabaseUnreachableError, MissingSecretError, UnusableChannelError
from ds_pipelines.production.days import freshness
from ds_pipelines.production.failures import Delivered, delivered_since, ended_runs, seen
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings, load_settings
from ds_pipelines.watch.problems import Problem, Well

if TYPE_CHECKING:
    import psycopg2.extensions

    from ds_pipelines.scoring.receipt import Receipt

SECONDS = 30
DRIFT = ("input_drift", "score_distribution")
"""The checks of a delivery that tell a movement."""
SERVING = "the serving database"


def alerts(jobs: Collection[ScoringJob], own: Collection[str], settings: Settings) -> dg.SensorDefinition:
    """The sensor `alerts`; outside production it starts stopped, and is there to be tried.

    Args:
        jobs: The scoring jobs.
        own: Names of production's Dagster jobs.
        settings: Say which environment this is.
    """

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=SECONDS,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if settings.environment == "production" else dg.DefaultSensorStatus.STOPPED
        ),
        description="Tells the channels in secrets/alerts what failed, is late, drifted or broke a promise, and what "
        "recovered; each once.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            return dg.SkipReason(look_once(context.instance, jobs, own, load_settings()))
        except (DatabaseUnreachableError, ClusterError) as error:
            return dg.SkipReason(str(error))

    return look


def look_once(
    instance: dg.DagsterInstance, jobs: Collection[ScoringJob], own: Collection[str], settings: Settings
) -> str:
    """Sees, remembers and sends; says what came of it. Safe to repeat, and to do twice at once.

    Raises:
        DatabaseUnreachableError: what was told before cannot be known.
    """
    from ds_pipelines.watch import channels, figures, problems, sending
    from ds_pipelines.watch.state import remembered

    named, complaint = [], ""
    try:
        named = channels.load(settings)
    except (MissingSecretError, UnusableChannelError) as error:
        complaint = f" {error}"
    began = over = 0
    with remembered(settings) as cursor:
        sending.register(cursor, named)
        for each in _looked_at(cursor, instance, jobs, own, settings):
            if isinstance(each, Problem):
                began += problems.begin(cursor, each, settings.environment)
            else:
                over += problems.recover(cursor, each, settings.environment)
        still_open = problems.still_open(cursor)
    sent = sending.send_due(named, settings)
    figures.publish(still_open, jobs, settings)
    told = f"{began} began, {over} recovered, {len(still_open)} open. {sent.sent} sent, {sent.refused} not taken."
    return f"{told}{complaint}" if named or complaint else f"{told} No channel is named in {settings.alert_channels}."


def _looked_at(
    cursor: "psycopg2.extensions.cursor",
    instance: dg.DagsterInstance,
    jobs: Collection[ScoringJob],
    own: Collection[str],
    settings: Settings,
) -> Iterator[Problem | Well]:
    from ds_pipelines.watch.performance import promises
    from ds_pipelines.watch.problems import still_open

    try:
        delivered = _delivered(jobs, settings)
    except DatabaseUnreachableError as error:
        page = f"{settings.pages_base}/asset-groups"
        step = "start it, or correct its URL; days that were missed meanwhile are asked for by themselves."
        yield Problem("failure", SERVING, str(error), step, page)
        return
    yield Well("failure", SERVING, "It answers.", f"{settings.pages_base}/asset-groups")
    failed = {each.subject for each in still_open(cursor) if each.kind == "failure"}
    yield from seen(ended_runs(cursor, instance, own), jobs, delivered, instance, settings)
    yield from delivered_since(failed, delivered, settings)
    for job in jobs:
        yield _lateness(job, delivered[job.name], settings)
        yield from _drift(job, delivered[job.name], settings)
    yield from promises(cursor, jobs, settings)


def _delivered(jobs: Collection[ScoringJob], settings: Settings) -> Delivered:
    from ds_pipelines.scoring.receipt import delivered

    return {job.name: delivered(job, settings) for job in jobs}


def _lateness(job: ScoringJob, delivered: Collection[date], settings: Settings) -> Problem | Well:
    stands, page = freshness(job, delivered, settings), _page(job, settings)
    words = f"{stands.words[:1].upper()}{stands.words[1:]}."
    if not stands.late:
        return Well("lateness", job.name, words, page)
    readers = ", ".join(job.consumers)
    step = (
        f"see whether its run failed, waits, or was not asked for (the sensor {job.name}_days); until then {readers} "
        "get the newest day that there is, marked stale."
    )
    return Problem("lateness", job.name, words, step, page)


def _drift(job: ScoringJob, delivered: "Mapping[date, Receipt]", settings: Settings) -> Iterator[Problem | Well]:
    """By the newest delivered day alone: a backfill of an old one is no news."""
    if not delivered:
        return
    newest = max(delivered)
    checks = [check for check in delivered[newest].checks if check.name in DRIFT]
    moved = [check for check in checks if not check.passed]
    if moved:
        words = " ".join(f"{check.name} of {newest}: {check.words}." for check in moved)
        step = "find out what changed in the source; if it stays so, train and release anew."
        yield Problem("drift", job.name, words, step, _page(job, settings))
    elif checks:
        yield Well("drift", job.name, f"Of {newest}, nothing moved too far.", _page(job, settings))


def _page(job: ScoringJob, settings: Settings) -> str:
    return f"{settings.pages_base}/assets/serving/{job.table}"
