"""What a release delivered before can be made visible again, without computing it."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines.errors import LateDeliveryError, NothingToRestoreError
from ds_pipelines.scoring import receipt
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.restore import restorable, restore
from ds_pipelines_tests.scoring.scenario import (
    INPUTS,
    MONDAY,
    RELEASE,
    SCORES,
    SCORES_CORRECTED,
    TUESDAY,
    ask,
    job,
    rows,
    scores_of,
)  # fmt: skip

if TYPE_CHECKING:
    from datetime import datetime

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.settings import Settings

WORSE = "e" * 64
"""A release that was in use after `RELEASE`, and is to be undone."""


@pytest.fixture
def keen() -> ScoringJob:
    """A job whose table no other test has touched."""
    return job(f"keen_{uuid.uuid4().hex[:8]}")


def give(
    keen: ScoringJob, day: date, scores: list[float], release: str, settings: Settings, *, began: datetime | None = None
) -> Receipt:
    facts: dict[str, Any] = {"release": release, "inputs": INPUTS, "began": began or begin(settings)}
    return deliver(rows(day, scores), keen, day, settings=settings, **facts)


@pytest.fixture
def before(keen: ScoringJob, settings: Settings) -> list[Receipt]:
    """What was delivered on two days, before another release replaced both."""
    given = [give(keen, day, SCORES, RELEASE, settings) for day in (MONDAY, TUESDAY)]
    for day in (MONDAY, TUESDAY):
        give(keen, day, SCORES_CORRECTED, WORSE, settings)
    return given


def test_the_rows_of_a_release_come_back_as_they_were_with_receipts_that_say_so(
    settings: Settings, keen: ScoringJob, before: list[Receipt]
) -> None:
    worse = receipt.delivered(keen, settings)
    restored = restore(keen, [TUESDAY, MONDAY], to_release=RELEASE, settings=settings)
    assert scores_of(settings, keen, MONDAY) == scores_of(settings, keen, TUESDAY) == SCORES
    assert restored == list(receipt.delivered(keen, settings).values())
    for now, then in zip(restored, before, strict=True):
        assert (now.release, now.checksum, now.rows, now.inputs) == (RELEASE, then.checksum, then.rows, then.inputs)
        assert (now.restores, now.replaces) == (then.delivery, worse[now.day].delivery)
        assert (now.added, now.removed, now.changed) == (4, 0, 3)


def test_a_run_that_began_before_the_restoring_does_not_undo_it(
    settings: Settings, keen: ScoringJob, before: list[Receipt]
) -> None:
    orphaned = begin(settings)
    restore(keen, [MONDAY], to_release=RELEASE, settings=settings)
    with pytest.raises(LateDeliveryError):
        give(keen, MONDAY, SCORES_CORRECTED, WORSE, settings, began=orphaned)
    assert scores_of(settings, keen, MONDAY) == SCORES


def test_a_day_that_shows_the_release_stays_as_it_is(
    settings: Settings, keen: ScoringJob, before: list[Receipt]
) -> None:
    first = restore(keen, [MONDAY], to_release=RELEASE, settings=settings)
    assert restore(keen, [MONDAY], to_release=RELEASE, settings=settings) == first


def test_what_was_undone_can_be_brought_back_too(settings: Settings, keen: ScoringJob, before: list[Receipt]) -> None:
    restore(keen, [MONDAY], to_release=RELEASE, settings=settings)
    restore(keen, [MONDAY], to_release=WORSE, settings=settings)
    assert scores_of(settings, keen, MONDAY) == SCORES_CORRECTED


def test_of_days_that_the_release_never_delivered_none_is_touched(
    settings: Settings, keen: ScoringJob, before: list[Receipt]
) -> None:
    wednesday = TUESDAY + timedelta(days=1)
    give(keen, wednesday, SCORES, WORSE, settings)
    days = [MONDAY, TUESDAY, wednesday]
    assert restorable(keen, days, to_release=RELEASE, settings=settings) == {MONDAY, TUESDAY}
    with pytest.raises(NothingToRestoreError, match=str(wednesday)):
        restore(keen, days, to_release=RELEASE, settings=settings)
    assert scores_of(settings, keen, MONDAY) == SCORES_CORRECTED


def test_rows_that_were_replaced_are_kept_for_the_stated_time(
    settings: Settings, keen: ScoringJob, before: list[Receipt]
) -> None:
    kept = settings.superseded_days
    ask(
        settings,
        f"UPDATE receipts_replaced SET replaced_at = now() - interval '{kept} days 1 hour' "
        f"WHERE job = '{keen.name}' AND day = '{MONDAY}' RETURNING 1",
        "serving",
    )
    give(keen, TUESDAY + timedelta(days=1), SCORES, WORSE, settings)
    assert restorable(keen, [MONDAY, TUESDAY], to_release=RELEASE, settings=settings) == {TUESDAY}
    assert scores_of(settings, keen, MONDAY) == SCORES_CORRECTED
    assert [each.delivery for each in receipt.replaced(keen, settings, MONDAY)] == [before[0].delivery]
