"""What came true is held against what was promised, once it is known and once a delivery."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ds_pipelines.evidence import Performance
from ds_pipelines.extract import production
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.watch.performance import measure, measured, promises, ripe
from ds_pipelines.watch.problems import Problem, Well
from ds_pipelines.watch.ranking import ranked
from ds_pipelines.watch.state import remembered

if TYPE_CHECKING:
    from datetime import date

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

REPURCHASE = JOBS["repurchase"]


@pytest.fixture(scope="module")
def job() -> ScoringJob:
    """Repurchase under a name of its own, so that no other test's deliveries are in its table."""
    return dataclasses.replace(REPURCHASE, name="repurchase_watched", table="repurchase_watched_scores")


@pytest.fixture(scope="module")
def orders(settings: Settings) -> pl.DataFrame:
    on = pl.col("placed_at").dt.convert_time_zone(settings.zone).dt.date()
    found = production.transformed("orders", settings).with_columns(on=on)
    return found.filter(pl.col("customer_id").is_not_null(), pl.col("kind") == "sale")


@pytest.fixture
def place(settings: Settings, watched: Settings) -> Settings:
    return settings


def buyers(orders: pl.DataFrame, day: date) -> set[int]:
    """Who bought within 30 days after, told by another way than the job's."""
    return {who for who, on in orders.select("customer_id", "on").iter_rows() if 0 < (on - day).days <= 30}


def give(job: ScoringJob, day: date, scores: dict[int, float], place: Settings) -> None:
    frame = pl.DataFrame({"customer_id": list(scores), "score": list(scores.values())}).sort("customer_id")
    release = "7" * 64
    rows = frame.select(
        day=pl.lit(day), customer_id="customer_id", score="score", decile=pl.lit(1, pl.Int16), release=pl.lit(release)
    )
    deliver(rows, job, day, release=release, inputs=[], settings=place, began=begin(place))


def test_the_live_statistic_is_that_of_what_was_delivered_and_came_true(
    job: ScoringJob, place: Settings, orders: pl.DataFrame
) -> None:
    day = place.last_extractable_day() - timedelta(days=40)
    known = sorted({who for who, on in orders.select("customer_id", "on").iter_rows() if on <= day})
    bought, rng = buyers(orders, day), np.random.default_rng(5)
    scores = {who: float(np.clip(0.3 * (who in bought) + 0.6 * rng.random(), 0, 1)) for who in known}
    give(job, day, scores, place)
    assert ripe(job, place) == [day]
    [found] = measure(job, [day], place)
    truth = np.array([who in bought for who in known])
    assert found.value == pytest.approx(roc_auc_score(truth, [scores[who] for who in known]), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.rows == len(known)
    assert found.came_true == pytest.approx(truth.mean())
    assert found.said == pytest.approx(np.mean(list(scores.values())))
    assert (found.promised, found.kept) == (None, True)  # of a release that is not kept
    with remembered(place) as cursor:
        assert measured(cursor, job.name) == [found]
    assert ripe(job, place) == []  # once …
    give(job, day, scores | {known[0]: 0.5}, place)
    assert ripe(job, place) == [day]  # … a delivery


def test_a_day_is_ripe_when_its_outcome_is_known_and_not_before(job: ScoringJob, place: Settings) -> None:
    last = place.last_extractable_day()
    for back in (29, 30):
        give(job, last - timedelta(days=back), {1: 0.5}, place)
    assert last - timedelta(days=30) in ripe(job, place)
    assert last - timedelta(days=29) not in ripe(job, place)


def test_a_day_with_too_few_outcomes_is_looked_at_once_and_not_told(job: ScoringJob, place: Settings) -> None:
    day = place.last_extractable_day() - timedelta(days=33)
    give(job, day, {1: 0.5, 2: 0.6}, place)
    assert measure(job, [day], place) == []
    assert day not in ripe(job, place)


@pytest.mark.parametrize(("kept", "kind"), [(True, Well), (False, Problem)])
def test_a_promise_is_broken_when_even_the_best_that_is_likely_lies_below_it(
    job: ScoringJob, place: Settings, kept: bool, kind: type[Problem | Well]
) -> None:
    day = place.last_extractable_day() - timedelta(days=50)
    record = Performance(
        job=job.name, day=day, release="7", delivery=UUID(int=0), rows=500, came_true=0.3, said=0.3,
        statistic="ROC AUC", value=0.62, low=0.58, high=0.66, squared_error=0.2, promised=0.71,
        promised_low=0.65 if kept else 0.67, promised_high=0.78, at=datetime.now(UTC),
    )  # fmt: skip
    with remembered(place) as cursor:
        cursor.execute(
            "INSERT INTO watch.performance VALUES (%s, %s, '7', %s, %s)",
            (job.name, day, "0" * 32, record.model_dump_json()),
        )
        [seen] = promises(cursor, [job], place)
    assert isinstance(seen, kind)
    assert "0.620 (0.580 to 0.660)" in seen.words
    assert seen.subject == job.name


def test_the_interval_holds_what_it_says() -> None:
    rng, held = np.random.default_rng(11), 0
    for _ in range(200):
        outcome = (rng.random(300) < 0.3).astype(float)
        _, _, low, high = ranked(outcome, outcome + rng.normal(size=300)) or ("", 0, 0, 0)
        held += low <= 0.7602 <= high  # P(N(1, √2) > 0)
    assert 180 <= held <= 198


def test_numbers_are_told_by_the_agreement_of_their_ranks() -> None:
    values = np.arange(50.0)
    name, value, _, _ = ranked(values, values**3) or ("", 0, 0, 0)
    assert (name, value) == ("rank agreement", pytest.approx(1.0))
    assert ranked(values[:5], values[:5]) is None
