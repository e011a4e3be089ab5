"""A single feature that gives the target away: it knows what is known only afterwards.

What belongs here: how well each feature alone foretells the target, learnt on training rows and tried on held-out ones.
What does not: features that leak only together, which nothing here finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ds_pipelines.errors import listing
from ds_pipelines.evidence import Check
from ds_pipelines.lab.concordance import plain_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ds_pipelines.evidence import Task
    from ds_pipelines.lab.split import Split

    Floats = NDArray[np.float64]

NAME = "features that give the target away"
BINS = 50
GIVES_AWAY = {"classification": 0.98, "multiclass": 0.98, "regression": 0.995, "ranking": 0.98}
"""The AUC of one feature alone from which a leak is the likelier explanation."""
OF_A_SERIES = 0.9999
"""The same of numbers in time: the value before is an honest feature, and often nearly the value."""
PURE, OF_THE_RARER, FEWEST = 0.995, 0.3, 30
"""A value, or being missing, gives away the rarer class if so many of its rows are of it and it holds so much of it."""


def check_giveaway(split: Split, task: Task) -> Check:
    """Whether any feature alone knows the target."""
    if split.train_target is None:
        return Check(name=NAME, standing="unknown", words="The training target was not given (target=…).")
    limit = OF_A_SERIES if task == "regression" and split.ordered else GIVES_AWAY[task]
    by_class = {name: [_of_one_class(each, name) for each in split.each_class()] for name in split.train.columns}
    alone = {name: float(np.mean(aucs)) for name, aucs in by_class.items()}
    telling = {name for name, auc in alone.items() if auc >= limit}
    if task in ("classification", "multiclass"):
        sides = split.each_class()
        telling |= {name for name in by_class if any(_value_gives_away(each, name) for each in sides)}
    best = max(alone, key=alone.__getitem__)
    if telling:
        words = (
            f"{listing(telling)}: alone enough to tell the target (the best reaches an AUC of {alone[best]:.3f}). "
            "Is it known at the moment for which is predicted? If it is, ask about the rows that it does not decide."
        )
        return Check(name=NAME, standing="fails", words=words)
    words = f"The best feature alone, {best}, reaches an AUC of {alone[best]:.3f}."
    if split.classes and (one := {name for name, aucs in by_class.items() if max(aucs) >= limit}):
        told = {split.classes[int(np.argmax(by_class[name]))] for name in one}
        words += (
            f" {listing(one)}: alone enough to tell class {listing(told)} from the rest. Some classes are so told "
            "honestly: is it known at the moment for which is predicted?"
        )
        return Check(name=NAME, standing="warns", words=words)
    return Check(name=NAME, standing="holds", words=words)


def alone_auc(split: Split, name: str) -> float:
    """How well one feature alone foretells the held-out targets; of more than two classes, on average."""
    return float(np.mean([_of_one_class(each, name) for each in split.each_class()]))


def _of_one_class(split: Split, name: str) -> float:
    """The AUC on held-out rows of the mean target by bins of one feature, or of its order if that is better."""
    if split.train_target is None:
        return 0.5
    left, right = _bins(split, name)
    size = int(max(left.max(), right.max())) + 1
    counts = np.bincount(left, minlength=size)
    overall = float(split.train_target.mean())
    means = (np.bincount(left, weights=split.train_target, minlength=size) + overall) / (counts + 1)
    auc = plain_auc(split.test_target, means[right])
    if name in split.numeric:
        column = split.column(name)[1]
        known = ~np.isnan(column)
        ordered = plain_auc(_ranked(split.test_target[known]), column[known]) if known.mean() > 0.5 else 0.5
        auc = max(auc, ordered, 1 - ordered)
    return auc


def _ranked(target: Floats) -> Floats:
    return target if len(np.unique(target)) == 2 else pl.Series(target).rank("average").to_numpy()


def _bins(split: Split, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both sides' values as the numbers of bins that the training values decide; missing ones have their own."""
    if name not in split.numeric:
        known = split.train[name].drop_nulls().unique().sort()
        numbers = pl.DataFrame({name: known, "bin": np.arange(1, len(known) + 1)})
        sides = (split.train, split.test)
        left, right = (
            side.select(name).join(numbers, on=name, how="left", maintain_order="left")["bin"].fill_null(0).to_numpy()
            for side in sides
        )
        return left, right
    train, test = split.column(name)
    present = train[~np.isnan(train)]
    edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1))) if len(present) else np.empty(0)
    return tuple(np.where(np.isnan(side), 0, np.searchsorted(edges, side, side="left") + 1) for side in (train, test))  # type: ignore[return-value]


def _pure(inside: NDArray[np.bool_], rarer: int) -> bool:
    """Whether these rows are all of the rarer class, and much of it."""
    return bool(inside.sum() >= max(FEWEST, OF_THE_RARER * rarer) and inside.mean() >= PURE)


def _value_gives_away(split: Split, name: str) -> bool:
    """Whether one value of a feature, or its being missing or not, holds much of the rarer class and nothing else."""
    if split.train_target is None:
        return False
    rarer = split.train_target == float(split.train_target.mean() < 0.5)
    actual = split.test_target == float(split.train_target.mean() < 0.5)
    left, right = split.train[name], split.test[name]
    present, there = left.is_not_null().to_numpy(), right.is_not_null().to_numpy()
    if not present.all() and _pure(rarer[present], int(rarer.sum())) and _pure(actual[there], int(actual.sum())):
        return True
    frame = pl.DataFrame({"value": left, "rarer": rarer})
    counted = frame.group_by("value").agg(pl.len(), hits=pl.col("rarer").sum())
    pure = counted.filter(
        pl.col("hits") >= max(FEWEST, OF_THE_RARER * int(rarer.sum())), pl.col("hits") >= PURE * pl.col("len")
    )["value"]
    for value in pure:
        same = right.is_null().to_numpy() if value is None else (right == value).fill_null(value=False).to_numpy()
        if same.sum() >= FEWEST and actual[same].mean() >= PURE:
            return True
    return False
