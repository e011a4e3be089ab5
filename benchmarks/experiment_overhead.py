"""What does recording a run add to a 10 s script, as an asset and in the shell; and are 50 at once all recorded?

The limit of the asset is what Dagster takes to launch an asset that does nothing, plus the script by itself; that of
the shell is the script by itself. All take turns, and the median of the rounds counts. MLflow's server and Dagster's
webserver run beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.processes import free_ports
from benchmarks.report import conclude
from ds_pipelines.settings import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS, ROUNDS, AT_ONCE, GOAL = 10.0, 3, 50, 2.0
WORKING = '''"""Works for about ten seconds, and says what came of it."""
import numpy as np
from sklearn.linear_model import LogisticRegression
from ds_pipelines import lab

x = np.random.default_rng(lab.param("seed", 7)).random((20_000, 5))
model = LogisticRegression().fit(x, x[:, 0] > 0.5)
total = 0
for number in range({count}):
    total += number * number
lab.metric("accuracy", model.score(x, x[:, 0] > 0.5))
lab.metric("total", total)
'''
WAITING = '''"""Waits for ten seconds."""
import time
from ds_pipelines import lab
time.sleep(10)
lab.metric("answer", 42)
'''
EMPTY = """import dagster as dg


@dg.asset
def empty() -> None:
    ...


defs = dg.Definitions(assets=[empty], executor=dg.in_process_executor)
"""
INSTANCE = """telemetry: {enabled: false}
run_coordinator:
  module: dagster._core.run_coordinator.sync_in_memory_run_coordinator
  class: SyncInMemoryRunCoordinator
"""
LAUNCH = """
mutation($location: String!, $path: [String!]!) {
  launchPipelineExecution(executionParams: {
    selector: {
      repositoryLocationName: $location, repositoryName: "__repository__", pipelineName: "__ASSET_JOB",
      assetSelection: [{path: $path}]
    }, runConfigData: "{}", mode: "default"
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as name, ExitStack() as held:
        folder = Path(name)
        (folder / "experiments").mkdir()
        script = folder / "experiments" / "working.py"
        script.write_text(WORKING.format(count=_calibrated()))
        (folder / "experiments" / "waiting.py").write_text(WAITING)
        variables = {
            "DS_HOME": str(folder / "home"), "DS_EXPERIMENTS": str(folder / "experiments"),
            "PYTHONPATH": str(folder), **free_ports(),
        }  # fmt: skip
        mlflow = held.enter_context(_mlflow(folder, variables))
        dagster = held.enter_context(_dagster(folder, variables))
        ours = [sys.executable, "-m", "ds_pipelines.cli", "run"]
        sides: dict[str, Callable[[], None]] = {
            "alone": lambda: _run([sys.executable, str(script)], variables),
            "empty asset": lambda: _materialize(dagster, "empty", ["empty"]),
            "as an asset": lambda: _materialize(dagster, "exploration", ["experiments", "working"]),
            "in the shell": lambda: _run([*ours, "working"], variables),
        }
        for side in sides.values():  # once before: databases are made, bytecode is compiled
            side()
        taken: dict[str, list[float]] = {each: [] for each in sides}
        for _ in range(arguments.rounds):
            for each, side in sides.items():
                began = time.monotonic()
                side()
                taken[each].append(time.monotonic() - began)
                print(f"{each}: {taken[each][-1]:.2f} s", file=sys.stderr, flush=True)
        began = time.monotonic()
        with ThreadPoolExecutor(arguments.at_once) as pool:
            list(pool.map(lambda _: _run([*ours, "waiting"], variables), range(arguments.at_once)))
        together = time.monotonic() - began
        recorded = _recorded(mlflow, "waiting")
        left = len(list((folder / "home" / "spool").iterdir()))
    _conclude(taken, recorded, arguments.at_once, together, left)


def _conclude(taken: dict[str, list[float]], recorded: int, wanted: int, together: float, left: int) -> None:
    median = {name: statistics.median(seconds) for name, seconds in taken.items()}
    asset = median["as an asset"] - median["empty asset"] - median["alone"]
    shell = median["in the shell"] - median["alone"]
    rows = [
        (name, f"{median[name]:.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}") for name, seconds in taken.items()
    ]
    conclude(
        "experiment_overhead",
        [
            *rows,
            ("added as an asset", f"{asset:.2f}", f"≤ {GOAL:g}"),
            ("added in the shell", f"{shell:.2f}", f"≤ {GOAL:g}"),
            (f"{wanted} at once: {recorded} recorded, {left} left over", f"{together:.1f}", ""),
        ],
        header=("10 s script", "seconds", "range, or goal"),
        figure=max(asset, shell),
        goal=f"added <= {GOAL:g} s, and {wanted} of {wanted} recorded",
        limit=f"{median['empty asset']:.2f} s for an empty asset, {median['alone']:.2f} s for the script alone",
        holds=asset <= GOAL and shell <= GOAL and recorded == wanted and left == 0,
    )


def _calibrated() -> int:
    """How often this machine does the loop in the time that the script shall take."""
    trial, total, began = 5_000_000, 0, time.monotonic()
    for number in range(trial):
        total += number * number
    return int(trial * (SECONDS - 3) / (time.monotonic() - began))  # the rest is what its imports take


def _run(command: list[str], variables: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-1_000:]}{done.stderr[-1_000:]}")


@contextmanager
def _server(command: list[str], log: Path, url: str, variables: dict[str, str]) -> Iterator[str]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment(**variables))
    try:
        deadline = time.monotonic() + 120
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start:\n{log.read_text()[-2_000:]}")
            time.sleep(0.2)
        yield url.rpartition("/")[0]
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def _mlflow(folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """MLflow's server with its embedded database, which would outlive it."""
    command = [sys.executable, "-m", "ds_pipelines.cli", "serve", "mlflow"]
    url = f"http://127.0.0.1:{variables['DS_MLFLOW_PORT']}/health"
    try:
        with _server(command, folder / "mlflow.log", url, variables) as address:
            yield address
    finally:
        for server in (folder / "home").glob("postgres/*/data/postmaster.pid"):
            os.kill(int(server.read_text().split("\n", 1)[0]), signal.SIGTERM)


def _dagster(folder: Path, variables: dict[str, str]) -> Any:
    """Dagster's pages over exploration and a location with the empty asset; a run starts as soon as it is launched."""
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    (folder / "empty_location.py").write_text(EMPTY)
    modules = {"exploration": "ds_pipelines.exploration.definitions", "empty": "empty_location"}
    loads = [{"python_module": {"module_name": module, "location_name": name}} for name, module in modules.items()]
    (home / "workspace.yaml").write_text(json.dumps({"load_from": loads}))
    port = variables["DS_WEBSERVER_PORT"]
    where = ["-h", "127.0.0.1", "-p", port, "-w", str(home / "workspace.yaml")]
    command = [sys.executable, "-m", "dagster_webserver", *where, "--uvicorn-log-level", "warning"]
    url = f"http://127.0.0.1:{port}/server_info"
    return _server(command, folder / "dagster.log", url, {**variables, "DAGSTER_HOME": str(home)})


def _materialize(dagster: str, location: str, path: list[str]) -> None:
    def ask(question: str, **values: Any) -> Any:
        answer = httpx.post(f"{dagster}/graphql", json={"query": question, "variables": values}, timeout=60)
        return answer.raise_for_status().json()["data"]

    launched = ask(LAUNCH, location=location, path=path)["launchPipelineExecution"]
    if launched["__typename"] != "LaunchRunSuccess":
        raise RuntimeError(f"{path} was not launched: {launched}")
    while (status := ask(STATUS, id=launched["run"]["runId"])["runOrError"]["status"]) != "SUCCESS":
        if status in {"FAILURE", "CANCELED"}:
            raise RuntimeError(f"{path} ended as {status}")
        time.sleep(0.05)


def _recorded(mlflow: str, experiment: str) -> int:
    """Runs that are finished, with their number and their record among the artifacts."""
    api = f"{mlflow}/api/2.0/mlflow"
    found = httpx.get(f"{api}/experiments/get-by-name", params={"experiment_name": experiment}).json()["experiment"]
    body = {"experiment_ids": [found["experiment_id"]], "max_results": 1_000}
    runs = httpx.post(f"{api}/runs/search", json=body, timeout=60).json().get("runs", [])
    return sum(
        run["info"]["status"] == "FINISHED"
        and {each["key"]: each["value"] for each in run["data"].get("metrics", [])} == {"answer": 42}
        and any(
            each["path"] == "evidence/run.json"
            for each in httpx.get(
                f"{api}/artifacts/list", params={"run_id": run["info"]["run_id"], "path": "evidence"}, timeout=60
            ).json()["files"]
        )
        for run in runs
    )


if __name__ == "__main__":
    main()
