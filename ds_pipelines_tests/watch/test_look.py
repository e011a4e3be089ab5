"""What a look at production sees: late, drifted, failed and well again; each told once, by real mail."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from pydantic import SecretStr

from ds_pipelines.production.alerts import look_once
from ds_pipelines.scoring.checks import Expected
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.drift import Sample, profile
from ds_pipelines_tests.scoring.scenario import INPUTS, RELEASE, job, rows
from ds_pipelines_tests.watch.conftest import name_channels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.watch.receivers import MailServer

PASSWORD = "hunter2"  # noqa: S105


@pytest.fixture
def keen() -> ScoringJob:
    """A job whose table no other test has touched; its day is due at once."""
    return dataclasses.replace(job(f"keen_{uuid.uuid4().hex[:8]}"), due=time(0), deadline=time(8))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def place(settings: Settings, watched: Settings, mail: MailServer) -> Settings:
    """Production, at noon of the business's today, with a mailbox that is told."""
    name_channels(watched, mail.address)
    return settings.model_copy(update={"environment": "production", "pages_address": "https://pages.example"})


def look(keen: ScoringJob, place: Settings, instance: dg.DagsterInstance) -> str:
    return look_once(instance, [keen], ["daily_scoring", "daily_extract"], place)


def give(keen: ScoringJob, day: date, place: Settings, *, moved: bool = False) -> None:
    """Delivers a day whose scores are distributed as the release knows them, or have moved."""
    scores = [(at % 100) / 200 for at in range(400)]
    known = profile(rows(day, scores).select("score"), "score")
    # Half of those above the middle come to lie below it: to be told, and not so much that it is refused.
    lower = [score - 0.25 if score >= 0.25 and at < 200 else score for at, score in enumerate(scores)]
    seen, frame = Sample(), rows(day, lower if moved else scores)
    seen.see(frame.select("score"))
    expected = Expected(population=len(scores), profile=known, features=seen)
    facts: dict[str, Any] = {"release": RELEASE, "inputs": INPUTS, "began": begin(place), "expected": expected}
    deliver(frame, keen, day, settings=place, **facts)


def end(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, name: str = "daily_extract", **tags: str) -> str:
    """A run that has ended."""
    known = {key.replace("_", "/", 1): value for key, value in tags.items()}
    return create_run_for_test(instance, name, status=status, tags=known).run_id


def titles(mail: MailServer) -> list[str]:
    found = []
    for text in mail.texts():
        subject, _, body = text.partition("\n")
        found += [line for line in body.splitlines() if line.startswith("[production]")] or [subject]
    return found


def test_a_job_that_missed_its_deadline_is_told_once_and_its_catching_up_once(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    newest = place.last_extractable_day()
    give(keen, newest - timedelta(days=1), place)
    look(keen, place, instance)
    look(keen, place, instance)
    give(keen, newest, place)
    look(keen, place, instance)
    look(keen, place, instance)
    late, recovered = f"[production] Late: {keen.name}", f"[production] Recovered: {keen.name} (late)"
    assert titles(mail) == [late, recovered]
    text = mail.texts()[0]
    assert f"{newest} was to be there by" in text
    assert f"https://pages.example/assets/serving/{keen.table}" in text
    assert "Next step: see whether its run failed" in text


def test_a_backfill_of_an_old_day_makes_nothing_fresh(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    give(keen, place.last_extractable_day() - timedelta(days=1), place)
    look(keen, place, instance)
    give(keen, place.last_extractable_day() - timedelta(days=9), place)
    look(keen, place, instance)
    assert titles(mail) == [f"[production] Late: {keen.name}"]


def test_before_the_deadline_nothing_is_late(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    give(keen, place.last_extractable_day() - timedelta(days=1), place)
    look(dataclasses.replace(keen, deadline=time(13)), place, instance)  # it is noon
    assert titles(mail) == []


def test_scores_that_moved_are_told_by_figures_and_no_score(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    newest = place.last_extractable_day()
    give(keen, newest, place, moved=True)
    look(keen, place, instance)
    give(keen, newest, place)
    look(keen, place, instance)
    assert titles(mail) == [f"[production] Drifted: {keen.name}", f"[production] Recovered: {keen.name} (drifted)"]
    assert "PSI" in mail.texts()[0]


def test_a_failed_run_is_told_once_with_its_page_and_its_success_once(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    give(keen, place.last_extractable_day(), place)
    look(keen, place, instance)
    failed = end(instance, dg.DagsterRunStatus.FAILURE, dagster_partition="2025-03-03")
    look(keen, place, instance)
    end(instance, dg.DagsterRunStatus.FAILURE, dagster_partition="2025-03-03")
    look(keen, place, instance)
    end(instance, dg.DagsterRunStatus.SUCCESS, dagster_partition="2025-03-03")
    look(keen, place, instance)
    what = "daily_extract 2025-03-03"
    assert titles(mail) == [f"[production] Failed: {what}", f"[production] Recovered: {what} (failed)"]
    assert f"https://pages.example/runs/{failed}" in mail.texts()[0]


def test_a_run_that_will_be_tried_again_has_not_failed_yet(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    give(keen, place.last_extractable_day(), place)
    end(instance, dg.DagsterRunStatus.FAILURE, dagster_will_retry="true")
    look(keen, place, instance)
    assert titles(mail) == []


def test_a_day_that_failed_is_well_when_it_is_delivered_by_whichever_run(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    newest = place.last_extractable_day()
    day = newest - timedelta(days=3)
    give(keen, newest, place)
    end(instance, dg.DagsterRunStatus.FAILURE, "daily_scoring", dagster_partition=str(day))
    look(keen, place, instance)
    give(keen, day, place)
    look(keen, place, instance)
    what = f"{keen.name} {day}"
    assert titles(mail) == [f"[production] Failed: {what}", f"[production] Recovered: {what} (failed)"]


def test_what_exploration_runs_is_its_own_business(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    give(keen, place.last_extractable_day(), place)
    end(instance, dg.DagsterRunStatus.FAILURE, "an_experiment")
    look(keen, place, instance)
    assert titles(mail) == []


def test_a_serving_database_that_is_away_is_told_and_its_password_is_not(
    keen: ScoringJob, place: Settings, instance: dg.DagsterInstance, mail: MailServer
) -> None:
    url = SecretStr(f"postgresql://scoring:{PASSWORD}@127.0.0.1:9/serving")
    look(keen, place.model_copy(update={"serving_url": url}), instance)
    give(keen, place.last_extractable_day(), place)
    look(keen, place, instance)
    what = "the serving database"
    assert titles(mail) == [f"[production] Failed: {what}", f"[production] Recovered: {what} (failed)"]
    assert PASSWORD not in str(mail.messages)


def test_the_look_says_what_came_of_it(keen: ScoringJob, place: Settings, instance: dg.DagsterInstance) -> None:
    give(keen, place.last_extractable_day() - timedelta(days=1), place)
    assert look(keen, place, instance) == "1 began, 0 recovered, 1 open. 1 sent, 0 not taken."
    place.alert_channels.unlink()
    assert "No channel is named" in look(keen, place, instance)
