"""What was measured, the rule that makes it an answer, and the words in which it is said.

What belongs here: answer, words and limits, from figures alone. What does not: computing figures (judge.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ds_pipelines.evidence import Answer, DummyBaseline, FamilyResult, SimpleBaseline, Task

TOO_GOOD = 0.98
"""An AUC from which a leak is the likelier explanation."""
RANKS = {
    "classification": "ranks a positive row above a negative one in",
    "multiclass": "ranks a row of a class above one of another in",
    "regression": "ranks the higher of two rows first in",
    "ranking": "ranks the more relevant of two rows of a query first in",
}
NAMES = {
    "classification": "ROC AUC", "multiclass": "mean one-against-rest AUC", "regression": "rank concordance",
    "ranking": "pairwise accuracy",
}  # fmt: skip
WEIGHTED = {
    "classification": "", "multiclass": ", classes counting alike", "regression": ", far-apart ones counting more",
    "ranking": ", queries counting alike",
}  # fmt: skip
UNRELEASABLE = (
    "A release takes a model of one score: a model of several classes cannot be released. For a release, ask about the "
    "one class that matters against the rest."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, and the rule that answers from it."""

    task: Task
    p: float
    families: tuple[FamilyResult, ...]
    baseline: DummyBaseline
    baselines: tuple[SimpleBaseline, ...]
    level: float
    confidence: float
    smallest: float
    material: float
    permutations: int
    rows: int
    look: int
    checked: bool
    """Whether leaks were looked for."""

    @property
    def best(self) -> FamilyResult:
        """The family that ranks best."""
        return max(self.families, key=lambda family: family.auc)

    @property
    def highest(self) -> FamilyResult:
        """The family whose interval reaches highest: what is not excluded."""
        return max(self.families, key=lambda family: family.high)

    @property
    def to_exclude(self) -> float:
        """The AUC that *no signal* must exclude."""
        return 0.5 + (self.smallest if self.p <= self.level else self.material)

    @property
    def answer(self) -> Answer:
        """Signal, no signal or undecided."""
        unresolved = 1 - self.confidence < 0.999 * self.level  # permutations cannot show what so many looks ask for
        if self.p <= self.level and self.best.auc >= 0.5 + self.smallest and (self.best.low > 0.5 or not unresolved):
            return "signal"
        return "no signal" if self.highest.high < self.to_exclude else "undecided"

    @property
    def more_rows(self) -> int | None:
        """About how many more rows decide, if the AUC stays: an interval's half width shrinks with the root of n."""
        if self.answer != "undecided":
            return None
        ratios = []
        if self.best.auc >= 0.5 + self.smallest:
            ratios.append((self.best.auc - self.best.low) / (self.best.auc - 0.5))
        if self.highest.auc < self.to_exclude:
            ratios.append((self.highest.high - self.highest.auc) / (self.to_exclude - self.highest.auc))
        more = max(self.rows * (min(ratios) ** 2 - 1), self.rows / 10)  # a near miss needs some rows, too
        return int(float(f"{more:.1e}"))

    def words(self, question: str) -> str:
        """Three sentences that a colleague understands."""
        best, bound, name = self.best, f"{self.highest.high:.3f}", NAMES[self.task]
        short = "an AUC" if self.task in ("classification", "multiclass") else f"a {name}"
        of = "The model" if len(self.families) == 1 else f"The best of {len(self.families)} model families"
        as_good = f"{round(self.p * (1 + self.permutations)) - 1:,} of {self.permutations:,}"
        match self.answer:
            case "signal":
                lead, end = "there is a signal", self._worth()
            case "no signal" if self.p <= self.level:
                lead = "no signal of a size that counts"
                enough = f"{self.to_exclude:g} would count"
                end = f"There is an effect, but {short} above {bound} is excluded, and {enough}."
            case "no signal":
                lead = "no signal"
                what = f"{short[0].upper()}{short[1:]} above {bound}"
                end = f"{what} is excluded; a smaller effect is not, and would take more rows to find."
            case _:
                lead = f"undecided: about {self.more_rows:,} rows more"
                end = (
                    f"Too little to count and {short} of up to {bound} both remain possible; about "
                    f"{self.more_rows:,} more held-out rows would decide."
                )
        return (
            f"“{question}”: {lead}. {of}, {best.name}, {RANKS[self.task]} "
            f"{100 * best.auc:.1f} % of pairs{WEIGHTED[self.task]}, where chance reaches 50 % ({name} {best.auc:.3f}, "
            f"{100 * self.confidence:.3g} % interval {best.low:.3f} to {best.high:.3f}), and {as_good} random "
            f"permutations of the {self.rows:,} held-out labels did as well (p = {self.p:.2g}, level "
            f"{self.level:.2g}). {end}"
        )

    def _worth(self) -> str:
        best = self.best
        if self.task == "classification":
            return f"Its Brier score is {best.brier:.3f}, that of the training prevalence {self.baseline.brier:.3f}."
        if self.task == "multiclass":
            return (
                f"It names the right class in {100 * (best.accuracy or 0):.1f} % of rows, always the commonest would "
                f"in {100 * (self.baseline.accuracy or 0):.1f} %."
            )
        if self.task == "regression":
            return f"Its rank correlation is {best.rank_correlation:.3f}; R² is {best.skill:.3f} over blocks' means."
        return f"Its NDCG is {best.ndcg:.3f}."

    def limits(self, uncompared: int) -> tuple[str, ...]:
        """What a reader should know before relying on the verdict."""
        best = self.best
        limits = ["A permutation test cannot see a leak: a feature that knows the future passes it."]
        if self.task == "multiclass":
            limits.append(UNRELEASABLE)
        if not self.checked:
            limits.append("No leak was looked for: the verdict was not given train=… and test=….")
        if best.auc >= TOO_GOOD:
            limits.append(f"An AUC of {best.auc:.3f} is rarely earned: look for a leak before believing it.")
        if abs(self.p - self.level) <= 2.58 * math.sqrt(self.level * (1 - self.level) / self.permutations):
            limits.append("p is so near the level that another seed may fall on its other side: use more permutations.")
        if self.answer == "signal" and best.skill is not None and best.skill <= 0:
            limits.append("It ranks well, but its values are worse than the baseline's: calibrate before use.")
        limits += [
            f"{simple.name} does as well (AUC {simple.auc:.3f}): the best family earns nothing over it."
            for simple in self.baselines
            if self.answer == "signal" and simple.auc >= best.auc
        ]
        limits += [
            f"{family.name} ranks reliably the wrong way round: look for a flipped label, or a change since training."
            for family in self.families
            if family.high < 0.5
        ]
        if self.look > 1:
            limits.append(
                f"This is look {self.look} at these held-out rows, so it was judged at 1/{self.look**2} of the level: "
                "who looks often enough finds something. Fresh rows would be looked at for the first time."
            )
        if uncompared:
            limits.append(f"{uncompared:,} rows lie in blocks of one class only and take part in no comparison.")
        return tuple(limits)
