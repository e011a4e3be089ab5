"""Repeating runs by themselves: all that are kept, and each night those that releases were made from.

What belongs here: which runs are repeated when, and showing the answers. What does not: repeating one, which is
`lab.reproduce`'s.
"""

from typing import TYPE_CHECKING, Literal

import dagster as dg
from pydantic import Field

from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.evidence import Reproduction

NIGHTLY = "30 2 * * *"
"""When nobody works, and before production does at five."""
FAILED = ("differs", "cannot")


class Which(dg.Config):
    """Which runs are repeated."""

    runs: Literal["kept", "released"] = Field(
        "kept", description="Those marked ds.kept and those that releases were made from, or the latter only"
    )


@dg.op(out=dg.Out(dg.Nothing))
def repeat_runs(context: dg.OpExecutionContext, config: Which) -> None:
    """Repeats each run; fails at the end if one differs or cannot be repeated any more."""
    answers: dict[str, str] = {}
    for run_id, found in _repeated(load_settings(), config.runs):
        words = found if isinstance(found, str) else found.words
        answers[run_id] = "cannot" if isinstance(found, str) else found.answer
        (context.log.error if answers[run_id] in FAILED else context.log.info)(words)
        if not isinstance(found, str):
            context.log_event(_observed(found))
    counts = {answer: sum(each == answer for each in answers.values()) for answer in sorted(set(answers.values()))}
    context.add_output_metadata({"runs": len(answers), **counts})
    if failed := [run_id[:8] for run_id, answer in answers.items() if answer in FAILED]:
        raise dg.Failure(
            f"{len(failed)} of {len(answers)} runs cannot be repeated as they were: {', '.join(failed)}. "
            "The log says of each what differs and why; `ds-pipelines reproduce RUN` says it again.",
            metadata={"runs": len(answers), **counts},
            allow_retries=False,
        )


@dg.job(
    name="reproduce_kept",
    description="Repeats every run that is kept or that a release was made from, and says what differs.",
    tags={"dagster/max_runtime": "28800"},
)
def reproduce_kept() -> None:
    """All kept runs, one after the other: two at once would fight for the threads that they are about."""
    repeat_runs()


def nightly(settings: Settings) -> dg.ScheduleDefinition:
    """The runs that releases were made from, each night."""
    return dg.ScheduleDefinition(
        name="reproduce_released_nightly",
        job=reproduce_kept,
        cron_schedule=NIGHTLY,
        execution_timezone=settings.zone,
        run_config=dg.RunConfig({"repeat_runs": Which(runs="released")}),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Repeats the runs that releases were made from, at 02:30 {settings.zone}.",
    )


def _repeated(settings: Settings, which: str) -> "Iterator[tuple[str, Reproduction | str]]":
    """Each run with its answer, or why there is none."""
    from ds_pipelines.lab.history import opened
    from ds_pipelines.lab.pruning import runs_of_releases
    from ds_pipelines.lab.reproduce import reproduce

    released = runs_of_releases(settings)
    with opened(settings) as history:
        chosen = [run.run_id for run in history.runs() if run.run_id in released or (which == "kept" and run.kept)]
    for run_id in chosen:
        try:
            yield run_id, reproduce(run_id, settings)
        except DsPipelinesError as error:
            yield run_id, str(error)


def _observed(found: "Reproduction") -> dg.AssetObservation:
    """The answer on the page of the experiment's asset."""
    return dg.AssetObservation(
        ["experiments", found.experiment],
        metadata={
            "reproduction": found.answer,
            "in words": found.words,
            "run id": found.run_id,
            "first difference": found.first_difference or "none",
            "causes": dg.MetadataValue.json([cause.model_dump() for cause in found.causes]),
            "executions": found.executions,
        },
    )
