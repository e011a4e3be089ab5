"""The verdict of more than two classes: each against the rest, judged by one test, and explained class by class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from ds_pipelines import lab
from ds_pipelines.errors import UnfitForVerdictError, UnsavableModelError
from ds_pipelines.exploration.verdict_checks import CHECKS, verdict_check_results, verdict_check_specs
from ds_pipelines.lab.assumptions import measured
from ds_pipelines.lab.judge import Judgement, judge
from ds_pipelines.lab.notes import Notes, noting
from ds_pipelines.lab.plots import calibration_figure
from ds_pipelines.lab.report import report
from ds_pipelines.lab.split import Split, read_split

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.evidence import Verdict

QUESTION = "Which medal?"
MEDALS = ["bronze", "gold", "silver"]
FEATURES = ["a", "b", "c"]
PERMUTATIONS = 199
NULL_DATA_SETS, AT_MOST_AT_5_PERCENT = 300, 28  # exceeded with probability 0.0008 when each has 0.05


def table(strength: float, rows: int = 2_400, seed: int = 1) -> pl.DataFrame:
    """Gold follows a, silver follows b, and bronze is left over."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    pull = strength * np.column_stack([np.zeros(rows), x[:, 0], x[:, 1]])
    medal = np.array(MEDALS)[(pull + rng.gumbel(size=(rows, 3))).argmax(axis=1)]
    kinds = pl.Series(["u", "v"] * (rows // 2))
    return pl.DataFrame(x, schema=FEATURES).with_columns(medal=pl.Series(medal), kind=kinds)


def fitted(train: pl.DataFrame, test: pl.DataFrame) -> np.ndarray:
    model = LogisticRegression().fit(train.select(FEATURES).to_numpy(), train["medal"].to_numpy())
    return model.predict_proba(test.select(FEATURES).to_numpy())


def judged(frame: pl.DataFrame, **options: Any) -> tuple[Judgement, Split]:
    half = frame.height // 2
    train, test = frame.head(half), frame.tail(half)
    truth = np.array([MEDALS.index(each) for each in test["medal"]])
    split = read_split(train, test, truth, target="medal", groups=None, time=None, ordered=False, classes=MEDALS)
    said = {"line": fitted(train, test)}
    return judge(QUESTION, test["medal"], said, split=split, permutations=PERMUTATIONS, **options), split


def random_probabilities(rng: np.random.Generator, rows: int, classes: int = 3) -> np.ndarray:
    return rng.dirichlet(np.ones(classes), rows)


@pytest.fixture(scope="module")
def signal() -> tuple[Judgement, Split]:
    options = {"estimators": {"line": LogisticRegression()}, "subgroups": {"kind": ["u", "v"] * 600}}
    return judged(table(1.0), **options)


# The answer


def test_a_relation_with_some_classes_is_a_signal_said_in_words(signal: tuple[Judgement, Split]) -> None:
    verdict = signal[0].verdict
    (family,) = verdict.families
    assert (verdict.answer, verdict.task, verdict.classes) == ("signal", "multiclass", tuple(MEDALS))
    assert verdict.p == 1 / (1 + PERMUTATIONS)
    assert verdict.effect == pytest.approx(family.auc - 0.5)
    assert 0.5 < family.low < family.auc < family.high
    for said in (QUESTION, "there is a signal", "classes counting alike", f"{family.auc:.3f}", "always the commonest"):
        assert said in verdict.words


def test_the_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    frame = table(0.7)
    truth, said = frame.tail(1_200)["medal"].to_numpy(), fitted(frame.head(1_200), frame.tail(1_200))
    verdict = judged(frame)[0].verdict
    (family,) = verdict.families
    assert family.auc == pytest.approx(roc_auc_score(truth, said, multi_class="ovr"), abs=1e-12)
    assert family.log_loss == pytest.approx(log_loss(truth, said))
    assert family.accuracy == pytest.approx(accuracy_score(truth, np.array(MEDALS)[said.argmax(axis=1)]))
    assert verdict.baseline is not None
    commonest = frame.head(1_200)["medal"].mode().sort()[0]
    assert verdict.baseline.accuracy == pytest.approx((truth == commonest).mean())
    for each in verdict.by_class:
        actual = truth == each.name
        assert each.rows == actual.sum()
        assert each.auc == pytest.approx(roc_auc_score(actual, said[:, MEDALS.index(each.name)]), abs=1e-12)


def test_two_classes_judged_as_several_have_the_interval_of_two() -> None:
    """A third class that nobody confuses with the others adds what it must, and the first two stay as they are."""
    rng = np.random.default_rng(2)
    y = rng.random(1_000) < 0.4
    said = 1 / (1 + np.exp(-rng.normal(size=1_000) - 0.6 * y))
    two = judge("?", y, {"a": said}, train_prevalence=0.4, permutations=PERMUTATIONS).verdict.families[0]
    third = np.concatenate([y.astype(int), np.full(500, 2)])
    shares = np.vstack([np.column_stack([1 - said, said, 0 * said]), np.tile([0.0, 0.0, 1.0], (500, 1))])
    blocks = np.repeat([0, 1], [1_000, 500])  # of its own block: it is in no comparison, and the verdict says so
    alone = judge("?", third, {"a": shares}, blocks=blocks, permutations=PERMUTATIONS).verdict
    assert (alone.answer, "2" in alone.words) == ("invalid", True)
    every = judge("?", third, {"a": shares}, permutations=PERMUTATIONS).verdict.families[0]
    assert two.auc < every.auc
    assert every.high - every.low < two.high - two.low


def test_the_99_percent_interval_covers_the_true_mean_auc() -> None:
    def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
        raw = np.exp(0.8 * (y[:, None] == np.arange(3)) + rng.normal(size=(rows, 3)))
        return y, raw / raw.sum(axis=1, keepdims=True)

    from sklearn.metrics import roc_auc_score

    truth, covered = roc_auc_score(*drawn(200_000, 99), multi_class="ovr"), 0
    for seed in range(200):
        y, said = drawn(500, seed)
        (family,) = judge("?", y, {"a": said}, permutations=99).verdict.families
        covered += family.low <= truth <= family.high
    assert covered >= 0.96 * 200


# Chance rarely fools it


def signals(draw: Any) -> int:
    """Of the null data sets, how many are called a signal at 5 %."""
    found = 0
    for seed in range(NULL_DATA_SETS):
        options = draw(np.random.default_rng(seed))
        found += judge("?", level=0.05, permutations=99, seed=seed, **options).verdict.answer == "signal"
    return found


def test_the_best_of_three_families_on_null_data_is_a_signal_no_oftener_than_the_level() -> None:
    def draw(rng: np.random.Generator) -> dict[str, Any]:
        y = rng.choice(4, 500, p=[0.4, 0.25, 0.2, 0.15])
        return {"y_true": y, "predictions": {name: random_probabilities(rng, 500, 4) for name in "abc"}}

    assert 4 <= signals(draw) <= AT_MOST_AT_5_PERCENT  # nor is it blind: fewer has probability 0.0004


def test_days_that_differ_only_in_their_mix_of_classes_are_no_signal() -> None:
    mix = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])

    def draw(rng: np.random.Generator) -> dict[str, Any]:
        days = rng.integers(0, 3, 450)
        y = np.array([rng.choice(3, p=mix[day]) for day in days])
        said = 0.8 * mix[days] + 0.2 * random_probabilities(rng, 450)
        return {"y_true": y, "predictions": {"a": said}, "blocks": days}

    assert signals(draw) <= AT_MOST_AT_5_PERCENT
    unblocked = draw(np.random.default_rng(1))
    del unblocked["blocks"]
    assert judge("?", permutations=PERMUTATIONS, **unblocked).verdict.answer == "signal"


def test_a_target_without_relation_is_called_no_signal() -> None:
    rng = np.random.default_rng(3)
    y = rng.choice(["x", "y", "z"], 3_000)
    verdict = judge("?", y, {"a": random_probabilities(rng, 3_000)}, permutations=PERMUTATIONS).verdict
    assert verdict.answer == "no signal"


# Leaks


def checks(frame: pl.DataFrame) -> dict[str, str]:
    return {each.name: each.standing for each in judged(frame)[0].verdict.checks}


def test_a_feature_that_is_the_class_in_disguise_is_a_leak() -> None:
    rng = np.random.default_rng(4)
    frame = table(0.0)
    code = np.array([MEDALS.index(each) for each in frame["medal"]])
    told = frame.with_columns(c=pl.Series((code * 7) % 5 + 0.05 * rng.normal(size=frame.height)))
    assert checks(told)["features that give the target away"] == "fails"


def test_a_feature_that_tells_one_class_only_is_a_warning_that_names_the_class() -> None:
    frame = table(0.0)
    one = frame.with_columns(c=pl.col("c") + 9 * (pl.col("medal") == "gold"))
    verdict = judged(one)[0].verdict
    (check,) = (each for each in verdict.checks if each.name == "features that give the target away")
    assert (check.standing, "gold" in check.words, "silver" in check.words) == ("warns", True, False)


def test_copies_across_the_split_are_a_leak_where_their_classes_agree() -> None:
    rng = np.random.default_rng(5)
    frame = table(0.0, 1_600).with_columns(d=pl.Series(rng.normal(size=1_600)), e=pl.Series(rng.normal(size=1_600)))
    near = frame.with_columns(pl.col(*FEATURES, "d", "e") + 0.001)
    order = rng.permutation(3_200)
    assert checks(pl.concat([frame, near])[order])["rows that training knows"] == "fails"


def test_a_class_s_mean_over_both_sides_as_a_feature_is_a_leak() -> None:
    rng = np.random.default_rng(6)
    frame = table(0.0).with_columns(place=pl.Series(rng.integers(0, 40, 2_400)))
    encoded = frame.with_columns(c=(pl.col("medal") == "silver").mean().over("place")).drop("place")
    assert checks(encoded)["preprocessing before splitting"] == "fails"


# What explains the figures


def test_baselines_learning_curve_subgroups_and_classes_are_there(signal: tuple[Judgement, Split]) -> None:
    verdict = signal[0].verdict
    assert [each.name for each in verdict.baselines][1] == "a straight line through all features"
    assert verdict.baselines[1].auc == pytest.approx(verdict.families[0].auc, abs=0.02)
    assert verdict.baselines[0].auc < verdict.families[0].auc  # one feature tells one class
    assert [each.rows for each in verdict.learning] == [120, 240, 480, 840, 1_200]
    assert [(each.rows, each.auc is not None) for each in verdict.subgroups] == [(600, True), (600, True)]
    assert [each.name for each in verdict.by_class] == MEDALS
    assert verdict.by_class[0].auc < min(verdict.by_class[1].auc, verdict.by_class[2].auc)


def test_a_cell_with_a_class_of_fewer_than_ten_rows_shows_no_figure() -> None:
    frame = table(1.0)
    gold = (frame.tail(1_200)["medal"] == "gold").to_numpy()
    few = np.flatnonzero(gold)[:9]
    kinds = np.where(gold, "many", np.where(np.arange(1_200) % 3 == 0, "few", "many"))
    kinds[few] = "few"
    cells = {each.value: each for each in judged(frame, subgroups={"kind": kinds})[0].verdict.subgroups}
    assert cells["few"].auc is cells["few"].low is None
    assert cells["many"].auc is not None


def test_calibration_is_by_class_in_cells_of_ten(signal: tuple[Judgement, Split]) -> None:
    bins = signal[0].verdict.calibration
    assert {each.label for each in bins} == set(MEDALS)
    for name in MEDALS:
        assert sum(each.rows for each in bins if each.label == name) == 1_200
    assert all(9.5 <= each.observed * each.rows <= each.rows - 9.5 for each in bins)
    assert all(abs(each.said - each.observed) < 0.15 for each in bins)
    drawn = calibration_figure(signal[0].verdict)
    assert {text.get_text() for text in drawn.axes[0].get_legend().get_texts()} == set(MEDALS)


def test_the_report_shows_every_class(signal: tuple[Judgement, Split]) -> None:
    page = report(signal[0].verdict, signal[0].null)
    assert page.count('src="data:image/png;base64,') == 4
    assert "Which classes?" in page
    assert all(name in page for name in MEDALS)
    assert re.findall(r"<h2>(\d)", page) == ["1", "2", "3", "5", "6", "7"]


def test_the_asset_checks_hold_the_figures_of_each_class(signal: tuple[Judgement, Split], tmp_path: Path) -> None:
    (tmp_path / "idea.py").write_text("lab.verdict()")
    results = verdict_check_results(signal[0].verdict, verdict_check_specs(["idea"], tmp_path / "idea.py"))
    assert [result.check_name for result in results] == list(CHECKS)
    assert all(result.passed for result in results)
    assert {f"class {name}: AUC" for name in MEDALS} <= set(results[1].metadata)


def test_the_assumptions_are_measured_by_class(signal: tuple[Judgement, Split]) -> None:
    judgement, split = signal
    found = {each.key: each for each in measured(judgement.verdict, split)}
    assert "rarest of 3 classes" in found["class_balance"].evidence
    assert {found[key].standing for key in ("class_balance", "calibration", "linearity")} == {"holds"}


# What is refused


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"predictions": {"a": np.full(300, 0.5)}}, r"predictions\['a'\]"),
        ({"predictions": {"a": np.full((300, 2), 0.5)}}, r"predictions\['a'\]"),
        ({"predictions": {"a": np.full((300, 3), 0.5)}}, "sum to 1"),
        ({"predictions": {"a": np.full((300, 3), np.nan)}}, "missing"),
        ({"y_true": ["x", "y"] * 150}, "0 and 1"),
        ({"y_true": [None, "x", "y"] * 100}, "missing"),
        ({"y_true": np.linspace(0, 1, 300)}, "task=regression"),
        ({"y_true": np.arange(300)}, "at most 50"),
        ({"classes": ["x", "y", "y"]}, "different names"),
        ({"classes": ["x", "y", "w"]}, "have a column"),
        ({"train_prevalence": 0.3}, "train_prevalence"),
        ({"task": "regression", "classes": ["x", "y", "z"]}, "classes"),
    ],
)
def test_a_malformed_argument_is_refused_by_name(change: dict[str, Any], culprit: str) -> None:
    good = {"y_true": ["x", "y", "z"] * 100, "predictions": {"a": np.full((300, 3), 1 / 3)}}
    with pytest.raises(UnfitForVerdictError, match=culprit):
        judge("?", **(good | change))


def test_a_rare_class_is_named_and_how_rare_it_is_stays_hidden() -> None:
    y = ["x"] * 200 + ["y"] * 200 + ["rare"] * 7
    verdict = judge("?", y, {"a": random_probabilities(np.random.default_rng(1), 407)}).verdict
    assert (verdict.answer, "Of rare there" in verdict.words, "7" in verdict.words) == ("invalid", True, False)


def test_the_columns_follow_the_classes_that_the_caller_names() -> None:
    rng = np.random.default_rng(7)
    y = rng.choice(["x", "y", "z"], 900)
    said = 0.7 * (y[:, None] == np.array(["z", "x", "y"])) + 0.3 * random_probabilities(rng, 900)
    assert judge("?", y, {"a": said}, classes=["z", "x", "y"], permutations=99).verdict.families[0].auc > 0.9
    assert judge("?", y, {"a": said}, permutations=99).verdict.families[0].auc < 0.5


# From an experiment


def called(home: Path, monkeypatch: pytest.MonkeyPatch, strength: float = 1.0) -> Verdict:
    monkeypatch.setenv("DS_HOME", str(home))
    frame = table(strength)
    train, test = frame.head(1_200), frame.tail(1_200)
    options = {"train": train, "test": test, "target": "medal", "subgroups": ["kind"], "permutations": PERMUTATIONS}
    return lab.verdict(QUESTION, test["medal"], {"line": fitted(train, test)}, **options)


def test_a_script_asks_with_names_and_each_look_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks = [called(tmp_path, monkeypatch, strength).look for strength in (1.0, 1.0)]
    assert looks == [1, 1]


def test_what_cannot_be_released_is_said_by_the_verdict_and_refused_when_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert any("cannot be released" in limit for limit in called(tmp_path, monkeypatch).limits)
    frame = table(1.0, 600)
    x, y = frame.select(FEATURES).to_numpy(), frame["medal"].to_numpy()
    columns = pl.col("kind").alias("who"), pl.lit("2025-01-01").alias("as_of")
    held = frame.select(*columns, *FEATURES).with_columns(score=0.5)
    options = {"features": frame.select(FEATURES), "predictions": held, "target": "medal", "entity": "who"}
    models = LogisticRegression().fit(x, y), lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(x, y)
    for model in models:
        with noting(Notes(tmp_path)), pytest.raises(UnsavableModelError, match="several classes cannot be released"):
            lab.save(model, "medals", **options)
