"""How well scores rank what came true: one statistic with its interval; pure numbers.

What belongs here: the ROC AUC with DeLong's error, and for outcomes of more than two values the agreement of ranks,
both on the scale of 0.5 for chance and 1 for perfect. What does not: what is promised, and whether it was kept.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CONFIDENCE = 0.95
LEAST = 10
"""So many entities of each outcome, or in all, must there be for a statistic to be told."""
_EDGE = 1e-9


def ranked(outcome: Floats, score: Floats) -> tuple[Literal["ROC AUC", "rank agreement"], float, float, float] | None:
    """The statistic's name, its value and its interval of 95 %; None if there is too little to tell.

    Args:
        outcome: What came true, shape (n,); 0 and 1, or numbers.
        score: What was said, shape (n,).
    """
    from scipy.stats import spearmanr

    if set(np.unique(outcome)) <= {0.0, 1.0}:
        positive = outcome == 1
        if min(positive.sum(), (~positive).sum()) < LEAST:
            return None
        value, error = _auc(score[positive], score[~positive])
        return "ROC AUC", value, *_interval(value, error)
    if len(outcome) < LEAST or len(np.unique(score)) < 2:
        return None
    value = 0.5 + 0.5 * float(spearmanr(outcome, score).statistic)
    return "rank agreement", value, *_interval(value, value * (1 - value) * 2 / math.sqrt(len(outcome) - 3))


def _auc(positive: Floats, negative: Floats) -> tuple[float, float]:
    """The AUC and DeLong's standard error of it: from each score's placement among those of the other class."""
    from scipy.stats import rankdata

    m, n = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    above = (ranks[:m] - rankdata(positive)) / n
    below = 1 - (ranks[m:] - rankdata(negative)) / m
    return float(above.mean()), math.sqrt(float(above.var(ddof=1) / m + below.var(ddof=1) / n))


def _interval(value: float, error: float) -> tuple[float, float]:
    """On the logit scale, which keeps it within 0 and 1; of a perfect statistic there is no spread to be seen."""
    if min(value, 1 - value) < _EDGE:
        return value, value
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error / (value * (1 - value))
    logit = math.log(value / (1 - value))
    return 1 / (1 + math.exp(reach - logit)), 1 / (1 + math.exp(-reach - logit))
