"""The verdict of numbers and of rankings; baselines, learning curve, subgroups, calibration; repeated looks; report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from ds_pipelines import lab
from ds_pipelines.errors import UnfitForVerdictError
from ds_pipelines.lab.judge import Judgement, judge
from ds_pipelines.lab.looks import look_at, note_look
from ds_pipelines.lab.report import report
from ds_pipelines.lab.split import read_split

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.evidence import Verdict

PERMUTATIONS = 199


def regression(strength: float, seed: int = 1, rows: int = 1_500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return np.exp(strength * x + rng.normal(size=rows)), x


# Numbers and rankings


def test_numbers_have_a_signal_where_their_ranks_agree() -> None:
    from sklearn.metrics import r2_score

    y, x = regression(0.5)
    said = np.exp(0.5 * x)
    verdict = judge("How much?", y, {"line": said}, task="regression", permutations=PERMUTATIONS).verdict
    (family,) = verdict.families
    assert verdict.answer == "signal"
    ranks = [pl.Series(each).rank("average").to_numpy() for each in (y, said)]
    assert family.rank_correlation == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert family.skill == pytest.approx(r2_score(y, said))
    assert "rank correlation" in verdict.words


def test_numbers_without_relation_are_no_signal_no_oftener_than_the_level() -> None:
    answers = []
    for seed in range(200):
        y, _ = regression(0, seed, 300)
        rng = np.random.default_rng(seed + 10_000)
        families = {name: rng.normal(size=300) for name in "ab"}
        judged = judge("?", y, families, task="regression", level=0.05, permutations=99, seed=seed).verdict
        answers.append(judged.answer)
    assert answers.count("signal") <= 21  # exceeded with probability 0.0005


def test_days_that_differ_in_their_mean_only_are_no_signal() -> None:
    rng = np.random.default_rng(2)
    day = rng.integers(0, 5, 1_000)
    y, said = 10 * day + rng.normal(size=1_000), day + 0.1 * rng.normal(size=1_000)
    within = judge("?", y, {"a": said}, task="regression", blocks=day, permutations=PERMUTATIONS).verdict
    assert within.answer != "signal"
    assert judge("?", y, {"a": said}, task="regression", permutations=PERMUTATIONS).verdict.answer == "signal"
    assert within.baseline is not None
    assert within.baseline.brier == pytest.approx(1, abs=0.15)  # the mean of the day, not of all days


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_the_99_percent_interval_of_numbers_covers_the_true_concordance(strength: float) -> None:
    y, x = regression(strength, 99, 200_000)
    ranks = [pl.Series(each).rank("average").to_numpy() for each in (y, x)]
    truth, covered = (1 + np.corrcoef(*ranks)[0, 1]) / 2, 0
    for seed in range(200):
        y, x = regression(strength, seed, 300)
        (family,) = judge("?", y, {"a": x}, task="regression", permutations=99).verdict.families
        covered += family.low <= truth <= family.high
    assert covered >= 0.96 * 200


def queries(strength: float) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    query = np.repeat(np.arange(120), 10)
    relevance = rng.integers(0, 4, 1_200)
    shift = 100.0 * rng.normal(size=120)[query]  # scores of different queries are on no common scale
    return {
        "y_true": relevance,
        "predictions": {"a": shift + strength * relevance + rng.normal(size=1_200)},
        "blocks": query,
        "task": "ranking",
        "permutations": PERMUTATIONS,
    }


def test_a_ranking_is_judged_within_its_queries() -> None:
    from sklearn.metrics import ndcg_score

    data = queries(0.5)
    verdict = judge("Which first?", **data).verdict
    assert verdict.answer == "signal"
    relevance, scores = (
        np.asarray(each, float).reshape(120, 10) for each in (data["y_true"], data["predictions"]["a"])
    )
    relevance = relevance - relevance.min(axis=1, keepdims=True)
    assert verdict.families[0].ndcg == pytest.approx(ndcg_score(relevance, scores), abs=1e-9)
    assert judge("Which first?", **queries(0)).verdict.answer == "no signal"


def test_a_ranking_needs_its_queries_and_enough_of_them() -> None:
    data = queries(1)
    with pytest.raises(UnfitForVerdictError, match="blocks"):
        judge("?", **(data | {"blocks": None}))
    few = judge("?", **(data | {"blocks": np.arange(1_200) % 20})).verdict
    assert (few.answer, "30 queries" in few.words, "leakage" in few.words) == ("invalid", True, False)


# What explains the figures


def whole(strength: float = 1.0, **options: Any) -> Judgement:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2_000, 4))
    y = (strength * x[:, 0] + rng.logistic(size=2_000) > 0).astype(np.int64)
    frame = pl.DataFrame(x, schema=["a", "b", "c", "d"]).with_columns(
        y=pl.Series(y), kind=pl.Series(["u", "v"] * 1_000)
    )
    train, test = frame.head(1_000), frame.tail(1_000)
    split = read_split(train, test, test["y"].to_numpy(), target="y", groups=None, time=None, ordered=False)
    said = 1 / (1 + np.exp(-strength * test["a"].to_numpy()))
    return judge("Does it?", test["y"], {"model": said}, split=split, permutations=PERMUTATIONS, **options)


def test_simple_baselines_show_what_little_effort_achieves() -> None:
    verdict = whole().verdict
    names = [each.name for each in verdict.baselines]
    assert names == ["a alone, a straight line", "a straight line through all features"]
    assert all(each.auc == pytest.approx(verdict.families[0].auc, abs=0.03) for each in verdict.baselines)
    assert any("earns nothing over it" in limit for limit in verdict.limits)


def test_a_learning_curve_refits_on_growing_shares() -> None:
    from sklearn.linear_model import LogisticRegression

    points = whole(estimators={"logistic": LogisticRegression()}).verdict.learning
    assert [point.rows for point in points] == [100, 200, 400, 700, 1_000]
    assert points[-1].auc > 0.7


def test_small_cells_are_hidden_and_do_not_follow_from_the_others() -> None:
    kinds = ["many"] * 700 + ["some"] * 270 + ["fewer"] * 25 + ["few"] * 5
    cells = {each.value: each for each in whole(subgroups={"kind": kinds}).verdict.subgroups}
    assert cells["many"].rows == 700
    assert cells["many"].auc is not None
    assert cells["few"].rows is cells["few"].auc is None
    assert cells["fewer"].rows is None  # else the 5 would follow from the total


def test_calibration_compares_what_was_said_with_what_came_true_in_cells_of_ten() -> None:
    bins = whole().verdict.calibration
    assert sum(each.rows for each in bins) == 1_000
    assert all(abs(each.said - each.observed) < 0.15 for each in bins)
    assert all(10 <= each.observed * each.rows <= each.rows - 10 for each in bins)


# Looks


def test_looks_are_counted_by_holdout_and_the_same_predictions_are_the_same_look(tmp_path: Path) -> None:
    assert [note_look(tmp_path, "held", look) for look in ("a", "b", "a", "c")] == [1, 2, 1, 3]
    assert look_at(tmp_path, "held", "d") == 4
    assert look_at(tmp_path, "other", "a") == 1


def test_the_kth_look_is_judged_at_the_level_over_k_squared() -> None:
    first, third = whole(0.25, look=1).verdict, whole(0.25, look=3).verdict
    assert third.level == pytest.approx(0.01 / 9, rel=0.01)
    assert third.resolution <= third.level
    assert third.families[0].low < first.families[0].low
    assert any("look 3" in limit for limit in third.limits)


def called(monkeypatch: pytest.MonkeyPatch, home: Path, seed: int, order: int = 1, **options: Any) -> Verdict:
    monkeypatch.setenv("DS_HOME", str(home))
    rng = np.random.default_rng(5)
    y = rng.random(600) < 0.4
    said = np.clip(0.5 + 0.1 * y + 0.2 * np.random.default_rng(seed).normal(size=600), 0, 1)
    rows = np.arange(600)[::order]
    groups = np.array([f"c{i}" for i in range(600)])[rows]
    return lab.verdict("Is it?", y[rows], {"m": said[rows]}, train_prevalence=0.4, groups=groups, **options)


def test_several_calls_on_the_same_rows_count_whatever_their_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = [called(monkeypatch, tmp_path, seed, order).look for seed, order in ((1, 1), (2, -1), (1, -1), (3, 1))]
    assert looks == [1, 2, 1, 3]


def test_a_home_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    verdict = called(monkeypatch, tmp_path / "home", 1)
    assert verdict.look is None
    assert any("could not be counted" in limit for limit in verdict.limits)


# The report


def test_the_report_is_one_page_that_needs_no_other_file_and_holds_the_steps_in_order() -> None:
    from sklearn.linear_model import LogisticRegression

    judged = whole(estimators={"logistic": LogisticRegression()}, subgroups={"kind": ["u", "v"] * 500})
    page = report(judged.verdict, judged.null)
    assert re.findall(r"<h2>(\d)", page) == ["1", "2", "3", "5", "6", "7"]
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert judged.verdict.words[:40] in page


def test_a_question_cannot_break_the_page() -> None:
    judged = judge("<script>alert(1)</script>", [0, 1] * 20, {"<b>": [0.5] * 40}, train_prevalence=0.5)
    page = report(judged.verdict, judged.null)
    assert "<script>" not in page
