"""When production is watched, and by which commands people see it."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest
from dagster._core.test_utils import create_run_for_test
from typer.testing import CliRunner

from ds_pipelines.cli import app
from ds_pipelines.errors import ChannelRefusedError, NoChannelError, UnknownProblemError
from ds_pipelines.production.assets.performance import performance_asset
from ds_pipelines.production.assets.serving import serving_asset
from ds_pipelines.production.days import daily
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.production.watching import FOR, watched_days
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.settings import load_settings
from ds_pipelines.watch.problems import Problem, still_open
from ds_pipelines.watch.problems import begin as open_problem
from ds_pipelines.watch.state import remembered
from ds_pipelines_tests.locations import adopt, load
from ds_pipelines_tests.watch.conftest import name_channels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.watch.receivers import MailServer, Webhook

LATE = Problem("lateness", "repurchase", "Not delivered.", "Look at the run.", "http://pages/x")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def command(settings: Settings, *arguments: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        adopt(patch, settings)
        return CliRunner().invoke(app, ["alerts", *arguments])


@pytest.mark.parametrize("name", ["alerts", "watched_days"])
@pytest.mark.parametrize(
    ("environment", "status"),
    [("development", dg.DefaultSensorStatus.STOPPED), ("production", dg.DefaultSensorStatus.RUNNING)],
)
def test_only_production_is_watched_by_itself(
    name: str, environment: str, status: dg.DefaultSensorStatus, tmp_path: Path
) -> None:
    definitions = load("production", load_settings(home=tmp_path, environment=environment))
    assert definitions.resolve_sensor_def(name).default_status == status


def test_the_report_is_drawn_on_mondays_business_time(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, environment="production", zone="Europe/Berlin")
    schedule = load("production", settings).resolve_schedule_def("weekly_report_on_mondays")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 7 * * 1", "Europe/Berlin")


def test_a_serving_table_has_its_deadline_as_a_freshness_policy(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, zone="Europe/Berlin")
    [spec] = serving_asset(JOBS["repurchase"], daily(settings)).specs
    assert spec.freshness_policy == dg.FreshnessPolicy.cron("0 8 * * *", timedelta(hours=3), "Europe/Berlin")


def test_days_whose_outcome_is_known_are_asked_for_together_and_some_times_at_most(
    settings: Settings, watched: Settings, instance: dg.DagsterInstance
) -> None:
    job = dataclasses.replace(JOBS["repurchase"], name="repurchase_ripe", table="repurchase_ripe_scores")
    last = settings.last_extractable_day()
    for back in (31, 30, 29):
        _give(job, last - timedelta(days=back), settings)
    first, newest = str(last - timedelta(days=31)), str(last - timedelta(days=30))
    asset = performance_asset(job, daily(settings))
    sensor = watched_days([job], dg.define_asset_job("watch_days", [asset.key]), settings)

    def ask() -> list[dg.RunRequest | dg.SkipReason]:
        with pytest.MonkeyPatch.context() as patch:
            adopt(patch, settings)
            return list(sensor(dg.build_sensor_context(instance=instance)))  # type: ignore[call-overload]

    [request] = ask()
    assert request.asset_selection == [dg.AssetKey(["performance", job.name])]
    assert (request.tags["dagster/asset_partition_range_start"], request.tags["dagster/asset_partition_range_end"]) == (
        first, newest,
    )  # fmt: skip
    for _ in range(3):
        create_run_for_test(instance, tags={FOR: request.tags[FOR]}, status=dg.DagsterRunStatus.FAILURE)
    [skipped] = ask()
    assert isinstance(skipped, dg.SkipReason)


def _give(job: ScoringJob, day: date, settings: Settings) -> None:
    rows = pl.DataFrame({"customer_id": [1], "score": [0.5]}).select(
        day=pl.lit(day), customer_id="customer_id", score="score", decile=pl.lit(1, pl.Int16), release=pl.lit("7")
    )
    deliver(rows, job, day, release="7", inputs=[], settings=settings, began=begin(settings))


def test_a_trial_reaches_every_channel_or_says_which_it_did_not(
    watched: Settings, mail: MailServer, hook: Webhook
) -> None:
    assert isinstance(command(watched, "try").exception, NoChannelError)
    name_channels(watched, mail.address, hook.address)
    assert command(watched, "try").exit_code == 0
    hook.refuses = True
    result = command(watched, "try")
    assert isinstance(result.exception, ChannelRefusedError)
    assert "JSON (line 3) did not take the message" in str(result.exception)
    assert "s3cretToken" not in f"{result.exception}{result.output}"
    assert (len(mail.messages), len(hook.messages)) == (2, 1)


def test_what_is_open_is_listed_and_can_be_closed_by_hand(watched: Settings) -> None:
    with remembered(watched) as cursor:
        open_problem(cursor, LATE, "production")
        [problem] = still_open(cursor)
    shown = command(watched, "list").output
    assert "[production] Late: repurchase" in shown
    assert "Next step: Look at the run." in shown
    assert command(watched, "close", str(problem.id)).exit_code == 0
    assert "Nothing is wrong that the watch knows of." in command(watched, "list").output
    assert isinstance(command(watched, "close", str(problem.id)).exception, UnknownProblemError)
