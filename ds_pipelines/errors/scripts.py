"""Errors of experiments as files: what they are written in, what their headers ask for, what runs them."""

from __future__ import annotations

from ds_pipelines.errors.base import DsPipelinesError


class BrokenScriptError(DsPipelinesError):
    """A file is an experiment that cannot be run as it stands."""

    def __init__(self, script: str, problem: str) -> None:
        super().__init__(
            f"Experiment {script} cannot be run: {problem}. "
            "Correct the file and run it again; nothing needs to be loaded anew for that."
        )


class HeaderError(DsPipelinesError):
    """The header of an experiment asks for something that it cannot have."""

    def __init__(self, where: str, culprit: str, expected: str) -> None:
        super().__init__(f"{where} of the header: {culprit} cannot be used, expected {expected}")


class UnreadableScriptError(DsPipelinesError):
    """The text of an experiment is not what its name says."""

    def __init__(self, where: str, expected: str) -> None:
        super().__init__(f"{where} {expected}")


class MissingNotebookSupportError(DsPipelinesError):
    """A notebook was to be run, and IPython is not installed."""

    def __init__(self, notebook: str) -> None:
        super().__init__(
            f"Notebook {notebook} cannot be run: expected the extra `jupyter`. "
            "Install it with `pip install 'ds-pipelines[jupyter]'` and run it again."
        )


class CellFailedError(DsPipelinesError):
    """A cell of a notebook raised; its message is left out, because it may quote data."""

    def __init__(self, notebook: str, cell: int, line: int | None, kind: str, said: str | None = None) -> None:
        where = f"cell {cell}" if line is None else f"cell {cell}, line {line}"
        super().__init__(
            f"Notebook {notebook}, {where}, ended with {kind}{f': {said}' if said else '.'} "
            "The notebook with its outputs so far is kept as notebook.ipynb; correct the cell and run it again."
        )


class MissingRError(DsPipelinesError):
    """An R script was to be run, and there is no R."""

    def __init__(self, script: str) -> None:
        super().__init__(
            f"R script {script} cannot be run: expected the program Rscript on the PATH. "
            "Install R (on Debian `apt-get install r-base-core`) and run it again."
        )


class RFailedError(DsPipelinesError):
    """An R script ended with an error; R's message is left out, because it may quote data."""

    def __init__(self, script: str, line: int | None, code: int) -> None:
        where = script if line is None else f"{script}, line {line},"
        super().__init__(
            f"R script {where} ended with status {code}, expected 0. "
            "What it printed until then is in stdout.txt; `Rscript` with its path runs it by itself."
        )


class DummyError(DsPipelinesError):
    """A dummy of a table was asked for that cannot be made."""

    def __init__(self, table: str, expected: str) -> None:
        super().__init__(f"lab.table({table!r}, dummy=…) cannot be made: expected {expected}.")
