"""A run's method is reviewed by a person: what can be measured is, the rest is asked, and the signature is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from ds_pipelines import lab
from ds_pipelines.cli import app
from ds_pipelines.errors import (
    UnknownAssumptionError,
    UnnamedReviewerError,
    UnreviewableRunError,
    UnsignedReviewError,
)
from ds_pipelines.evidence import Review
from ds_pipelines.lab.assumptions import SENTENCES, assumptions_of, measured
from ds_pipelines.lab.judge import judge
from ds_pipelines.lab.review import answered, open_review, sign
from ds_pipelines.lab.split import read_split
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.evidence import Assumption
    from ds_pipelines.settings import Settings

SCRIPT = """
import numpy as np, polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ds_pipelines import lab
rng = np.random.default_rng(1)
a, c = rng.normal(size=1_200), rng.normal(size=1_200)
frame = pl.DataFrame({"a": a, "b": a + 0.01 * rng.normal(size=1_200), "c": c})
frame = frame.with_columns(y=pl.Series((a + rng.logistic(size=1_200) > 0).astype(int)), who=pl.int_range(1_200))
train, test = frame.head(600), frame.tail(600)
features = ["a", "b", "c"]
model = make_pipeline(StandardScaler(), LogisticRegression())
model.fit(train.select(features).to_numpy(), train["y"].to_numpy())
scores = model.predict_proba(test.select(features).to_numpy())[:, 1]
lab.verdict("Does it?", test["y"], {"line": scores}, train=train, test=test, target="y", groups="who")
held = test.select(pl.col("who"), pl.lit("2025-01-01").alias("as_of"), *features).with_columns(score=pl.Series(scores))
lab.save(model, "line", features=train.select(features), predictions=held, target="it", entity="who")
"""


@pytest.fixture(scope="module")
def reviewed(home: Path, tracking_address: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run with a verdict and a model."""
    folder = tmp_path_factory.mktemp("experiments")
    (folder / "reviewed.py").write_text(SCRIPT)
    settings = load_settings(home=home, tracking_address=tracking_address, experiments=folder)
    return lab.run("reviewed", settings=settings).record.run_id


@pytest.fixture
def run_id(
    reviewed: str, bench: Settings, monkeypatch: pytest.MonkeyPatch, artifact: Callable[[str, str], Path]
) -> str:
    """The same run under an id of its own, that nobody has reviewed; the newest of its experiment."""
    from mlflow import MlflowClient

    for name, value in bench.as_environment().items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(bench.tracking_base)
    run = client.get_run(reviewed)
    copy = client.create_run(run.info.experiment_id, tags=run.data.tags)
    client.log_artifacts(copy.info.run_id, str(artifact(reviewed, "")))
    client.set_terminated(copy.info.run_id)
    return str(copy.info.run_id)


def by_key(review: Review) -> dict[str, Assumption]:
    return {each.key: each for each in review.assumptions}


def all_answers(review: Review) -> dict[str, str]:
    return dict.fromkeys(review.unanswered, "looked at, and it is fine")


def test_a_review_lists_the_method_s_assumptions_measured_where_they_can_be(run_id: str, bench: Settings) -> None:
    review = open_review(run_id, bench)
    found = by_key(review)
    assert review.method == "linear model"
    assert (found["linearity"].standing, found["rows_per_feature"].standing) == ("holds", "holds")
    assert found["multicollinearity"].standing == "violated"
    assert "a, b" in found["multicollinearity"].evidence
    assert found["known_in_time"].standing == "open"
    assert {"multicollinearity", "known_in_time", "selection"} <= set(review.unanswered)


def test_a_run_keeps_its_verdict_as_a_page_and_says_which_rows_it_looked_at(
    run_id: str, bench: Settings, artifact: Callable[[str, str], Path]
) -> None:
    from mlflow import MlflowClient

    page = artifact(run_id, "evidence/verdict.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Does it?" in page
    tags = MlflowClient(bench.tracking_base).get_run(run_id).data.tags
    assert (tags["ds.look"], len(tags["ds.holdout"])) == ("1", 32)  # the same predictions in each test are one look


def test_a_person_answers_and_signs_and_the_run_keeps_who_and_when(
    run_id: str, bench: Settings, artifact: Callable[[str, str], Path]
) -> None:
    from mlflow import MlflowClient

    opened = open_review(run_id, bench)
    signed = sign(answered(opened, all_answers(opened)), "Ada Byron", bench)
    kept = Review.model_validate_json(artifact(run_id, "evidence/review.json").read_text())
    assert kept == signed == open_review(run_id, bench)
    assert (kept.signed_by, kept.signed_at is not None) == ("Ada Byron", True)
    assert MlflowClient(bench.tracking_base).get_run(run_id).data.tags["ds.review"] == "signed by Ada Byron"


def test_nobody_signs_what_is_unanswered_nor_without_a_name(run_id: str, bench: Settings) -> None:
    review = open_review(run_id, bench)
    with pytest.raises(UnsignedReviewError, match="known_in_time"):
        sign(review, "Ada Byron", bench)
    with pytest.raises(UnnamedReviewerError):
        sign(answered(review, all_answers(review)), "  ", bench)
    with pytest.raises(UnsignedReviewError, match="selection"):
        answered(review, {"selection": "yes"})
    with pytest.raises(UnknownAssumptionError, match="vibes"):
        answered(review, {"vibes": "they are good"})


def test_a_later_answer_takes_the_signature_back(run_id: str, bench: Settings) -> None:
    review = open_review(run_id, bench)
    signed = sign(answered(review, all_answers(review)), "Ada Byron", bench)
    assert answered(signed, {"selection": "it was not so, after all"}).signed_by is None


def test_a_run_without_verdict_and_one_that_is_not_there_are_refused(bench: Settings) -> None:
    path = bench.experiments / "plain.py"
    path.write_text("print('nothing')\n")
    with pytest.raises(UnreviewableRunError, match=r"lab\.verdict"):
        open_review(lab.run(path, settings=bench).record.run_id, bench)
    with pytest.raises(UnreviewableRunError, match="MLflow knows"):
        open_review("0" * 32, bench)


def test_the_command_lists_takes_answers_and_signs(run_id: str, bench: Settings) -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["review", run_id])
    assert "? known_in_time" in listed.output
    assert "✗ multicollinearity" in listed.output
    answers = [f"--answer={key}=looked at, fine" for key in open_review(run_id, bench).unanswered]
    partly = runner.invoke(app, ["review", "reviewed", answers[0]])  # of the experiment's newest run
    assert "To answer" in partly.output
    signed = runner.invoke(app, ["review", run_id, *answers[1:], "--name", "Ada Byron"])
    assert "Signed by Ada Byron" in signed.output


# ---------------------------------------------------------------- what is measured


def facts(frame: pl.DataFrame, task: str = "classification", time: str | None = None) -> dict[str, Assumption]:
    order = np.random.default_rng(1).permutation(frame.height)
    half = frame.height // 2
    train, test = (frame.head(half), frame.tail(half)) if time else (frame[order[:half]], frame[order[half:]])
    truth = test["y"].to_numpy()
    split = read_split(train, test, truth, target="y", groups=None, time=time, ordered=False)
    said = test["a"].to_numpy()
    said = 1 / (1 + np.exp(-said)) if task == "classification" else said
    verdict = judge("?", truth, {"a": said}, task=task, split=split, permutations=199).verdict  # type: ignore[arg-type]
    return {each.key: each for each in measured(verdict, split)}


def frame_of(y: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> pl.DataFrame:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2_000, 3))
    return pl.DataFrame(x, schema=["a", "b", "c"]).with_columns(y=pl.Series(y(x, rng)))


def test_a_bend_violates_linearity() -> None:
    bent = frame_of(lambda x, rng: (2 * x[:, 0] ** 2 + x[:, 1] + rng.logistic(size=len(x)) > 2).astype(int))
    assert facts(bent)["linearity"].standing == "violated"


def test_errors_that_grow_violate_the_even_spread() -> None:
    uneven = frame_of(lambda x, rng: x[:, 0] + np.exp(x[:, 0]) * rng.normal(size=len(x)))
    assert facts(uneven, "regression")["even_spread"].standing == "violated"


def test_targets_that_follow_each_other_violate_independence() -> None:
    def walk(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        steps = rng.normal(size=len(x))
        return np.convolve(steps, np.ones(10), "same") + x[:, 0]

    serial = frame_of(walk).with_columns(day=pl.int_range(2_000))
    assert facts(serial, "regression", "day")["independence"].standing == "violated"


def test_a_rare_class_and_rows_beyond_training_are_violations() -> None:
    rare = frame_of(lambda x, rng: (x[:, 0] + rng.logistic(size=len(x)) > 3.4).astype(int))
    shifted = rare.with_columns(day=pl.int_range(2_000), b=pl.col("b") + pl.int_range(2_000) / 200)
    found = facts(shifted, time="day")
    assert found["extrapolation"].standing == found["stationarity"].standing == "violated"
    assert found["class_balance"].standing == ("holds" if rare["y"].mean() >= 0.05 else "violated")  # type: ignore[operator]


def test_every_assumption_has_a_sentence_and_what_was_not_measured_is_open() -> None:
    every = {
        each.key for method in ("linear model", "neighbours", "naive Bayes") for each in assumptions_of(method, [])
    }
    assert every == set(SENTENCES)
    assert {each.standing for each in assumptions_of("trees", [])} == {"open"}
