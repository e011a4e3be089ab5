"""The rows that were learnt from and those held out, as frames: what the checks of a split look at.

What belongs here: reading the frames, and whether groups or time cross between them. What does not: looking for leaks
within the features (twins.py, giveaway.py, preprocessing.py, adversary.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ds_pipelines.evidence import Check
from ds_pipelines.lab.classes import places_of
from ds_pipelines.lab.holdout import codes, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

GROUPS, TIME = "groups across the split", "time across the split"


@dataclass(frozen=True)
class Split:
    """Features of both sides, of equal names; target and groups of each row where they are known."""

    train: pl.DataFrame
    test: pl.DataFrame
    train_target: Floats | None
    test_target: Floats
    train_groups: Integers | None
    test_groups: Integers | None
    train_time: pl.Series | None
    test_time: pl.Series | None
    ordered: bool
    """Whether it was shown that all held-out rows are later than all that training saw."""
    classes: tuple[str, ...] = ()
    """Names of the target's classes where they are more than two; targets are their places then."""

    @cached_property
    def numeric(self) -> list[str]:
        """The features that are numbers or booleans."""
        return [name for name, kind in self.train.schema.items() if kind.is_numeric() or kind == pl.Boolean]

    def column(self, name: str) -> tuple[Floats, Floats]:
        """A numeric feature of both sides, missing values as NaN."""
        train, test = (
            side[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy() for side in (self.train, self.test)
        )
        return train, test

    def each_class(self) -> list[Split]:
        """The split with each class against the rest as its target; itself, unless there are more than two."""
        if not self.classes:
            return [self]
        known = self.train_target
        return [
            replace(
                self,
                train_target=None if known is None else (known == place).astype(np.float64),
                test_target=(self.test_target == place).astype(np.float64),
                classes=(),
            )
            for place in range(len(self.classes))
        ]

    def only(self, train_rows: Integers, test_rows: Integers) -> Split:
        """The split of only some rows of each side, given by their places."""
        return replace(
            self,
            train=self.train[train_rows],
            test=self.test[test_rows],
            train_target=None if self.train_target is None else self.train_target[train_rows],
            test_target=self.test_target[test_rows],
            train_groups=None if self.train_groups is None else self.train_groups[train_rows],
            test_groups=None if self.test_groups is None else self.test_groups[test_rows],
            train_time=None if self.train_time is None else self.train_time[train_rows],
            test_time=None if self.test_time is None else self.test_time[test_rows],
        )


def read_split(
    train: Any,
    test: Any,
    y_true: ArrayLike,
    *,
    target: str | None,
    groups: str | None,
    time: str | None,
    ordered: bool,
    classes: Sequence[str] = (),
) -> Split:
    """The caller's frames, Polars' or pandas', as one split.

    Args:
        train: Features of the training rows; may hold the target, the groups and the time, too.
        test: The same of the held-out rows, in the order of `y_true`.
        y_true: The held-out targets; of more than two classes, their places.
        target: The column of the target in `train`, and in `test` if it is there.
        groups: The column that names the entity, in both.
        time: The column that orders the rows in time, in both.
        ordered: Whether dates of the call say already that the test is later than the training.
        classes: Names of the classes, where they are more than two.

    Raises:
        UnfitForVerdictError: The frames do not fit together or to `y_true`.
    """
    left, right = _frame(train, "train"), _frame(test, "test")
    actual = np.asarray(y_true, dtype=np.float64)
    require(right.height == len(actual), "test", f"{len(actual)} rows, as many as y_true, not {right.height}")
    require(left.height > 0, "train", "at least one row")
    require(target is None or target in left.columns, "target", "a column of train")
    for role, name in (("groups", groups), ("time", time)):
        require(name is None or (name in left.columns and name in right.columns), role, "a column of train and test")
    if target is not None and target in right.columns:
        same = np.array_equal(_targets(right[target], classes), actual)
        require(same, f"test[{target!r}]", "the values of y_true, in their order")
    features = [name for name in left.columns if name in right.columns and name not in (target, groups, time)]
    missing = set(left.columns) ^ set(right.columns)
    require(missing <= {target}, "train, test", "the same features in both")
    require(len(features) > 0, "train, test", "at least one feature")
    both = (
        None if groups is None else codes(pl.concat([left[groups], right[groups]]), groups, left.height + len(actual))
    )
    times = (None, None) if time is None else (left[time], right[time])
    if times[0] is not None and times[1] is not None:
        require(not times[0].null_count() + times[1].null_count(), f"{time}", "no missing values")
        ordered = ordered or not _early(*times)
    return Split(
        _plain(left.select(features)),
        _plain(right.select(features)),
        None if target is None else _targets(left[target], classes),
        actual,
        None if both is None else both[: left.height],
        None if both is None else both[left.height :],
        times[0],
        times[1],
        ordered,
        tuple(classes),
    )


def column_of(frame: Any, values: Any, culprit: str, side: str = "test") -> Any:
    """One value a row: what was given, or the column of the frame that was named.

    Raises:
        UnfitForVerdictError: there is no such column, or no frame.
    """
    if not isinstance(values, str):
        return values
    require(frame is not None, culprit, "one value a row; or train=… and test=…, frames with that column")
    columns = _frame(frame, side)
    require(values in columns.columns, culprit, f"a column of {side}")
    return columns[values]


def crossings(split: Split, declared: str | None) -> list[Check]:
    """Whether entities, or moments, lie on both sides. `declared` says when training ended, if the call did."""
    return [_time(split, declared), _groups(split)]


def _groups(split: Split) -> Check:
    if split.train_groups is None or split.test_groups is None:
        return Check(
            name=GROUPS,
            standing="unknown",
            words="No column of both frames names the entity of a row (groups=…): whether entities lie on both sides "
            "was not looked at.",
        )
    crossing = np.isin(split.test_groups, split.train_groups)
    share = f"{100 * crossing.mean():.1f} % of the held-out rows"
    if not crossing.any():
        return Check(name=GROUPS, standing="holds", words="No entity lies on both sides.")
    if split.ordered:
        words = (
            f"{share} are of entities that training knows, at earlier moments. The verdict holds for entities that are "
            "known already; of new ones it says nothing."
        )
        return Check(name=GROUPS, standing="holds", words=words)
    return Check(
        name=GROUPS,
        standing="fails",
        words=f"{share} are of entities that training knows, too: put all rows of an entity on one side.",
    )


def _time(split: Split, declared: str | None) -> Check:
    if split.train_time is None or split.test_time is None:
        if declared is not None:
            return Check(name=TIME, standing="holds", words=declared)
        words = "Neither dates nor a column of both frames orders the rows in time (time=…): it was not looked at."
        return Check(name=TIME, standing="unknown", words=words)
    early = _early(split.train_time, split.test_time)
    if not early:
        return Check(name=TIME, standing="holds", words="Every held-out row is later than every training row.")
    words = (
        f"{100 * early:.1f} % of the held-out rows are not later than the last training row: a model learnt from what "
        "came after them. Hold out the last days."
    )
    return Check(name=TIME, standing="fails", words=words)


def _early(train: pl.Series, test: pl.Series) -> float:
    """Which share of the held-out moments is not later than the last one of training."""
    return float(pl.select((pl.lit(test) <= pl.lit(train).max()).mean()).item())


def _frame(frame: Any, culprit: str) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if type(frame).__module__.startswith("pandas"):
        return pl.DataFrame(pl.from_pandas(frame))
    require(condition=False, culprit=culprit, expected="a Polars or pandas frame")
    raise AssertionError


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Days and moments as numbers, decimals as floats, and anything that is no number as text; NaN as missing."""
    casts = []
    for name, kind in frame.schema.items():
        column = pl.col(name)
        if kind.is_temporal():
            casts.append(column.to_physical().cast(pl.Float64))
        elif kind.is_decimal():
            casts.append(column.cast(pl.Float64))
        elif kind.is_float():
            casts.append(column.fill_nan(None))
        elif kind.is_numeric() or kind == pl.Boolean:
            casts.append(column)
        elif kind.is_nested():
            casts.append(column.hash().cast(pl.String).alias(name))
        else:
            casts.append(column.cast(pl.String))
    return frame.select(casts)


def _targets(column: pl.Series, classes: Sequence[str]) -> Floats:
    return places_of(column, classes, "target") if classes else _numbers(column, "target")


def _numbers(column: pl.Series, culprit: str) -> Floats:
    require(column.dtype.is_numeric() or column.dtype == pl.Boolean, culprit, "numbers or booleans")
    require(not column.null_count(), culprit, "no missing values")
    return column.cast(pl.Float64).to_numpy()
