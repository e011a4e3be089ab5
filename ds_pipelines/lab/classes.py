"""Classes of a target that has more than two: their names, in the order of the predictions' columns, and their places.

What belongs here: recognising such a target, and giving its values numbers. What does not: statistics (concordance.py).

A classification of 0 and 1 has no named classes; one of three or more is judged class by class, each against the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ds_pipelines.errors import UnfitForVerdictError
from ds_pipelines.lab.holdout import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ds_pipelines.evidence import Task

MOST_CLASSES = 50
EXPECTED = "classes: 0 and 1, or three or more by number or name (of numbers, task=regression)"


def classes_of(y_true: Any, known: Any = None, named: Sequence[Any] | None = None) -> tuple[str, ...]:
    """The names of a target's classes, sorted as scikit-learn sorts them; none where they are 0 and 1.

    Args:
        y_true: The held-out targets.
        known: The training targets, which may hold more classes.
        named: The classes in the order of the predictions' columns, where the caller says it.

    Raises:
        UnfitForVerdictError: the values are no classes.
    """
    sides = [_names(values, "y_true") for values in (y_true, known) if values is not None]
    if named is not None:
        names = tuple(str(name) for name in _names(list(named), "classes"))
        require(len(set(names)) == len(names) > 2, "classes", "three or more different names, one a column")
        return names
    require(len({side.dtype.kind for side in sides}) == 1, "y_true", "classes of one kind, as in train")
    found = np.unique(np.concatenate(sides))
    if found.dtype.kind == "i" and set(found.tolist()) <= {0, 1}:
        return ()
    require(2 < len(found) <= MOST_CLASSES, "y_true", f"{EXPECTED}, at most {MOST_CLASSES}")
    return tuple(str(name) for name in found)


def places_of(values: Any, names: Sequence[str], culprit: str) -> NDArray[np.float64]:
    """The place of each row's class among the names, shape (n,).

    Raises:
        UnfitForVerdictError: a value is none of the classes.
    """
    place = {name: float(number) for number, name in enumerate(names)}
    given = [str(value) for value in _names(values, culprit)]
    require(place.keys() >= set(given), culprit, "only classes that have a column in the predictions (classes=…)")
    return np.array([place[value] for value in given])


def resolved(
    y_true: Any, task: Task, known: Any = None, named: Sequence[Any] | None = None
) -> tuple[Task, tuple[str, ...], Any]:
    """The task, the names of its classes if they are more than two, and the targets as numbers then.

    Raises:
        UnfitForVerdictError: a classification's values are no classes, or classes are named of another task.
    """
    if task not in ("classification", "multiclass"):
        require(named is None, "classes", "task=classification, of which alone there are classes")
        return task, (), y_true
    names = classes_of(y_true, known, named)
    return ("multiclass", names, places_of(y_true, names, "y_true")) if names else ("classification", (), y_true)


def _names(values: Any, culprit: str) -> NDArray[Any]:
    """Values as whole numbers or as texts, none missing."""
    given = np.asarray(values)
    require(given.ndim == 1 and len(given) > 0, culprit, "one value a row, and at least one row")
    if given.dtype.kind in "fiub":
        numbers = given.astype(np.float64)
        require(bool(np.isfinite(numbers).all()), culprit, "no missing values")
        require(bool((numbers == np.round(numbers)).all()), culprit, EXPECTED)
        return numbers.astype(np.int64)
    if any(not isinstance(value, str) for value in given.tolist()):
        raise UnfitForVerdictError(culprit, f"{EXPECTED}, of one kind, none missing")
    return given.astype(np.str_)
