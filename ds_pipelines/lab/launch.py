"""Starting a run's process and following it to its end.

What belongs here: one process with what it starts, its output line by line, and what it took. What does not: what runs
in it (child.py) and what becomes of it (run.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from ds_pipelines.evidence import Limits

MOST_OUTPUT = 16 << 20
"""Bytes of output that are kept; the rest is counted."""
PATIENCE = 5.0
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it took."""

    code: int | None
    capped: str | None
    """Which limit it met, in a sentence; None: none."""
    seconds: float
    peak_memory: int
    written: int


def launch(
    command: Sequence[str],
    *,
    limits: Limits,  # noqa: ARG001
    environment: Mapping[str, str],
    folder: Path,
    readable: Iterable[Path],  # noqa: ARG001
    writable: Iterable[Path],  # noqa: ARG001
    ports: Iterable[int],  # noqa: ARG001
    output: Path,
    on_output: Callable[[str], None] | None = None,
    pass_fds: Collection[int] = (),
) -> Ended:
    """Runs a command to its end; whatever interrupts the wait ends the command, too, and goes on.

    Args:
        command: The program and its arguments.
        limits: What it may take.
        environment: All variables that it gets.
        folder: Its working folder.
        readable: What it may read.
        writable: What it may write.
        ports: To which it may connect.
        output: The file that gets what it prints.
        on_output: Told of each line as it comes.
        pass_fds: Descriptors that it inherits.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        list(command), env=dict(environment), cwd=folder, start_new_session=True, pass_fds=tuple(pass_fds),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    reader = threading.Thread(target=_follow, args=(process.stdout, output, on_output), daemon=True)
    reader.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        _end(process)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        reader.join(PATIENCE)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    written = _written(folder)
    return Ended(process.returncode, None, round(time.monotonic() - started, 3), usage.ru_maxrss * unit, written)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _follow(stream: IO[bytes], output: Path, on_output: Callable[[str], None] | None) -> None:
    kept = dropped = 0
    with output.open("wb") as file:
        for line in stream:
            if kept + len(line) <= MOST_OUTPUT:
                kept += file.write(line)
                file.flush()
                if on_output is not None:
                    on_output(line.decode("utf-8", errors="replace"))
            else:
                dropped += len(line)
        if dropped:
            file.write(f"… {dropped:,} bytes more were printed and not kept\n".encode())


def _written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
