"""Attempts at a scoring job's days, as Dagster's runs tell them.

What belongs here: the tags by which a run says which days it was asked for and which it refused, and reading them. What
does not: deciding what is asked for next (`due`), and writing refusals (`working`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob

JOB = "ds_pipelines/scoring_job"
"""The tag of a run that names the job whose days were missing."""
ATTEMPT = "ds_pipelines/attempt"
INPUTS = "ds_pipelines/inputs"
"""What each day was to be made from: `2025-03-04=0c1d2e3f4a5b …`."""
REFUSED = "ds_pipelines/refused"
"""The days of a run that wait for new input or another release: `2025-03-04 …`."""
PARTITION, FIRST, LAST = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
REMEMBERED = 500
"""So many runs of a job are looked at, the newest."""
GOING_ON = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class Attempt:
    """One run for some days of a job."""

    run: str
    days: tuple[date, ...]
    ended: datetime | None
    """None while it goes on."""
    succeeded: bool = False
    inputs: Mapping[date, str] = field(default_factory=dict)
    refused: frozenset[date] = frozenset()


def days_of(tags: Mapping[str, str]) -> tuple[date, ...]:
    """The days that a run is for; none if its partitions are not days."""
    try:
        first = date.fromisoformat(tags.get(PARTITION) or tags[FIRST])
        last = date.fromisoformat(tags.get(PARTITION) or tags[LAST])
    except (KeyError, ValueError):
        return ()
    return tuple(first + timedelta(days=offset) for offset in range((last - first).days + 1))


def told(inputs: Mapping[date, str]) -> str:
    """As the tag `INPUTS`."""
    return " ".join(f"{day}={digest}" for day, digest in sorted(inputs.items()))


def inputs_of(tags: Mapping[str, str]) -> dict[date, str]:
    """What a run's tag `INPUTS` says."""
    parts = (each.partition("=") for each in tags.get(INPUTS, "").split())
    return {date.fromisoformat(day): digest for day, _, digest in parts}


def attempts(job: ScoringJob, instance: dg.DagsterInstance, scored_by: Iterable[str]) -> list[Attempt]:
    """What was and is tried: runs that were asked for here, and any that goes on, whoever launched it; newest first.

    Args:
        job: Whose days.
        instance: Where the runs are.
        scored_by: The Dagster jobs that score all scoring jobs if no asset is selected.
    """
    key, whole = dg.AssetKey(["serving", job.table]), set(scored_by)
    asked = list(instance.get_run_records(dg.RunsFilter(tags={JOB: job.name}), limit=REMEMBERED))
    known = {record.dagster_run.run_id for record in asked}
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(GOING_ON))):
        run = record.dagster_run
        ours = run.job_name in whole if run.asset_selection is None else key in run.asset_selection
        if ours and run.run_id not in known:
            asked.append(record)
    return [_attempt(record) for record in asked]


def _attempt(record: dg.RunRecord) -> Attempt:
    run = record.dagster_run
    going_on = run.status in GOING_ON
    ended = None if going_on else datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
    refused = frozenset(date.fromisoformat(day) for day in run.tags.get(REFUSED, "").split())
    succeeded = run.status == dg.DagsterRunStatus.SUCCESS
    return Attempt(run.run_id, days_of(run.tags), ended, succeeded, inputs_of(run.tags), refused)


def going_on(found: Sequence[Attempt]) -> list[Attempt]:
    """Those that have not ended."""
    return [each for each in found if each.ended is None]
