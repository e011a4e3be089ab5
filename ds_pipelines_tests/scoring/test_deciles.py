"""Deciles are found by counting, exactly as sorting would find them."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.scoring import deciles

SCORES = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 0.5, 1.0, 1e-300]))


def found(scores: list[float], pieces: int) -> list[int]:
    array = np.array(scores)
    least = deciles.thresholds(lambda: np.array_split(array, pieces), len(scores))
    return pl.DataFrame({"score": scores}).select(deciles.decile("score", least)).to_series().to_list()


@given(st.lists(SCORES, min_size=1, max_size=60), st.integers(1, 4))
def test_a_decile_is_the_share_of_rows_up_to_the_score_in_tenths_rounded_up(scores: list[float], pieces: int) -> None:
    upto = [sum(other <= score for other in scores) for score in scores]
    assert found(scores, pieces) == [-(-10 * rows // len(scores)) for rows in upto]


def test_deciles_of_distinct_scores_are_equally_large() -> None:
    assert found([at / 40 for at in range(40)], 3) == [1 + at // 4 for at in range(40)]
