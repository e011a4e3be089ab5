"""Running an R script, and keeping what it read, printed and drew.

What belongs here: the way from a run to Rscript and back. What does not: what R scripts have of the lab (lab.R), and
how one is executed within R (run.R).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.errors import MissingRError, RFailedError
from ds_pipelines.evidence import RunInput
from ds_pipelines.lab.notes import metric
from ds_pipelines.lab.sources import clean
from ds_pipelines.lab.table import note
from ds_pipelines.settings import environment, search_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.lab.notes import Notes

HERE = Path(__file__).parent
KEPT = ("plots", "environment")
"""Folders of artifacts into which run.R writes."""
METRIC = "\x1elab_metric\t"
"""How a line begins by which `lab_metric` in lab.R speaks to us."""
FAILED_LINE = "environment/r-failed-line.txt"


def execute(path: Path, notes: Notes) -> None:
    """Runs the script by Rscript; `lab_table` and `lab_metric` are there without being asked for.

    Raises:
        MissingRError: there is no Rscript.
        RFailedError: it ended with an error; what it had read, printed and drawn is kept.
    """
    rscript = shutil.which("Rscript")
    if rscript is None:
        raise MissingRError(clean(path.name))
    with tempfile.TemporaryDirectory(prefix="ds-r-") as folder:
        tables = _Tables(Path(folder) / "tables")
        variables = environment(DS_TABLE_LOG=str(tables.log))
        variables["PATH"] = os.pathsep.join([str(_command(Path(folder) / "bin", variables)), search_path()])
        arguments = [str(HERE / "run.R"), str(path), str(notes.folder.absolute()), str(HERE / "lab.R")]
        code = _run([rscript, "--no-save", "--no-restore", "--no-init-file", *arguments], variables, tables)
    line = _failed_line(notes)
    _keep(notes)
    if code != 0:
        raise RFailedError(clean(path.name), line, code)


def _command(folder: Path, variables: Mapping[str, str]) -> Path:
    """A folder with the command `ds-pipelines` for R, which lets what it starts look for libraries beside its own.

    A Python that finds there another's library does not start, or worse.
    """
    before = variables.get("LD_LIBRARY_PATH")
    libraries = "unset LD_LIBRARY_PATH" if before is None else f"export LD_LIBRARY_PATH={shlex.quote(before)}"
    folder.mkdir()
    program = folder / "ds-pipelines"
    program.write_text(f'#!/bin/sh\n{libraries}\nexec {shlex.quote(sys.executable)} -m ds_pipelines.cli "$@"\n')
    program.chmod(0o700)
    return folder


class _Tables:
    """What `ds-pipelines table` tells that the script read: noted as soon as anything else is heard of it."""

    def __init__(self, log: Path) -> None:
        self.log, self._taken = log, 0

    def take(self) -> None:
        """Notes what is new."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        if len(lines) > self._taken:
            note([RunInput.model_validate_json(line) for line in lines[self._taken :]])
            self._taken = len(lines)


def _run(command: list[str], variables: Mapping[str, str], tables: _Tables) -> int:
    """R's exit status; what it says goes where this process' own words go, as it comes."""
    with subprocess.Popen(
        command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            tables.take()
            if line.startswith(METRIC):
                _, name, value = line.rstrip("\n").split("\t")
                metric(name, float(value))
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
    tables.take()
    return process.returncode


def _failed_line(notes: Notes) -> int | None:
    path = notes.folder / FAILED_LINE
    if not path.exists():
        return None
    text = path.read_text().strip()
    path.unlink()
    return int(text) if text.isdecimal() else None


def _keep(notes: Notes) -> None:
    """Makes what R wrote into the run's folder a part of its notes."""
    for folder in KEPT:
        for path in sorted((notes.folder / folder).glob("*")):
            if path.suffix == ".png":
                notes.figures[path.stem] = path.read_bytes()
            if path.name.startswith(("r-", "plot ")):
                notes.keep(f"{folder}/{path.name}", path.read_bytes())
