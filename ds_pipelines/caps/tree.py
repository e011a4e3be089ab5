"""The processes of a run and what they take, where no control group counts them.

What belongs here: reading the table of processes. What does not: what follows from it (warden.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
ENDING_SECONDS = 10.0


@dataclass(frozen=True)
class Process:
    """One process, as the table shows it."""

    pid: int
    parent: int
    resident: int
    """Bytes in memory, those that it shares with others among them."""
    threads: int


def descendants(ancestor: int) -> list[Process]:
    """All that a process started, and what they started, whatever group or session they moved to."""
    children: dict[int, list[Process]] = {}
    for process in _linux() if sys.platform == "linux" else _posix():
        children.setdefault(process.parent, []).append(process)
    found = list(children.get(ancestor, ()))
    for process in found:
        found.extend(children.get(process.pid, ()))
    return found


def memory(processes: list[Process], enough: int) -> int:
    """Bytes that they hold together; shared ones are counted once if it matters, which costs more to find out."""
    resident = sum(process.resident for process in processes)
    return resident if resident < enough else sum(_proportional(process) for process in processes)


def unlinked(processes: list[Process]) -> int:
    """Bytes on disk of files that they hold open and nobody sees any more."""
    sizes = {}
    for process in processes:
        with suppress(OSError):
            for descriptor in os.scandir(f"/proc/{process.pid}/fd"):
                with suppress(OSError):
                    status = os.stat(descriptor.path)  # noqa: PTH116 - a link that a path would not follow
                    if status.st_nlink == 0 and status.st_blocks:
                        sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def end(ancestor: int) -> None:
    """Ends all descendants; each is stopped first, so that none starts others meanwhile."""
    until = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < until:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in descendants(ancestor):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, number)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.005)
            continue
        return  # no children are left, and orphans would have become children


def _linux() -> list[Process]:
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - thirty times a second
        if name.isdigit():
            with suppress(OSError, IndexError):
                # The program's name may hold anything, but what follows its last bracket is numbers.
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                found.append(Process(int(name), int(fields[1]), int(fields[21]) * PAGE, int(fields[17])))
    return found


def _posix() -> list[Process]:
    listed = subprocess.run(("ps", "-axo", "pid=,ppid=,rss="), capture_output=True, text=True, check=False).stdout  # noqa: S607
    rows = [line.split() for line in listed.splitlines()]
    return [Process(int(row[0]), int(row[1]), int(row[2]) * 1024, 1) for row in rows if len(row) == 3]


def _proportional(process: Process) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return process.resident
