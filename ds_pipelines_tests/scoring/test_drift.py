"""How far a day's features and scores are from where a model was judged, by figures that can be worked out by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from ds_pipelines.evidence import Profile
from ds_pipelines.scoring import drift
from ds_pipelines.scoring.drift import compare, profile

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000


def normal(mean: float, seed: int = 1, rows: int = ROWS) -> pl.DataFrame:
    return pl.DataFrame({"spend": np.random.default_rng(seed).normal(mean, 1, rows)})


def by_hand(then: list[float], now: list[float]) -> float:
    """The index as the textbooks write it."""
    return sum((b - a) * math.log(b / a) for a, b in zip(then, now, strict=True))


def test_the_index_is_that_of_the_textbooks() -> None:
    known = profile(pl.DataFrame({"private": [1] * 80 + [0] * 20}))
    [found] = compare(known, pl.DataFrame({"private": [1] * 50 + [0] * 50}))
    shares = [0.2, 0.8], [0.5, 0.5]
    assert found.psi == pytest.approx(by_hand(*shares), abs=1e-3)
    assert found.ks == pytest.approx(0.3, abs=0.01)


def test_what_has_not_moved_is_near_nothing() -> None:
    [found] = compare(profile(normal(0)), normal(0, seed=2))
    assert found.psi < 0.01
    assert found.ks < 0.02
    assert not found.moved


@pytest.mark.parametrize("shift", [0.4, 1.0, 1.5])
def test_a_shifted_normal_distribution_has_moved_by_the_square_of_the_shift(shift: float) -> None:
    [found] = compare(profile(normal(0)), normal(shift, seed=2))
    assert found.psi == pytest.approx(shift**2, rel=0.2)
    assert found.ks == pytest.approx(math.erf(shift / 2 / math.sqrt(2)), abs=0.02)
    assert found.moved == (shift > 0.6)


def test_values_that_go_missing_are_a_movement() -> None:
    known, now = profile(normal(0)), normal(0, seed=2)
    half_gone = now.with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then("spend"))
    assert not compare(known, now)[0].moved
    assert compare(known, half_gone)[0].moved


def test_a_column_that_was_constant_and_is_not_any_more_has_moved() -> None:
    [found] = compare(profile(pl.DataFrame({"kind": [1.0] * 500})), pl.DataFrame({"kind": [1.0, 2.0] * 250}))
    assert found.moved


def test_the_farthest_is_told_first_and_the_score_apart_from_the_features() -> None:
    then = normal(0).with_columns(age=normal(0, seed=3)["spend"], score=normal(0, seed=4)["spend"], name=pl.lit("x"))
    known = profile(then, "score")
    now = then.with_columns(pl.col("age") + 1, pl.col("score") + 2)
    assert [each.column for each in compare(known, now)] == ["age", "spend"]
    assert [each.column for each in compare(known, now.select("score"), score="score")] == ["score"]
    assert known.score is not None


def test_a_profile_survives_its_file_and_holds_no_row() -> None:
    known = profile(normal(0))
    assert Profile.model_validate_json(known.model_dump_json()) == known
    assert len(known.model_dump_json()) < 10_000


def test_a_sample_is_even_over_all_that_went_by_and_bounded() -> None:
    sample, seen = drift.Sample(), 0
    for rows in (1, 30_000, 0, 70_000, 250_000, 7):
        sample.see(pl.DataFrame({"at": np.arange(seen, seen + rows)}))
        seen += rows
    kept = sample.rows["at"]
    assert drift.SAMPLED <= len(kept) <= 2 * drift.SAMPLED
    assert kept.diff().drop_nulls().unique().to_list() == [4]


def test_a_file_is_sampled_evenly(tmp_path: Path) -> None:
    pl.DataFrame({"at": range(3 * drift.SAMPLED)}).write_parquet(tmp_path / "features.parquet")
    kept = drift.sampled(tmp_path / "features.parquet")["at"]
    assert len(kept) == drift.SAMPLED
    assert kept.diff().drop_nulls().unique().to_list() == [3]
