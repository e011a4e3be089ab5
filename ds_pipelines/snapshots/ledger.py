"""A list that only grows: names of what was removed on purpose, each with the reason.

What belongs here: appending to such a file and reading it. What does not: what is removed, or why.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Ledger:
    """One file of lines `<name> <reason>`; made at the first entry, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, str]:
        """The reason for each name; the first one counts. A line that was cut off by a crash is left out."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        found: dict[str, str] = {}
        for line in text.splitlines(keepends=True):
            name, separator, reason = line.rstrip("\n").partition(" ")
            if separator and line.endswith("\n"):
                found.setdefault(name, reason)
        return found

    def add(self, reasons: Mapping[str, str]) -> None:
        """Appends what is not listed yet, and waits until it is on the disk."""
        known = self.entries()
        lines = [f"{name} {reason}\n" for name, reason in reasons.items() if name not in known]
        if lines:
            append(self.path, lines)


def append(path: Path, lines: list[str]) -> None:
    """Adds whole lines to a file that its owner alone may read, and waits until they are on the disk.

    A line that a crash left unfinished is ended first, so that it spoils none of these.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write("".join(lines).encode())
        file.flush()
        os.fsync(file.fileno())
