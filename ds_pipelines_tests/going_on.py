"""Runs that go on in another process, as seen from outside their walls, where process ids are others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.lab.layout import Layout

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

BEGAN = "began"
"""The file that a script writes into its working folder."""


def folder_of(settings: Settings) -> Path | None:
    """The folder of the run whose script has written that file; None if none has."""
    return next((folder for folder in settings.spool.glob("*") if (Layout(folder).work / BEGAN).exists()), None)


def goes_on(folder: Path) -> bool:
    """Whether a process of this run is alive."""
    return any(str(folder).encode() in _command(process) for process in Path("/proc").glob("[0-9]*"))


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
