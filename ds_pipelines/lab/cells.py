"""Subgroups and calibration: figures of parts of the held-out rows, none of a part so small that it shows a person.

What belongs here: cutting rows into cells, and hiding small ones. What does not: drawing them (plots.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ds_pipelines.evidence import CalibrationBin, ClassResult, Subgroup
from ds_pipelines.lab.concordance import auc_and_error, interval
from ds_pipelines.lab.holdout import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ds_pipelines.lab.holdout import Holdout

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

SMALLEST_CELL = 10
"""Rows below which a cell is hidden; of a classification, rows of either class below which its figures are."""
BINS = 10
MOST_VALUES = 20
"""Of a column of subgroups; numbers with more are cut at their quartiles."""


def subgroups_of(
    columns: Mapping[str, Any], judged: Holdout, rows: Integers, family: int, confidence: float
) -> list[Subgroup]:
    """How a family does in each part of the rows; small cells are hidden.

    Where exactly one cell of a column is small, its size would follow from the total: the next smallest is hidden too.

    Args:
        columns: For each way to cut, one value a row that was given.
        judged: The rows that are judged.
        rows: Their places among the rows given.
        family: The family's column.
        confidence: Of each interval by itself.

    Raises:
        UnfitForVerdictError: a column has another length, or too many values.
    """
    found = []
    for name, given in columns.items():
        values = pl.Series(np.asarray(given) if not isinstance(given, pl.Series) else given)
        require(len(values) > int(rows.max(initial=0)), f"subgroups[{name!r}]", "one value a row")
        cells = _cells(values[rows], name)
        sizes = {cell: int(inside.sum()) for cell, inside in cells.items()}
        hidden = {cell for cell, size in sizes.items() if size < SMALLEST_CELL}
        if len(hidden) == 1 and len(sizes) > 1:
            hidden.add(min(sizes.keys() - hidden, key=sizes.__getitem__))
        for cell, inside in cells.items():
            if cell in hidden:
                found.append(Subgroup(column=name, value=cell))
                continue
            figures = _figures(judged[inside], family, confidence)
            found.append(Subgroup(column=name, value=cell, rows=sizes[cell], **figures))
    return found


def calibration_of(judged: Holdout, family: int) -> list[CalibrationBin]:
    """What a family said and what came true, by tenths of its predictions; tenths of small cells are put together."""
    return [] if judged.task == "ranking" else _bins(judged, family)


def calibration_by_class(judged: Holdout, family: int, classes: Sequence[str]) -> list[CalibrationBin]:
    """The same of each of more than two classes."""
    return [
        each.model_copy(update={"label": name})
        for place, name in enumerate(classes)
        for each in _bins(judged.against_rest(place), family)
    ]


def each_class(judged: Holdout, family: int, classes: Sequence[str], confidence: float) -> list[ClassResult]:
    """How a family tells each of more than two classes from the rest; every class has the rows of a verdict."""
    found = []
    for place, name in enumerate(classes):
        part = judged.against_rest(place)
        compared = part[part.comparable()]
        auc, error = auc_and_error(compared, family)
        low, high = interval(auc, error, compared.fewest, confidence)
        found.append(ClassResult(name=name, rows=part.positives, auc=auc, low=low, high=high))
    return found


def _bins(judged: Holdout, family: int) -> list[CalibrationBin]:
    said = judged.predictions[:, family]
    order = np.argsort(said, kind="stable")
    bins: list[CalibrationBin] = []
    waiting = np.empty(0, dtype=np.int64)
    parts = np.array_split(order, BINS)
    for place, part in enumerate(parts):
        waiting = np.concatenate([waiting, part])
        rest = judged[np.concatenate([*parts[place + 1 :], np.empty(0, dtype=np.int64)])]
        last = place == len(parts) - 1
        if judged[waiting].fewest >= SMALLEST_CELL and (last or rest.fewest >= SMALLEST_CELL):
            observed = float(judged.target[waiting].mean())
            bins.append(CalibrationBin(rows=len(waiting), said=float(said[waiting].mean()), observed=observed))
            waiting = np.empty(0, dtype=np.int64)
    return bins


def _figures(part: Holdout, family: int, confidence: float) -> dict[str, float]:
    compared = part[part.comparable()] if len(part.target) else part
    if compared.fewest < SMALLEST_CELL:
        return {}
    auc, error = auc_and_error(compared, family)
    low, high = interval(auc, error, compared.fewest, confidence)
    return {"auc": auc, "low": low, "high": high}


def _cells(values: pl.Series, name: str) -> dict[str, NDArray[np.bool_]]:
    """Which rows are in which cell."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if values.dtype.is_numeric() and values.n_unique() > MOST_VALUES:
        numbers = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        quarter = np.searchsorted(np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75])), numbers, side="left")
        labels = ["lowest quarter", "second quarter", "third quarter", "highest quarter"]
        cells = {label: (quarter == place) & ~np.isnan(numbers) for place, label in enumerate(labels)}
        cells["missing"] = np.isnan(numbers)
        return {label: inside for label, inside in cells.items() if inside.any()}
    texts = values.cast(pl.String).fill_null("missing")
    require(texts.n_unique() <= MOST_VALUES, f"subgroups[{name!r}]", f"at most {MOST_VALUES} values, or numbers")
    return {value: (texts == value).to_numpy() for value in sorted(texts.unique())}
