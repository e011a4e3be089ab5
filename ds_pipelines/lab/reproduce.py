"""Repeating a run: restored in every part, executed on a fresh process, compared output by output, and explained.

What belongs here: the order of these steps and the answer. What does not: each step by itself (again.py, outputs.py,
causes.py).

*identical*: every output is the same by content. *equal within tolerance*: numbers differ by no more than the tolerance
that the run declared, or `TOLERANCE`. *differs*: with the first output that diverged and the cause. *cannot*: something
that the run needs is gone.

A cause is decided by evidence. What the records of both say differently is a candidate; with several, each is tried by
itself. Where the records agree, the script is executed again as it was: if it differs from itself, chance is in it, and
seeds and threads are taken away one at a time to find out which.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ds_pipelines.errors import NotReproducibleError
from ds_pipelines.evidence import Cause, Reproduction, RunInput
from ds_pipelines.lab import causes as reasons
from ds_pipelines.lab.again import Again, Bench, bench
from ds_pipelines.lab.contents import is_rounding
from ds_pipelines.lab.history import History, PastRun, opened, read_record
from ds_pipelines.lab.outputs import Judged, Side, judge
from ds_pipelines.lab.today import changed_since

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ds_pipelines.evidence import Part, ReproductionAnswer
    from ds_pipelines.settings import Settings

TOLERANCE = 1e-9
"""Where a run declares none: what adding numbers in another order may make."""
ARTIFACT, TAG = "evidence/reproduction.json", "ds.reproduction"
UNRECORDED = {"FileNotFoundError", "ModuleNotFoundError", "ImportError"}
TRIES = 3
"""Repetitions that look for chance, where two agree."""


def reproduce(
    wanted: str, settings: Settings, *, today: Iterable[Part] = (), tolerance: float | None = None
) -> Reproduction:
    """Repeats a run, and keeps the answer with it.

    Args:
        wanted: The run's id, its first digits, or an experiment for its newest run.
        settings: Name MLflow, the gateway and the home.
        today: Parts that are taken as they are today, to see whether the idea still holds; such an answer is not kept.
        tolerance: Relative difference of numbers that counts as equal; by default what the run declared.

    Raises:
        UnknownRunError, AmbiguousRunError: there is no such run, or several.
        UnrecordedRunError: it left no record.
        TrackingUnreachableError: MLflow does not answer.
    """
    with opened(settings) as history:
        run = history.run(wanted)
        with history.artifacts(run) as folder:
            record = read_record(folder, run.run_id)
            chosen = tolerance if tolerance is not None else record.tolerance if record.tolerance else TOLERANCE
            with bench(record, folder, settings) as place:
                found = _Inquiry(place, chosen, frozenset(today)).answer()
        if not found.today:
            _keep(history, run, found)
    return found


def _keep(history: History, run: PastRun, found: Reproduction) -> None:
    history.client.log_text(run.run_id, found.model_dump_json(indent=2), ARTIFACT)
    history.client.set_tag(run.run_id, TAG, found.answer)


@dataclass
class _Inquiry:
    """One run on its bench."""

    bench: Bench
    tolerance: float
    today: frozenset[Part]
    started: float = field(default_factory=time.monotonic)

    def answer(self) -> Reproduction:
        """Executes, compares, explains."""
        try:
            again = self.bench.execute(self.today)
        except NotReproducibleError as error:
            cause = Cause(kind=error.kind, words=error.words, proven=True)
            return self._said("cannot", f"cannot be repeated: {error.words}", causes=(cause,))
        judged = self._judged(again)
        if failed := self._failed(again):
            words = f"differs: the repetition failed ({again.record.failure})"
            return self._said("differs", words, judged, (failed,), again, first="the script's end")
        if judged.identical:
            made = len(judged.outputs)
            return self._said("identical", f"identical: all {made} outputs are the same by content", judged, (), again)
        found = tuple(self._causes(again, judged))
        because = "; ".join(f"{each.kind}: {each.words}" for each in found)
        if not judged.diverged:
            words = f"equal within {self.tolerance:g}, relatively; what still differs comes from {because}"
            return self._said("equal within tolerance", words, judged, found, again)
        first = judged.diverged[0]
        words = f"differs, first in {first.artifact} ({first.difference or first.likeness}); likely cause: {because}"
        return self._said("differs", words, judged, found, again, first=first.artifact)

    def _judged(self, again: Again) -> Judged:
        return judge(self._original(), Side(again.record, again.artifacts), self.tolerance)

    def _original(self) -> Side:
        return Side(self.bench.record, self.bench.original)

    def _failed(self, again: Again) -> Cause | None:
        """Why the repetition did not end as the run did."""
        if again.record.status == self.bench.record.status:
            return None
        kind = (again.failure or {}).get("kind")
        words = f"{again.record.failure or again.record.status}; the run had {self.bench.record.status}"
        candidates = self._candidates(again)
        if candidates:
            return next(iter(candidates.values()))[0]
        if kind in UNRECORDED:
            return Cause(kind="unrecorded", words=f"it needs a file that the run did not record: {words}")
        return Cause(kind="failure", words=words)

    # ------------------------------------------------------------ causes

    def _causes(self, again: Again, judged: Judged) -> list[Cause]:
        candidates = self._candidates(again)
        if candidates:
            proven = self._by_experiment(candidates)
            if proven:
                return proven
        if judged.clock:
            return [Cause(kind="clock", words="only times and durations that it prints differ", proven=True)]
        found = self._chance(again, judged)
        if found is not None:
            return [found]
        if candidates:
            return [cause for part in candidates.values() for cause in part]
        return [self._unexplained(again)]

    def _candidates(self, again: Again) -> dict[Part, list[Cause]]:
        """What the records say differently."""
        return reasons.between(self.bench.record, again.record, self._snapshot)

    def _snapshot(self, wanted: RunInput) -> Path | None:
        from ds_pipelines.gateway.client import connect

        with connect(self.bench.settings) as gateway:
            path = gateway.cache.file(wanted.digest)
        return path if path.is_file() else None

    def _by_experiment(self, candidates: dict[Part, list[Cause]]) -> list[Cause]:
        """The candidates that by themselves make a difference, while everything else is restored."""
        parts = [part for part in candidates if part in self.today]
        if not parts or not self._restores_whole():
            return []
        if len(parts) == 1:
            return [cause.model_copy(update={"proven": True}) for cause in candidates[parts[0]]]
        found = []
        for part in parts:
            alone = self.bench.execute(frozenset({part}))
            if not self._judged(alone).identical:
                found += [cause.model_copy(update={"proven": True}) for cause in candidates[part]]
        return found

    def _restores_whole(self) -> bool:
        """Whether the run, restored in every part, gives what it gave: else something else is at work, too."""
        try:
            return self._judged(self.bench.execute()).identical
        except NotReproducibleError:
            return False

    def _chance(self, again: Again, judged: Judged) -> Cause | None:
        """Whether the script differs from itself, and what makes it."""
        if not self._is_unsteady(again, judged):
            return None
        seeds = reasons.of_seeds(self.bench.record, again.record)
        if seeds is None and judged.diverged and judged.diverged[0].likeness == "reordered":
            return self._named("seeded", None) if self._steadies("seeded", TRIES) else reasons.OPEN_ORDER
        rounding = is_rounding(judged.largest)
        for how in ("one_thread", "seeded") if rounding else ("seeded", "one_thread"):
            if self._steadies(how):
                return self._named(how, seeds)
        if rounding:
            return self._named("one_thread", None, proven=False)
        return seeds or Cause(
            kind="missing seed", words="each run gives something else; it draws chance that no seed reaches"
        )

    def _is_unsteady(self, again: Again, judged: Judged) -> bool:
        """Whether repetitions differ among themselves; of rounding several are looked at, for it is luck."""
        first = Side(again.record, again.artifacts)
        for _ in range(TRIES if is_rounding(judged.largest) else 1):
            other = self.bench.execute(self.today)
            if not judge(first, Side(other.record, other.artifacts), self.tolerance).identical:
                return True
        return False

    def _steadies(self, how: str, times: int = 1) -> bool:
        """Whether a repetition and so many more are the same once a kind of chance is taken out."""
        one = self.bench.execute(self.today, how)
        for _ in range(times):
            other = self.bench.execute(self.today, how)
            judged = judge(Side(one.record, one.artifacts), Side(other.record, other.artifacts), self.tolerance)
            if not judged.identical:
                return False
        return True

    def _named(self, how: str, seeds: Cause | None, *, proven: bool = True) -> Cause:
        if how == "seeded":
            words = (
                seeds.words if seeds else "with seeds for all generators and for hashes, two repetitions are the same"
            )
            return Cause(kind="missing seed", words=words, proven=proven)
        return Cause(
            kind="threads",
            words="several threads add the same numbers in another order each time; with one, repetitions are the same",
            proven=proven,
        )

    def _unexplained(self, again: Again) -> Cause:
        before, now = self.bench.record.environment, again.record.environment
        if before is None or not self.bench.record.code.files:
            words = (
                "the run did not record its packages, its variables or its helpers, so that nothing was restored but"
            )
            return Cause(kind="unrecorded", words=f"{words} its script and data")
        if now is not None and (before.platform, before.processors) != (now.platform, now.processors):
            words = f"it ran on {before.platform} with {before.processors} processors; this is {now.platform}"
            return Cause(kind="machine", words=f"{words} with {now.processors}")
        return Cause(kind="unknown", words="repetitions are the same among themselves, and the records agree")

    # ------------------------------------------------------------ the answer

    def _said(
        self,
        answer: ReproductionAnswer,
        words: str,
        judged: Judged | None = None,
        causes: tuple[Cause, ...] = (),
        again: Again | None = None,
        *,
        first: str | None = None,
    ) -> Reproduction:
        record = self.bench.record
        return Reproduction(
            run_id=record.run_id,
            experiment=record.experiment,
            answer=answer,
            words=f"{record.experiment}, run {record.run_id[:7]}: {words}.",
            tolerance=self.tolerance,
            first_difference=first,
            causes=causes,
            outputs=judged.outputs if judged else (),
            today=tuple(sorted(self.today)),
            changed_since=changed_since(record, self.bench.settings, self._snapshot),
            executions=self.bench.executions,
            python=str(again.python) if again else None,
            at=datetime.now(UTC),
            seconds=round(time.monotonic() - self.started, 3),
        )
