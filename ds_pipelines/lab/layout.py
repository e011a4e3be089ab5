"""Where what lies in a run's folder, `<home>/spool/<id>/`.

What belongs here: the names by which the process that starts a run and the one that it runs in meet. What does not:
what is in these files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


LOOKS = "looks"
"""Folder below the home: the ledger of looks at the same held-out rows."""
OWN_NAME = "ds.run"
"""Tag of MLflow's with the name that a run had before MLflow gave it one."""
SHOWN_DIGITS = 8
"""Of a run's own name."""


@dataclass(frozen=True)
class Layout:
    """The files and folders of one run."""

    folder: Path

    @property
    def name(self) -> str:
        """The run's own, before MLflow gives it one; it is found by it afterwards, too."""
        return self.folder.name

    def name_of(self, experiment: str) -> str:
        """What MLflow's pages call the run."""
        return f"{experiment} {self.name[:SHOWN_DIGITS]}"

    @property
    def lock(self) -> Path:
        """Held by whoever watches the run or records it."""
        return self.folder / "watcher.lock"

    @property
    def child_lock(self) -> Path:
        """Held by the process in which the experiment runs."""
        return self.folder / "process.lock"

    @property
    def task(self) -> Path:
        """What is to be run, and who asked for it."""
        return self.folder / "task.json"

    @property
    def code(self) -> Path:
        """The script as it was when the run began."""
        return self.folder / "script"

    @property
    def journal(self) -> Path:
        """What was noted, a line each, in order."""
        return self.folder / "journal.jsonl"

    @property
    def environment(self) -> Path:
        """What it runs on."""
        return self.folder / "environment.json"

    @property
    def repository(self) -> Path:
        """The commit that holds the code, and whether files differ from it."""
        return self.folder / "repository.json"

    @property
    def tracked(self) -> Path:
        """Which run of MLflow's it is, once there is one."""
        return self.folder / "tracked.json"

    @property
    def ended(self) -> Path:
        """How it ended."""
        return self.folder / "ended.json"

    @property
    def artifacts(self) -> Path:
        """What becomes the run's artifacts."""
        return self.folder / "artifacts"

    @property
    def output(self) -> Path:
        """What it prints."""
        return self.artifacts / "stdout.txt"

    @property
    def work(self) -> Path:
        """The working folder of the script."""
        return self.folder / "work"

    @property
    def temporary(self) -> Path:
        """The folder of its temporary files."""
        return self.folder / "tmp"

    @property
    def pipes(self) -> Path:
        """Through which it reports to Dagster."""
        return self.folder / "pipes"
