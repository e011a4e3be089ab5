"""Work on the days of a run: known to be alive, and each day by itself, so that one that is refused stops no other.

What belongs here: what surrounds a day in a run, whichever job it is of. What does not: scoring and delivering it, and
asking for it again (`due`).

An error of ours that names what somebody has to change is a refusal: nothing would come of trying again, so the run
says which days it refused, and they wait. An error that passes by itself (a database that is away, a full disk), and
whatever is no error of ours, is a crash.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date

import dagster as dg

from ds_pipelines import errors
from ds_pipelines.production.attempts import INPUTS, REFUSED
from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings

PASSING = (
    errors.ClusterError,
    errors.DatabaseUnreachableError,
    errors.DeliveryFailedError,
    errors.DiskFullError,
    errors.HeldBackError,
    errors.SourceRefusedError,
    errors.UnknownDayError,  # a clock that was set back for a while
)
"""What passes by itself; every other error of ours is a refusal."""


class Work:
    """The days of a run of one job; made by `working`."""

    def __init__(self, context: dg.AssetExecutionContext, job: ScoringJob, settings: Settings) -> None:
        self._context, self._job, self._settings = context, job, settings
        self._open = [date.fromisoformat(key) for key in context.partition_keys]
        self._refused: dict[date, errors.DsPipelinesError] = {}

    def days(self, memory: int) -> Iterator[tuple[date, Mapping[str, str]]]:
        """Each day that is still to be delivered, with the fingerprints of its source before it is read.

        A day that was asked for because it was missing and that somebody has delivered meanwhile is left alone; one
        that a person asked for is done again.

        Args:
            memory: The budget of the release in use, in bytes. It is a hard cap: a process that goes through it is
                ended, and the day on which it was working waits like one that was refused.
        """
        from ds_pipelines.caps.ceiling import ceiling
        from ds_pipelines.scoring.sources import sources

        asked_for = bool(self._context.run.tags.get(INPUTS))
        with ceiling(memory, self._over_budget):
            for day in list(self._open):
                source = sources(self._job, [day], self._settings)[day]
                if asked_for and self._stands(day, source):
                    self._context.log.info("%s is delivered already, from the same input", day)
                    self._open.remove(day)
                else:
                    yield day, source

    @contextmanager
    def day(self, day: date) -> Iterator[None]:
        """One day; if it is refused, that is noted, and the next can go on."""
        try:
            yield
        except errors.DsPipelinesError as error:
            if isinstance(error, PASSING):
                raise
            self._context.log.warning("%s was refused: %s", day, error)
            self._refuse({day: error})
        self._open.remove(day)

    def conclude(self) -> None:
        """Ends the run as a failure if a day was refused.

        Raises:
            DaysRefusedError: some were; a single day's own error if it was the only day of the run.
        """
        if not self._refused:
            return
        [first, *_] = self._refused.values()
        if len(self._context.partition_keys) == 1:
            raise first
        raise errors.DaysRefusedError(self._job.name, sorted(self._refused), str(first))

    def refuse_all(self, error: errors.DsPipelinesError) -> None:
        """Notes that no day can be done, for example because there is no release that may be used."""
        self._refuse(dict.fromkeys(self._open, error))

    def _refuse(self, days: Mapping[date, errors.DsPipelinesError]) -> None:
        self._refused |= days
        self._tell(self._refused)

    def _over_budget(self, reason: str) -> None:
        self._tell({*self._refused, *self._open[:1]})
        self._context.instance.report_engine_event(reason, self._context.run)

    def _tell(self, refused: Iterable[date]) -> None:
        # As a tag, since errors may be hidden from the event log.
        told = " ".join(str(day) for day in sorted(refused))
        self._context.instance.add_run_tags(self._context.run.run_id, {REFUSED: told})

    def _stands(self, day: date, source: Mapping[str, str]) -> bool:
        from ds_pipelines.scoring.receipt import find
        from ds_pipelines.scoring.sources import changed_since

        receipt = find(self._job, day, self._settings)
        return receipt is not None and not changed_since(receipt, source)


@contextmanager
def working(context: dg.AssetExecutionContext, job: ScoringJob, settings: Settings) -> Iterator[Work]:
    """The work of a run, while which everybody knows that it is alive."""
    from ds_pipelines.scoring.lease import held

    work = Work(context, job, settings)
    with held(context.run.run_id, settings):
        try:
            yield work
        except errors.DsPipelinesError as error:
            if not isinstance(error, PASSING):
                work.refuse_all(error)
            raise
        work.conclude()
