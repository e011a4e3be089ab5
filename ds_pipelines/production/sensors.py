"""When production works because somebody asked: requests that came through the gateway become runs.

What belongs here: launching a run for each request, and telling the request what became of its run. What does not: who
may ask, and for what, which the gateway decided; and extracting, which the assets do.

One request of a table at a time. The request's id is the run's key, so Dagster launches it once, whatever happens to
the daemon in between: a request stays queued until a run of its own is seen.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from ds_pipelines import errors
from ds_pipelines.extract.policy import Policy
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.gateway.queue import Queue
    from ds_pipelines.gateway.wire import RequestStatus

REQUEST = "ds_pipelines/request"
"""The tag of a run that names the request for which it was launched."""
ASKED_BY = "ds_pipelines/asked_by"
"""The tag that says for whom, and on whose word; `user` is who launched a run in Dagster's pages."""
SECONDS = 10
VANISHED_AFTER = timedelta(minutes=1)
"""How long a request that ran may be without a run: as long as an instance takes to forget and remember."""


def requested_extracts(job: Any, policy: Policy) -> dg.SensorDefinition:
    """The sensor, for the tables of a policy; it runs in every environment, because somebody waits."""

    @dg.sensor(
        name="requested_extracts",
        job=job,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Extracts what was asked for through the gateway, one request of a table at a time.",
    )
    def look(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from ds_pipelines.gateway.database import Database
        from ds_pipelines.gateway.queue import Queue

        with closing(Database(load_settings())) as database:
            try:
                waiting = _follow(Queue(database), context.instance, policy)
            except (errors.DatabaseUnreachableError, errors.UnpreparedGatewayError) as error:
                yield dg.SkipReason(str(error))
                return
        yield from map(_run_request, waiting)
        if not waiting:
            yield dg.SkipReason("Nothing that was asked for waits.")

    return look


def _follow(queue: "Queue", instance: dg.DagsterInstance, policy: Policy) -> list["RequestStatus"]:
    """Tells each open request what became of its run; those that come next are returned, one a table at most."""
    busy: set[str] = set()
    waiting: list[RequestStatus] = []
    for request in queue.open():
        run = _run_of(request, instance)
        if run is not None:
            if _is_open_after(request, run, queue, instance):
                busy.add(request.table)
        elif request.state == "queued":
            waiting.append(request)
        elif request.started_at is None or datetime.now(UTC) - request.started_at > VANISHED_AFTER:
            queue.fail(request.id, "Its run has vanished: somebody deleted it, or its storage was lost. Ask again.")
    following: list[RequestStatus] = []
    for request in waiting:
        if request.table not in policy.tables:
            queue.fail(request.id, f"The privacy policy does not name {request.table} any more.")
        elif request.table in busy:
            queue.note(request.id, f"Waits for an earlier request of {request.table}.")
        else:
            following.append(request)
            busy.add(request.table)
    return following


def _run_of(request: "RequestStatus", instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """The newest run of a request: somebody may have started it again by hand."""
    return next(iter(instance.get_runs(dg.RunsFilter(tags={REQUEST: request.id}), limit=1)), None)


def _is_open_after(request: "RequestStatus", run: dg.DagsterRun, queue: "Queue", instance: dg.DagsterInstance) -> bool:
    """Moves a request to where its run is; whether it is open still."""
    if run.status == dg.DagsterRunStatus.SUCCESS:
        queue.finish(request.id)
    elif run.status == dg.DagsterRunStatus.CANCELED:
        queue.fail(request.id, f"Run {run.run_id} was cancelled in production.")
    elif run.status == dg.DagsterRunStatus.FAILURE:
        queue.fail(request.id, reason(run, instance))
    else:
        if request.state == "queued":
            queue.start(request.id, f"Run {run.run_id}.")
        return True
    return False


def reason(run: dg.DagsterRun, instance: dg.DagsterInstance) -> str:
    """Why a run failed, if it says so in an error of ours; those hold no value and no secret."""
    for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failure = event.dagster_event.step_failure_data.error if event.dagster_event else None
        cause = failure.cause or failure if failure else None
        kind = getattr(errors, cause.cls_name or "", None) if cause else None
        if cause and isinstance(kind, type) and issubclass(kind, errors.DsPipelinesError):
            return cause.message.partition(": ")[2].strip()
    return f"Run {run.run_id} failed; production's pages say why."


def _run_request(request: "RequestStatus") -> dg.RunRequest:
    days = {}
    if request.since is not None:
        days = {
            "dagster/asset_partition_range_start": str(request.since),
            "dagster/asset_partition_range_end": str(request.until),
        }
    return dg.RunRequest(
        run_key=request.id,
        asset_selection=[dg.AssetKey(["extract", request.table])],
        tags=days | {REQUEST: request.id, ASKED_BY: request.asker},
    )
