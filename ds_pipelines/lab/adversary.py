"""Adversarial validation: can training rows be told from held-out ones by their features?

What belongs here: asking a small model, on rows it did not learn from. What does not: calling it a leak. Rows of later
days differ, as a rule; it is a warning about what the verdict speaks of, and it names the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ds_pipelines.evidence import Check
from ds_pipelines.lab.concordance import plain_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ds_pipelines.lab.split import Split

NAME = "training and held-out rows alike"
MOST_ROWS = 3_000
"""Of each side."""
TREES, LEAVES = 30, 8
APART, FAR_APART = 0.65, 0.9


def check_alike(split: Split, rng: np.random.Generator) -> Check:
    """Whether a model can tell the sides apart, and by which features."""
    count = min(MOST_ROWS, split.train.height, split.test.height)
    if count < 100:
        return Check(name=NAME, standing="unknown", words="Too few rows to compare the sides.")
    names, matrix = matrix_of(pl.concat([_some(split.train, count, rng), _some(split.test, count, rng)]))
    side = np.repeat([0.0, 1.0], count)
    fold = rng.permutation(2 * count) % 2
    scores, gains = np.empty(2 * count), np.zeros(len(names))
    for part in (0, 1):
        booster = _fitted(matrix[fold != part], side[fold != part])
        scores[fold == part] = booster.predict(matrix[fold == part], num_threads=1)
        gains += booster.feature_importance("gain")
    # Scores of two models are not on one scale: each fold is compared within itself.
    auc = float(np.mean([plain_auc(side[fold == part], scores[fold == part]) for part in (0, 1)]))
    by = ", ".join(names[place] for place in np.argsort(-gains)[:3] if gains[place] > 0.1 * gains.sum())
    if auc < APART:
        words = f"A model tells them apart no better than an AUC of {max(auc, 0.5):.2f}."
        return Check(name=NAME, standing="holds", words=words)
    far = "They hardly overlap: the verdict is about another population than the one learnt from. " * (auc >= FAR_APART)
    why = "" if split.ordered else "Without an order in time they should be alike: is the split really random? "
    words = f"A model tells them apart with an AUC of {auc:.2f}, by {by}. {far}{why}".strip()
    return Check(name=NAME, standing="warns", words=words)


def matrix_of(frame: pl.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """Features as numbers: texts by how often they occur, which is all that such a model needs of them."""
    columns = [
        pl.col(name).cast(pl.Float64).fill_null(np.nan)
        if kind.is_numeric() or kind == pl.Boolean
        else pl.len().over(name).cast(pl.Float64).alias(name)
        for name, kind in frame.schema.items()
    ]
    return frame.columns, frame.select(columns).to_numpy().astype(np.float64)


def _some(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> pl.DataFrame:
    return frame[np.sort(rng.choice(frame.height, count, replace=False))]


def _fitted(matrix: NDArray[np.float64], side: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    import lightgbm

    options = {
        "objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.15, "verbose": -1, "num_threads": 1,
        "deterministic": True, "force_row_wise": True, "seed": 0, "max_bin": 63,
    }  # fmt: skip
    return lightgbm.train(options, lightgbm.Dataset(matrix, side), num_boost_round=TREES)
