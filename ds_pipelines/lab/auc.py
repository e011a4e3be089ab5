"""The AUC within blocks: its permutation test, its standard error and its interval; pure numbers in and out.

What belongs here: statistics of ranked rows, exact where whole numbers allow it. What does not: what they mean for an
answer (judge.py).
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
"""Permuted labels held in memory at a time, 8 bytes each."""


def permutation_test(holdout: Holdout, permutations: int, rng: np.random.Generator) -> tuple[float, Floats]:
    """P of the best family's AUC, and the best AUC of each permutation of the labels within blocks (permutations,).

    A rank sum decides the AUC when each block keeps its positives. Doubled rank sums are whole numbers below 2**53, so
    that floating point adds them exactly in any order, and an equal permutation always counts as one.
    """
    sizes = np.bincount(holdout.blocks)[holdout.blocks]
    order = np.lexsort((holdout.blocks, sizes))  # blocks of equal size lie side by side, to be permuted in one call
    ordered = holdout[order]
    ranks = np.column_stack([_doubled_midranks(c, ordered.blocks) for c in ordered.predictions.T]).astype(np.float64)
    labels = ordered.labels.astype(np.float64)
    spans = [(int(size), int(rows)) for size, rows in zip(*np.unique(sizes, return_counts=True), strict=True)]

    best = np.empty(permutations)
    chunk = max(1, CELLS_AT_ONCE // len(labels))
    for first in range(0, permutations, chunk):
        shuffled = np.tile(labels, (min(chunk, permutations - first), 1))
        column = 0
        for size, rows in spans:
            span = shuffled[:, column : column + rows]
            span[:] = rng.permuted(span.reshape(len(span), -1, size), axis=2).reshape(span.shape)
            column += rows
        best[first : first + chunk] = (shuffled @ ranks).max(axis=1)
    p = (1 + np.count_nonzero(best >= (labels @ ranks).max())) / (1 + permutations)

    positives = np.bincount(holdout.blocks, weights=holdout.labels)
    pairs = positives @ (np.bincount(holdout.blocks) - positives)
    return float(p), (best - positives @ (positives + 1)) / (2 * pairs)


def auc_and_error(holdout: Holdout, family: int) -> tuple[float, float]:
    """AUC within blocks and its standard error by DeLong's placements, each row weighted by the pairs it is in.

    Around the common AUC rather than each block's own, the variance is right for one block and on the safe side for
    many small ones.
    """
    labels, scores, blocks = holdout.labels, holdout.predictions[:, family], holdout.blocks
    positives = np.bincount(blocks, weights=labels)
    negatives = np.bincount(blocks) - positives
    pairs = float(positives @ negatives)
    ranks = _doubled_midranks(scores, blocks)
    wins = (ranks - _doubled_midranks(scores, 2 * blocks + labels)) / 2  # over rows of the other class
    opponents = np.where(labels, negatives[blocks], positives[blocks])
    auc = float(wins[labels].sum() / pairs)
    spread = wins - opponents * np.where(labels, auc, 1 - auc)
    variance = sum(len(part) / (len(part) - 1) * (part @ part) for part in (spread[labels], spread[~labels]))
    return auc, math.sqrt(variance) / pairs


def interval(auc: float, error: float, fewest: int, confidence: float) -> tuple[float, float]:
    """Two-sided interval on the logit scale, which keeps it within 0 and 1.

    A perfect AUC shows no spread; its interval is that of a proportion in which all of the smaller class succeeded.
    """
    if auc in (0.0, 1.0):
        slack = 1 - ((1 - confidence) / 2) ** (1 / fewest)
        return (1 - slack, 1.0) if auc else (0.0, slack)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    return 1 / (1 + math.exp(reach - logit)), 1 / (1 + math.exp(-reach - logit))


def _doubled_midranks(values: Floats, strata: Integers) -> Integers:
    """Twice the rank of each value within its stratum, ties sharing their average: whole numbers, hence exact."""
    order = np.lexsort((values, strata))
    ordered, stratum = values[order], strata[order]
    new_stratum = np.diff(stratum, prepend=stratum[0] - 1) != 0
    starts = np.flatnonzero(new_stratum | (np.diff(ordered, prepend=ordered[0]) != 0))
    ends = np.append(starts[1:], len(values))
    tie = np.repeat(np.arange(len(starts)), ends - starts)
    before = np.flatnonzero(new_stratum)[np.cumsum(new_stratum) - 1]
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = (starts + ends + 1)[tie] - 2 * before
    return ranks
