"""What methods take for granted: measured where it can be, and asked of a person where it cannot.

What belongs here: the assumptions by family of methods, and measuring them on the frames a verdict was given. What does
not: asking and signing (review.py). It is about logic, not about code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ds_pipelines.errors import listing
from ds_pipelines.evidence import Assumption
from ds_pipelines.lab.adversary import NAME as ALIKE
from ds_pipelines.lab.adversary import matrix_of
from ds_pipelines.lab.concordance import plain_auc
from ds_pipelines.lab.simple import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from ds_pipelines.evidence import Verdict
    from ds_pipelines.lab.split import Split

    Floats = NDArray[np.float64]

MOST_ROWS = 20_000
INFLATED, OUTSIDE, BENT, UNBALANCED, OFF, PER_FEATURE, UNEVEN, SERIAL, TOGETHER = (
    10,
    0.05,
    0.02,
    0.05,
    0.05,
    10,
    3,
    0.1,
    0.7,
)
"""Variance inflation; share of rows outside the training range; AUC gained by bending; share of the rarer class;
distance from calibration; rows (of the rarer class) a feature; ratio of spreads; serial and mutual correlation."""

SENTENCES = {
    "linearity": "The target follows each feature along a straight line, on the scale of the model.",
    "multicollinearity": "No feature is nearly made of the others: else coefficients mean little and may flip.",
    "rows_per_feature": "There are enough rows (of the rarer class) for each feature.",
    "even_spread": "Errors spread alike for small and large predictions.",
    "mutual_independence": "Given the class, features say nothing of each other.",
    "like_scales": "Distances mean something: features are on like scales.",
    "extrapolation": "The model is asked only about rows within the range it learnt from.",
    "stationarity": "Rows to come are like those learnt from.",
    "class_balance": "The rarer class is not so rare that accuracy and probabilities mislead.",
    "independence": "Held-out rows are independent of each other.",
    "calibration": "A value said is the value that comes true, on average.",
    "known_in_time": "Every feature is known at the moment for which is predicted, in production as in training.",
    "target_meaning": "The target is what the question asks, and was recorded alike for all rows.",
    "population": "The rows are those that the model will be used for; nobody was left out who matters.",
    "selection": "Features, families and their settings were chosen without looking at the held-out rows.",
    "feedback": "What is done with the predictions will not change the target or the features unnoticed.",
}
"""What must hold, by key."""
OF_EVERY_METHOD = (
    "extrapolation", "stationarity", "class_balance", "independence", "calibration",
    "known_in_time", "target_meaning", "population", "selection", "feedback",
)  # fmt: skip
OF_METHODS = {
    "linear model": ("linearity", "multicollinearity", "rows_per_feature", "even_spread"),
    "trees": ("rows_per_feature",),
    "neighbours": ("like_scales",),
    "kernel machine": ("like_scales",),
    "network": ("like_scales", "rows_per_feature"),
    "naive Bayes": ("mutual_independence",),
    "unknown method": ("linearity", "multicollinearity", "rows_per_feature", "like_scales"),
}
"""What a method needs beyond what all do."""
ONLY_A_PERSON = "No figure can tell; a person must say."
UNMEASURED = "Not measured: the verdict was not given what it takes (train=…, test=…, target=…)."


def assumptions_of(method: str, facts: Iterable[Assumption]) -> tuple[Assumption, ...]:
    """The assumptions of a method, with what was measured of each; the others are open.

    Args:
        method: One of the families of methods.
        facts: What `measured` found.
    """
    known = {fact.key: fact for fact in facts}
    keys = (*OF_METHODS.get(method, OF_METHODS["unknown method"]), *OF_EVERY_METHOD)
    return tuple(known.get(key) or _open(key) for key in keys if key not in known or known[key].evidence)


def measured(verdict: Verdict, split: Split | None) -> list[Assumption]:
    """Everything that can be measured, whatever the method; one without evidence does not arise for this task."""
    facts = [*_of_the_verdict(verdict)]
    if split is None or split.train_target is None:
        return facts
    sample = _Sample.of(split, verdict)
    for measure in MEASURES:
        fact = measure(sample)
        if fact is not None:
            facts.append(fact)
    return facts


@dataclass(frozen=True)
class _Sample:
    """At most so many rows of each side, as numbers."""

    names: list[str]
    train: Floats
    test: Floats
    target: Floats
    test_target: Floats
    verdict: Verdict
    split: Split

    @classmethod
    def of(cls, split: Split, verdict: Verdict) -> _Sample:
        rng = np.random.default_rng(verdict.seed)
        left, right = (np.sort(rng.permutation(side.height)[:MOST_ROWS]) for side in (split.train, split.test))
        known = np.empty(0) if split.train_target is None else split.train_target
        names, both = matrix_of(pl.concat([split.train[left], split.test[right]], how="vertical_relaxed"))
        return cls(names, both[: len(left)], both[len(left) :], known[left], split.test_target[right], verdict, split)

    @property
    def targets(self) -> list[Floats]:
        """The training target; of more than two classes, each against the rest."""
        places = range(len(self.split.classes))
        return [(self.target == place).astype(np.float64) for place in places] or [self.target]

    @property
    def numbers(self) -> tuple[list[str], Floats]:
        """The training features that vary and are numbers, missing values at their mean, standardised."""
        varied = [np.nanstd(column) > 0 for column in self.train.T]
        keep = np.array([name in self.split.numeric for name in self.names]) & np.array(varied)
        matrix = self.train[:, keep]
        scaled = np.nan_to_num((matrix - np.nanmean(matrix, axis=0)) / np.nanstd(matrix, axis=0))
        return [self.names[place] for place in np.flatnonzero(keep)], scaled


def _open(key: str) -> Assumption:
    measurable = key not in {"known_in_time", "target_meaning", "population", "selection", "feedback"}
    return Assumption(
        key=key, sentence=SENTENCES[key], standing="open", evidence=UNMEASURED if measurable else ONLY_A_PERSON
    )


def _fact(key: str, holds: bool, evidence: str) -> Assumption:
    return Assumption(key=key, sentence=SENTENCES[key], standing="holds" if holds else "violated", evidence=evidence)


def _of_the_verdict(verdict: Verdict) -> list[Assumption]:
    facts = []
    if verdict.task == "classification" and verdict.rows:
        share = min(verdict.positives, verdict.rows - verdict.positives) / verdict.rows
        words = f"{100 * share:.1f} % of the held-out rows are of the rarer class."
        facts.append(_fact("class_balance", share >= UNBALANCED, words))
    elif verdict.by_class:
        share = min(each.rows for each in verdict.by_class) / verdict.rows
        words = f"{100 * share:.1f} % of the held-out rows are of the rarest of {len(verdict.classes)} classes."
        facts.append(_fact("class_balance", share >= 2 * UNBALANCED / len(verdict.classes), words))
    elif verdict.task != "multiclass":
        facts.append(_fact("class_balance", True, ""))
    facts += [
        _fact("stationarity", check.standing == "holds", check.words)
        for check in verdict.checks
        if check.name == ALIKE and check.standing != "unknown"
    ]
    if verdict.calibration:
        total = sum(each.rows for each in verdict.calibration)
        off = sum(each.rows * abs(each.said - each.observed) for each in verdict.calibration) / total
        if verdict.task in ("classification", "multiclass"):
            words = f"Over tenths of its predictions, what it said and what came true differ by {off:.3f} on average."
            facts.append(_fact("calibration", off <= OFF, words))
        else:
            spread = float(np.std([each.observed for each in verdict.calibration])) or 1.0
            words = f"Over tenths, said and true differ by {off / spread:.2f} of the spread of the tenths."
            facts.append(_fact("calibration", off / spread <= 2 * OFF, words))
    return facts


def _multicollinearity(sample: _Sample) -> Assumption | None:
    names, matrix = sample.numbers
    if len(names) < 2:
        return None
    correlation = np.corrcoef(matrix, rowvar=False)
    inflation = np.diag(np.linalg.pinv(correlation, rcond=1e-10))
    # Of features that are exactly made of others the inverse does not exist: what the others explain says it.
    exact = np.linalg.matrix_rank(correlation, tol=1e-8) < len(names)
    worst = [name for name, value in zip(names, inflation, strict=True) if value >= INFLATED]
    words = f"The largest variance inflation is {inflation.max():.1f} ({names[int(inflation.argmax())]})."
    if exact:
        words = "Some features are exactly made of others."
    elif worst:
        words += f" At {INFLATED} or more: {listing(worst)}."
    return _fact("multicollinearity", not worst and not exact, words)


def _linearity(sample: _Sample) -> Assumption | None:
    half = len(sample.target) // 2
    names, matrix = sample.numbers
    if half < 200 or not names or sample.verdict.task == "ranking":
        return None
    straight = pl.DataFrame(matrix)
    bent = pl.DataFrame(np.column_stack([matrix, np.square(matrix.clip(-3, 3)), np.abs(matrix)]))
    rng = np.random.default_rng(sample.verdict.seed)
    order = rng.permutation(len(sample.target))
    left, right = order[:half], order[half:]
    task = "classification" if sample.verdict.task == "multiclass" else sample.verdict.task
    gained = [
        float(np.mean([
            plain_auc(target[right], line(each[left], target[left], each[right], task)) for target in sample.targets
        ]))
        for each in (straight, bent)
    ]  # fmt: skip
    words = f"Within training, a straight line reaches an AUC of {gained[0]:.3f}, with bends allowed {gained[1]:.3f}."
    return _fact("linearity", gained[1] - gained[0] < BENT, words)


def _rows_per_feature(sample: _Sample) -> Assumption | None:
    rows = sample.split.train.height
    classified = sample.verdict.task in ("classification", "multiclass")
    if classified:
        rows = int(rows * min(min(target.mean(), 1 - target.mean()) for target in sample.targets))
    each = rows / len(sample.names)
    words = f"{each:,.0f} training rows{' of the rarest class' * classified} a feature."
    return _fact("rows_per_feature", each >= PER_FEATURE, words)


def _extrapolation(sample: _Sample) -> Assumption | None:
    keep = [name in sample.split.numeric for name in sample.names]
    train, test = sample.train[:, keep], sample.test[:, keep]
    varied = ~np.isnan(train).all(axis=0)
    if not varied.any():
        return None
    low, high = np.nanmin(train[:, varied], axis=0), np.nanmax(train[:, varied], axis=0)
    outside = ((test[:, varied] < low) | (test[:, varied] > high)).any(axis=1).mean()
    words = f"{100 * outside:.1f} % of the held-out rows lie outside what training saw, in some feature."
    return _fact("extrapolation", outside <= OUTSIDE, words)


def _even_spread(sample: _Sample) -> Assumption | None:
    if sample.verdict.task != "regression":
        return _fact("even_spread", True, "")
    frame, other = (pl.DataFrame(side) for side in (sample.train, sample.test))
    said = line(frame, sample.target, other, "regression")
    errors = np.abs(sample.test_target - said)
    parts = [errors[rows].mean() for rows in np.array_split(np.argsort(said), 10) if len(rows) >= 10]
    if len(parts) < 2 or min(parts) == 0:
        return None
    ratio = max(parts) / min(parts)
    return _fact(
        "even_spread", ratio <= UNEVEN, f"Of tenths of the predictions, errors differ by a factor of {ratio:.1f}."
    )


def _independence(sample: _Sample) -> Assumption | None:
    """Of the targets in the order of time, where there is one; of entities, where they are named."""
    split = sample.split
    if split.test_time is not None:
        order = np.argsort(split.test_time.to_numpy(), kind="stable")
        serial = max((_serial(side.test_target[order]) for side in split.each_class()), key=abs)
        words = f"In the order of time, neighbouring held-out targets correlate by {serial:.2f}."
        if abs(serial) > SERIAL:
            return _fact("independence", False, f"{words} Blocks of days (blocks=…) would permute within them only.")
        if split.test_groups is not None:
            return _fact("independence", True, f"{words} One row of each entity was judged.")
    if split.test_groups is None:
        return None
    return _fact("independence", True, "One row of each entity was judged; rows were not ordered in time.")


def _serial(ordered: Floats) -> float:
    return float(np.corrcoef(ordered[1:], ordered[:-1])[0, 1]) if ordered.std() else 0.0


def _like_scales(sample: _Sample) -> Assumption | None:
    keep = [name in sample.split.numeric for name in sample.names]
    spreads = np.nanstd(sample.train[:, keep], axis=0)
    spreads = spreads[spreads > 0]
    if len(spreads) < 2:
        return None
    ratio = float(spreads.max() / spreads.min())
    words = f"The features' spreads differ by a factor of {ratio:,.0f}, before any scaling within the model."
    return _fact("like_scales", ratio <= INFLATED, words)


def _mutual_independence(sample: _Sample) -> Assumption | None:
    names, matrix = sample.numbers
    if len(names) < 2 or sample.verdict.task not in ("classification", "multiclass"):
        return None
    most = 0.0
    for label in np.unique(sample.target):
        part = matrix[sample.target == label]
        correlation = np.nan_to_num(np.corrcoef(part, rowvar=False))
        most = max(most, float(np.abs(correlation - np.diag(np.diag(correlation))).max()))
    words = f"Within a class, two features correlate by up to {most:.2f}."
    return _fact("mutual_independence", most <= TOGETHER, words)


MEASURES: Sequence[Callable[[_Sample], Assumption | None]] = (
    _linearity, _multicollinearity, _rows_per_feature, _even_spread, _mutual_independence, _like_scales,
    _extrapolation, _independence,
)  # fmt: skip
