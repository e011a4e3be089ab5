"""What the kernel itself ends for memory is named so, and what the run had noted until then is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from ds_pipelines import lab
from ds_pipelines.caps import groups
from ds_pipelines.errors import RunCappedError
from ds_pipelines.evidence import RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

MIB, GIB = 1 << 20, 1 << 30
HOLDS_MEMORY = "memory" in groups.possible()
needs_groups = pytest.mark.skipif(not HOLDS_MEMORY, reason="this account may make no control groups here")
HEADER = "# /// experiment\n# memory = {memory!r}\n# ///\n"
NOTES = """
import polars as pl
from ds_pipelines import lab
lab.param("size", 3)
lab.metric("before", 0.25)
lab.save(pl.DataFrame({"a": [1, 2, 3]}), "made before")
print("printed before", flush=True)
"""
TAKES = "held = b'x' * (4 << 30)\nlab.metric('after', 1.0)\n"
WORKER_TAKES = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", "held = b'x' * (4 << 30)"])
time.sleep(60)
lab.metric("after", 1.0)
"""


@pytest.mark.parametrize("taking", [TAKES, WORKER_TAKES], ids=["itself", "a process that it started"])
@needs_groups
def test_a_run_that_the_kernel_ends_for_memory_is_named_so_and_keeps_what_it_had_noted(
    bench: Settings, artifact: Callable[[str, str], Path], taking: str
) -> None:
    from mlflow import MlflowClient

    before = groups.ended_on_this_machine()
    name = f"greedy_{len(taking)}"
    (bench.experiments / f"{name}.py").write_text(HEADER.format(memory="600 MiB") + NOTES + taking)
    with pytest.raises(RunCappedError, match=r"memory: it needed more than its 0\.6 GiB"):
        lab.run(name, settings=bench)
    assert groups.ended_on_this_machine() > before  # the kernel did it, and not the watchdog
    client = MlflowClient(bench.tracking_base)
    (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    assert (run.data.tags["ds.status"], run.data.params, run.data.metrics) == (
        "capped",
        {"size": "3"},
        {"before": 0.25},
    )
    record = RunRecord.model_validate_json(artifact(run.info.run_id, "evidence/run.json").read_text())
    assert record.failure == "memory: it needed more than its 0.6 GiB"
    assert artifact(run.info.run_id, "tables/made before.parquet").exists()
    printed = artifact(run.info.run_id, "stdout.txt").read_text()
    assert "printed before" in printed
    assert "Ended by its cap on memory" in printed


@pytest.fixture
def container() -> Iterator[groups.Group]:
    """A group around a whole process, as a container's: it holds memory, and none of ours are made in it."""
    group = groups.make(f"container-{uuid4().hex}")
    group.limit(700 * MIB, None)
    yield group
    group.end()
    group.remove()


LAUNCHES = """
import json, os, sys
from pathlib import Path
from ds_pipelines.caps.groups import Group
from ds_pipelines.evidence import Limits
from ds_pipelines.lab.launch import launch
from ds_pipelines.settings import load_settings
folders = json.loads(sys.argv[1])
Group({kind: Path(folder) for kind, folder in folders.items()}).join(os.getpid())
ended = launch([sys.executable, "-c", sys.argv[3]], environment={}, limits=Limits(memory=3 << 30),
               folder=Path(sys.argv[2]), readable=[], writable=[], ports=[], output=Path(sys.argv[2], "out.txt"),
               settings=load_settings(home=Path(sys.argv[2])), without=("groups",))
print(json.dumps([ended.code, ended.capped]))
"""


@needs_groups
@pytest.mark.parametrize(
    ("code", "capped"),
    [
        ("held = b'x' * (2 << 30)", "memory: the kernel ended it, because its container or the machine had none left"),
        ("import os; os.kill(os.getpid(), 9)", None),
    ],
    ids=["of memory", "of its own hand"],
)
def test_where_no_groups_can_be_made_the_kernel_s_own_count_tells_what_ended_a_run(
    container: groups.Group, tmp_path: Path, code: str, capped: str | None
) -> None:
    folders = json.dumps({kind: str(folder) for kind, folder in container.folders.items()})
    command = [sys.executable, "-c", LAUNCHES, folders, str(tmp_path), code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == [-9, capped]
