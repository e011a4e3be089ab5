"""What makes a split invalid is called so by name, and honest splits are left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from ds_pipelines.errors import UnfitForVerdictError
from ds_pipelines.lab.judge import judge
from ds_pipelines.lab.split import read_split

if TYPE_CHECKING:
    from ds_pipelines.evidence import Check, Verdict

ROWS = 1_200


@dataclass
class Halves:
    train: pl.DataFrame
    test: pl.DataFrame


def table(seed: int = 1, rows: int = ROWS, strength: float = 0.0) -> pl.DataFrame:
    """Six features and a target, unrelated unless said otherwise."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 6))
    y = (strength * values[:, 0] + rng.logistic(size=rows) > 0.5).astype(np.int64)
    return pl.DataFrame({f"x{i}": values[:, i] for i in range(6)}).with_columns(y=pl.Series(y))


def halves(frame: pl.DataFrame, seed: int = 1) -> Halves:
    order = np.random.default_rng(seed).permutation(frame.height)
    return Halves(frame[order[: frame.height // 2]], frame[order[frame.height // 2 :]])


def verdict_of(split: Halves, *, groups: str | None = None, time: str | None = None, **options: Any) -> Verdict:
    truth = split.test["y"].to_numpy()
    frames = read_split(split.train, split.test, truth, target="y", groups=groups, time=time, ordered=False)
    scores = 1 / (1 + np.exp(-split.test["x0"].to_numpy()))
    entities = split.test[groups] if groups else None
    options = {"permutations": 199, "groups": entities} | options
    return judge("Does it?", truth, {"a": scores}, split=frames, **options).verdict


def failing(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if check.standing == "fails"]


def check(verdict: Verdict, name: str) -> Check:
    [found] = [check for check in verdict.checks if check.name == name]
    return found


def test_an_honest_split_passes_every_check_and_keeps_its_signal() -> None:
    verdict = verdict_of(halves(table(strength=0.8)))
    assert verdict.answer == "signal"
    assert failing(verdict) == []
    assert [each.standing for each in verdict.checks[:2]] == [
        "unknown",
        "unknown",
    ]  # neither time nor groups were named


def test_the_words_of_an_invalid_verdict_say_leakage_and_no_figure_is_shown() -> None:
    frame = table()
    verdict = verdict_of(halves(pl.concat([frame, frame])))
    assert verdict.answer == "invalid"
    assert "invalid: leakage" in verdict.words
    assert verdict.p is verdict.best is None
    assert verdict.families == verdict.baselines == verdict.calibration == ()


def test_exact_duplicates_across_the_split() -> None:
    frame = table()
    assert failing(verdict_of(halves(pl.concat([frame, frame.head(200)])))) == ["rows that training knows"]


def test_near_duplicates_across_the_split() -> None:
    frame, rng = table(), np.random.default_rng(2)
    again = frame.with_columns(pl.selectors.float() + 0.02 * pl.Series(rng.normal(size=ROWS)))
    assert failing(verdict_of(halves(pl.concat([frame, again.head(400)])))) == ["rows that training knows"]


def test_coincidences_of_features_that_take_few_values_are_no_duplicates() -> None:
    rng = np.random.default_rng(3)
    frame = pl.DataFrame({f"x{i}": rng.integers(0, 5, ROWS) for i in range(4)})
    frame = frame.with_columns(y=pl.Series((frame["x0"].to_numpy() + rng.logistic(size=ROWS) > 2).astype(int)))
    assert failing(verdict_of(halves(frame))) == []


def test_entities_on_both_sides() -> None:
    frame = table().with_columns(customer=pl.Series(np.arange(ROWS) // 4))
    verdict = verdict_of(halves(frame), groups="customer")
    assert failing(verdict) == ["groups across the split"]


def test_entities_may_return_where_the_split_is_in_time() -> None:
    frame = table().with_columns(customer=pl.Series(np.arange(ROWS) % (ROWS // 2)), day=pl.Series(np.arange(ROWS)))
    split = Halves(frame.head(ROWS // 2), frame.tail(ROWS // 2))
    verdict = verdict_of(split, groups="customer", time="day")
    assert failing(verdict) == []
    assert "known already" in check(verdict, "groups across the split").words


def test_an_unchanged_row_of_a_returning_entity_is_no_duplicate() -> None:
    early = table(rows=ROWS // 2).with_columns(customer=pl.int_range(ROWS // 2), day=pl.lit(1))
    split = Halves(early, early.with_columns(day=pl.lit(2)))
    assert failing(verdict_of(split, groups="customer", time="day")) == []
    assert failing(verdict_of(split, time="day")) == ["rows that training knows"]


def test_held_out_rows_that_are_not_later_than_training() -> None:
    frame = table().with_columns(day=pl.Series(np.arange(ROWS)))
    assert failing(verdict_of(halves(frame), time="day")) == ["time across the split"]


@pytest.mark.parametrize("way", ["noisy", "text", "present for the positive only", "not monotonic"])
def test_a_feature_that_gives_the_target_away_is_named(way: str) -> None:
    frame, rng = table(), np.random.default_rng(4)
    y = frame["y"].to_numpy()
    told = {
        "noisy": pl.Series(y + 0.1 * rng.normal(size=ROWS)),
        "text": pl.Series([f"status {value}" for value in y]),
        "present for the positive only": pl.Series(np.where(y == 1, rng.random(ROWS), np.nan)).fill_nan(None),
        "not monotonic": pl.Series(np.where(y == 1, 0.0, rng.choice([-1, 1], ROWS)) + 0.05 * rng.normal(size=ROWS)),
    }[way]
    verdict = verdict_of(halves(frame.with_columns(told.alias("told"))))
    assert "features that give the target away" in failing(verdict)
    assert "told" in verdict.words


def test_a_strong_feature_gives_nothing_away() -> None:
    assert verdict_of(halves(table(strength=3))).answer == "signal"


ALL = pl.selectors.starts_with("x")
PREPARED = {
    "standardised": lambda frame: frame.with_columns((ALL - ALL.mean()) / ALL.std()),
    "put between 0 and 1": lambda frame: frame.with_columns((ALL - ALL.min()) / (ALL.max() - ALL.min())),
    "filled by the mean": lambda frame: holes(frame).with_columns(pl.col("x1").fill_null(pl.col("x1").mean())),
    "filled by the median": lambda frame: holes(frame).with_columns(pl.col("x1").fill_null(pl.col("x1").median())),
    "encoded": lambda frame: encoded(frame, 0),
    "encoded with smoothing": lambda frame: encoded(frame, 7),
}


def holes(frame: pl.DataFrame) -> pl.DataFrame:
    gaps = pl.Series(np.random.default_rng(5).random(frame.height) < 0.1)
    return frame.with_columns(x1=pl.when(gaps).then(None).otherwise(pl.col("x1")))


def encoded(frame: pl.DataFrame, weight: float) -> pl.DataFrame:
    places = frame.with_columns(place=pl.Series(np.random.default_rng(6).integers(0, 60, frame.height)))
    total, count = pl.col("y").sum().over("place"), pl.len().over("place")
    return places.with_columns(place=(total + weight * pl.col("y").mean()) / (count + weight))


@pytest.mark.parametrize("way", PREPARED)
def test_preprocessing_before_splitting_leaves_its_fingerprint(way: str) -> None:
    verdict = verdict_of(halves(PREPARED[way](table())))
    assert failing(verdict) == ["preprocessing before splitting"]


def test_preprocessing_by_the_training_rows_is_as_it_should_be() -> None:
    split = halves(holes(table()))
    mean, spread = split.train.select(ALL.mean()).row(0, named=True), split.train.select(ALL.std()).row(0, named=True)
    for side in ("train", "test"):
        frame = getattr(split, side)
        scaled = [((pl.col(n).fill_null(mean[n]) - mean[n]) / spread[n]) for n in mean]
        setattr(split, side, frame.with_columns(scaled))
    assert failing(verdict_of(split)) == []


def test_sides_that_differ_are_a_warning_that_names_the_feature() -> None:
    split = halves(table(strength=0.8))
    split.test = split.test.with_columns(pl.col("x3") + 3)
    verdict = verdict_of(split)
    found = check(verdict, "training and held-out rows alike")
    assert (found.standing, "x3" in found.words) == ("warns", True)
    assert verdict.answer == "signal"


def test_without_frames_the_verdict_says_that_no_leak_was_looked_for() -> None:
    frame = table(strength=0.8)
    verdict = judge("Does it?", frame["y"], {"a": np.clip(frame["x0"] / 10 + 0.5, 0, 1)}, train_prevalence=0.4).verdict
    assert verdict.checks == ()
    assert any("No leak was looked for" in limit for limit in verdict.limits)


def test_frames_may_be_pandas_and_hold_dates_texts_and_missing_values() -> None:
    from datetime import date, timedelta

    frame = table(strength=0.8).with_columns(
        kind=pl.Series([f"k{i % 3}" if i % 7 else None for i in range(ROWS)]),
        since=pl.Series([date(2025, 1, 1) + timedelta(days=i % 90) for i in range(ROWS)]),
    )
    plain = halves(frame)
    pandas = Halves(plain.train.to_pandas(), plain.test.to_pandas())  # type: ignore[arg-type]
    assert verdict_of(pandas).answer == verdict_of(plain).answer == "signal"


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"target": "z"}, "target"),
        ({"groups": "z"}, "groups"),
        ({"test": table().drop("x1")}, "train, test"),
        ({"test": table().head(5)}, "test"),
        ({"test": table(seed=9)}, r"test\['y'\]"),
        ({"train": [1, 2]}, "train"),
    ],
)
def test_frames_that_do_not_fit_are_refused_by_name(change: dict[str, Any], culprit: str) -> None:
    frames = {"train": table(), "test": table(), "target": "y", "groups": None, "time": None} | change
    with pytest.raises(UnfitForVerdictError, match=culprit):
        read_split(y_true=table()["y"].to_numpy(), ordered=False, **frames)
