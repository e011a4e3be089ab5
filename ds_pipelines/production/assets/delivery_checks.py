"""What was checked of a delivery before anything of it was visible, as asset checks.

What belongs here: which checks a job has, and telling what was found of all days of a run. What does not: checking
(`scoring.checks`).
"""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from ds_pipelines.errors import ContractBrokenError, DeliveryRefusedError, DsPipelinesError
from ds_pipelines.scoring.job import ScoringJob

if TYPE_CHECKING:
    from ds_pipelines.scoring.receipt import Check

CHECKS = {
    "contract": "Every row holds to the contract: columns, types, bounds, nothing null, NaN or infinite, no key twice.",
    "population": "As many rows as the job's own count of its source; another number is not delivered.",
    "score_distribution": "The scores are distributed as where the model was judged; far away, they are not delivered.",
    "input_drift": "The features are distributed as where the model was judged; if not, a person is told.",
}
"""By the names of `scoring.checks`."""
TOLD = frozenset({"score_distribution", "input_drift"})
"""What may fail on a day that is delivered."""


def specs(job: ScoringJob) -> list[dg.AssetCheckSpec]:
    """The checks of a job's deliveries."""
    return [dg.AssetCheckSpec(name, asset=["serving", job.table], description=CHECKS[name]) for name in _names(job)]


def _names(job: ScoringJob) -> list[str]:
    absent = (set() if job.population else {"population"}) | (TOLD if job.entity is None else set())
    return [name for name in CHECKS if name not in absent]


class Checked:
    """What was checked of the days of a run."""

    def __init__(self, job: ScoringJob) -> None:
        self._job = job
        self._days: dict[date, tuple[Check, ...]] = {}

    def add(self, day: date, checks: "tuple[Check, ...]") -> None:
        """Takes what was found of a day that is delivered."""
        self._days[day] = checks

    def add_refusal(self, day: date, error: DsPipelinesError) -> None:
        """Takes what was found of a day that was stopped by one of the checks."""
        from ds_pipelines.scoring.receipt import Check

        if isinstance(error, DeliveryRefusedError):
            self._days[day] = error.checks
        if isinstance(error, ContractBrokenError):
            self._days[day] = (Check(name="contract", passed=False, words=str(error)),)

    def results(self, *, complete: bool) -> Iterator[dg.AssetCheckResult]:
        """A result a check, over all days that came to it.

        Args:
            complete: Whether the run did what it had to, so that each check is told, be it that no day came to it.
        """
        for name in _names(self._job):
            found = {day: check for day, checks in sorted(self._days.items()) for check in checks if check.name == name}
            failed = [f"{day}: {check.words}." for day, check in found.items() if not check.passed]
            if found or complete:
                newest = found[max(found)] if found else None
                yield dg.AssetCheckResult(
                    check_name=name,
                    passed=not failed,
                    severity=dg.AssetCheckSeverity.WARN if name in TOLD else dg.AssetCheckSeverity.ERROR,
                    description=" ".join(failed) or (newest.words if newest else "No day of this run came to it."),
                    metadata=dict(newest.figures) if newest else {},
                )
