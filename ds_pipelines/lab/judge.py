"""Is there a signal at all? The verdict on a binary target, from held-out rows that are later than the training rows.

What belongs here: the order of judging (validity, dummy baseline, one max-statistic permutation test, effect size with
interval) and the rule that makes them an answer. What does not: fitting, splitting, plotting or storing.

The statistic is the ROC AUC within blocks: of all pairs of a positive and a negative row of the same block (the as-of
day, say), the share in which the positive one has the higher prediction, ties counting half. Days that differ only in
prevalence therefore make no signal, and the baseline is 0.5 whatever the blocks. With one block it is the usual AUC.

The test permutes the held-out labels within blocks, without refitting, and compares the best family's AUC with the best
of each permutation, so that trying several families earns nothing. It needs independent rows. An entity's labels on
several days resemble each other: where entities repeat, one row of each, drawn at random, stands for it throughout.

The answer, from intervals (DeLong's, on the logit scale) that hold for all families jointly at confidence 1 − level:

- *invalid*: training reaches into the test period, or a class has too few rows to compare.
- *signal*: p ≤ level, the best family's interval lies above 0.5, and its effect (AUC − 0.5) is ≥ `smallest_effect`.
- *no signal*: p > level, and every family's interval lies below 0.5 + `material_effect`: not just that nothing was
  found, but that an effect of that size is excluded. Were it real, this answer would come less often than the level.
  (Or p ≤ level, and every interval lies below 0.5 + `smallest_effect`: real, but shown to be too small to count.)
- *undecided*: anything else, with about how many more rows would decide.

`material_effect` is 0.10 (six of ten pairs ranked right) so that an answer is within reach. With three families, a
null target is answered *no signal* in about 97 of 100 cases from 1,500 held-out rows if a fifth of them or more are
positive, from 2,500 at a tenth, from 5,000 at a twentieth. Where rows are many, effects far below 0.10 are found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_pipelines.evidence import Answer, DummyBaseline, FamilyResult, Verdict
from ds_pipelines.lab.auc import auc_and_error, interval, permutation_test
from ds_pipelines.lab.holdout import codes, read, require

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from numpy.typing import ArrayLike, NDArray

    from ds_pipelines.lab.holdout import Holdout

    Floats = NDArray[np.float64]

FEWEST_OF_A_CLASS = 50
"""Below this, the interval's approximation does not hold and no test would find an ordinary effect."""
TOO_GOOD = 0.98
"""An AUC from which a leak is the likelier explanation."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and the null distribution that its figure shows.

    `null` is the best family's AUC in each permutation, shape (permutations,); empty when the verdict is invalid.
    """

    verdict: Verdict
    null: Floats


def judge(
    question: str,
    y_true: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    *,
    train_prevalence: float,
    blocks: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.01,
    smallest_effect: float = 0.02,
    material_effect: float = 0.10,
    permutations: int = 2_000,
    seed: int = 0,
    train_ends: date | None = None,
    test_begins: date | None = None,
) -> Judgement:
    """Judge whether any of the model families predicts the target; the module's text states the rule.

    Args:
        question: What was asked, in words that a colleague understands.
        y_true: Held-out labels, 0 and 1 or booleans, shape (n,).
        predictions: For each family, chosen before anyone saw the labels, the probability of the positive class,
            shape (n,), in the order of `y_true`.
        train_prevalence: Share of positives among the training rows; the dummy predicts it for every row.
        blocks: Within which rows are exchangeable, as the as-of day, shape (n,). None: all are.
        groups: The entity of each row, as the customer, shape (n,). None: every row is taken as one of its own.
        level: Largest p that counts; the intervals' confidence is 1 − level.
        smallest_effect: AUC above 0.5 that a signal must at least show.
        material_effect: AUC above 0.5 that must be excluded before *no signal* is said.
        permutations: How many; the smallest p they can show is 1 / (1 + permutations).
        seed: Decides the permutations, and which row stands for a repeating entity.
        train_ends: The last day that training looked at, the horizon of its labels included.
        test_begins: The first as-of day of the held-out rows.

    Raises:
        UnfitForVerdictError: An argument has the wrong shape, missing values, or values out of range.
    """
    require(0 < level < 0.5, "level", "a number between 0 and 0.5")
    require(
        0 < smallest_effect <= material_effect < 0.5,
        "smallest_effect, material_effect",
        "0 < smallest_effect ≤ material_effect < 0.5",
    )
    require(1 / (1 + permutations) <= level, "permutations", f"at least {math.ceil(1 / level) - 1} to reach the level")
    require(0 < train_prevalence < 1, "train_prevalence", "a share between 0 and 1, both excluded")
    require((train_ends is None) == (test_begins is None), "train_ends, test_begins", "both or neither")
    given = read(y_true, predictions, blocks)
    drawing, permuting = (np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(2))
    judged = given if groups is None else given.one_of_each(codes(groups, "groups", len(given.labels)), drawing)
    compared = judged.comparable()

    declared: dict[str, Any] = {
        "question": question,
        "statistic": "max ROC AUC" if blocks is None else "max ROC AUC within blocks",
        "level": level,
        "permutations": permutations,
        "resolution": 1 / (1 + permutations),
        "confidence": 1 - level,
        "smallest_effect": smallest_effect,
        "material_effect": material_effect,
        "seed": seed,
        "rows": len(judged.labels),
        "rows_given": len(given.labels),
        "positives": judged.positives,
        "blocks": len(np.unique(judged.blocks)),
        "assumptions": _assumptions(len(given.labels), len(judged.labels), groups is not None, train_ends, test_begins),
    }
    if reasons := _invalid(compared, train_ends, test_begins):
        words = f"“{question}”: no valid verdict. {' '.join(reasons)}"
        return Judgement(Verdict(**declared, answer="invalid", words=words), np.empty(0))

    p, null = permutation_test(compared, permutations, permuting)
    baseline = _baseline(judged.labels, train_prevalence)
    families = tuple(
        _result(name, i, judged=judged, compared=compared, baseline=baseline, confidence=1 - level / len(predictions))
        for i, name in enumerate(predictions)
    )
    measured = _Measured(
        p=p,
        families=families,
        baseline=baseline,
        level=level,
        smallest=smallest_effect,
        material=material_effect,
        permutations=permutations,
        rows=len(judged.labels),
    )
    found: dict[str, Any] = {
        "answer": measured.answer,
        "words": measured.words(question),
        "p": p,
        "best": measured.best.name,
        "effect": measured.best.auc - 0.5,
        "families": families,
        "baseline": baseline,
        "more_rows": measured.more_rows,
        "limits": measured.limits(uncompared=len(judged.labels) - len(compared.labels)),
    }
    return Judgement(Verdict(**declared, **found), null)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was measured, and the rule that answers from it."""

    p: float
    families: tuple[FamilyResult, ...]
    baseline: DummyBaseline
    level: float
    smallest: float
    material: float
    permutations: int
    rows: int

    @property
    def best(self) -> FamilyResult:
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
        if self.p <= self.level and self.best.low > 0.5 and self.best.auc >= 0.5 + self.smallest:
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
        best, bound = self.best, f"{self.highest.high:.3f}"
        of = "The model" if len(self.families) == 1 else f"The best of {len(self.families)} model families"
        as_good = f"{round(self.p * (1 + self.permutations)) - 1:,} of {self.permutations:,}"
        match self.answer:
            case "signal":
                lead = "there is a signal"
                end = f"Its Brier score is {best.brier:.3f}, that of the training prevalence {self.baseline.brier:.3f}."
            case "no signal" if self.p <= self.level:
                lead = "no signal of a size that counts"
                end = f"There is an effect, but an AUC above {bound} is excluded, and {self.to_exclude:g} would count."
            case "no signal":
                lead = "no signal"
                end = f"An AUC above {bound} is excluded; a smaller effect is not, and would take more rows to find."
            case _:
                lead = "undecided"
                end = (
                    f"Too little to count and an AUC of up to {bound} both remain possible; about {self.more_rows:,} "
                    "more held-out rows would decide."
                )
        return (
            f"“{question}”: {lead}. {of}, {best.name}, ranks a positive row above a negative one in "
            f"{100 * best.auc:.1f} % of pairs, where chance reaches 50 % (ROC AUC {best.auc:.3f}, "
            f"{100 * (1 - self.level):g} % interval {best.low:.3f} to {best.high:.3f}), and {as_good} random "
            f"permutations of the {self.rows:,} held-out labels did as well (p = {self.p:.2g}, level {self.level:g}). "
            f"{end}"
        )

    def limits(self, uncompared: int) -> tuple[str, ...]:
        """What a reader should know before relying on the verdict."""
        limits = ["A permutation test cannot see a leak: a feature that knows the future passes it."]
        if self.best.auc >= TOO_GOOD:
            limits.append(f"An AUC of {self.best.auc:.3f} is rarely earned: look for a leak before believing it.")
        if abs(self.p - self.level) <= 2.58 * math.sqrt(self.level * (1 - self.level) / self.permutations):
            limits.append("p is so near the level that another seed may fall on its other side: use more permutations.")
        if self.answer == "signal" and self.best.skill <= 0:
            limits.append("It ranks well, but its probabilities are worse than the prevalence: calibrate before use.")
        limits += [
            f"{family.name} ranks reliably the wrong way round: look for a flipped label, or a change since training."
            for family in self.families
            if family.high < 0.5
        ]
        if uncompared:
            limits.append(f"{uncompared:,} rows lie in blocks of one class only and take part in no comparison.")
        return tuple(limits)


def _invalid(compared: Holdout, train_ends: date | None, test_begins: date | None) -> list[str]:
    reasons = []
    if train_ends is not None and test_begins is not None and train_ends >= test_begins:
        reasons.append(
            f"Training looks at days up to {train_ends} and the test begins on {test_begins}: "
            "the test must lie wholly after what training saw, the horizon of its labels included."
        )
    if min(compared.positives, compared.negatives) < FEWEST_OF_A_CLASS:
        reasons.append(
            f"Only {compared.positives} positive and {compared.negatives} negative rows have rows of the other class "
            f"in their block to compare with, and a verdict needs {FEWEST_OF_A_CLASS} of each: hold out more rows, or "
            "make the blocks larger."
        )
    return reasons


def _assumptions(
    given: int, judged: int, grouped: bool, train_ends: date | None, test_begins: date | None
) -> tuple[str, ...]:
    if not grouped:
        entities = "Every row is taken as an entity of its own: no groups were given."
    elif judged == given:
        entities = "Every row is an entity of its own (checked)."
    else:
        entities = (
            f"{judged:,} of {given:,} rows were judged, one an entity, drawn at random: its rows resemble each other."
        )
    return (
        f"Training ends on {train_ends}, the test begins on {test_begins} (checked)."
        if train_ends
        else "The held-out rows lie after all that training saw: no dates were given to check it.",
        entities,
        "The families were chosen before anyone looked at the held-out labels.",
        "Within a block, rows are exchangeable if the predictions carry nothing about the labels.",
    )


def _losses(labels: NDArray[np.bool_], probabilities: Floats) -> tuple[float, float]:
    """Log loss and Brier score; a certainty counts as 1e-15 from it, to keep the log loss finite."""
    clipped = np.clip(probabilities, 1e-15, 1 - 1e-15)
    log_loss = -np.where(labels, np.log(clipped), np.log1p(-clipped)).mean()
    return float(log_loss), float(np.square(probabilities - labels).mean())


def _baseline(labels: NDArray[np.bool_], prevalence: float) -> DummyBaseline:
    log_loss, brier = _losses(labels, np.full(len(labels), prevalence))
    return DummyBaseline(prevalence=prevalence, log_loss=log_loss, brier=brier)


def _result(
    name: str, family: int, *, judged: Holdout, compared: Holdout, baseline: DummyBaseline, confidence: float
) -> FamilyResult:
    log_loss, brier = _losses(judged.labels, judged.predictions[:, family])
    auc, error = auc_and_error(compared, family)
    low, high = interval(auc, error, min(compared.positives, compared.negatives), confidence)
    skill = 1 - brier / baseline.brier
    return FamilyResult(name=name, auc=auc, low=low, high=high, log_loss=log_loss, brier=brier, skill=skill)
