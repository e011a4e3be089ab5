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

    from ds_pipelines.evidence.releases import Profile
    from ds_pipelines.scoring.job import ScoringJob

SCORE = "score"
"""The served column that holds a model's score."""
STOPPED_PSI, STOPPED_KS = 1.0, 0.5
"""A score that moved so far is refused: a normal distribution that shifted by a whole standard deviation or more."""
LEAST_ROWS = 200
"""With fewer rows chance alone may look like a movement, so none is told."""

UNKNOWN = "the release keeps no profile to compare with"


@dataclass(frozen=True)
class Expected:
    """What is known of a day's rows beside the contract."""

    population: int | None = None
    """How many there are to be, counted at the source; None: nobody knows."""
    profile: Profile | None = None
    """How features and score were distributed where the model was judged; None: it has none."""
    features: pl.DataFrame | None = None
    """The features from which the rows were made, or a sample of them; None: there are none."""


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
        if self._job.entity is None:
            return []
        known, scores = self._expected.profile, self._scores.rows
        if known is None or known.score is None:
            return [Check(name="score_distribution", passed=True, words=UNKNOWN)]
        return [_judged("score_distribution", known, scores, score=SCORE)]

    def _features(self) -> list[Check]:
        if self._job.entity is None:
            return []
        known, features = self._expected.profile, self._expected.features
        if known is None or features is None:
            return [Check(name="input_drift", passed=True, words=UNKNOWN)]
        return [_judged("input_drift", known, features)]


def _stops(check: Check) -> bool:
    if check.name == "score_distribution":
        return check.figures.get("psi", 0) >= STOPPED_PSI or check.figures.get("ks", 0) >= STOPPED_KS
    return check.name != "input_drift" and not check.passed


def _judged(name: str, known: Profile, rows: pl.DataFrame, score: str | None = None) -> Check:
    if rows.height < LEAST_ROWS:
        return Check(name=name, passed=True, words=f"{rows.height} rows, too few to tell a movement from chance")
    found = drift.compare(known, rows, score=score)
    moved = [each.column for each in found if each.moved]
    if not found:
        return Check(name=name, passed=False, words="none of the profile's columns is there to be compared")
    farthest = f"the farthest is {found[0].column} (PSI {found[0].psi:.2f}, KS {found[0].ks:.2f})"
    words = (
        f"{len(moved)} of {len(found)} moved: {', '.join(moved)}; {farthest}" if moved else f"none moved; {farthest}"
    )
    figures = {"psi": found[0].psi, "ks": max(each.ks for each in found), "moved": len(moved), "columns": len(found)}
    return Check(name=name, passed=not moved, words=words, figures=figures)
