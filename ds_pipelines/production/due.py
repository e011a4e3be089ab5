"""What a scoring job owes: the days that are missing, late or made from what has changed since, as runs to ask for.

What belongs here: comparing receipts with expected days, and deciding which to ask for now. What does not: launching
runs and telling their fate (`reconciling`), which days there are (`days`), and doing one (`assets.serving`).

A day that crashed is asked for again, each time after a longer pause, for ever: what made it crash passes. A day that
was refused (a broken contract, a release that is not what was approved) waits: it is asked for again when its source,
the privacy policy or the release in use has changed. A day whose source has changed since it was delivered is scored
again. The newest day comes first; days in a row become one run, which starts once and loads the model once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from ds_pipelines.production.days import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import date, datetime

    from ds_pipelines.production.attempts import Attempt
    from ds_pipelines.scoring.receipt import Receipt

LONGEST = 60
"""Between crashes, so many times the first pause at most."""

Sources: TypeAlias = "Mapping[date, Mapping[str, str]]"


@dataclass(frozen=True)
class Wanted:
    """Days in a row that one run shall deliver."""

    days: tuple[date, ...]
    attempt: int
    inputs: Mapping[date, str]
    """What each is to be made from, in short."""

    def key(self, job: str) -> str:
        """The run's key: another attempt, or other input, is another run; the same is not launched twice."""
        together = hashlib.sha256("".join(self.inputs[day] for day in self.days).encode()).hexdigest()[:12]
        digest = self.inputs[self.days[0]] if len(self.days) == 1 else together
        span = f"{self.days[0]}" if len(self.days) == 1 else f"{self.days[0]}..{self.days[-1]}"
        return f"{job} {span} attempt {self.attempt} inputs {digest}"


@dataclass(frozen=True)
class Standing:
    """How a job stands at a tick."""

    expected: Sequence[date]
    delivered: Mapping[date, Receipt]
    attempts: Sequence[Attempt]
    """Newest first."""
    now: datetime
    pause: timedelta = timedelta(minutes=1)
    """After the first crash of a day."""

    @property
    def missing(self) -> list[date]:
        """Expected days without a receipt on which nobody works, newest first."""
        busy = self._busy
        return [day for day in reversed(self.expected) if day not in self.delivered and day not in busy]

    @property
    def _busy(self) -> set[date]:
        return {day for each in self.attempts if each.ended is None for day in each.days}

    def wanted(
        self, sources: Callable[[Collection[date]], Sources], *, version: Callable[[], str], most: int, again: int
    ) -> list[Wanted]:
        """The runs to ask for now.

        Args:
            sources: Tells the fingerprints of days in production.
            version: Tells what is not input and decides on a day as well: the release in use, the privacy policy.
            most: So many days at most.
            again: So many of the newest days are compared with their source, and refused days with theirs; 0: none.
        """
        from ds_pipelines.scoring.sources import changed_since

        ready = [day for day in self.missing if self._may_try(day)]
        fresh = [day for day in ready if not self._refusals(day)][:most]
        waiting = [day for day in ready if self._refusals(day)][:most] if again else []
        busy = self._busy
        recent = [day for day in self.expected[len(self.expected) - again :] if day in self.delivered]
        recent = [day for day in recent if day not in busy and self._may_try(day)]
        asked = sources({*fresh, *waiting, *recent})
        outdated = [day for day in recent if changed_since(self.delivered[day], asked[day])]
        tried = (*fresh, *waiting, *outdated)
        besides = version() if tried else ""
        inputs = {day: _digest(asked[day], besides) for day in tried}
        chosen = [day for day in inputs if inputs[day] not in self._refusals(day)]
        return self._runs(sorted(chosen, reverse=True)[:most], inputs)

    def _runs(self, days: Sequence[date], inputs: Mapping[date, str]) -> list[Wanted]:
        """Days in a row at the same attempt together, the newest day's run first."""
        numbered = {day: 1 + sum(each.inputs.get(day) == inputs[day] for each in self.attempts) for day in days}

        def together(place: tuple[int, date]) -> tuple[date, int]:
            number, day = place
            return day + number * DAY, numbered[day]

        runs = []
        for (_, attempt), group in groupby(enumerate(days), key=together):
            row = tuple(reversed([day for _, day in group]))
            runs.append(Wanted(row, attempt, {day: inputs[day] for day in row}))
        return runs

    def _refusals(self, day: date) -> set[str]:
        """What was refused of a day, by its input."""
        return {each.inputs.get(day, "") for each in self.attempts if day in each.refused}

    def _may_try(self, day: date) -> bool:
        """Whether the pause after the newest crash is over; a clock that was set back does not prolong it."""
        crashed = [
            each.ended
            for each in self.attempts
            if each.ended is not None and day in each.days and day not in each.refused and not each.succeeded
        ]
        if not crashed:
            return True
        since = self.now - crashed[0]
        return since < timedelta() or since >= self.pause * min(2 ** min(len(crashed) - 1, 10), LONGEST)


def _digest(sources: Mapping[str, str], version: str) -> str:
    told = "".join(f"{table}={digest}\n" for table, digest in sorted(sources.items()))
    return hashlib.sha256(f"{told}{version}".encode()).hexdigest()[:12]
