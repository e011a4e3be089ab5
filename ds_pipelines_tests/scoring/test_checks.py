"""What is checked of a delivery before it is visible, and what stops it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from ds_pipelines.errors import DeliveryRefusedError
from ds_pipelines.scoring.checks import Expected
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.drift import profile
from ds_pipelines_tests.scoring.scenario import INPUTS, MONDAY, RELEASE, ask, job, rows

if TYPE_CHECKING:
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.settings import Settings

MANY = 1_000
FEATURES = pl.DataFrame({"spend": np.random.default_rng(5).normal(0, 1, MANY)})
JUDGED = np.random.default_rng(6).beta(2, 5, MANY)
"""The scores where the model was judged."""
KNOWN = profile(FEATURES.with_columns(score=JUDGED), "score")


@pytest.fixture
def keen() -> ScoringJob:
    """A job whose table no other test has touched."""
    return job(f"keen_{uuid.uuid4().hex[:8]}")


def give(keen: ScoringJob, scores: Any, settings: Settings, **expected: Any) -> Receipt:
    facts: dict[str, Any] = {"release": RELEASE, "inputs": INPUTS, "began": begin(settings)}
    frame = rows(MONDAY, list(scores))
    return deliver(frame, keen, MONDAY, settings=settings, expected=Expected(**expected), **facts)


def test_a_receipt_tells_every_check(keen: ScoringJob, settings: Settings) -> None:
    given = give(keen, JUDGED, settings, population=MANY, profile=KNOWN, features=FEATURES)
    assert {check.name: check.passed for check in given.checks} == {
        "contract": True, "population": True, "score_distribution": True, "input_drift": True,
    }  # fmt: skip


@pytest.mark.parametrize("population", [MANY - 1, MANY + 1])
def test_another_number_of_rows_than_the_population_is_not_delivered(
    keen: ScoringJob, settings: Settings, population: int
) -> None:
    with pytest.raises(DeliveryRefusedError, match=f"1,000 rows for a population of {population:,}") as refused:
        give(keen, JUDGED, settings, population=population)
    assert [(check.name, check.passed) for check in refused.value.checks][:2] == [
        ("contract", True),
        ("population", False),
    ]
    assert ask(settings, f"SELECT FROM {keen.table}") == []


def test_scores_that_became_others_are_not_delivered(keen: ScoringJob, settings: Settings) -> None:
    with pytest.raises(DeliveryRefusedError, match="score_distribution"):
        give(keen, 1 - JUDGED, settings, profile=KNOWN)
    with pytest.raises(DeliveryRefusedError, match="score_distribution"):
        give(keen, np.full(MANY, 0.3), settings, profile=KNOWN)
    assert ask(settings, f"SELECT FROM {keen.table}") == []


def test_scores_that_moved_are_delivered_and_told(keen: ScoringJob, settings: Settings) -> None:
    given = give(keen, np.clip(JUDGED + 0.1, 0, 1), settings, profile=KNOWN)
    [told] = [check for check in given.checks if check.name == "score_distribution"]
    assert not told.passed
    assert 0.25 < told.figures["psi"] < 1


def test_features_that_moved_are_told_by_name_and_stop_nothing(keen: ScoringJob, settings: Settings) -> None:
    given = give(keen, JUDGED, settings, profile=KNOWN, features=FEATURES + 3)
    [told] = [check for check in given.checks if check.name == "input_drift"]
    assert not told.passed
    assert "1 of 1 moved: spend" in told.words


def test_of_few_rows_no_movement_is_told(keen: ScoringJob, settings: Settings) -> None:
    given = give(keen, [0.99] * 20, settings, profile=KNOWN)
    assert all(check.passed for check in given.checks)
