"""Duplicates and near-duplicates across a split: rows that training knows already, exactly or nearly.

What belongs here: finding them, and deciding whether they are more than coincidence. What does not: entities that are
named (split.py).

Every feature is put on the scale of its ranks. A held-out row has a *twin* in training if its nearest training row is
much nearer than its tenth nearest: so near that among rows spread evenly in as many dimensions as the neighbours seem
to have, one in a thousand would be. Coincidences exist, above all where features take few values: twins count as a leak
if their targets agree more than those of the next neighbours do, or if whole rows of several continuous features are
equal. A sample of the held-out rows is compared with all training rows: the cost grows with the rows, not their square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ds_pipelines.evidence import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ds_pipelines.lab.split import Split

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

NAME = "rows that training knows"
SAMPLE, DISTANCES, CELLS_AT_ONCE = 2_000, 150_000_000, 10_000_000
NEIGHBOURS, REFERENCE = 30, 10
BY_CHANCE = 1e-3
"""Share of twins among rows that are spread evenly."""
CLOSEST = 0.5
"""Of the distance to the tenth neighbour; no twin is farther."""
FEWEST, SHARE, SHARE_UNLABELLED = 10, 0.005, 0.03
STRIKING = 4.0
"""Standard errors by which the targets of twins agree more than their neighbours'."""
CONTINUOUS, SAME_THING = 0.5, 0.95
"""Share of different values from which a feature counts as continuous; correlation from which two are one."""


@dataclass(frozen=True)
class _Found:
    """Of a sample of the held-out rows: distances to the nearest training rows, nearest first, and their places."""

    rows: Integers
    distances: Floats
    places: Integers


def check_twins(split: Split, rng: np.random.Generator) -> Check:
    """Whether held-out rows are copies of training rows, or nearly so."""
    equal = _equal_rows(split)
    if (count := int(equal.sum())) >= FEWEST and count >= SHARE * len(equal) and _rich(split) >= 3:
        return Check(
            name=NAME,
            standing="fails",
            words=f"{100 * equal.mean():.1f} % of the held-out rows equal a training row in every feature, several of "
            "them continuous: that is no coincidence. Remove duplicates before splitting.",
        )
    if split.train.height <= NEIGHBOURS:
        return Check(name=NAME, standing="unknown", words="Too few training rows to look for near-duplicates.")
    found = _nearest(split, rng)
    twins, dimensions = _twins(found)
    words = (
        f"Of {len(found.rows):,} held-out rows looked at, {100 * twins.mean():.1f} % have a training row far nearer "
        f"than their next neighbours; {100 * equal.mean():.1f} % of all equal one in every feature."
    )
    if _leaking(split, found, twins):
        better = "" if split.train_target is None else " Their targets agree as only those of the same thing would."
        return Check(name=NAME, standing="fails", words=f"{words}{better} Split by the thing that rows are copies of.")
    if dimensions < 3:
        words += " With so few independent features, near-duplicates cannot be told from neighbours."
        return Check(name=NAME, standing="unknown" if not count else "holds", words=words)
    return Check(name=NAME, standing="holds", words=f"{words} That is no more than coincidence.")


def _equal_rows(split: Split) -> NDArray[np.bool_]:
    """Which held-out rows equal a training row in every feature; of another entity, where entities may repeat."""
    left = split.train.select(pl.struct(pl.all()).hash(1).alias("row"))["row"]
    right = split.test.select(pl.struct(pl.all()).hash(1).alias("row"))["row"]
    known = right.is_in(left.implode()).to_numpy()
    if not split.ordered or split.train_groups is None or split.test_groups is None:
        return known
    entities = pl.DataFrame({"row": left, "group": split.train_groups})
    own = pl.DataFrame({"row": right, "group": split.test_groups, "place": np.arange(len(right))})
    same = own.join(entities.unique(), on=["row", "group"], how="semi")["place"].to_numpy()
    known[same] = False
    return known


def _rich(split: Split) -> int:
    """How many continuous features there are that are not each other in disguise."""
    chosen: list[Floats] = []
    for name in split.numeric:
        values = split.train[name]
        if values.null_count() or values.n_unique() <= CONTINUOUS * len(values):
            continue
        ranks = values.rank("average").to_numpy()
        if all(abs(np.corrcoef(ranks, other)[0, 1]) < SAME_THING for other in chosen):
            chosen.append(ranks)
        if len(chosen) == 3:
            break
    return len(chosen)


def _nearest(split: Split, rng: np.random.Generator) -> _Found:
    left, right = _scaled(split)
    count = int(min(len(right), SAMPLE, max(50, DISTANCES // len(left))))
    rows = np.sort(rng.choice(len(right), count, replace=False))
    lengths = np.einsum("ij,ij->i", left, left)
    distances = np.empty((count, NEIGHBOURS))
    places = np.empty((count, NEIGHBOURS), dtype=np.int64)
    exclude = split.ordered and split.train_groups is not None and split.test_groups is not None
    step = max(1, CELLS_AT_ONCE // len(left))
    for first in range(0, count, step):
        chosen = rows[first : first + step]
        some = right[chosen]
        squares = lengths - 2 * (some @ left.T)
        if exclude and split.train_groups is not None and split.test_groups is not None:
            squares[split.test_groups[chosen][:, None] == split.train_groups[None, :]] = np.inf
        near = np.argpartition(squares, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        exact = np.sqrt(np.square(left[near] - some[:, None, :]).sum(axis=2, dtype=np.float64))
        exact[~np.isfinite(np.take_along_axis(squares, near, axis=1))] = np.inf
        order = np.argsort(exact, axis=1)
        distances[first : first + step] = np.take_along_axis(exact, order, axis=1)
        places[first : first + step] = np.take_along_axis(near, order, axis=1)
    return _Found(rows, distances, places)


def _scaled(split: Split) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both sides, every feature by its rank among all rows, from 0 to 1; what is missing lies apart."""
    together = pl.concat([split.train, split.test], how="vertical_relaxed")
    ranked = together.select(
        (pl.col(name).rank("average") / together.height).fill_null(-0.5).cast(pl.Float32) for name in together.columns
    )
    matrix = ranked.to_numpy()
    return matrix[: split.train.height], matrix[split.train.height :]


def _twins(found: _Found) -> tuple[NDArray[np.bool_], float]:
    """Which rows of the sample have a twin, and in how many dimensions the rows seem to lie (Levina and Bickel)."""
    reference, farthest = found.distances[:, REFERENCE - 1], found.distances[:, -1]
    usable = (reference > 0) & np.isfinite(farthest)
    if not usable.any():
        return np.zeros(len(found.rows), dtype=bool), 0.0
    logs = np.log(farthest[usable, None] / found.distances[usable, REFERENCE - 1 : -1])
    spread = float(logs.mean())
    dimensions = 1 / spread if spread > 0 else np.inf
    ratio = min(CLOSEST, (BY_CHANCE / (REFERENCE - 1)) ** (1 / dimensions)) if np.isfinite(dimensions) else CLOSEST
    return usable & (found.distances[:, 0] <= ratio * reference), dimensions


def _leaking(split: Split, found: _Found, twins: NDArray[np.bool_]) -> bool:
    count = int(twins.sum())
    if count < FEWEST:
        return False
    if split.train_target is None:
        return bool(count >= SHARE_UNLABELLED * len(twins))
    if count < SHARE * len(twins):
        return False
    actual = split.test_target[found.rows[twins]]
    nearest = split.train_target[found.places[twins, 0]]
    others = split.train_target[found.places[twins][:, REFERENCE:]]
    if split.classes:  # the same class or not
        nearest, others = nearest != actual, others != actual[:, None]
        actual = np.zeros(len(actual))
    elif len(np.unique(split.train_target)) > 2:  # numbers: how far apart, by rank
        scale = np.sort(split.train_target)
        actual, nearest, others = (np.searchsorted(scale, each) / len(scale) for each in (actual, nearest, others))
    closeness, neighbours = -np.abs(actual - nearest), -np.abs(actual[:, None] - others)
    overall = float(neighbours.var())
    weight = neighbours.shape[1]
    variance = (weight * neighbours.var(axis=1) + overall) / (weight + 1)
    error = np.sqrt((variance * (1 + 1 / weight)).sum())
    surplus = (closeness - neighbours.mean(axis=1)).sum()
    return bool(surplus > STRIKING * error and surplus / count >= 0.1 * np.sqrt(overall))
