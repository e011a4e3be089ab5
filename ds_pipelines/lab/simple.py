"""Simple baselines and learning curves: what little effort, and fewer rows, achieve.

What belongs here: fitting simple rules, and refitting the caller's estimators on request. What does not: the families
that were declared; neither decides the verdict, and neither is chosen by it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ds_pipelines.evidence import LearningPoint, SimpleBaseline
from ds_pipelines.lab.adversary import matrix_of
from ds_pipelines.lab.concordance import auc_and_error
from ds_pipelines.lab.giveaway import alone_auc
from ds_pipelines.lab.holdout import Holdout, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ds_pipelines.evidence import Task
    from ds_pipelines.lab.split import Split

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

MOST_ROWS = 20_000
"""That a baseline or a point of the learning curve learns from."""
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)


def simple_baselines(split: Split, compared: Holdout, rows: Integers, rng: np.random.Generator) -> list[SimpleBaseline]:
    """The best feature alone, chosen on training rows; and a straight line through all numbers.

    Args:
        split: The frames.
        compared: The held-out rows that are judged and comparable.
        rows: Their places among the rows of `split.test`.
        rng: Draws the training rows, where there are more than are needed.
    """
    if split.train_target is None or len(np.unique(split.train_target)) < 2:
        return []
    order = rng.permutation(split.train.height)[:MOST_ROWS]
    half = len(order) // 2
    # Chosen within training: half of it plays the held-out rows.
    inner = split.only(order[:half], order[:0])
    held = split.only(order[half:], order[:0])
    found = []
    if half >= 100:
        trial = type(split)(
            inner.train, held.train, inner.train_target, _known(held), None, None, None, None, split.ordered,
            split.classes,
        )  # fmt: skip
        best = max(split.train.columns, key=lambda name: alone_auc(trial, name))
        single = split.train[order].select(best)
        scores = _lines(single, split.train_target[order], split.test[rows].select(best), compared)
        found.append(SimpleBaseline(name=f"{best} alone, a straight line", auc=_auc(compared, scores)))
    scores = _lines(split.train[order], split.train_target[order], split.test[rows], compared)
    found.append(SimpleBaseline(name="a straight line through all features", auc=_auc(compared, scores)))
    return found


def learning_curve(
    estimators: Mapping[str, Any], split: Split, compared: Holdout, rows: Integers, rng: np.random.Generator
) -> list[LearningPoint]:
    """Each estimator, refitted on growing shares of the training rows; whole entities, where they are named.

    Raises:
        UnfitForVerdictError: an estimator has no `fit`, or nothing to predict with.
    """
    require(split.train_target is not None, "learning_curve", "target=…, the column of train to learn from")
    if split.train_target is None:
        return []
    _, matrix = matrix_of(pl.concat([split.train, split.test[rows]], how="vertical_relaxed"))
    matrix = np.where(np.isnan(matrix), -1.0, matrix)
    left, right = matrix[: split.train.height], matrix[split.train.height :]
    units = np.arange(split.train.height) if split.train_groups is None else split.train_groups
    rank = rng.permutation(int(units.max()) + 1)[units]
    order = np.argsort(rank, kind="stable")[:MOST_ROWS]
    points = []
    for family, estimator in estimators.items():
        require(hasattr(estimator, "fit"), f"learning_curve[{family!r}]", "an estimator with fit and predict")
        for share in SHARES:
            chosen = np.sort(order[: max(2, int(share * len(order)))])
            target = split.train_target[chosen]
            if len(np.unique(target)) < 2:
                continue
            fitted = _clone(estimator)
            with warnings.catch_warnings(action="ignore"):
                fitted.fit(left[chosen], target)
                scores = _said(fitted, right, compared.classes, f"learning_curve[{family!r}]")
            points.append(LearningPoint(family=family, rows=len(chosen), auc=_auc(compared, scores)))
    return points


def _said(fitted: Any, right: Floats, classes: int, culprit: str) -> Floats:
    """What a fitted estimator says of rows: a number of each; of more than two classes, one for every class."""
    if not classes:
        chances = hasattr(fitted, "predict_proba")
        return np.asarray(fitted.predict_proba(right)[:, 1] if chances else fitted.predict(right))
    require(hasattr(fitted, "predict_proba"), culprit, "an estimator with predict_proba, to tell several classes")
    said = np.zeros((len(right), classes))  # a class that it did not learn from is given no chance
    said[:, np.asarray(fitted.classes_, dtype=np.int64)] = fitted.predict_proba(right)
    return said


def _lines(train: pl.DataFrame, target: Floats, test: pl.DataFrame, compared: Holdout) -> Floats:
    """A straight line; of more than two classes, one for each against the rest."""
    if not compared.classes:
        return line(train, target, test, compared.task)
    parts = ((target == place).astype(np.float64) for place in range(compared.classes))
    return np.column_stack([line(train, part, test, "classification") for part in parts])


def _known(split: Split) -> Floats:
    return np.empty(0) if split.train_target is None else split.train_target


def _clone(estimator: Any) -> Any:
    from sklearn.base import clone

    return clone(estimator)


def _auc(compared: Holdout, scores: Floats) -> float:
    one = Holdout(compared.target, np.asarray(scores, dtype=np.float64)[:, None], compared.blocks, compared.task)
    return auc_and_error(one, 0)[0]


def line(train: pl.DataFrame, target: Floats, test: pl.DataFrame, task: Task) -> Floats:
    """Ridge, or ridge logistic, regression by a few Newton steps; missing values count as the mean."""
    _, both = matrix_of(pl.concat([train, test], how="vertical_relaxed"))
    left, right = both[: len(target)], both[len(target) :]
    usable = ~np.isnan(left).all(axis=0)
    if not usable.any():
        return np.zeros(len(right))
    mean, spread = np.nanmean(left[:, usable], axis=0), np.nanstd(left[:, usable], axis=0)
    spread[spread == 0] = 1
    left, right = (
        np.column_stack([np.ones(len(side)), np.nan_to_num((side[:, usable] - mean) / spread).clip(-5, 5)])
        for side in (left, right)
    )
    weights = np.zeros(left.shape[1])
    penalty = np.eye(left.shape[1])
    penalty[0, 0] = 1e-9
    for _ in range(6 if task == "classification" else 1):
        linear = left @ weights
        if task == "classification":
            said = 1 / (1 + np.exp(-linear.clip(-30, 30)))
            curvature = np.maximum(said * (1 - said), 1e-6)
        else:
            said, curvature = linear, np.ones(len(left))
        gradient = left.T @ (target - said) - penalty @ weights
        weights = weights + np.linalg.solve((left * curvature[:, None]).T @ left + penalty, gradient)
    return np.asarray(right @ weights)
