"""Which days a scoring job owes by now, and which of them are asked for: pure arithmetic on receipts and attempts."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines.production.attempts import Attempt
from ds_pipelines.production.days import expected, freshness, moment_after
from ds_pipelines.production.due import LONGEST, Standing, Wanted
from ds_pipelines.scoring.receipt import Input, Receipt
from ds_pipelines.settings import Settings, load_settings
from ds_pipelines_tests.scoring.scenario import job

if TYPE_CHECKING:
    from collections.abc import Collection

KEEN = job("keen")
FIRST = date(2025, 3, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(10)]
TODAY = DAYS[-1] + timedelta(days=1)
NOW = datetime(2025, 3, 11, 12, tzinfo=UTC)
SOURCE, CHANGED = "a" * 16, "b" * 16
SPRING, AUTUMN = date(2025, 3, 30), date(2025, 10, 26)
"""The days of 23 and of 25 hours."""


def business(today: date = TODAY, **changes: Any) -> Settings:
    return load_settings(home=Path("/nowhere"), first_day=FIRST, today=today, **changes)


def receipt(day: date, source: str = SOURCE) -> Receipt:
    read = Input(table="orders", rows=1, since=None, until=day, policy_digest="p", read_at=NOW, source=source)
    return Receipt(
        job="keen", day=day, delivery=uuid.uuid4(), release="r", code="d", rows=1, checksum="c",
        inputs=(read,), began=NOW, delivered_at=NOW, replaces=None,
    )  # fmt: skip


class Place:
    """A standing at noon of the business's today, whose source does not change unless it is told so."""

    def __init__(self, delivered: Collection[date] = (), attempts: Collection[Attempt] = ()) -> None:
        self.standing = Standing(DAYS, {day: receipt(day) for day in delivered}, list(attempts), NOW)
        self.source = dict.fromkeys(DAYS, SOURCE)
        self.asked: set[date] = set()

    def wanted(self, *, version: str = "v1", most: int = 31, again: int = 0) -> list[Wanted]:
        return self.standing.wanted(self._sources, version=lambda: version, most=most, again=again)

    def _sources(self, days: Collection[date]) -> dict[date, dict[str, str]]:
        self.asked |= set(days)
        return {day: {"orders": self.source[day]} for day in days}


def attempt(wanted: Wanted, minutes_ago: float | None, *, refused: Collection[date] = (), **told: Any) -> Attempt:
    ended = None if minutes_ago is None else NOW - timedelta(minutes=minutes_ago)
    return Attempt(str(uuid.uuid4()), wanted.days, ended, inputs=wanted.inputs, refused=frozenset(refused), **told)


def test_days_are_owed_from_the_first_that_was_delivered_to_the_newest_that_is_due() -> None:
    assert expected(KEEN, [DAYS[4], DAYS[2]], business()) == DAYS[2:]


def test_a_job_that_never_delivered_owes_the_newest_day_only() -> None:
    assert expected(KEEN, [], business()) == DAYS[-1:]


def test_a_job_owes_what_it_declares_and_nothing_before_the_business_began() -> None:
    declared = dataclasses.replace(KEEN, first=DAYS[3])
    assert expected(declared, [], business()) == DAYS[3:]
    assert expected(dataclasses.replace(KEEN, first=date(2020, 1, 1)), [], business()) == DAYS


def test_a_day_is_owed_once_it_is_due_by_the_business_s_clock() -> None:
    late = dataclasses.replace(KEEN, due=time(12, 1), first=FIRST)
    assert expected(late, [], business()) == DAYS[:-1]
    assert expected(dataclasses.replace(late, due=time(12)), [], business()) == DAYS


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
def test_days_of_23_and_25_hours_are_owed_once_each(day: date) -> None:
    around = [day + timedelta(days=offset) for offset in (-1, 0, 1)]
    settings = business(today=day + timedelta(days=2))
    assert expected(dataclasses.replace(KEEN, first=around[0]), [], settings) == around


def test_a_time_that_the_clock_skips_is_the_one_an_hour_on() -> None:
    skipped = moment_after(SPRING - timedelta(days=1), time(1, 30), business())
    assert (skipped.hour, skipped.minute, skipped.utcoffset()) == (2, 30, timedelta(hours=1))


def test_five_o_clock_is_five_o_clock_before_and_after_the_clock_changes() -> None:
    moments = [moment_after(SPRING + timedelta(days=offset), time(5), business()) for offset in (-2, -1, 0)]
    assert {moment.hour for moment in moments} == {5}
    assert [moment.astimezone(UTC).hour for moment in moments] == [5, 4, 4]


def test_freshness_is_judged_on_the_newest_delivered_day_and_not_on_the_newest_delivery() -> None:
    assert not freshness(KEEN, DAYS, business()).late
    behind = freshness(KEEN, DAYS[:-1], business())
    assert behind.late
    assert f"{DAYS[-1]} was to be there by 2025-03-11 08:00" in behind.words


def test_before_the_deadline_nobody_is_late() -> None:
    patient = dataclasses.replace(KEEN, deadline=time(23))
    assert not freshness(patient, DAYS[:-1], business()).late


def test_everything_delivered_nothing_is_asked_for_and_production_is_not_looked_at() -> None:
    place = Place(DAYS)
    assert place.wanted() == []
    assert place.asked == set()


def test_missing_days_in_a_row_are_one_run_and_the_newest_comes_first() -> None:
    runs = Place([DAYS[0], DAYS[5]]).wanted()
    assert [each.days for each in runs] == [tuple(DAYS[6:]), tuple(DAYS[1:5])]


def test_no_more_days_than_allowed_are_asked_for_at_a_time() -> None:
    [run] = Place().wanted(most=3)
    assert run.days == tuple(DAYS[-3:])


def test_a_day_on_which_somebody_works_is_not_asked_for_again() -> None:
    [first] = Place(DAYS[:-2]).wanted()
    assert Place(DAYS[:-2], [attempt(first, None)]).wanted() == []


def test_the_key_names_day_attempt_and_input() -> None:
    [first] = Place(DAYS[:-1]).wanted()
    assert first.key("keen") == f"keen {DAYS[-1]} attempt 1 inputs {first.inputs[DAYS[-1]]}"


def test_a_crash_is_tried_again_under_another_key_after_a_pause() -> None:
    [first] = Place(DAYS[:-1]).wanted()
    assert Place(DAYS[:-1], [attempt(first, 0.5)]).wanted() == []
    [second] = Place(DAYS[:-1], [attempt(first, 1.5)]).wanted()
    assert (second.attempt, second.inputs) == (2, first.inputs)
    assert second.key("keen") != first.key("keen")


def test_pauses_grow_up_to_the_longest_and_no_day_is_given_up() -> None:
    [first] = Place(DAYS[:-1]).wanted()
    crashes = [attempt(first, minutes) for minutes in range(50, 90)]
    assert Place(DAYS[:-1], crashes).wanted() == []
    crashes = [attempt(first, minutes + LONGEST) for minutes in range(40)]
    [again] = Place(DAYS[:-1], crashes).wanted()
    assert again.attempt == 41


def test_a_clock_that_was_set_back_does_not_keep_a_day_waiting() -> None:
    [first] = Place(DAYS[:-1]).wanted()
    [again] = Place(DAYS[:-1], [attempt(first, -5 * 24 * 60)]).wanted()
    assert again.attempt == 2


def test_a_refused_day_waits_until_its_source_has_changed() -> None:
    [first] = Place(DAYS[:-1]).wanted()
    place = Place(DAYS[:-1], [attempt(first, 300, refused=DAYS[-1:])])
    assert place.wanted() == []
    assert place.wanted(again=7) == []
    place.source[DAYS[-1]] = CHANGED
    [again] = place.wanted(again=7)
    assert (again.days, again.attempt) == ((DAYS[-1],), 1)


def test_a_refused_day_is_tried_again_with_another_release_or_policy() -> None:
    [first] = Place(DAYS[:-1]).wanted()
    assert Place(DAYS[:-1], [attempt(first, 300, refused=DAYS[-1:])]).wanted(version="v2", again=7)


def test_a_day_that_was_refused_holds_no_other_back() -> None:
    [whole] = Place(DAYS[:7]).wanted()
    refused = attempt(whole, 300, refused=[DAYS[8]])
    runs = Place(DAYS[:7], [refused]).wanted()
    assert [each.days for each in runs] == [(DAYS[9],), (DAYS[7],)]


def test_a_delivered_day_whose_source_has_changed_is_scored_again() -> None:
    place = Place(DAYS)
    place.source[DAYS[6]] = CHANGED
    assert place.wanted() == []
    [again] = place.wanted(again=7)
    assert again.days == (DAYS[6],)


def test_what_changed_in_days_long_settled_is_left_as_it_was() -> None:
    place = Place(DAYS)
    place.source[DAYS[0]] = CHANGED
    assert place.wanted(again=7) == []


def test_a_delivery_that_did_not_note_its_source_counts_as_unchanged() -> None:
    place = Place(DAYS)
    place.standing.delivered[DAYS[-1]] = receipt(DAYS[-1], source="")
    assert place.wanted(again=7) == []
