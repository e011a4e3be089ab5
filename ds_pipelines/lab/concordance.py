"""The share of pairs ranked rightly within blocks: its permutation test, standard error and interval; pure numbers.

What belongs here: statistics of ranked rows, exact where whole numbers allow it. What does not: what they mean for an
answer (judge.py).

Of two rows of a block, a prediction ranks the pair rightly if it puts the one with the higher target first; a tie is
half right. A pair weighs as much as its *gains* differ. Of a classification the gains are the labels, and the statistic
is the ROC AUC. Of a regression they are the targets' ranks within the block: with one block and without ties, it is
(1 + Spearman's correlation) / 2. Of a ranking they are the relevances, scaled so that every query counts alike.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
    sizes = np.bincount(holdout.blocks)[holdout.blocks]
    order = np.lexsort((holdout.blocks, sizes))  # blocks of equal size lie side by side, to be permuted in one call
    ordered = holdout[order]
    gains = gains_of(ordered)
    columns = [doubled_midranks(column, ordered.blocks) for column in ordered.predictions.T]
    ranks = np.column_stack(columns).astype(np.float64)
    spans = [(int(size), int(rows)) for size, rows in zip(*np.unique(sizes, return_counts=True), strict=True)]

    best = np.empty(permutations)
    chunk = max(1, CELLS_AT_ONCE // len(gains))
    for first in range(0, permutations, chunk):
        shuffled = np.tile(gains, (min(chunk, permutations - first), 1))
        column = 0
        for size, rows in spans:
            span = shuffled[:, column : column + rows]
            span[:] = rng.permuted(span.reshape(len(span), -1, size), axis=2).reshape(span.shape)
            column += rows
        best[first : first + chunk] = (shuffled @ ranks).max(axis=1)
    chance = float(gains @ (np.bincount(ordered.blocks) + 1)[ordered.blocks])
    perfect = float(gains @ doubled_midranks(gains, ordered.blocks))
    slack = 0.0 if holdout.task == "classification" else NEARLY_EQUAL * (perfect - chance)
    p = (1 + np.count_nonzero(best >= (gains @ ranks).max() - slack)) / (1 + permutations)
    return float(p), 0.5 + 0.5 * (best - chance) / (perfect - chance)


def auc_and_error(holdout: Holdout, family: int) -> tuple[float, float]:
    """AUC within blocks and its standard error, each row weighted by the pairs it is in.

    For two classes these are DeLong's placements. Around the common AUC rather than each block's own, the variance is
    right for one block and on the safe side for many small ones.
    """
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
