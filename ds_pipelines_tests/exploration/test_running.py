"""An experiment run from the pages: a process of its own, through Dagster Pipes, linked both ways with MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from ds_pipelines import postgres
from ds_pipelines.evidence import RunRecord
from ds_pipelines.settings import environment, load_settings
from ds_pipelines_tests.going_on import folder_of, goes_on
from ds_pipelines_tests.locations import adopt, facts, load, reason

if TYPE_CHECKING:
    from mlflow.entities import Run

    from ds_pipelines.settings import Settings

TALKING = '''"""Says what it does."""
from ds_pipelines import lab
from dagster_pipes import PipesContext

print("a line that is printed")
lab.progress(1, 2)
lab.metric("auc", 0.75)
PipesContext.get().report_asset_materialization(metadata={"rows looked at": 7})
'''
LOOKING = '''"""Looks for what it should not find."""
import json, os, pathlib
print(json.dumps(dict(os.environ)))
'''
PASSED_BY = "hunter2hunter2"


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Settings:
    """Two experiments, and MLflow's database without its server."""
    settings = load_settings(home=home)
    (tmp_path / "talking.py").write_text(TALKING)
    (tmp_path / "looking.py").write_text(LOOKING)
    tracking = postgres.sqlalchemy_url(postgres.url("mlflow", settings))
    return settings.model_copy(update={"experiments": tmp_path, "tracking_address": tracking})


def materialize(
    settings: Settings, name: str, *, user: str | None = "ada", **variables: str
) -> dg.ExecuteInProcessResult:
    definitions = load("exploration", settings)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        adopt(patch, settings)
        for variable, value in variables.items():
            patch.setenv(variable, value)
        return definitions.resolve_job_def("all_experiments").execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["experiments", name])],
            tags={"user": user} if user else {}, raise_on_error=False,
        )  # fmt: skip


def tracked(settings: Settings, run_id: object) -> Run:
    from mlflow import MlflowClient

    return MlflowClient(settings.tracking_base).get_run(str(run_id))


def test_what_it_notes_is_in_the_log_as_it_comes_and_what_it_prints_in_the_output(
    place: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    result = materialize(place, "talking")
    assert result.success, reason(result)
    shown = capfd.readouterr()
    assert "a line that is printed" in shown.out
    for said in ("1 of 2 (50%)", "auc = 0.75", "In MLflow: http"):
        assert said in shown.err
    assert "[pipes] did not receive" not in shown.err
    assert facts(result)["rows looked at"] == 7


def test_it_is_linked_both_ways_with_mlflow(place: Settings) -> None:
    result = materialize(place, "talking")
    told = facts(result)
    tags = tracked(place, told["run id"]).data.tags
    assert str(told["MLflow run"]).endswith(f"/runs/{told['run id']}")
    assert tags["ds.dagster_run"] == result.run_id
    assert tags["ds.dagster_url"] == f"{place.webserver_base}/runs/{result.run_id}"
    assert tags["ds.dagster_url"] in tags["mlflow.note.content"]
    assert tags["ds.user"] == "ada"


def test_a_run_that_nobody_is_named_for_says_that_it_is_shared(place: Settings) -> None:
    told = facts(materialize(place, "talking", user=None))
    assert tracked(place, told["run id"]).data.tags["ds.user"] == "shared"


def test_its_process_gets_no_secret_of_the_server_s(place: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    result = materialize(
        place, "looking", DS_EXTRACT_URL=f"postgresql://a:{PASSED_BY}@b/c", SOME_NAME=PASSED_BY,
        DS_DAGSTER_STORAGE=f"postgresql://a:{PASSED_BY}@b/c", PGPASSWORD=PASSED_BY,
    )  # fmt: skip
    assert result.success, reason(result)
    [line] = [line for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    given = json.loads(line)
    assert PASSED_BY not in line
    assert "postgresql" not in line
    assert given["DS_HOME"] == str(place.home)
    assert given["PATH"] == os.environ["PATH"]


ENDLESS = """
from ds_pipelines import lab
import pathlib, time
lab.metric("auc", 0.5)
pathlib.Path("began").touch()
time.sleep(600)
"""
WORKER = """
import dagster as dg
from ds_pipelines.exploration.definitions import defs
with dg.DagsterInstance.ephemeral() as instance:
    result = defs.resolve_job_def("all_experiments").execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(["experiments", "endless"])], raise_on_error=False
    )
"""


def test_ending_the_run_ends_the_experiment_and_keeps_what_it_noted(place: Settings, tmp_path: Path) -> None:
    (place.experiments / "endless.py").write_text(ENDLESS)
    worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment(**place.as_environment()))
    deadline = time.monotonic() + 60
    while (folder := folder_of(place)) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert folder is not None
    assert goes_on(folder)
    worker.send_signal(signal.SIGINT)
    worker.wait(60)
    assert not goes_on(folder)

    from mlflow import MlflowClient

    client = MlflowClient(place.tracking_base)
    found = client.get_experiment_by_name("endless")
    [run] = client.search_runs([found.experiment_id])
    assert (run.info.status, run.data.tags["ds.status"]) == ("KILLED", "killed")
    assert run.data.metrics == {"auc": 0.5}
    kept = client.download_artifacts(run.info.run_id, "evidence/run.json", str(tmp_path))
    assert RunRecord.model_validate_json(Path(kept).read_bytes()).status == "killed"


def test_a_cap_is_said_in_one_sentence_without_advice_that_does_not_fit(place: Settings) -> None:
    header = "# /// experiment\n# minutes = 0.05\n# ///\n"
    (place.experiments / "looping.py").write_text(f"{header}print('begun')\nwhile True:\n    pass\n")
    result = materialize(place, "looping")
    assert "time: it needed more than its 3 seconds" in reason(result)
    assert "Failure" in reason(result)


def test_a_file_that_cannot_be_run_says_why(place: Settings) -> None:
    (place.experiments / "broken.py").write_text("def broken(:\n")
    assert "broken.py cannot be run: line 1 is not Python" in reason(materialize(place, "broken"))
