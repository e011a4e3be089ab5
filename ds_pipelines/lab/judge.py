"""Is there a signal at all? The verdict on a target, from held-out rows that are later than the training rows.

What belongs here: the order of judging (validity and leakage, baselines, one max-statistic permutation test, effect
size with interval, then what explains it) and the rule of the looks. What does not: the rule that makes figures an
answer, and its words (measured.py); looking for leaks (leaks.py); fitting, splitting, plotting or storing.

The statistic is the AUC within blocks: of all pairs of rows of the same block (the as-of day, the query) whose targets
differ, the share in which the one with the higher target has the higher prediction, ties counting half. Days that
differ only in prevalence therefore make no signal, and the baseline is 0.5 whatever the blocks. For two classes in one
block it is the ROC AUC; concordance.py says what it is for more classes, for numbers and for rankings.

The test permutes the held-out targets within blocks, without refitting, and compares the best family's AUC with the
best of each permutation, so that trying several families earns nothing. It needs independent rows. An entity's labels
on several days resemble each other: where entities repeat, one row of each, drawn at random, stands for it throughout.

The answer, from intervals (DeLong's, on the logit scale) that hold for all families jointly at confidence 1 − level:

- *invalid*: a check of the split failed (leakage), training reaches into the test period, or too few rows compare.
- *signal*: p ≤ level, and the best family's effect (AUC − 0.5) is ≥ `smallest_effect`. The test is exact: of null data
  sets the level's share is called so. (The interval, which is not, decides as well where p cannot: see the looks.)
- *no signal*: p > level, and every family's interval lies below 0.5 + `material_effect`: not just that nothing was
  found, but that an effect of that size is excluded. Were it real, this answer would come less often than the level.
  (Or p ≤ level, and every interval lies below 0.5 + `smallest_effect`: real, but shown to be too small to count.)
- *undecided*: anything else, with about how many more rows would decide.

The k-th look at the same held-out rows is judged at level / k²: over however many looks, chance is called a signal at
most 1.65 times as often as the level says. Permutations are added as far as that goes; beyond, the best family's
interval at that level must lie above 0.5, too.

`material_effect` is 0.10 (six of ten pairs ranked right) so that an answer is within reach. With three families, a
null target is answered *no signal* in about 97 of 100 cases from 1,500 held-out rows if a fifth of them or more are
positive, from 2,500 at a tenth, from 5,000 at a twentieth. Where rows are many, effects far below 0.10 are found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_pipelines.errors import listing
from ds_pipelines.evidence import Verdict
from ds_pipelines.lab.cells import calibration_by_class, calibration_of, each_class, subgroups_of
from ds_pipelines.lab.classes import resolved
from ds_pipelines.lab.concordance import permutation_test
from ds_pipelines.lab.holdout import Holdout, codes, read, require
from ds_pipelines.lab.leaks import examine
from ds_pipelines.lab.measured import Measured
from ds_pipelines.lab.results import baseline_of, dummy_of, result_of
from ds_pipelines.lab.simple import learning_curve, simple_baselines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from numpy.typing import ArrayLike, NDArray

    from ds_pipelines.evidence import Task
    from ds_pipelines.lab.split import Split

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

FEWEST_OF_A_CLASS = 50
"""Below this, the interval's approximation does not hold and no test would find an ordinary effect."""
FEWEST_ROWS, FEWEST_QUERIES = 100, 30
"""The same of numbers, and of the queries of a ranking."""
MOST_PERMUTATIONS, MOST_CELLS = 20_000, 400_000_000
"""That repeated looks may add; and permutations times rows."""
STATISTICS = {
    "classification": "max ROC AUC", "multiclass": "max mean one-against-rest AUC",
    "regression": "max rank concordance", "ranking": "max pairwise accuracy",
}  # fmt: skip

TAKEN_FOR_GRANTED = (
    "The families were chosen before anyone looked at the held-out labels.",
    "Within a block, rows are exchangeable if the predictions carry nothing about the labels.",
)


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
    task: Task = "classification",
    train_prevalence: float | None = None,
    blocks: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.01,
    smallest_effect: float = 0.02,
    material_effect: float = 0.10,
    permutations: int = 2_000,
    seed: int = 0,
    train_ends: date | None = None,
    test_begins: date | None = None,
    split: Split | None = None,
    look: int = 1,
    subgroups: Mapping[str, Any] | None = None,
    estimators: Mapping[str, Any] | None = None,
    classes: Sequence[Any] | None = None,
) -> Judgement:
    """Judge whether any of the model families predicts the target; the module's text states the rule.

    Args:
        question: What was asked, in words that a colleague understands.
        y_true: Held-out targets, shape (n,): of a classification 0 and 1, booleans, or names or numbers of three or
            more classes; else numbers.
        predictions: For each family, chosen before anyone saw the targets, its predictions, shape (n,), in the order of
            `y_true`: the probability of the positive class, the number, or the score to rank by. Of more than two
            classes a column for each, shape (n, classes).
        task: What the target is; of a ranking, `blocks` are the queries.
        train_prevalence: Share of positives among the training rows; the dummy predicts it for every row. Only for a
            classification, and only where `split` does not tell.
        blocks: Within which rows are exchangeable, as the as-of day, shape (n,). None: all are.
        groups: The entity of each row, as the customer, shape (n,). None: every row is taken as one of its own.
        level: Largest p that counts at the first look; the intervals' confidence is 1 − level.
        smallest_effect: AUC above 0.5 that a signal must at least show.
        material_effect: AUC above 0.5 that must be excluded before *no signal* is said.
        permutations: How many, at least; the smallest p they can show is 1 / (1 + permutations).
        seed: Decides the permutations, and which row stands for a repeating entity.
        train_ends: The last day that training looked at, the horizon of its labels included.
        test_begins: The first as-of day of the held-out rows.
        split: The frames of both sides; without them nothing is looked for but crossing days.
        look: Which look at these held-out rows it is.
        subgroups: Ways to cut the held-out rows: by name, one value a row.
        estimators: Unfitted estimators by family, refitted for a learning curve.
        classes: The classes in the order of the predictions' columns; without it they are sorted.

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
    require((train_ends is None) == (test_begins is None), "train_ends, test_begins", "both or neither")
    require(task in STATISTICS, "task", f"one of {', '.join(STATISTICS)}")
    require(task != "ranking" or blocks is not None, "blocks", "the query of each row, which a ranking needs")
    require(not estimators or split is not None, "learning_curve", "train=… and test=…, the frames to learn from")
    task, names, y_true = resolved(y_true, task, None, (split.classes if split else None) or classes)
    require(split is None or split.classes == names, "y_true", "classes that are those of the frames")
    given = read(y_true, predictions, blocks, task, names)
    dummy = dummy_of(train_prevalence, split, given)
    streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(4)]
    drawing, permuting, checking, fitting = streams
    rows = np.arange(len(given.target))
    if groups is not None:
        rows = given.one_of_each(codes(groups, "groups", len(given.target)), drawing)
    judged = given[rows]
    comparable = judged.comparable()
    compared = judged[comparable]
    adjusted = level / look**2
    wanted = min(math.ceil(1 / adjusted) - 1, MOST_PERMUTATIONS, MOST_CELLS // len(given.target))
    permutations = max(permutations, wanted)
    checks = () if split is None else examine(split, task, train_ends, test_begins, checking)

    declared: dict[str, Any] = {
        "question": question,
        "task": task,
        "classes": names,
        "statistic": STATISTICS[task] if blocks is None or task == "ranking" else f"{STATISTICS[task]} within blocks",
        "level": max(adjusted, 1 / (1 + permutations)),
        "permutations": permutations,
        "resolution": 1 / (1 + permutations),
        "confidence": 1 - adjusted,
        "smallest_effect": smallest_effect,
        "material_effect": material_effect,
        "seed": seed,
        "rows": len(judged.target),
        "rows_given": len(given.target),
        "positives": judged.positives,
        "blocks": len(np.unique(judged.blocks)),
        "checks": checks,
        "assumptions": (
            _order(train_ends, test_begins, split),
            _entities(len(given.target), len(judged.target), grouped=groups is not None),
            *TAKEN_FOR_GRANTED,
        ),
    }
    leaks = [check.words for check in checks if check.standing == "fails"]
    if reasons := [*_crossing(train_ends, test_begins), *leaks, *_too_few(compared, names)]:
        kind = "invalid: leakage" if leaks or _crossing(train_ends, test_begins) else "no valid verdict"
        words = f"“{question}”: {kind}. {' '.join(dict.fromkeys(reasons))}"
        return Judgement(Verdict(**declared, answer="invalid", words=words), np.empty(0))

    p, null = permutation_test(compared, permutations, permuting)
    baseline = baseline_of(judged, dummy)
    families = tuple(
        result_of(
            name, i, judged=judged, compared=compared, baseline=baseline, confidence=1 - adjusted / len(predictions)
        )
        for i, name in enumerate(predictions)
    )
    simple = () if split is None else tuple(simple_baselines(split, compared, rows[comparable], fitting))
    measured = Measured(
        task=task,
        p=p,
        families=families,
        baseline=baseline,
        baselines=simple,
        level=declared["level"],
        confidence=1 - adjusted,
        smallest=smallest_effect,
        material=material_effect,
        permutations=permutations,
        rows=len(judged.target),
        look=look,
        checked=split is not None,
    )
    best = list(predictions).index(measured.best.name)
    curve = () if split is None else learning_curve(estimators or {}, split, compared, rows[comparable], fitting)
    found: dict[str, Any] = {
        "answer": measured.answer,
        "words": measured.words(question),
        "p": p,
        "best": measured.best.name,
        "effect": measured.best.auc - 0.5,
        "families": families,
        "baseline": baseline,
        "baselines": simple,
        "more_rows": measured.more_rows,
        "learning": tuple(curve),
        "subgroups": tuple(subgroups_of(subgroups or {}, judged, rows, best, 1 - level)),
        "by_class": tuple(each_class(judged, best, names, 1 - level)),
        "calibration": tuple(calibration_by_class(judged, best, names) if names else calibration_of(judged, best)),
        "limits": measured.limits(uncompared=len(judged.target) - len(compared.target)),
    }
    return Judgement(Verdict(**declared, **found), null)


def _crossing(train_ends: date | None, test_begins: date | None) -> list[str]:
    if train_ends is None or test_begins is None or train_ends < test_begins:
        return []
    return [
        f"Training looks at days up to {train_ends} and the test begins on {test_begins}: "
        "the test must lie wholly after what training saw, the horizon of its labels included."
    ]


def _too_few(compared: Holdout, names: Sequence[str]) -> list[str]:
    if compared.classes:
        rare = [name for name, rows in zip(names, compared.class_rows, strict=True) if rows < FEWEST_OF_A_CLASS]
        if not rare:
            return []
        return [
            f"Of {listing(rare)} there are fewer than {FEWEST_OF_A_CLASS} held-out rows that have rows of other "
            "classes in their block to compare with: put rare classes together as one, hold out more rows, or make "
            "the blocks larger."
        ]
    if compared.task == "classification":
        if compared.fewest >= FEWEST_OF_A_CLASS:
            return []
        return [
            f"Only {compared.positives} positive and {compared.negatives} negative rows have rows of the other class "
            f"in their block to compare with, and a verdict needs {FEWEST_OF_A_CLASS} of each: hold out more rows, or "
            "make the blocks larger."
        ]
    queries = len(np.unique(compared.blocks))
    if len(compared.target) >= FEWEST_ROWS and (compared.task == "regression" or queries >= FEWEST_QUERIES):
        return []
    need = f"{FEWEST_ROWS}" if compared.task == "regression" else f"{FEWEST_ROWS}, in {FEWEST_QUERIES} queries"
    return [
        f"Only {len(compared.target)} rows have rows of another target in their block to compare with, in {queries} "
        f"blocks, and a verdict needs {need}: hold out more rows, or make the blocks larger."
    ]


def _entities(given: int, judged: int, *, grouped: bool) -> str:
    if not grouped:
        return "Every row is taken as an entity of its own: no groups were given."
    if judged == given:
        return "Every row is an entity of its own (checked)."
    return f"{judged:,} of {given:,} rows were judged, one an entity, drawn at random: its rows resemble each other."


def _order(train_ends: date | None, test_begins: date | None, split: Split | None) -> str:
    if train_ends:
        return f"Training ends on {train_ends}, the test begins on {test_begins} (checked)."
    if split is not None and split.ordered:
        return "Every held-out row is later than every training row (checked)."
    return "The held-out rows lie after all that training saw: no dates were given to check it."
