"""Preprocessing before splitting: features that carry the statistics of training and held-out rows together.

What belongs here: fingerprints that such preprocessing leaves exactly, to the precision of floating point. What does
not: anything that leaves none. Selecting features on all rows, smoothing with unknown weights, resampling, and any
transformation whose rows were thinned out before the verdict are not found; a review asks about them.

The rule is the same throughout: a statistic of both sides together is exactly what preprocessing would make it, and
that of the training rows alone is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ds_pipelines.errors import listing
from ds_pipelines.evidence import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ds_pipelines.lab.split import Split

    Floats = NDArray[np.float64]

NAME = "preprocessing before splitting"
EXACT, MEANS, WHOLE, MOST = 1e-9, 1e-7, 1e-5, 0.95
"""Relative to the spread, what counts as equal (for floats of 4 bytes: 100 times); for means of targets; how near whole
numbers multiples of a weight must be, and how many of them."""
WRITTEN_DIGITS = 6
FEWEST_VALUES, FEWEST_LEVELS, REPEATS = 100, 5, 5


def check_preprocessing(split: Split) -> Check:
    """Whether features were scaled, filled or encoded with what the held-out rows know."""
    found: dict[str, set[str]] = {"scaled": set(), "filled where missing": set(), "encoded by the target": set()}
    for name in split.numeric:
        train, test = (side[~np.isnan(side)] for side in split.column(name))
        both = np.concatenate([train, test])
        if len(train) < 2 or len(test) < 2 or not _fractions(both):
            continue
        coarse = 100.0 if np.array_equal(both.astype(np.float32), both) else 1.0
        if _centred(train, both, EXACT * coarse) or _spans_only_together(train, both):
            found["scaled"].add(name)
        if _filled(train, both, EXACT * coarse):
            found["filled where missing"].add(name)
        if any(_encoded(each, name) for each in split.each_class()):
            found["encoded by the target"].add(name)
    telling = [f"{listing(names)} {how}" for how, names in found.items() if names]
    if telling:
        words = (
            f"{'; '.join(telling)} with statistics of training and held-out rows together, exactly: fit every "
            "transformation on the training rows only."
        )
        return Check(name=NAME, standing="fails", words=words)
    words = (
        "No feature is scaled, filled or encoded exactly by statistics of both sides together. Selecting features "
        "on all rows, resampling and inexact encodings leave no such trace, and were not looked for."
    )
    return Check(name=NAME, standing="holds", words=words)


def _fractions(both: Floats) -> bool:
    """Whether there are fractions at all: sums of whole numbers are round by chance."""
    return bool((both != np.round(both)).any())


def _centred(train: Floats, both: Floats, exact: float) -> bool:
    """Mean or median of all rows exactly 0, of the training rows not."""
    spread = both.std()
    if abs(train.mean()) <= 100 * exact * spread:
        return False
    centred = abs(both.mean()) <= exact * spread
    if centred and (_is_one(spread) or len(np.unique(both)) >= FEWEST_VALUES):
        return True
    lower, middle, upper = np.quantile(both, [0.25, 0.5, 0.75])
    own = np.quantile(train, [0.25, 0.5, 0.75])
    own_exact = abs(own[1]) <= exact and _is_one(own[2] - own[0])
    return bool(abs(middle) <= exact and _is_one(upper - lower) and not own_exact)


def _is_one(value: float) -> bool:
    return bool(abs(value - 1) <= 1e-5)


def _spans_only_together(train: Floats, both: Floats) -> bool:
    """From exactly 0 to exactly 1, each once and not both among the training rows, in a continuous feature.

    Rounded shares may reach both by chance: most values must need more digits than a person would write.
    """
    ends = (both.min() == 0 and both.max() == 1) or (both.min() == -1 and both.max() == 1)
    if not ends or (train.min() == both.min() and train.max() == both.max()):
        return False
    once = np.count_nonzero(both == both.min()) == 1 and np.count_nonzero(both == both.max()) == 1
    unrounded = np.mean(np.round(both, WRITTEN_DIGITS) != both) > 0.5
    return bool(once and unrounded and len(np.unique(both)) >= FEWEST_VALUES)


def _filled(train: Floats, both: Floats, exact: float) -> bool:
    """One value recurs in a continuous feature, and it is the mean or median of all other rows together."""
    values, counts = np.unique(both, return_counts=True)
    often = counts.max()
    others = len(both) - often
    if often < max(REPEATS, 0.005 * len(both)) or len(values) < max(FEWEST_VALUES, 0.5 * others):
        return False
    value = values[counts.argmax()]
    rest, own = both[both != value], train[train != value]
    spread = rest.std()
    if len(own) < 2 or spread == 0:
        return False
    # The median of an odd number of rows is one of them, and went with those that were filled.
    middle, own_middle = (np.median(np.append(side, value)) for side in (rest, own))
    if min(abs(own.mean() - value), abs(own_middle - value)) <= exact * spread:
        return False  # the training rows' own statistic: that is how it should be
    pairs = ((rest.mean(), own.mean()), (middle, own_middle), (np.median(rest), own_middle))
    return any(
        abs(together - value) <= exact * spread and abs(alone - value) > 100 * exact * spread
        for together, alone in pairs
    )


def _encoded(split: Split, name: str) -> bool:
    """Its values are the mean target of the rows that bear them, held-out rows included; smoothed or not."""
    if split.train_target is None:
        return False
    train, test = split.column(name)
    both, target = np.concatenate([train, test]), np.concatenate([split.train_target, split.test_target])
    values, place = np.unique(both, return_inverse=True)
    level = place.astype(np.int64)
    if not FEWEST_LEVELS <= len(values) <= len(both) / 2 or np.isnan(values).any():
        return False
    mixed = np.isin(values, train) & np.isin(values, test)
    counts, sums = (np.bincount(level, weights=each).astype(np.float64) for each in (np.ones_like(target), target))
    return bool(mixed.sum() >= FEWEST_LEVELS and _are_means(values[mixed], counts[mixed], sums[mixed], target))


def _are_means(values: Floats, counts: Floats, sums: Floats, target: Floats) -> bool:
    """Whether each value is (sum + weight × prior) / (count + weight), with one weight and the overall mean as prior.

    Categories that were encoded alike have become one value; theirs are as many weights as there were categories.
    """
    scale = float(target.std()) or 1.0
    gap, distance = values * counts - sums, float(target.mean()) - values
    if np.abs(gap / counts).max() <= MEANS * scale:
        return True
    away = np.abs(distance) > 1e-3 * scale
    weights = gap[away] / distance[away]
    if len(weights) < FEWEST_LEVELS or weights.min() <= 0:
        return False
    multiples = weights / weights.min()
    return bool(np.mean(np.abs(multiples - np.round(multiples)) <= WHOLE * multiples) >= MOST)
