"""A logistic regression, its scaling and its simple functions as one pass over the columns.

What belongs here: recognising such a pipeline, and computing it. What does not: any other estimator, which computes as
scikit-learn does.

Each number is multiplied and added by itself, in the order of the columns. So a row's score is the same to the last bit
in whatever batch and place it comes: a product of matrices adds in an order that depends on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

ROWS = 8192
"""At a time: two columns of them stay in the processor's cache."""
FUNCTIONS = (np.arcsinh, np.log1p, np.sqrt)


@dataclass
class _Column:
    """What becomes of one input: function(x) · factor + shift."""

    source: int
    function: Any = None
    factor: float = 1.0
    shift: float = 0.0


def compiled(estimator: Any) -> Callable[[Floats], Floats] | None:
    """The probabilities of class 1 for numbers of shape (rows, features); None if the estimator is of another kind."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    steps = [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
    *before, last = steps
    if type(last) is not LogisticRegression or last.coef_.shape[0] != 1:
        return None
    columns: list[_Column] | None = [_Column(source) for source in range(int(steps[0].n_features_in_))]
    for step in before:
        columns = None if columns is None else _through(step, columns)
    if columns is None or len(columns) != last.coef_.shape[1]:
        return None
    weights = last.coef_[0].tolist()
    intercept = float(last.intercept_[0])
    for column, weight in zip(columns, weights, strict=True):
        intercept += column.shift * weight
        column.factor *= weight
    return _scorer(columns, intercept)


def _through(step: Any, columns: list[_Column]) -> list[_Column] | None:
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    if type(step) is StandardScaler:
        return _scaled(step, columns)
    if type(step) is FunctionTransformer:
        return _applied(step, columns)
    if type(step) is ColumnTransformer and step.transformer_weights is None:
        return _composed(step, columns)
    return None


def _scaled(step: Any, columns: list[_Column]) -> list[_Column]:
    for at, column in enumerate(columns):
        scale = 1.0 if step.scale_ is None else float(step.scale_[at])
        mean = 0.0 if step.mean_ is None or not step.with_mean else float(step.mean_[at])
        column.factor /= scale
        column.shift = (column.shift - mean) / scale
    return columns


def _applied(step: Any, columns: list[_Column]) -> list[_Column] | None:
    if not any(step.func is known for known in FUNCTIONS) or step.kw_args:
        return None
    if any(each.function is not None or each.factor != 1 or each.shift for each in columns):
        return None
    return [_Column(each.source, step.func) for each in columns]


def _composed(step: Any, columns: list[_Column]) -> list[_Column] | None:
    from sklearn.preprocessing import FunctionTransformer

    made: list[_Column] = []
    for _, transformer, chosen in step.transformers_:
        if not isinstance(chosen, (slice, list)) or (isinstance(chosen, list) and not _whole_numbers(chosen)):
            return None
        part = columns[chosen] if isinstance(chosen, slice) else [columns[at] for at in chosen]
        if transformer == "drop":
            continue
        if type(transformer) is FunctionTransformer and transformer.func is not None:
            applied = _applied(transformer, part)
            if applied is None:
                return None
            made += applied
        elif transformer == "passthrough" or type(transformer) is FunctionTransformer:
            made += [_Column(each.source, each.function, each.factor, each.shift) for each in part]
        else:
            return None
    return made


def _whole_numbers(chosen: list[Any]) -> bool:
    return all(isinstance(at, (int, np.integer)) and not isinstance(at, bool) for at in chosen)


def _scorer(columns: list[_Column], intercept: float) -> Callable[[Floats], Floats]:
    def probabilities(numbers: Floats) -> Floats:
        scores = np.empty(len(numbers))
        held = np.empty(min(ROWS, len(numbers)))
        with np.errstate(over="ignore"):  # of exp: its infinity makes the probability 0, as it should
            for start in range(0, len(numbers), ROWS):
                rows, sums = numbers[start : start + ROWS], scores[start : start + ROWS]
                term = held[: len(rows)]
                sums.fill(intercept)
                for column in columns:
                    given = rows[:, column.source]
                    if column.function is not None:
                        given = column.function(given, out=term)
                    np.multiply(given, column.factor, out=term)
                    sums += term
                np.negative(sums, out=sums)
                np.exp(sums, out=sums)
                sums += 1
                np.reciprocal(sums, out=sums)
        return scores

    return probabilities
