"""The checks of a delivery, made before anything of it is visible: as many rows as there should be, and no movement.

What belongs here: what is expected of a delivery beyond its contract, what was found, and what stops it. What does not:
the contract (`contract`), and how far something moved (`drift`).

Another number of rows than the population's stops a delivery, and so does a score whose distribution has become another
one: consumers then keep what they have until a person has looked. Features that moved stop nothing, for the scores may
be right; a person is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.errors import DeliveryRefusedError
from ds_pipelines.scoring import drift
from ds_pipelines.scoring.receipt import Check

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from ds_pipelines.evidence.releases import Drift, Profile
    from ds_pipelines.scoring.job import ScoringJob

SCORE = "score"
"""The served column that holds a model's score."""
STOPPED_PSI, STOPPED_KS = 1.0, 0.5
"""A score that moved so far is refused: a normal distribution that shifted by a whole standard deviation or more."""
LEAST_ROWS = 200
"""With fewer rows chance alone may look like a movement, so none is told."""
CHECKS = {
    "contract": "Every row holds to the contract: columns, types, bounds, nothing null, NaN or infinite, no key twice.",
    "population": "As many rows as the source has entities to deliver for.",
    "score_distribution": "The scores are distributed as where the model was judged; one far away is not delivered.",
    "input_drift": "The features are distributed as where the model was judged; a person is told, nothing is stopped.",
}
"""Every check and what it asks for."""


@dataclass(frozen=True)
class Expected:
    """What is known of a day's rows beside the contract."""

    population: int | None = None
    """How many there are to be, counted at the source; None: nobody knows."""
    profile: Profile | None = None
    """How features and score were distributed where the model was judged; None: it has none."""
    features: drift.Sample | None = None
    """A sample of the features from which the rows were made, complete when the last row was drawn."""


class Watch:
    """What is seen of a delivery's rows while they go by."""

    def __init__(self, job: ScoringJob, expected: Expected) -> None:
        self._job, self._expected = job, expected
        self._rows = 0
        self._scores = drift.Sample()

    def see(self, batch: pl.DataFrame) -> None:
        """Takes note of the next batch, which holds to the contract."""
        self._rows += batch.height
        if SCORE in batch.columns and self._expected.profile is not None:
            self._scores.see(batch.select(SCORE))

    def require(self, day: date) -> list[Check]:
        """The checks of the rows that went by.

        Raises:
            DeliveryRefusedError: one of them stops the delivery; it holds all of them.
        """
        contract = Check(name="contract", passed=True, words=f"{self._rows:,} rows hold to the contract")
        found = [contract, *self._population(), *self._score(), *self._features()]
        if stopped := [each for each in found if _stops(each)]:
            raise DeliveryRefusedError(self._job.name, day, [(each.name, each.words) for each in stopped], found)
        return found

    def _population(self) -> list[Check]:
        wanted = self._expected.population
        if wanted is None:
            return []
        words = f"{self._rows:,} rows for a population of {wanted:,}"
        figures = {"rows": self._rows, "population": wanted}
        return [Check(name="population", passed=self._rows == wanted, words=words, figures=figures)]

    def _score(self) -> list[Check]:
        known = self._expected.profile
        if known is None or known.score is None:
            return []
        scores = self._scores.rows
        return _moved("score_distribution", drift.compare(known, scores, score=SCORE) if enough(scores) else [])

    def _features(self) -> list[Check]:
        known, sample = self._expected.profile, self._expected.features
        if known is None or sample is None:
            return []
        return _moved("input_drift", drift.compare(known, sample.rows) if enough(sample.rows) else [])


def enough(rows: pl.DataFrame) -> bool:
    """Whether there are so many that chance alone does not look like a movement."""
    return rows.height >= LEAST_ROWS


def _stops(check: Check) -> bool:
    if check.name == "score_distribution":
        return check.figures.get("psi", 0) >= STOPPED_PSI or check.figures.get("ks", 0) >= STOPPED_KS
    return check.name != "input_drift" and not check.passed


def _moved(name: str, found: list[Drift]) -> list[Check]:
    if not found:
        return [Check(name=name, passed=True, words=f"too few rows to tell a movement, which {LEAST_ROWS} would")]
    moved = [each.column for each in found if each.moved]
    farthest = f"the farthest is {found[0].column} (PSI {found[0].psi:.2f}, KS {found[0].ks:.2f})"
    words = (
        f"{len(moved)} of {len(found)} moved: {', '.join(moved)}; {farthest}" if moved else f"none moved; {farthest}"
    )
    figures = {"psi": found[0].psi, "ks": max(each.ks for each in found), "moved": len(moved), "columns": len(found)}
    return [Check(name=name, passed=not moved, words=words, figures=figures)]
