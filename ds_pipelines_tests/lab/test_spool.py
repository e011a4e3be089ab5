"""Nothing of a run is lost: not when MLflow is away, not when the run is killed, not when its watcher is."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import lab
from ds_pipelines.errors import RunProcessError
from ds_pipelines.evidence import RunRecord
from ds_pipelines.gateway.users import of_this_account
from ds_pipelines.lab import history, spool
from ds_pipelines.lab.layout import Layout
from ds_pipelines.settings import environment
from ds_pipelines_tests.going_on import folder_of, goes_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.entities import Run

    from ds_pipelines.settings import Settings

NOWHERE = "http://127.0.0.1:1"
IDEA = 'from ds_pipelines import lab\nlab.metric("auc", lab.param("lift", 0.75))\nprint("said")\n'
SLOW = """
from ds_pipelines import lab
import pathlib, time
lab.metric("auc", 0.5)
print("said", flush=True)
pathlib.Path("began").touch()
time.sleep(600)
"""
WATCHER = "import sys; from ds_pipelines import lab; lab.run(sys.argv[1])"


@pytest.fixture
def own(bench: Settings, tmp_path: Path) -> Settings:
    """As `bench`, with a spool of its own."""
    return bench.model_copy(update={"home": tmp_path / "home"})


def away(settings: Settings) -> Settings:
    return settings.model_copy(update={"tracking_address": NOWHERE})


def tracked(settings: Settings, run_id: str) -> Run:
    from mlflow import MlflowClient

    return MlflowClient(settings.tracking_base).get_run(run_id)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def slow_run(settings: Settings) -> tuple[subprocess.Popen[bytes], Path]:
    """A run that goes on in another process: its watcher, and its folder."""
    (settings.experiments / "slow.py").write_text(SLOW)
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCHER, "slow"], env=environment(**settings.as_environment()),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: folder_of(settings))
    folder = folder_of(settings)
    assert folder is not None
    assert goes_on(folder)
    return watcher, folder


def test_a_run_without_mlflow_is_recorded_later_as_it_was(own: Settings) -> None:
    (own.experiments / "idea.py").write_text(IDEA)
    ran = lab.run("idea", settings=away(own), parameters={"lift": "0.5"})
    [replayed] = spool.replay(own)
    assert replayed.record is not None
    run = tracked(own, replayed.record.run_id)
    assert (run.info.status, run.data.metrics, run.data.params) == ("FINISHED", {"auc": 0.5}, {"lift": "0.5"})
    assert run.info.start_time == int(ran.record.started_at.timestamp() * 1_000)
    same = {"run_id": ran.record.run_id, "url": ran.record.url}
    assert replayed.record.model_copy(update=same) == ran.record
    assert not list(own.spool.iterdir())


def test_a_run_that_waits_names_the_run_that_is_found_later(own: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    (own.experiments / "idea.py").write_text(IDEA)
    ran = lab.run("idea", settings=away(own))
    said = capsys.readouterr().err
    named, shown = (re.search(pattern, said) for pattern in (r"there as “(.+?)”", r"experiments show (\w+)` finds it"))
    assert named is not None
    assert shown is not None
    [replayed] = spool.replay(own)
    assert replayed.record is not None
    with history.opened(own) as past:
        found = {past.run(name).run_id for name in (shown[1], shown[1][:8], ran.record.run_id)}
    assert found == {replayed.record.run_id}
    assert tracked(own, replayed.record.run_id).info.run_name == named[1]


def test_a_run_says_whose_it_is(own: Settings) -> None:
    (own.experiments / "idea.py").write_text(IDEA)
    mine, ada = (lab.run("idea", settings=own, user=user).record for user in (None, "ada"))
    assert (mine.user, ada.user) == (of_this_account(), "ada")
    assert tracked(own, mine.run_id).data.tags["ds.user"] == mine.user


def test_the_next_run_records_those_before_it(own: Settings) -> None:
    (own.experiments / "idea.py").write_text(IDEA)
    for _ in range(2):
        lab.run("idea", settings=away(own))
    assert len(spool.waiting(own)) == 2
    lab.run("idea", settings=own)
    assert spool.waiting(own) == []


def test_while_mlflow_is_away_everything_stays(own: Settings) -> None:
    (own.experiments / "idea.py").write_text(IDEA)
    lab.run("idea", settings=away(own))
    [left] = spool.replay(away(own))
    assert left.record is None
    assert "no connection" in str(left.problem)
    assert spool.waiting(own) == [left.folder]


def test_what_is_interrupted_while_it_is_recorded_is_recorded_once(own: Settings) -> None:
    from ds_pipelines.lab.record import draft, open_run

    (own.experiments / "idea.py").write_text(IDEA)
    ran = lab.run("idea", settings=away(own))
    layout = Layout(own.spool / ran.record.run_id)
    opened = open_run(layout, own)  # the process was killed between this and the end
    draft(layout, url=opened.url)
    [replayed] = spool.replay(own)
    assert replayed.record is not None
    assert replayed.record.run_id == opened.run_id
    assert tracked(own, opened.run_id).data.metrics == {"auc": 0.75}


def test_a_killed_watcher_loses_nothing_and_takes_the_run_with_it(own: Settings) -> None:
    watcher, folder = slow_run(own)
    assert spool.waiting(own) == [folder]
    wait_for(Layout(folder).tracked.exists)
    assert spool.replay(own) == []  # it goes on
    watcher.kill()
    watcher.wait()
    recorded: list[spool.Replayed] = []
    wait_for(lambda: recorded.extend(spool.replay(own)) or recorded)  # once nothing of it is alive
    [replayed] = recorded
    assert not goes_on(folder)
    assert replayed.record is not None
    assert (replayed.record.status, replayed.record.metrics) == ("killed", {"auc": 0.5})
    assert replayed.record.failure == "the process that watched it was killed"
    assert replayed.record.environment is not None
    run = tracked(own, replayed.record.run_id)
    assert (run.info.status, run.data.tags["ds.status"]) == ("KILLED", "killed")


def test_a_killed_process_fails_the_run_which_keeps_what_was_noted_and_printed(
    own: Settings, tmp_path: Path, artifact: Callable[[str, str], Path]
) -> None:
    text = "from ds_pipelines import lab\nimport os, signal\nlab.metric('auc', 0.5)\nprint('said')\n"
    (own.experiments / "dying.py").write_text(text + "os.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(RunProcessError, match="was ended by SIGKILL") as caught:
        lab.run("dying", settings=own)
    run_id = str(caught.value).partition("/runs/")[2].partition(".")[0]
    run = tracked(own, run_id)
    assert (run.info.status, run.data.metrics) == ("FAILED", {"auc": 0.5})
    assert artifact(run_id, "stdout.txt").read_text() == "auc = 0.5\nsaid\n"
    record = RunRecord.model_validate_json(artifact(run_id, "evidence/run.json").read_bytes())
    assert record.failure == "its process was ended by SIGKILL"


def test_an_interruption_of_the_watcher_ends_the_run_and_records_it(own: Settings) -> None:
    watcher, folder = slow_run(own)
    watcher.send_signal(signal.SIGINT)
    watcher.wait(60)
    assert not goes_on(folder)
    assert spool.waiting(own) == []


def test_the_command_says_what_it_recorded(own: Settings) -> None:
    (own.experiments / "idea.py").write_text(IDEA)
    lab.run("idea", settings=away(own))
    command = [str(Path(sys.executable).parent / "ds-pipelines"), "experiments", "replay"]
    variables = environment(**own.as_environment())
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("idea: finished, recorded as http://")
    again = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert again.stdout == "MLflow has every run that has ended.\n"


def test_runs_at_the_same_time_are_all_recorded(own: Settings) -> None:
    (own.experiments / "idea.py").write_text(IDEA)
    records: list[RunRecord] = []
    threads = [threading.Thread(target=lambda: records.append(lab.run("idea", settings=own).record)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record.run_id for record in records}) == 6
    assert spool.waiting(own) == []
    assert all(tracked(own, record.run_id).info.status == "FINISHED" for record in records)
