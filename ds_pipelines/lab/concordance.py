"""The share of pairs ranked rightly within blocks: its permutation test, standard error and interval; pure numbers.

What belongs here: statistics of ranked rows, exact where whole numbers allow it. What does not: what they mean for an
answer (judge.py).

Of two rows of a block, a prediction ranks the pair rightly if it puts the one with the higher target first; a tie is
half right. A pair weighs as much as its *gains* differ. Of a classification the gains are the labels, and the statistic
is the ROC AUC. Of a regression they are the targets' ranks within the block: with one block and without ties, it is
(1 + Spearman's correlation) / 2. Of a ranking they are the relevances, scaled so that every query counts alike.

Of more than two classes, the statistic is the mean of each class's AUC against the rest, classes counting alike.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ds_pipelines.lab.holdout import Holdout

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

CELLS_AT_ONCE = 2_000_000
"""Permuted gains held in memory at a time, 8 bytes each."""
NEARLY_EQUAL = 1e-9
"""Sums of fractions that differ by less, relative to what perfect predictions reach, count as equal."""


def gains_of(holdout: Holdout) -> Floats:
    """What each row is worth to be ranked high, shape (n,)."""
    target, blocks = holdout.target, holdout.blocks
    if holdout.task == "classification":
        return target
    if holdout.task == "regression":
        return doubled_midranks(target, blocks) / (2 * np.bincount(blocks))[blocks]
    weights = np.bincount(blocks, weights=_pull(target, target, blocks))
    return np.divide(target, weights[blocks], out=np.zeros_like(target), where=weights[blocks] > 0)


def permutation_test(holdout: Holdout, permutations: int, rng: np.random.Generator) -> tuple[float, Floats]:
    """P of the best family's AUC, and the best AUC of each permutation of the gains within blocks (permutations,).

    A rank sum decides the AUC when each block keeps its gains. Of labels, doubled rank sums are whole numbers below
    2**53, so that floating point adds them exactly in any order, and an equal permutation always counts as one.
    """
    if holdout.classes:
        return _permuted_classes(holdout, permutations, rng)
    ordered, spans = _by_size(holdout)
    gains = gains_of(ordered)
    columns = [doubled_midranks(column, ordered.blocks) for column in ordered.predictions.T]
    ranks = np.column_stack(columns).astype(np.float64)
    best = np.empty(permutations)
    for first, shuffled in _shuffles(gains, spans, permutations, rng):
        best[first : first + len(shuffled)] = (shuffled @ ranks).max(axis=1)
    chance = float(gains @ (np.bincount(ordered.blocks) + 1)[ordered.blocks])
    perfect = float(gains @ doubled_midranks(gains, ordered.blocks))
    slack = 0.0 if holdout.task == "classification" else NEARLY_EQUAL * (perfect - chance)
    p = (1 + np.count_nonzero(best >= (gains @ ranks).max() - slack)) / (1 + permutations)
    return float(p), 0.5 + 0.5 * (best - chance) / (perfect - chance)


def _permuted_classes(holdout: Holdout, permutations: int, rng: np.random.Generator) -> tuple[float, Floats]:
    """The same of more than two classes: their places are permuted, and each one's rank sum counts by its pairs."""
    ordered, spans = _by_size(holdout)
    codes = ordered.target.astype(np.int8)
    parts = [ordered.against_rest(place) for place in range(ordered.classes)]
    middle = (np.bincount(ordered.blocks) + 1)[ordered.blocks]
    weighted = []
    for part in parts:
        span = float(part.target @ (doubled_midranks(part.target, part.blocks) - middle))
        ranks = np.column_stack([doubled_midranks(column, part.blocks) - middle for column in part.predictions.T])
        weighted.append(ranks / span / len(parts))

    def advantage(rows: NDArray[np.int8]) -> Floats:
        """Of each family: twice its mean AUC less 1, shape (permutations, families)."""
        return sum(((rows == place) @ ranks for place, ranks in enumerate(weighted)), np.zeros(()))

    best = np.empty(permutations)
    for first, shuffled in _shuffles(codes, spans, permutations, rng):
        best[first : first + len(shuffled)] = advantage(shuffled).max(axis=1)
    p = (1 + np.count_nonzero(best >= advantage(codes[None]).max() - NEARLY_EQUAL)) / (1 + permutations)
    return float(p), 0.5 + 0.5 * best


def _by_size(holdout: Holdout) -> tuple[Holdout, list[tuple[int, int]]]:
    """Blocks of equal size side by side, to be permuted in one call; each size with the number of its rows."""
    sizes = np.bincount(holdout.blocks)[holdout.blocks]
    spans = [(int(size), int(rows)) for size, rows in zip(*np.unique(sizes, return_counts=True), strict=True)]
    return holdout[np.lexsort((holdout.blocks, sizes))], spans


def _shuffles(
    values: NDArray[Any], spans: list[tuple[int, int]], permutations: int, rng: np.random.Generator
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Permutations of the values within blocks, some at a time, shape (some, n), each with the first one's number."""
    chunk = max(1, CELLS_AT_ONCE // len(values))
    for first in range(0, permutations, chunk):
        shuffled = np.tile(values, (min(chunk, permutations - first), 1))
        column = 0
        for size, rows in spans:
            span = shuffled[:, column : column + rows]
            span[:] = rng.permuted(span.reshape(len(span), -1, size), axis=2).reshape(span.shape)
            column += rows
        yield first, shuffled


def auc_and_error(holdout: Holdout, family: int) -> tuple[float, float]:
    """AUC within blocks and its standard error, each row weighted by the pairs it is in.

    For two classes these are DeLong's placements. Around the common AUC rather than each block's own, the variance is
    right for one block and on the safe side for many small ones. Of more than two classes, a row's placements in all
    comparisons that it takes part in are added before they are squared.
    """
    if holdout.classes:
        return _mean_auc_and_error(holdout, family)
    gains, blocks = gains_of(holdout), holdout.blocks
    won, possible = _pull(gains, holdout.predictions[:, family], blocks), _pull(gains, gains, blocks)
    pairs = float(possible.sum())
    advantage = float(won.sum()) / pairs
    spread = won - advantage * possible
    parts = [spread]
    if holdout.task == "classification":
        parts = [spread[gains > 0], spread[gains == 0]]
    variance = sum(len(part) / (len(part) - 1) * float(part @ part) for part in parts)
    return 0.5 + 0.5 * advantage, math.sqrt(variance) / pairs


def _mean_auc_and_error(holdout: Holdout, family: int) -> tuple[float, float]:
    spread, advantage = np.zeros(len(holdout.target)), 0.0
    for place in range(holdout.classes):
        part = holdout.against_rest(place)
        won = _pull(part.target, part.predictions[:, family], part.blocks)
        possible = _pull(part.target, part.target, part.blocks)
        pairs = float(possible.sum())
        theirs = float(won.sum()) / pairs
        advantage += theirs / holdout.classes
        spread += (won - theirs * possible) / pairs / holdout.classes
    parts = [spread[holdout.target == place] for place in range(holdout.classes)]
    variance = sum(len(part) / (len(part) - 1) * float(part @ part) for part in parts)
    return 0.5 + 0.5 * advantage, math.sqrt(variance)


def plain_auc(target: Floats, scores: Floats) -> float:
    """The AUC of one block, both classes or any numbers; 0.5 where all targets are equal."""
    blocks = np.zeros(len(target), dtype=np.int64)
    possible = _pull(target, target, blocks).sum()
    return float(0.5 + 0.5 * _pull(target, scores, blocks).sum() / possible) if possible else 0.5


def interval(auc: float, error: float, fewest: int, confidence: float) -> tuple[float, float]:
    """Two-sided interval on the logit scale, which keeps it within 0 and 1.

    A perfect AUC shows no spread; its interval is that of a proportion in which all of the smaller class succeeded.
    """
    if min(auc, 1 - auc) < NEARLY_EQUAL:
        slack = 1 - ((1 - confidence) / 2) ** (1 / fewest)
        return (1 - slack, 1.0) if auc > 0.5 else (0.0, slack)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    return 1 / (1 + math.exp(reach - logit)), 1 / (1 + math.exp(-reach - logit))


def doubled_midranks(values: Floats, strata: Integers) -> Integers:
    """Twice the rank of each value within its stratum, ties sharing their average: whole numbers, hence exact."""
    order, starts, ends, first = _ties(values, strata)
    tie = np.repeat(np.arange(len(starts)), ends - starts)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = (starts + ends + 1)[tie] - 2 * first
    return ranks


def _pull(gains: Floats, scores: Floats, blocks: Integers) -> Floats:
    """Of each row, the sum over the rows of its block of (its gain − theirs) × the sign of (its score − theirs)."""
    order, starts, ends, first = _ties(scores, blocks)
    tie = np.repeat(np.arange(len(starts)), ends - starts)
    running = np.concatenate([[0.0], np.cumsum(gains[order])])
    totals = np.bincount(blocks, weights=gains)
    sizes = np.bincount(blocks)
    lower_and_upper = (running[starts] + running[ends])[tie] - 2 * running[first]
    theirs, ours = np.empty(len(gains)), np.empty(len(gains))
    theirs[order] = lower_and_upper - totals[blocks[order]]
    ours[order] = (starts + ends)[tie] - 2 * first - sizes[blocks[order]]
    return gains * ours - theirs


def _ties(values: Floats, strata: Integers) -> tuple[Integers, Integers, Integers, Integers]:
    """The order by stratum and value; where in it each tie starts and ends; where each row's stratum starts."""
    order = np.lexsort((values, strata))
    ordered, stratum = values[order], strata[order]
    new_stratum = np.diff(stratum, prepend=stratum[0] - 1) != 0
    starts = np.flatnonzero(new_stratum | (np.diff(ordered, prepend=ordered[0]) != 0))
    ends = np.append(starts[1:], len(values))
    first = np.flatnonzero(new_stratum)[np.cumsum(new_stratum) - 1]
    return order, starts, ends, first
