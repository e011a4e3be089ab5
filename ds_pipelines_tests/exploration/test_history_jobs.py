"""In Dagster's pages a person sees what was tried, compares two runs, closes an idea, and has runs repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from ds_pipelines import lab, postgres
from ds_pipelines.lab.history import opened
from ds_pipelines_tests.locations import adopt, defined, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

REASON = "the moon makes nobody return"
IDEA = 'from ds_pipelines import lab\nlab.metric("moon", lab.param("phase", 3))\n'


@pytest.fixture(scope="module")
def place(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with one experiment, which was run twice; no gateway runs, and nothing of Dagster's."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "moon.py").write_text(IDEA)
    tracking = postgres.sqlalchemy_url(postgres.url("mlflow", settings))
    place = settings.model_copy(update={"experiments": folder, "tracking_address": tracking})
    with pytest.MonkeyPatch.context() as patch:
        adopt(patch, place)
        lab.run("moon", settings=place)
        lab.run("moon", settings=place, parameters={"phase": "4"})
        yield place


def execute(place: Settings, job: str, op: str, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = load("exploration", place)
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
        )


def shown(result: dg.ExecuteInProcessResult, name: str) -> str:
    [event] = [each for each in result.all_events if each.event_type_value == "STEP_OUTPUT"]
    return str(event.step_output_data.metadata[name].value)


def newest(place: Settings) -> list[str]:
    with opened(place) as history:
        return [run.run_id for run in history.runs("moon")]


def test_the_history_of_an_experiment_is_a_table_on_its_asset(place: Settings) -> None:
    result = execute(place, "experiment_history", "show_history", {"experiment": "moon"})
    assert result.success
    table = shown(result, "history")
    assert all(run_id[:8] in table for run_id in newest(place))
    [observation] = result.get_asset_observation_events()
    assert observation.asset_key == dg.AssetKey(["experiments", "moon"])


def test_all_experiments_are_a_table(place: Settings) -> None:
    assert "| moon |" in shown(execute(place, "experiment_history", "show_history", {"experiment": ""}), "history")


def test_two_runs_are_compared(place: Settings) -> None:
    second, first = newest(place)
    result = execute(place, "compare_runs", "show_comparison", {"a": first, "b": second})
    assert "phase: 3 → 4" in shown(result, "comparison")


def test_an_unknown_run_ends_with_one_sentence(place: Settings) -> None:
    result = execute(place, "compare_runs", "show_comparison", {"a": "nobody", "b": "nobody"})
    [failure] = [each for each in result.all_events if each.event_type_value == "STEP_FAILURE"]
    assert "There is no run 'nobody'" in (failure.step_failure_data.user_failure_data.description or "")


def test_a_closed_idea_says_so_on_its_asset_and_can_be_opened_again(place: Settings) -> None:
    assert execute(place, "close_experiment", "close_idea", {"experiment": "moon", "because": REASON}).success
    spec = defined(load("exploration", place))["experiments/moon"]
    assert REASON in (spec.description or "")
    assert spec.tags["closed"] == "yes"
    assert execute(place, "close_experiment", "close_idea", {"experiment": "moon", "because": ""}).success
    assert REASON not in (defined(load("exploration", place))["experiments/moon"].description or "")


def test_kept_runs_are_repeated_and_what_differs_fails_the_job(place: Settings) -> None:
    kept, other = newest(place)
    with opened(place) as history:
        for run in history.runs():  # of other tests
            history.client.set_tag(run.run_id, "ds.kept", "no")
        history.client.set_tag(kept, "ds.kept", "yes")
    result = execute(place, "reproduce_kept", "repeat_runs", {"runs": "kept"})
    assert result.success
    [observation] = result.get_asset_observation_events()
    assert observation.asset_observation_data.asset_observation.metadata["reproduction"].value == "identical"

    (place.experiments / "chance.py").write_text(
        'import random\nfrom ds_pipelines import lab\nlab.metric("chance", random.random())\n'
    )
    unsteady = lab.run("chance", settings=place).record.run_id
    with opened(place) as history:
        history.client.set_tag(unsteady, "ds.kept", "yes")
    assert not execute(place, "reproduce_kept", "repeat_runs", {"runs": "kept"}).success
    with opened(place) as history:
        assert history.run(unsteady).reproduction == "differs"
        assert history.run(other).reproduction is None


def test_what_releases_were_made_from_is_repeated_each_night(place: Settings) -> None:
    schedule = load("exploration", place).resolve_schedule_def("reproduce_released_nightly")
    assert schedule.cron_schedule == "30 2 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = schedule.evaluate_tick(dg.build_schedule_context(instance=instance))
    [request] = ticks.run_requests or []
    assert request.run_config["ops"] == {"repeat_runs": {"config": {"runs": "released"}}}
