"""The verdict: when it says signal, no signal, undecided or invalid, and that chance rarely fools it."""

from __future__ import annotations

import io
import time
import tracemalloc
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.errors import DsPipelinesError, UnfitForVerdictError
from ds_pipelines.evidence import Verdict
from ds_pipelines.lab.judge import judge
from ds_pipelines.lab.plots import verdict_figure

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTION = "Who buys again within 30 days?"
PREVALENCE = 0.3
NULL_DATA_SETS = 300
AT_MOST_OF_300_AT_5_PERCENT = 28  # exceeded with probability 0.0008 when each has 0.05
JULY, AUGUST = date(2011, 7, 1), date(2011, 8, 1)


def labels_of(rows: int, rng: np.random.Generator, prevalence: float = PREVALENCE) -> np.ndarray:
    return rng.random(rows) < prevalence


def scores_of(labels: np.ndarray, rng: np.random.Generator, shift: float) -> np.ndarray:
    """Probabilities whose logits lie `shift` standard deviations higher for positives."""
    return 1 / (1 + np.exp(-rng.normal(size=len(labels)) - shift * labels))


def verdict_of(labels: np.ndarray, predictions: dict[str, np.ndarray], **options: object) -> Verdict:
    return judge(QUESTION, labels, predictions, train_prevalence=PREVALENCE, **options).verdict


def signals_and_small_ps(draw: Callable[[np.random.Generator], dict[str, object]]) -> tuple[int, int]:
    """Of the null data sets, how many are called a signal at 5 %, and how many have p ≤ 0.05."""
    verdicts = []
    for seed in range(NULL_DATA_SETS):
        data = draw(np.random.default_rng(seed))
        verdicts.append(judge(QUESTION, train_prevalence=PREVALENCE, level=0.05, permutations=99, seed=seed, **data))
    ps = [judged.verdict.p for judged in verdicts]
    assert None not in ps
    return sum(j.verdict.answer == "signal" for j in verdicts), sum(p <= 0.05 for p in ps if p is not None)


# The answers


def test_a_real_signal_is_found() -> None:
    rng = np.random.default_rng(1)
    labels = labels_of(2_000, rng)
    verdict = verdict_of(labels, {"logistic": scores_of(labels, rng, 0.6), "boosting": scores_of(labels, rng, 0.4)})
    assert verdict.answer == "signal"
    assert verdict.p == verdict.resolution == 1 / 2_001
    assert verdict.best == "logistic"
    assert verdict.families[0].low > 0.5
    assert verdict.effect == verdict.families[0].auc - 0.5


@pytest.mark.parametrize(("rows", "prevalence"), [(1_500, 0.4), (1_500, 0.2), (9_000, 0.1)])
def test_a_target_without_signal_is_called_so(rows: int, prevalence: float) -> None:
    rng = np.random.default_rng(2)
    labels = labels_of(rows, rng, prevalence)
    verdict = verdict_of(labels, {name: rng.random(rows) for name in ("logistic", "boosting")})
    assert verdict.answer == "no signal"
    assert all(family.high < 0.5 + verdict.material_effect for family in verdict.families)
    assert verdict.more_rows is None


def test_nearly_all_null_targets_of_1500_rows_are_called_no_signal() -> None:
    answers = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        predictions = {name: rng.random(1_500) for name in ("logistic", "boosting", "forest")}
        answers.append(verdict_of(labels_of(1_500, rng), predictions, permutations=199).answer)
    assert answers.count("no signal") >= 56


def test_a_small_effect_on_few_rows_is_undecided_and_says_how_many_more_would_decide() -> None:
    rng = np.random.default_rng(3)
    labels = labels_of(300, rng)
    verdict = verdict_of(labels, {"logistic": scores_of(labels, rng, 0.25)})
    assert verdict.answer == "undecided"
    assert verdict.more_rows is not None
    again = labels_of(300 + 3 * verdict.more_rows, rng)
    assert verdict_of(again, {"logistic": scores_of(again, rng, 0.25)}).answer != "undecided"


def test_a_measurable_effect_too_small_to_count_is_no_signal() -> None:
    rng = np.random.default_rng(4)
    labels = labels_of(120_000, rng)
    verdict = verdict_of(labels, {"logistic": scores_of(labels, rng, 0.03)}, permutations=199)
    assert verdict.p is not None
    assert verdict.p <= verdict.level
    assert verdict.answer == "no signal"
    assert "of a size that counts" in verdict.words


def test_constant_predictions_are_exactly_chance() -> None:
    labels = labels_of(1_000, np.random.default_rng(5))
    verdict = verdict_of(labels, {"dummy": np.full(1_000, PREVALENCE)})
    (family,) = verdict.families
    assert (family.auc, family.low, family.high, verdict.p, verdict.answer) == (0.5, 0.5, 0.5, 1.0, "no signal")
    assert family.skill == 0


def test_perfect_predictions_keep_an_interval_and_raise_suspicion() -> None:
    labels = labels_of(400, np.random.default_rng(6))
    verdict = verdict_of(labels, {"oracle": labels.astype(float)})
    (family,) = verdict.families
    assert verdict.answer == "signal"
    assert (family.auc, family.high) == (1.0, 1.0)
    assert 0.9 < family.low < 1
    assert any("leak" in limit and "rarely earned" in limit for limit in verdict.limits)


def test_predictions_the_wrong_way_round_are_no_signal_and_are_pointed_out() -> None:
    rng = np.random.default_rng(7)
    labels = labels_of(2_000, rng)
    verdict = verdict_of(labels, {"flipped": scores_of(~labels, rng, 0.6)})
    assert verdict.answer == "no signal"
    assert any("wrong way round" in limit for limit in verdict.limits)


# What makes a verdict invalid


def test_training_that_reaches_into_the_test_is_invalid_however_good_the_model() -> None:
    rng = np.random.default_rng(8)
    labels = labels_of(1_000, rng)
    judged = judge(
        QUESTION,
        labels,
        {"logistic": scores_of(labels, rng, 2)},
        train_prevalence=PREVALENCE,
        train_ends=AUGUST,
        test_begins=AUGUST,
    )
    assert judged.verdict.answer == "invalid"
    assert "2011-08-01" in judged.verdict.words
    assert judged.verdict.p is judged.verdict.best is judged.verdict.baseline is None
    assert judged.verdict.families == ()
    assert len(judged.null) == 0


def test_a_split_in_time_is_recorded_as_checked() -> None:
    labels = labels_of(1_000, np.random.default_rng(9))
    verdict = verdict_of(labels, {"a": np.linspace(0, 1, 1_000)}, train_ends=JULY, test_begins=AUGUST)
    assert any("2011-07-01" in assumption and "checked" in assumption for assumption in verdict.assumptions)


@pytest.mark.parametrize(
    ("positives", "said"),
    [(0, "Only 0 positive"), (49, "Only 49 positive"), (451, "49 negative"), (500, "0 negative")],
)
def test_too_few_of_a_class_are_invalid(positives: int, said: str) -> None:
    verdict = verdict_of(np.arange(500) < positives, {"a": np.linspace(0, 1, 500)})
    assert verdict.answer == "invalid"
    assert said in verdict.words


def test_blocks_that_each_hold_one_class_are_invalid_for_nothing_can_be_compared() -> None:
    labels = labels_of(1_000, np.random.default_rng(10))
    assert verdict_of(labels, {"a": np.linspace(0, 1, 1_000)}, blocks=labels).answer == "invalid"


GOOD = {
    "y_true": np.arange(200) % 2,
    "predictions": {"a": np.linspace(0, 1, 200)},
    "train_prevalence": 0.5,
}


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"y_true": np.arange(200)}, "y_true"),
        ({"y_true": np.array([])}, "y_true"),
        ({"y_true": ["yes"] * 200}, "y_true"),
        ({"predictions": {}}, "predictions"),
        ({"predictions": {"a": np.full(200, np.nan)}}, r"predictions\['a'\]"),
        ({"predictions": {"a": np.linspace(0, 1, 199)}}, r"predictions\['a'\]"),
        ({"predictions": {"a": np.full((200, 2), 0.5)}}, r"predictions\['a'\]"),
        ({"predictions": {"a": np.linspace(-1, 1, 200)}}, r"predictions\['a'\]"),
        ({"blocks": np.zeros(199)}, "blocks"),
        ({"blocks": [None] * 200}, "blocks"),
        ({"groups": np.array(["a", 1] * 100, dtype=object)}, "groups"),
        ({"groups": np.full(200, np.datetime64("NaT"))}, "groups"),
        ({"train_prevalence": 0.0}, "train_prevalence"),
        ({"permutations": 98}, "permutations"),
        ({"level": 0.0}, "level"),
        ({"smallest_effect": 0.2}, "smallest_effect"),
        ({"train_ends": JULY}, "train_ends"),
    ],
)
def test_a_malformed_argument_is_refused_by_name(change: dict[str, object], culprit: str) -> None:
    with pytest.raises(UnfitForVerdictError, match=culprit) as refusal:
        judge(QUESTION, **(GOOD | change))
    assert isinstance(refusal.value, DsPipelinesError)


# Chance rarely fools it


def test_the_best_of_three_families_on_null_data_is_a_signal_no_oftener_than_the_level() -> None:
    def draw(rng: np.random.Generator) -> dict[str, object]:
        return {"y_true": labels_of(400, rng), "predictions": {name: rng.random(400) for name in "abc"}}

    signals, small = signals_and_small_ps(draw)
    assert signals <= small <= AT_MOST_OF_300_AT_5_PERCENT
    assert small >= 4  # nor is the test blind: fewer has probability 0.0004


def draw_days_of_unlike_prevalence(rng: np.random.Generator) -> dict[str, object]:
    """Predictions know the day, and days differ in prevalence, but within a day they know nothing."""
    days = rng.integers(0, 4, 400)
    return {
        "y_true": rng.random(400) < 0.2 + 0.2 * days,
        "predictions": {"a": 0.1 + 0.2 * days + 0.1 * rng.random(400)},
        "blocks": days,
    }


def test_days_that_differ_only_in_prevalence_are_no_signal() -> None:
    signals, small = signals_and_small_ps(draw_days_of_unlike_prevalence)
    assert signals <= small <= AT_MOST_OF_300_AT_5_PERCENT


def test_without_blocks_the_same_days_would_be_a_signal() -> None:
    data = draw_days_of_unlike_prevalence(np.random.default_rng(11))
    del data["blocks"]
    assert judge(QUESTION, train_prevalence=PREVALENCE, **data).verdict.answer == "signal"


def draw_customers_on_six_days(rng: np.random.Generator) -> dict[str, object]:
    """Label and prediction belong to the customer and are unrelated; each customer appears on six days."""
    customers = np.tile(np.arange(200), 6)
    return {
        "y_true": labels_of(200, rng, 0.5)[customers],
        "predictions": {"a": rng.random(200)[customers]},
        "blocks": np.repeat(np.arange(6), 200),
        "groups": customers,
    }


def test_customers_that_repeat_count_once() -> None:
    signals, small = signals_and_small_ps(draw_customers_on_six_days)
    assert signals <= small <= AT_MOST_OF_300_AT_5_PERCENT


def test_without_groups_the_same_customers_would_fool_it() -> None:
    def draw(rng: np.random.Generator) -> dict[str, object]:
        data = draw_customers_on_six_days(rng)
        del data["groups"]
        return data

    signals, _ = signals_and_small_ps(draw)
    assert signals > 2 * AT_MOST_OF_300_AT_5_PERCENT


def test_one_row_of_each_customer_is_judged_and_said_so() -> None:
    verdict = judge(QUESTION, train_prevalence=0.5, **draw_customers_on_six_days(np.random.default_rng(12))).verdict
    assert (verdict.rows, verdict.rows_given) == (200, 1_200)
    assert any("200 of 1,200 rows" in assumption for assumption in verdict.assumptions)


def test_trying_more_families_never_makes_the_evidence_stronger() -> None:
    rng = np.random.default_rng(13)
    labels = labels_of(600, rng)
    families = {"real": scores_of(labels, rng, 0.25)}
    ps = []
    for number in range(6):
        ps.append(verdict_of(labels, dict(families)).p)
        families[f"noise {number}"] = 0.5 + 0.01 * rng.random(600) - 0.01 * labels  # never the best
    assert ps == sorted(ps)
    assert ps[0] < ps[-1]


# The numbers


@pytest.mark.parametrize("distinct", [2, 7, 10_000])
def test_the_figures_are_those_of_scikit_learn_ties_included(distinct: int) -> None:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    rng = np.random.default_rng(14)
    labels = labels_of(700, rng)
    scores = np.round(scores_of(labels, rng, 0.5) * distinct) / distinct
    verdict = verdict_of(labels, {"a": scores})
    (family,) = verdict.families
    assert verdict.baseline is not None
    assert family.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert family.brier == pytest.approx(brier_score_loss(labels, scores))
    assert family.log_loss == pytest.approx(log_loss(labels, np.clip(scores, 1e-15, 1 - 1e-15)))
    assert verdict.baseline.log_loss == pytest.approx(log_loss(labels, np.full(700, PREVALENCE)))
    assert family.skill == pytest.approx(1 - family.brier / verdict.baseline.brier)


def test_with_blocks_the_auc_is_that_of_the_pairs_within_them() -> None:
    rng = np.random.default_rng(15)
    labels, scores = labels_of(400, rng), np.round(rng.random(400), 1)
    days = rng.integers(0, 9, 400)
    wins = pairs = 0.0
    for i in np.flatnonzero(labels):
        for j in np.flatnonzero(~labels & (days == days[i])):
            wins += (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
            pairs += 1
    verdict = verdict_of(labels, {"a": scores}, blocks=days)
    assert verdict.families[0].auc == pytest.approx(wins / pairs, abs=1e-12)
    assert verdict.statistic == "max ROC AUC within blocks"
    assert verdict.blocks == 9


@pytest.mark.parametrize("days", [1, 40])
def test_the_99_percent_interval_covers_the_true_auc(days: int) -> None:
    from statistics import NormalDist

    shift, covered = 0.8, 0
    truth = NormalDist().cdf(shift / 2**0.5)
    for seed in range(NULL_DATA_SETS):
        rng = np.random.default_rng(seed)
        labels = labels_of(400, rng)
        data = {"a": scores_of(labels, rng, shift)}
        (family,) = verdict_of(labels, data, permutations=99, blocks=rng.integers(0, days, 400)).families
        covered += family.low <= truth <= family.high
    assert covered >= 0.97 * NULL_DATA_SETS


def test_intervals_of_several_families_are_wider_for_they_hold_jointly() -> None:
    rng = np.random.default_rng(16)
    labels = labels_of(500, rng)
    alone, other = scores_of(labels, rng, 0.5), rng.random(500)
    (single,) = verdict_of(labels, {"a": alone}).families
    (joint, _) = verdict_of(labels, {"a": alone, "b": other}).families
    assert joint.low < single.low < single.auc < single.high < joint.high


def test_the_null_distribution_gives_the_p_and_is_centred_on_chance() -> None:
    rng = np.random.default_rng(17)
    labels = labels_of(500, rng)
    scores = np.round(scores_of(labels, rng, 0.15), 1)  # many ties
    judged = judge(QUESTION, labels, {"a": scores}, train_prevalence=PREVALENCE, blocks=np.arange(500) % 7)
    observed = judged.verdict.families[0].auc
    assert len(judged.null) == 2_000
    assert judged.null.mean() == pytest.approx(0.5, abs=0.005)
    assert judged.verdict.p == (1 + np.sum(judged.null >= observed - 1e-12)) / 2_001


def test_p_is_never_below_what_its_permutations_can_show() -> None:
    labels = np.arange(400) % 2
    verdict = verdict_of(labels, {"oracle": labels.astype(float)}, permutations=99)
    assert verdict.p == verdict.resolution == 0.01


def test_a_seed_gives_the_same_verdict_again() -> None:
    data = draw_customers_on_six_days(np.random.default_rng(18))
    first, again, other = (judge(QUESTION, train_prevalence=0.5, seed=seed, **data) for seed in (3, 3, 4))
    assert first.verdict == again.verdict
    assert np.array_equal(first.null, again.null)
    assert not np.array_equal(first.null, other.null)


@given(power=st.sampled_from([0.25, 0.5, 2, 3]), scale=st.floats(0.1, 1), distinct=st.integers(2, 500))
def test_only_the_order_of_the_predictions_matters_to_p(power: float, scale: float, distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    labels, scores = labels_of(200, rng, 0.5), rng.integers(1, distinct, 200, endpoint=True) / distinct
    plain = verdict_of(labels, {"a": scores}, permutations=99)
    bent = verdict_of(labels, {"a": scale * scores**power}, permutations=99)
    assert (plain.p, plain.answer, plain.families[0].auc) == (bent.p, bent.answer, bent.families[0].auc)


def test_labels_blocks_and_groups_may_come_as_frames_hold_them() -> None:
    rng = np.random.default_rng(19)
    labels = labels_of(400, rng)
    frame = pl.DataFrame(
        {
            "label": labels,
            "score": scores_of(labels, rng, 0.5),
            "day": [JULY, AUGUST] * 200,
            "customer": [f"{i:032x}" for i in range(400)],
        }
    )
    plain = judge(
        QUESTION,
        labels,
        {"a": frame["score"].to_numpy()},
        train_prevalence=0.3,
        blocks=np.arange(400) % 2,
        groups=np.arange(400),
    )
    for framed in (frame, frame.to_pandas()):
        again = judge(
            QUESTION,
            framed["label"],
            {"a": framed["score"]},
            train_prevalence=0.3,
            blocks=framed["day"],
            groups=framed["customer"],
        )
        assert again.verdict == plain.verdict


def test_20000_rows_and_three_families_take_seconds_and_little_memory() -> None:
    rng = np.random.default_rng(20)
    labels = labels_of(20_000, rng)
    data = {name: rng.random(20_000) for name in "abc"}
    started = time.process_time()
    verdict_of(labels, data)
    assert time.process_time() - started < 3
    tracemalloc.start()
    verdict_of(labels, data, permutations=1_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6  # all permutations at once would take 160 MB


# What a colleague reads


@pytest.mark.parametrize(("shift", "rows"), [(0.6, 2_000), (0.0, 2_000), (0.25, 300)])
def test_the_words_hold_the_question_the_answer_and_the_figures(shift: float, rows: int) -> None:
    rng = np.random.default_rng(3)
    labels = labels_of(rows, rng)
    verdict = verdict_of(labels, {"logistic": scores_of(labels, rng, shift)})
    (family,) = verdict.families
    assert QUESTION in verdict.words
    assert verdict.answer in verdict.words
    for figure in (f"{family.auc:.3f}", f"{family.low:.3f}", f"{family.high:.3f}", f"{verdict.p:.2g}", f"{rows:,}"):
        assert figure in verdict.words
    assert len(verdict.words) < 600


def test_a_verdict_survives_its_file() -> None:
    rng = np.random.default_rng(21)
    labels = labels_of(500, rng)
    verdict = verdict_of(labels, {"a": scores_of(labels, rng, 0.5)})
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


@pytest.mark.parametrize("split", [{}, {"train_ends": AUGUST, "test_begins": JULY}])
def test_a_verdict_can_be_drawn(split: dict[str, date]) -> None:
    rng = np.random.default_rng(22)
    labels = labels_of(500, rng)
    predictions = {"logistic": scores_of(labels, rng, 0.5), "boosting": rng.random(500)}
    judged = judge(QUESTION, labels, predictions, train_prevalence=PREVALENCE, **split)
    file = io.BytesIO()
    figure = verdict_figure(judged.verdict, judged.null)
    figure.savefig(file, format="png")
    drawn = " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))
    assert judged.verdict.answer.upper() in drawn
    assert file.getvalue().startswith(b"\x89PNG")
    assert ("logistic" in drawn) == (not split)


def test_judging_imports_no_heavy_library() -> None:
    import subprocess
    import sys

    code = "import sys, ds_pipelines.lab.judge, ds_pipelines.lab.plots; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"matplotlib", "scipy", "sklearn", "pandas", "mlflow"} & set(loaded)
