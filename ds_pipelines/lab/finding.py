"""What was tried on a question: experiments with their runs, summed up.

What belongs here: choosing and summing up what `history` reads. What does not: reading it, or showing it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import UnrecordedRunError
from ds_pipelines.lab.history import newest_by_experiment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ds_pipelines.evidence import Closing
    from ds_pipelines.lab.history import History, PastRun


@dataclass(frozen=True)
class Wanted:
    """Which experiments are looked for; None: any."""

    question: str | None = None
    verdict: str | None = None
    table: str | None = None
    closed: bool | None = None


@dataclass(frozen=True)
class Tried:
    """One experiment, as it stands."""

    name: str
    question: str | None
    verdict: str | None
    """Of the newest run that has one."""
    data: str
    last_run: datetime | None
    by: str | None
    runs: int
    bytes: int | None
    """Of all its runs' artifacts; None where MLflow keeps some elsewhere."""
    closed: str | None
    """Why it was closed, if it was."""
    newest: str | None
    """The newest run's id."""

    def as_json(self) -> dict[str, Any]:
        """The same, for machines."""
        return asdict(self)


def tried(history: History, closed: Mapping[str, Closing], wanted: Wanted | None = None) -> list[Tried]:
    """The experiments that were run or closed and are looked for, those run last first."""
    wanted = wanted or Wanted()
    grouped = newest_by_experiment(history.runs())
    found = []
    for name in [*grouped, *sorted(closed.keys() - grouped.keys())]:
        runs = grouped.get(name, [])
        if _is_wanted(name, runs, closed.get(name), wanted):
            found.append(_summed_up(name, runs, closed.get(name), history))
    return found


def facts(history: History, run: PastRun) -> dict[str, Any]:
    """All that is known of one run, by what it is; None: unknown."""
    known: dict[str, Any] = {
        "experiment": run.experiment,
        "run": run.run_id,
        "page": run.url,
        "started": f"{run.started_at:%Y-%m-%d %H:%M:%S %Z}",
        "seconds": run.seconds,
        "ended": run.status,
        "verdict": run.verdict,
        "question": run.question,
        "by": run.by,
        "kept": "yes" if run.kept else "no",
        "reproduction": run.reproduction or "not tried",
        "bytes": history.bytes_of(run),
        "parameters": run.parameters,
        "metrics": run.metrics,
        "data": {
            read.table: f"{read.words}, {read.snapshots or 'unknown'} snapshots, {read.digest[:12]}"
            for read in run.reads
        },
        "code": run.code_digest,
    }
    try:
        record = history.record(run)
    except UnrecordedRunError:
        return known | {"environment": None}
    environment = record.environment
    return known | {
        "script": record.script,
        "commit": record.code.commit,
        "peak memory": record.peak_memory,
        "python": environment and environment.python,
        "processors": environment and environment.processors,
        "threads": environment and environment.threads,
        "seeds": environment and environment.seeds,
        "outputs": {output.artifact: f"{output.kind}, {output.bytes:,} bytes" for output in record.outputs} or None,
        "failure": record.failure,
    }


def _is_wanted(name: str, runs: Sequence[PastRun], closing: Closing | None, wanted: Wanted) -> bool:
    text = (wanted.question or "").casefold()
    said = [name, *(run.question or "" for run in runs)]
    return (
        any(text in each.casefold() for each in said)
        and (wanted.verdict is None or any(run.verdict == wanted.verdict for run in runs))
        and (wanted.table is None or any(read.table == wanted.table for run in runs for read in run.reads))
        and (wanted.closed is None or wanted.closed == (closing is not None))
    )


def _summed_up(name: str, runs: Sequence[PastRun], closing: Closing | None, history: History) -> Tried:
    sizes = [history.bytes_of(run) for run in runs]
    newest = runs[0] if runs else None
    return Tried(
        name=name,
        question=next((run.question for run in runs if run.question), None),
        verdict=next((run.verdict for run in runs if run.verdict), None),
        data=newest.data if newest else "",
        last_run=newest.started_at if newest else None,
        by=newest.by if newest else None,
        runs=len(runs),
        bytes=None if None in sizes else sum(size or 0 for size in sizes),
        closed=closing.because if closing else None,
        newest=newest.run_id if newest else None,
    )
