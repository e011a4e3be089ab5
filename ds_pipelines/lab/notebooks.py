"""Running a notebook from top to bottom, and keeping it with what its cells showed.

What belongs here: executing cells and writing down their outputs. What does not: scripts (child.py), and JupyterLab.

Cells are executed by IPython in this very process, not by a kernel in another: what they note needs no way between
processes, the run's limits hold for them, and a run that is ended leaves no kernel behind. Magics work; widgets, which
need a browser, show as text.
"""

from __future__ import annotations

import atexit
import base64
import io
import json
import os
import sys
import tempfile
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from ds_pipelines.errors import CellFailedError, DsPipelinesError, MissingNotebookSupportError
from ds_pipelines.lab.notes import figure
from ds_pipelines.lab.sources import clean, joined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.lab.notes import Notes

ARTIFACT = "notebook.ipynb"
CELL_FILES = "<ipython-input-"
"""How IPython calls the files of cells in tracebacks."""
LONGEST_OUTPUT = 200_000
"""Characters of one cell's printed text that are kept; the middle of more is left out."""


def execute(path: Path, notes: Notes) -> None:
    """Runs every cell, in order, and keeps the notebook with outputs as `notebook.ipynb`, also if one fails.

    Raises:
        MissingNotebookSupportError: IPython is not installed.
        CellFailedError: a cell raised; the cells before it are done, those after it were not run.
        SystemExit, KeyboardInterrupt: as a cell raised it.
    """
    try:
        from IPython.core.interactiveshell import InteractiveShell
    except ModuleNotFoundError:
        raise MissingNotebookSupportError(clean(path.name)) from None
    notebook = json.loads(path.read_bytes())
    with _shell(InteractiveShell, path) as shell:
        recorder = _Recorder(shell, notes)
        cells = notebook["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
        try:
            for number, cell in enumerate(cells, 1):
                if cell["cell_type"] == "code" and joined(cell["source"]).strip():
                    _run(shell, recorder, cell, number, path)
        finally:
            notes.keep(ARTIFACT, json.dumps(notebook, indent=1, ensure_ascii=False).encode("utf-8", "replace"))


def _run(shell: Any, recorder: _Recorder, cell: dict[str, Any], number: int, path: Path) -> None:
    """One cell; what it shows is in the notebook even if it raises."""
    with recorder.into(cell["outputs"]):
        result = shell.run_cell(joined(cell["source"]), store_history=True)
        cell["execution_count"] = result.execution_count
        for output in cell["outputs"]:
            if output["output_type"] == "execute_result":
                output["execution_count"] = result.execution_count
        failure = result.error_before_exec or result.error_in_exec
        recorder.figures(number)
        if failure is not None:
            recorder.failed(failure)
    if failure is None or (isinstance(failure, SystemExit) and failure.code in (None, 0)):
        return
    if not isinstance(failure, (Exception, SystemExit)):
        raise failure
    said = str(failure) if isinstance(failure, DsPipelinesError) else None
    line = _line(failure)
    raise CellFailedError(clean(path.name), number, line, type(failure).__name__, said) from None


def _line(failure: BaseException) -> int | None:
    """The line of the cell that was being executed."""
    if isinstance(failure, SyntaxError):
        return failure.lineno
    frames = traceback.extract_tb(failure.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename.startswith(CELL_FILES)]
    return lines[-1] if lines else None


@contextmanager
def _shell(kind: Any, path: Path) -> Iterator[Any]:
    """IPython for one notebook: without the user's own set-up and history, so that it runs for everybody alike."""
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    before, main = list(sys.path), sys.modules.get("__main__")
    kind.clear_instance()
    with tempfile.TemporaryDirectory(prefix="ds-ipython-") as folder:
        # As the one instance, which `display` looks for.
        shell = kind.instance(config=config, ipython_dir=folder, user_ns={"__name__": "__main__"})
        # Drawing is the same everywhere: no window opens, and pyplot's figures are kept below.
        shell.enable_gui, shell.enable_matplotlib = _silent, _no_window
        shell.showtraceback = shell.showsyntaxerror = _silent
        sys.path.insert(0, os.fspath(path.parent))
        try:
            yield shell
        finally:
            sys.path[:] = before
            if main is not None:
                sys.modules["__main__"] = main
            atexit.unregister(shell.atexit_operations)
            shell.atexit_operations()
            kind.clear_instance()


def _silent(*_: Any, **__: Any) -> None:
    """What a cell raised is said once, by whoever runs the notebook."""


def _no_window(*_: Any, **__: Any) -> tuple[None, str]:
    """The answer to `%matplotlib …`: no event loop, and the backend that only draws."""
    return None, "agg"


class _Recorder:
    """Writes what a cell prints, returns, displays and draws into its outputs, in that order of happening."""

    def __init__(self, shell: Any, notes: Notes) -> None:
        self._shell, self._notes, self._outputs = shell, notes, list[dict[str, Any]]()
        self._shown = set(notes.figures)
        shell.display_pub.publish = self._displayed
        shell.displayhook.write_format_data = self._returned
        shell.displayhook.write_output_prompt = _silent
        shell.displayhook.finish_displayhook = _silent

    @contextmanager
    def into(self, outputs: list[dict[str, Any]]) -> Iterator[None]:
        self._outputs = outputs
        out, err = _Tee(sys.stdout, self, "stdout"), _Tee(sys.stderr, self, "stderr")
        with redirect_stdout(out), redirect_stderr(err):
            yield

    def printed(self, name: str, text: str) -> None:
        """Text that follows text of the same stream joins it, as in Jupyter."""
        last = self._outputs[-1] if self._outputs else {}
        if last.get("name") == name:
            last["text"] = _bounded(last["text"] + text)
        else:
            self._outputs.append({"output_type": "stream", "name": name, "text": _bounded(text)})

    def failed(self, failure: BaseException) -> None:
        """The kind of what was raised; its message may quote data, and the run's folder says more."""
        self._outputs.append({"output_type": "error", "ename": type(failure).__name__, "evalue": "", "traceback": []})

    def _displayed(self, data: dict[str, Any], metadata: Any = None, **_: Any) -> None:
        self._outputs.append({"output_type": "display_data", "data": _plain(data), "metadata": metadata or {}})

    def _returned(self, data: dict[str, Any], metadata: Any = None) -> None:
        shown = {"output_type": "execute_result", "execution_count": None, "data": _plain(data)}
        self._outputs.append({**shown, "metadata": metadata or {}})
        sys.stdout.flush()

    def figures(self, number: int) -> None:
        """What pyplot has open at a cell's end is kept, as are others; below the cell stand those that came in it."""
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        for place, each in enumerate(pyplot.get_fignums() if pyplot else (), 1):
            figure(pyplot.figure(each), f"cell {number}" if place == 1 else f"cell {number} {place}")
        for name in self._notes.figures.keys() - self._shown:
            png = base64.b64encode(self._notes.figures[name]).decode()
            self._displayed({"image/png": png, "text/plain": name})
        self._shown = set(self._notes.figures)


class _Tee(io.TextIOBase):
    """What a cell prints goes to whoever watches, and into the notebook."""

    def __init__(self, stream: TextIO, recorder: _Recorder, name: str) -> None:
        self._stream, self._recorder, self._name = stream, recorder, name

    def write(self, text: str) -> int:
        self._stream.write(text)
        if text:
            self._recorder.printed(self._name, text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Only forms that a notebook's file can hold."""
    kept = {}
    for form, content in data.items():
        if isinstance(content, bytes):
            kept[form] = base64.b64encode(content).decode()
        elif isinstance(content, str) or form.endswith("json"):
            kept[form] = content
    return kept


def _bounded(text: str) -> str:
    if len(text) <= LONGEST_OUTPUT:
        return text
    half = LONGEST_OUTPUT // 2
    return f"{text[:half]}\n… left out …\n{text[-half:]}"
