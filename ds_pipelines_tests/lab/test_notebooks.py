"""A notebook is run from top to bottom, and kept with what its cells showed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines import lab
from ds_pipelines.errors import CellFailedError, ExperimentFailedError
from ds_pipelines.lab import notebooks
from ds_pipelines.lab.notes import Notes, noting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

IPython = pytest.importorskip("IPython", reason="the extra `jupyter` is not installed")
PNG = b"\x89PNG"


def write(folder: Path, *cells: str, name: str = "idea") -> Path:
    path = folder / f"{name}.ipynb"
    made = [{"cell_type": "code", "source": each, "metadata": {}, "outputs": [{"old": 1}]} for each in cells]
    words = {"cell_type": "markdown", "source": ["# Says\n", "what."], "metadata": {}}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [words, *made]}))
    return path


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "run")


def run(path: Path, notes: Notes) -> list[list[dict[str, Any]]]:
    """The outputs of each cell of code, as the kept notebook has them."""
    with noting(notes):
        notebooks.execute(path, notes)
    return outputs(notes)


def outputs(notes: Notes) -> list[list[dict[str, Any]]]:
    kept = json.loads((notes.folder / "notebook.ipynb").read_text())
    return [cell["outputs"] for cell in kept["cells"] if cell["cell_type"] == "code"]


def test_what_a_cell_prints_returns_and_displays_is_below_it(tmp_path: Path, notes: Notes) -> None:
    (shown,) = run(write(tmp_path, "print('a')\nprint('b')\ndisplay({'x': 1})\n6 * 7"), notes)
    assert [(each["output_type"], each.get("text") or each["data"]["text/plain"]) for each in shown] == [
        ("stream", "a\nb\n"), ("display_data", "{'x': 1}"), ("execute_result", "42"),
    ]  # fmt: skip


def test_cells_share_what_they_define_and_are_numbered(tmp_path: Path, notes: Notes) -> None:
    assert run(write(tmp_path, "x = 20", "", "x + 1"), notes)[2][0]["data"]["text/plain"] == "21"
    kept = json.loads((notes.folder / "notebook.ipynb").read_text())["cells"]
    assert [cell.get("execution_count") for cell in kept] == [None, 1, None, 2]


def test_a_table_is_kept_as_it_is_shown(tmp_path: Path, notes: Notes) -> None:
    ((shown,),) = run(write(tmp_path, "import polars as pl\npl.DataFrame({'a': [1, 2]})"), notes)
    assert "<table" in shown["data"]["text/html"]


def test_figures_stand_below_their_cell_and_are_kept_as_plots(tmp_path: Path, notes: Notes) -> None:
    draw = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show();"
    first, second = run(write(tmp_path, draw, "1"), notes)
    (png,) = (each["data"]["image/png"] for each in first if "image/png" in each.get("data", {}))
    assert base64.b64decode(png).startswith(PNG)
    assert len(second) == 1
    assert [path.read_bytes()[:4] for path in (notes.folder / "plots").iterdir()] == [PNG]


def test_what_a_notebook_notes_is_the_run_s(tmp_path: Path, notes: Notes) -> None:
    run(write(tmp_path, "from ds_pipelines import lab\nlab.metric('auc', 0.5 + lab.param('lift', 0.25))"), notes)
    assert (notes.metrics, notes.parameters) == ({"auc": 0.75}, {"lift": "0.25"})


def test_magics_and_await_work(tmp_path: Path, notes: Notes) -> None:
    cells = ("%%capture said\nprint('quiet')", "said.stdout", "import asyncio\nawait asyncio.sleep(0, 5)", "!echo loud")
    shown = run(write(tmp_path, *cells), notes)
    assert shown[0] == []
    assert shown[1][0]["data"]["text/plain"] == r"'quiet\n'"
    assert shown[2][0]["data"]["text/plain"] == "5"
    assert "loud" in shown[3][0]["text"]


def test_modules_beside_the_notebook_can_be_imported(tmp_path: Path, notes: Notes) -> None:
    (tmp_path / "_beside.py").write_text("VALUE = 5\n")
    before = list(sys.path)
    assert run(write(tmp_path, "import _beside\n_beside.VALUE"), notes)[0][0]["data"]["text/plain"] == "5"
    assert sys.path == before


@pytest.mark.parametrize(
    ("cell", "where", "kind"),
    [
        ("x = 1\n\nx / 0", "cell 3, line 3", "ZeroDivisionError"),
        ("def f():\n    return {}['secret']\nf()", "cell 3, line 2", "KeyError"),
        ("import json\njson.loads('secret')", "cell 3, line 2", "JSONDecodeError"),
        ("x = (", "cell 3, line 1", "IncompleteInputError|SyntaxError"),
        ("raise SystemExit(3)", "cell 3", "SystemExit"),
    ],
)
def test_the_cell_that_fails_is_named_and_what_was_shown_is_kept(
    tmp_path: Path, notes: Notes, cell: str, where: str, kind: str
) -> None:
    path = write(tmp_path, "print('before')", f"{cell}", "print('after')")
    with pytest.raises(CellFailedError, match=rf"idea\.ipynb, {where}.* ended with ({kind})") as failed:
        run(path, notes)
    assert "secret" not in str(failed.value)
    first, second, third = outputs(notes)
    assert first[0]["text"] == "before\n"
    assert second[-1]["output_type"] == "error"
    assert third == []


def test_a_notebook_that_leaves_early_has_not_failed(tmp_path: Path, notes: Notes) -> None:
    run(write(tmp_path, "raise SystemExit"), notes)


def test_much_output_is_kept_in_part(tmp_path: Path, notes: Notes) -> None:
    ((shown,),) = run(write(tmp_path, "for _ in range(1000):\n    print('x' * 1000)"), notes)
    assert "… left out …" in shown["text"]
    assert len(shown["text"]) < 300_000


def test_two_notebooks_of_one_process_share_nothing(tmp_path: Path, notes: Notes) -> None:
    run(write(tmp_path, "x = 1"), notes)
    with pytest.raises(CellFailedError, match="NameError"):
        run(write(tmp_path, "x", name="other"), notes)


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['IPython'] = sys.modules['IPython.core.interactiveshell'] = None\n"
        "from pathlib import Path; from ds_pipelines.lab import notebooks; from ds_pipelines.lab.notes import Notes\n"
        f"notebooks.execute(Path({str(write(tmp_path, '1'))!r}), Notes(Path({str(tmp_path)!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'ds-pipelines[jupyter]'" in done.stderr


def test_a_notebook_is_a_tracked_run_with_its_outputs(bench: Settings, artifact: Callable[[str, str], Path]) -> None:
    write(bench.experiments, "from ds_pipelines import lab\nlab.metric('auc', 0.75)\nprint('seen')", name="tracked")
    record = lab.run("tracked", settings=bench).record
    assert (record.kind, record.metrics) == ("notebook", {"auc": 0.75})
    assert "seen" in artifact(record.run_id, "notebook.ipynb").read_text()
    assert "seen" in artifact(record.run_id, "stdout.txt").read_text()


def test_a_notebook_that_fails_is_a_failed_run_with_its_cell(bench: Settings) -> None:
    write(bench.experiments, "1 / 0", name="failing")
    with pytest.raises((CellFailedError, ExperimentFailedError), match=r"failing\.ipynb, cell 2, line 1"):
        lab.run("failing", settings=bench)
