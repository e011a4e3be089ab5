"""The held-out rows that a verdict judges, read from whatever arrays the caller has.

What belongs here: refusing what is malformed, and choosing rows. What does not: statistics (concordance.py) and whether
the rows suffice for a verdict (judge.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ds_pipelines.errors import UnfitForVerdictError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ds_pipelines.evidence import Task

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Holdout:
    """The rows to judge: target (n,), predictions (n, families), the block of each row as 0, 1, … (n,).

    Of more than two classes, targets are the classes' places and predictions have the shape (n, families, classes).
    """

    target: Floats
    predictions: Floats
    blocks: Integers
    task: Task = "classification"

    def __getitem__(self, rows: NDArray[np.bool_] | Integers) -> Holdout:
        return Holdout(self.target[rows], self.predictions[rows], self.blocks[rows], self.task)

    @property
    def positives(self) -> int:
        """How many rows are positive; none, unless it is a classification."""
        return int(self.target.sum()) if self.task == "classification" else 0

    @property
    def negatives(self) -> int:
        """How many rows are negative; none, unless it is a classification."""
        return len(self.target) - self.positives if self.task == "classification" else 0

    @property
    def fewest(self) -> int:
        """How many rows bear the comparison: those of the smallest class; all, where there are no classes."""
        if self.task == "multiclass":
            return int(self.class_rows.min())
        return min(self.positives, self.negatives) if self.task == "classification" else len(self.target)

    @property
    def classes(self) -> int:
        """How many classes are judged one by one; none, unless they are more than two."""
        return self.predictions.shape[2] if self.task == "multiclass" else 0

    @property
    def class_rows(self) -> Integers:
        """How many rows each class has, shape (classes,)."""
        return np.bincount(self.target.astype(np.int64), minlength=self.classes)

    def against_rest(self, place: int) -> Holdout:
        """One class against all others, as a classification of two."""
        target = (self.target == place).astype(np.float64)
        return Holdout(target, self.predictions[:, :, place], self.blocks)

    def columns(self, names: Iterable[str]) -> dict[str, Floats]:
        """Every column of the predictions (n,) by its family's name, and the number of its class where it has one."""
        families = dict(zip(names, np.moveaxis(self.predictions, 1, 0), strict=True))
        if not self.classes:
            return families
        return {f"{name}: {place}": said[:, place] for name, said in families.items() for place in range(self.classes)}

    def one_of_each(self, groups: Integers, rng: np.random.Generator) -> Integers:
        """Places of one row of each group (n,), drawn at random, in the order given."""
        shuffled = rng.permutation(len(groups))
        return np.sort(shuffled[np.unique(groups[shuffled], return_index=True)[1]])

    def comparable(self) -> NDArray[np.bool_]:
        """Which rows lie in blocks whose targets differ; the others form no pairs."""
        lowest = np.full(self.blocks.max() + 1, np.inf)
        highest = -lowest
        np.minimum.at(lowest, self.blocks, self.target)
        np.maximum.at(highest, self.blocks, self.target)
        return (lowest < highest)[self.blocks]


def require(condition: bool, culprit: str, expected: str) -> None:
    """Refuse an argument of the verdict that is not as expected.

    Raises:
        UnfitForVerdictError: The condition does not hold.
    """
    if not condition:
        raise UnfitForVerdictError(culprit, expected)


def _column(values: ArrayLike, culprit: str, rows: int | None = None) -> Floats:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UnfitForVerdictError(culprit, "numbers only") from None
    require(column.ndim == 1, culprit, f"one value a row, not {column.ndim} dimensions")
    require(rows is None or len(column) == rows, culprit, f"{rows} values, as many as labels, not {len(column)}")
    require(not np.isnan(column).any(), culprit, "no missing values")
    return column


def _probabilities(values: ArrayLike, culprit: str, rows: int, classes: Sequence[str]) -> Floats:
    """Of more than two classes: a column of probabilities for each."""
    try:
        given = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UnfitForVerdictError(culprit, "numbers only") from None
    shape = (rows, len(classes))
    require(given.shape == shape, culprit, f"a row for each target and a column for each class: shape {shape}")
    require(not np.isnan(given).any(), culprit, "no missing values")
    require(bool((given >= 0).all()) and bool((given <= 1).all()), culprit, "probabilities between 0 and 1")
    require(bool(np.allclose(given.sum(axis=1), 1, atol=1e-3)), culprit, "probabilities that sum to 1 in each row")
    return given


def read(
    y_true: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    blocks: ArrayLike | None,
    task: Task = "classification",
    classes: Sequence[str] = (),
) -> Holdout:
    """The caller's targets, predictions and blocks, each of shape (n,), as one holdout.

    Of more than two classes, targets are their places and predictions have the shape (n, classes).

    Raises:
        UnfitForVerdictError: A shape, a label or a probability is not what it must be, or a value is missing.
    """
    target = _column(y_true, "y_true")
    require(len(target) > 0, "y_true", "at least one row")
    require(bool(np.isfinite(target).all()), "y_true", "finite numbers")
    if task == "classification":
        require(bool(np.isin(target, (0, 1)).all()), "y_true", "two classes, 0 and 1")
    require(len(predictions) > 0, "predictions", "at least one model family")
    columns = []
    for name, values in predictions.items():
        culprit = f"predictions[{name!r}]"
        if task == "multiclass":
            columns.append(_probabilities(values, culprit, len(target), classes))
            continue
        column = _column(values, culprit, len(target))
        if task == "classification":
            require(column.min() >= 0 and column.max() <= 1, culprit, "probabilities between 0 and 1")
        require(bool(np.isfinite(column).all()), culprit, "finite numbers")
        columns.append(column)
    in_blocks = np.zeros(len(target), dtype=np.int64) if blocks is None else codes(blocks, "blocks", len(target))
    return Holdout(target, np.stack(columns, axis=1), in_blocks, task)


def codes(values: ArrayLike, culprit: str, rows: int) -> Integers:
    """Names of any one kind (dates, texts, numbers), shape (rows,), as the integers from 0 on.

    Raises:
        UnfitForVerdictError: The shape is another, kinds are mixed, or a name is missing.
    """
    names = np.asarray(values)
    require(names.shape == (rows,), culprit, f"one value a row: shape ({rows},), not {names.shape}")
    try:
        missing = any(name is None or name != name for name in names)  # noqa: PLR0124  NaN and NaT differ from themselves
        integers = np.unique(names, return_inverse=True)[1]
    except TypeError:
        raise UnfitForVerdictError(culprit, "values of one kind, none missing") from None
    require(not missing, culprit, "no missing values")
    return integers.astype(np.int64)
