"""What was tried is found again: listed, shown, compared, closed with its reason, and let go by one rule."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from ds_pipelines import lab
from ds_pipelines.errors import (
    NoReasonError,
    UnknownClosingError,
    UnknownRunError,
    UnreadableReleaseError,
)
from ds_pipelines.lab import closing, pruning
from ds_pipelines.lab.compare import code_difference, compare, told
from ds_pipelines.lab.finding import Wanted, facts, tried
from ds_pipelines.lab.history import opened

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings

LAB = "from ds_pipelines import lab\n"
HELPER = "def double(number):\n    return number * 2\n"
IDEA = LAB + "from {name}_helper import double\nlab.metric('score', double(lab.param('trees', 3)))\n"
REASON = "the score says nothing"
OLD = timedelta(days=400)


@pytest.fixture
def place(bench: Settings, request: pytest.FixtureRequest) -> Settings:
    """A bench whose folders of releases and closings are the test's own."""
    own = bench.experiments.parent
    return bench.model_copy(update={"releases": own / "releases", "experiment_retention_days": 100})


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An experiment that no other test runs: MLflow is shared."""
    return request.node.name.removeprefix("test_")[:60]


def attempt(place: Settings, name: str, trees: int = 3, helper: str = HELPER) -> str:
    (place.experiments / f"{name}_helper.py").write_text(helper)
    (place.experiments / f"{name}.py").write_text(IDEA.format(name=name))
    return lab.run(name, settings=place, parameters={"trees": str(trees)}).record.run_id


def tag(place: Settings, run_id: str, key: str, value: str) -> None:
    with opened(place) as history:
        history.client.set_tag(run_id, key, value)


def make_old(place: Settings, *run_ids: str) -> None:
    """Moves runs into the past, in MLflow's own database: nobody can wait so long."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(place.tracking_base)
    then = int((datetime.now(UTC) - OLD).timestamp() * 1_000)
    with engine.begin() as connection:
        for order, run_id in enumerate(run_ids):
            connection.execute(
                sqlalchemy.text("UPDATE runs SET start_time = :at WHERE run_uuid = :id"),
                {"at": then + order, "id": run_id},
            )
    engine.dispose()


def known(place: Settings, name: str) -> set[str]:
    with opened(place) as history:
        return {run.run_id for run in history.runs(name)}


def test_an_experiment_is_listed_with_its_runs_and_bytes(place: Settings, name: str) -> None:
    attempt(place, name)
    newest = attempt(place, name, 4)
    with opened(place) as history:
        [found] = [each for each in tried(history, {}) if each.name == name]
        sizes = [history.bytes_of(run) for run in history.runs(name)]
    assert (found.runs, found.newest, found.verdict, found.closed) == (2, newest, None, None)
    assert found.bytes == sum(size or 0 for size in sizes) > 0


def test_experiments_are_found_by_question_verdict_and_whether_they_are_closed(place: Settings, name: str) -> None:
    run_id = attempt(place, name)
    tag(place, run_id, "ds.question", "Does the moon make customers return?")
    tag(place, run_id, "ds.verdict", "no signal")
    closing.close(name, REASON, place, user="ada")
    closed = closing.closings(place)

    def names(wanted: Wanted) -> set[str]:
        with opened(place) as history:
            return {each.name for each in tried(history, closed, wanted)}

    assert names(Wanted(question="THE MOON")) == {name}
    assert name in names(Wanted(verdict="no signal", closed=True))
    assert name not in names(Wanted(verdict="signal"))
    assert name not in names(Wanted(closed=False))
    assert name not in names(Wanted(table="orders"))


def test_a_run_is_found_by_the_first_digits_of_its_id(place: Settings, name: str) -> None:
    run_id = attempt(place, name)
    with opened(place) as history:
        details = facts(history, history.run(run_id[:12]))
    assert (details["run"], details["metrics"], details["parameters"]) == (run_id, {"score": 6.0}, {"trees": "3"})


def test_what_does_not_exist_is_refused_with_what_does(place: Settings, name: str) -> None:
    attempt(place, name)
    with opened(place) as history, pytest.raises(UnknownRunError, match=name):
        history.run("nobody")


def test_two_runs_are_compared_by_code_parameters_and_metrics(place: Settings, name: str) -> None:
    first = attempt(place, name)
    second = attempt(place, name, 5, HELPER.replace("* 2", "* 3"))
    comparison = compare(first, second, place)
    assert list(comparison.code) == [f"{name}_helper.py"]
    assert "-    return number * 2\n+    return number * 3" in comparison.code[f"{name}_helper.py"]
    assert comparison.parameters == {"trees": ("3", "5")}
    assert comparison.metrics == {"score": (6.0, 15.0)}
    lines = "\n".join(told(comparison))
    assert "trees: 3 → 5" in lines
    assert "score: 6 → 15 (+9)" in lines


def test_equal_runs_differ_in_nothing(place: Settings, name: str) -> None:
    comparison = compare(attempt(place, name), attempt(place, name), place)
    assert (comparison.code, comparison.parameters, comparison.data) == ({}, {}, ())


def test_a_closed_idea_stays_findable_with_its_reason(place: Settings, name: str) -> None:
    attempt(place, name)
    closing.close(name, REASON, place, user="ada")
    with opened(place) as history:
        [found] = [each for each in tried(history, closing.closings(place), Wanted(closed=True)) if each.name == name]
        tags = history.client.get_experiment_by_name(name).tags
    assert found.closed == tags["ds.closed"] == REASON
    assert closing.closings(place)[name].by == "ada"


def test_a_closing_can_be_taken_back(place: Settings, name: str) -> None:
    attempt(place, name)
    closing.close(name, REASON, place)
    closing.reopen(name, place)
    assert name not in closing.closings(place)
    with pytest.raises(UnknownClosingError):
        closing.reopen(name, place)


def test_closing_needs_a_reason_and_an_experiment(place: Settings, name: str) -> None:
    with pytest.raises(NoReasonError):
        closing.close(name, " ", place)
    with pytest.raises(UnknownRunError):
        closing.close(name, REASON, place)


def test_old_runs_go_for_good_but_not_what_is_needed(place: Settings, name: str) -> None:
    plain, released, kept, newest = (attempt(place, name) for _ in range(4))
    with opened(place) as history:
        history.keep(history.run(kept), kept=True)
    place.releases.mkdir()
    (place.releases / "score-1.yaml").write_text(yaml.safe_dump({"name": "score", "run_id": released}))
    make_old(place, plain, released, kept, newest)
    with opened(place) as history:
        size, folder = history.bytes_of(history.run(plain)), history.folder(history.run(plain))

    dry = pruning.prune(place, store=place.tracking_base, do_it=False)
    assert plain in known(place, name)
    assert {run.run_id for run in dry.going if run.experiment == name} == {plain}
    assert dict(dry.kept).keys() >= {
        "a release of score needs it", "marked as kept", "the newest of an open experiment"
    }  # fmt: skip

    done = pruning.prune(place, store=place.tracking_base, do_it=True)
    assert known(place, name) == {released, kept, newest}
    assert done.bytes == dry.bytes >= (size or 0) > 0
    assert folder is not None
    assert not folder.exists()
    assert f"removed 1 runs of {name}" in "\n".join(pruning.told(done))
    with opened(place) as history:
        assert plain not in {run.run_id for run in history.runs(name, deleted=True)}


def test_what_was_deleted_in_mlflow_goes_with_its_artifacts(place: Settings, name: str) -> None:
    deleted, _ = attempt(place, name), attempt(place, name)
    with opened(place) as history:
        folder = history.folder(history.run(deleted))
        history.client.delete_run(deleted)
    assert folder is not None
    assert folder.exists()
    pruning.prune(place, store=place.tracking_base, do_it=True)
    assert not folder.exists()
    with opened(place) as history:
        assert not history.runs(name, deleted=True)


def test_nothing_goes_while_a_release_cannot_be_read(place: Settings, name: str) -> None:
    run_id = attempt(place, name)
    attempt(place, name)
    make_old(place, run_id)
    place.releases.mkdir()
    (place.releases / "broken.yaml").write_text("run_id: [")
    with pytest.raises(UnreadableReleaseError, match=r"broken\.yaml"):
        pruning.prune(place, store=place.tracking_base, do_it=True)
    assert run_id in known(place, name)


def test_five_hundred_runs_are_listed_within_seconds(place: Settings, name: str) -> None:
    run_id = attempt(place, name)
    with opened(place) as history:
        template = history.client.get_run(run_id)
        for _ in range(499):
            history.client.create_run(template.info.experiment_id, tags={"ds.experiment": name, "ds.verdict": "signal"})
        started = time.monotonic()
        [found] = tried(history, {}, Wanted(question=name))
        took = time.monotonic() - started
    assert found.runs == 500
    assert took < 5


def test_the_command_lists_for_programs(place: Settings, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from ds_pipelines.cli import app

    for key, value in place.as_environment().items():
        monkeypatch.setenv(key, value)
    run_id = attempt(place, name)
    listed = json.loads(CliRunner().invoke(app, ["experiments", "list", "--question", name, "--json"]).stdout)
    assert [(each["name"], each["newest"]) for each in listed] == [(name, run_id)]
    CliRunner().invoke(app, ["experiments", "close", name, "--because", REASON])
    shown = CliRunner().invoke(app, ["experiments", "show", name]).stdout
    assert REASON in shown
    assert run_id in shown
    assert run_id in CliRunner().invoke(app, ["experiments", "show", run_id]).stdout


def test_notebooks_are_compared_by_their_cells(tmp_path: Path) -> None:
    for side, source in (("a", "1 + 1"), ("b", "1 + 2")):
        cells = [{"cell_type": "code", "source": ["x = 0\n", source], "outputs": [side]}]
        (tmp_path / side).mkdir()
        (tmp_path / side / "idea.ipynb").write_text(json.dumps({"cells": cells}))
    [difference] = code_difference(tmp_path / "a", tmp_path / "b").values()
    assert difference.splitlines()[-4:] == [" [1] code", " x = 0", "-1 + 1", "+1 + 2"]
