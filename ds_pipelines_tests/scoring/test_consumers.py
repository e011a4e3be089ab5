"""What consumers see beside the rows: that a day was corrected, and that the newest is stale."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines.scoring import receipt, serving
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.forget import Forgotten, forget
from ds_pipelines_tests.scoring.scenario import INPUTS, MONDAY, RELEASE, TUESDAY, ask, job, rows, scores_of

if TYPE_CHECKING:
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.settings import Settings

BEFORE, AFTER = [0.1, 0.2, 0.3], [0.1, 0.5]
"""Customer 2 gets another score, and customer 3 goes."""


@pytest.fixture
def keen() -> ScoringJob:
    """A job whose table no other test has touched."""
    return job(f"keen_{uuid.uuid4().hex[:8]}")


def give(keen: ScoringJob, day: date, scores: list[float], settings: Settings, release: str = RELEASE) -> Receipt:
    facts: dict[str, Any] = {"release": release, "inputs": INPUTS, "began": begin(settings)}
    return deliver(rows(day, scores), keen, day, settings=settings, **facts)


def test_what_was_delivered_once_was_not_corrected(keen: ScoringJob, settings: Settings) -> None:
    given = give(keen, MONDAY, BEFORE, settings)
    assert (given.added, given.removed, given.changed) == (None, None, None)
    assert ask(settings, f"SELECT FROM corrections WHERE job = '{keen.name}'") == []
    assert ask(settings, f"SELECT FROM corrections_{keen.table}") == []


def test_a_correction_is_counted_and_says_between_which_deliveries(keen: ScoringJob, settings: Settings) -> None:
    first, second = (give(keen, MONDAY, scores, settings) for scores in (BEFORE, AFTER))
    columns = "delivery, replaces, rows_before, rows, added, removed, changed"
    found = ask(settings, f"SELECT {columns} FROM corrections WHERE job = '{keen.name}'")
    assert found == [(str(second.delivery), str(first.delivery), 3, 2, 0, 1, 1)]
    assert (second.added, second.removed, second.changed) == (0, 1, 1)


def test_the_rows_that_differ_are_told_as_they_were_and_as_they_are(keen: ScoringJob, settings: Settings) -> None:
    give(keen, MONDAY, BEFORE, settings)
    give(keen, MONDAY, AFTER, settings)
    columns = "day, change, customer, score_before, score"
    found = ask(settings, f"SELECT {columns} FROM corrections_{keen.table} ORDER BY customer")
    assert found == [(MONDAY, "changed", 2, 0.2, 0.5), (MONDAY, "removed", 3, 0.3, None)]


def test_the_same_rows_by_another_release_are_a_correction_without_a_row(keen: ScoringJob, settings: Settings) -> None:
    give(keen, MONDAY, BEFORE, settings)
    give(keen, MONDAY, BEFORE, settings, release="b" * 64)
    columns = "left(release_before, 1), left(release, 1), added, removed, changed"
    found = ask(settings, f"SELECT {columns} FROM corrections WHERE job = '{keen.name}'")
    assert found == [(RELEASE[0], "b", 0, 0, 0)]


@pytest.mark.parametrize(
    ("today", "deadline", "stale"),
    [
        (TUESDAY + timedelta(days=1), time(8), False),
        (TUESDAY + timedelta(days=2), time(8), True),
        (TUESDAY + timedelta(days=2), time(12, 30), False),
    ],
)
def test_the_newest_is_stale_from_the_deadline_of_the_next_day_on(
    keen: ScoringJob, settings: Settings, today: date, deadline: time, stale: bool
) -> None:
    """At noon of a day; the newest delivered day is a Tuesday, the next is due on Thursday."""
    give(keen, TUESDAY, BEFORE, settings)
    promised = dataclasses.replace(keen, deadline=deadline)
    serving.ensure([promised], settings.model_copy(update={"today": today}))
    assert ask(settings, f"SELECT DISTINCT day, stale FROM latest_{keen.table}") == [(TUESDAY, stale)]
    assert ask(settings, f"SELECT day, stale FROM freshness WHERE job = '{keen.name}'") == [(TUESDAY, stale)]


def test_without_a_set_today_the_database_tells_by_its_own_clock(keen: ScoringJob, settings: Settings) -> None:
    """So that it is told even when nothing of production runs any more."""
    give(keen, MONDAY, BEFORE, settings)
    serving.ensure([keen], settings.model_copy(update={"today": None}))
    assert ask(settings, f"SELECT DISTINCT stale FROM latest_{keen.table}") == [(True,)]
    [(owed,)] = ask(settings, f"SELECT owed FROM freshness WHERE job = '{keen.name}'")
    assert datetime.now().date() - owed in {timedelta(days=1), timedelta(days=2)}  # noqa: DTZ005 — either is right


def test_a_job_that_never_delivered_is_stale(keen: ScoringJob, settings: Settings) -> None:
    serving.ensure([keen], settings)
    assert ask(settings, f"SELECT day, stale FROM freshness WHERE job = '{keen.name}'") == [(None, True)]


def test_an_erased_person_goes_from_what_was_replaced_as_well(keen: ScoringJob, settings: Settings) -> None:
    for scores in (BEFORE, AFTER):
        give(keen, MONDAY, scores, settings)
    gone = forget(keen, "customer", lambda persons: persons == "2", settings, do_it=True)
    assert gone == [Forgotten(keen.name, MONDAY, 2)]
    assert ask(settings, f"SELECT FROM {keen.table}_rows WHERE customer = 2", "serving") == []
    assert scores_of(settings, keen, MONDAY) == [0.1]
    left, [before] = receipt.find(keen, MONDAY, settings), receipt.replaced(keen, settings)
    assert left is not None
    assert (left.rows, before.rows) == (1, 2)
    assert left.checksum == give(keen, TUESDAY, [0.1], settings).checksum


def test_a_day_of_which_nothing_is_left_is_not_delivered_any_more(keen: ScoringJob, settings: Settings) -> None:
    give(keen, MONDAY, [0.5], settings)
    forget(keen, "customer", lambda persons: pl.Series([True] * len(persons)), settings, do_it=True)
    assert receipt.find(keen, MONDAY, settings) is None
    assert ask(settings, f"SELECT rows FROM erasures WHERE job = '{keen.name}'", "serving") == [(1,)]
