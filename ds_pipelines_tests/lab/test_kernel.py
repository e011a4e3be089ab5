"""`lab.run` and `%%experiment` in a live kernel of Jupyter, as a notebook has it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines.operate import jupyter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

pytest.importorskip("jupyterlab", reason="the extra `jupyter` is not installed")
SECONDS = 60
IDEA = (
    "from ds_pipelines import lab\nprint('printed by the script')\nlab.metric('auc', 0.5 + lab.param('lift', 0.25))\n"
)
SLOW = """
import time
from ds_pipelines import lab
lab.metric("before", 1.0)
print("began", flush=True)
time.sleep(100)
"""
DRAWS = """
from matplotlib.figure import Figure
from ds_pipelines import lab
drawing = Figure()
drawing.subplots().plot([1, 2])
lab.figure(drawing, "line")
"""


@dataclass
class Said:
    """What a notebook shows below a cell."""

    texts: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.texts)


@dataclass
class Kernel:
    """A live kernel, and the settings that it works with."""

    settings: Settings
    manager: Any
    client: Any

    def cell(self, code: str) -> Said:
        said = Said()

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            said.texts.append(content.get("text", "") or content.get("data", {}).get("text/plain", ""))
            said.pictures += [content["data"]["image/png"]] if "image/png" in content.get("data", {}) else []

        reply = self.client.execute_interactive(code, timeout=SECONDS, output_hook=hear)["content"]
        said.error = None if reply["status"] == "ok" else f"{reply['ename']}: {reply['evalue']}"
        return said

    def runs(self, experiment: str) -> list[Any]:
        from mlflow import MlflowClient

        client = MlflowClient(self.settings.tracking_base)
        found = client.get_experiment_by_name(experiment)
        return [] if found is None else list(client.search_runs([found.experiment_id]))


@pytest.fixture(scope="module")
def kernel(home: Path, tracking_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """As JupyterLab starts one, in the folder of the experiments."""
    from jupyter_client.manager import KernelManager

    from ds_pipelines.settings import load_settings

    folder = tmp_path_factory.mktemp("ideas")
    settings = load_settings(home=home, tracking_address=tracking_address, experiments=folder)
    manager = KernelManager()
    _, variables = jupyter.command(settings)
    manager.start_kernel(env=variables, cwd=str(folder))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield Kernel(settings, manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_lab_run_runs_a_script_and_gives_its_record_to_the_notebook(kernel: Kernel) -> None:
    (kernel.settings.experiments / "from_a_notebook.py").write_text(IDEA)
    said = kernel.cell("ran = lab.run('from_a_notebook', parameters={'lift': '0.3'})\nran.record.metrics")
    assert (said.error, "printed by the script" in said.text, "{'auc': 0.8}" in said.text) == (None, True, True)
    (run,) = kernel.runs("from_a_notebook")
    assert (run.data.params, run.data.metrics) == ({"lift": "0.3"}, {"auc": 0.8})


def test_a_cell_runs_as_an_experiment_and_shows_what_it_printed_and_drew(kernel: Kernel) -> None:
    said = kernel.cell(f"%%experiment drawn\n{DRAWS}print('from the cell')\n")
    assert (said.error, len(said.pictures)) == (None, 1)
    assert said.pictures[0].startswith("iVBOR")  # a PNG
    (run,) = kernel.runs("drawn")
    assert all(each in said.text for each in ("from the cell", "drawn: done after", run.info.run_id))


def test_a_cell_sees_nothing_of_the_notebook_and_says_what_failed_without_our_traceback(kernel: Kernel) -> None:
    assert kernel.cell("secret = 5").error is None
    said = kernel.cell("%%experiment alone\nprint(secret)\n")
    assert "alone.py, line 1, ended with NameError" in (said.error or "")
    assert kernel.cell("secret").text == "5"


def test_the_notebook_s_own_loop_and_a_second_run_go_on(kernel: Kernel) -> None:
    awaited = "import asyncio\nawait asyncio.sleep(0)\nlab.run('from_a_notebook').record.metrics"
    assert kernel.cell(awaited).text.endswith("{'auc': 0.75}")


def test_interrupting_the_kernel_ends_the_run_which_is_recorded_and_the_kernel_lives(kernel: Kernel) -> None:
    from threading import Timer

    began = kernel.settings.experiments / "began"
    (kernel.settings.experiments / "slow.py").write_text(SLOW)
    started = time.monotonic()
    watch = "lab.run('slow', tell=lambda line: open('began', 'w').close())"

    def interrupt() -> None:
        while not began.exists() and time.monotonic() - started < SECONDS:
            time.sleep(0.05)
        kernel.manager.interrupt_kernel()

    timer = Timer(0, interrupt)
    timer.start()
    said = kernel.cell(watch)
    timer.join()
    assert said.error is not None
    assert said.error.startswith("KeyboardInterrupt")
    (run,) = kernel.runs("slow")
    assert (run.info.status, run.data.metrics) == ("KILLED", {"before": 1.0})
    assert kernel.cell("1 + 1").text == "2"
