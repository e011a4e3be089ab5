"""How much memory a run gets, so that several at once do not take the machine down.

What belongs here: the memory that running experiments hold a promise of, as one locked file each. What does not:
holding them to it (`caps`).

A run whose header asks for memory waits until so much is free of promises. One that does not ask gets half of what is
free, so that the next ones find something, too.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from ds_pipelines.errors import ExperimentTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

GIB = 1 << 30
RESERVED_SHARE = 8
"""An eighth of the machine's memory, and at least a GiB, stays with everything else."""
LEAST = GIB
"""A run that does not ask waits rather than start with less."""
POLL_SECONDS = 0.25


def machine_memory() -> int:
    """Of this machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_of_all(settings: Settings) -> int:
    """What experiments may take together, in bytes."""
    total = machine_memory()
    most = total - max(GIB, total // RESERVED_SHARE)
    return most if settings.experiment_memory is None else min(settings.experiment_memory, most)


@contextmanager
def admitted(asked: int | None, settings: Settings, say: Callable[[str], None]) -> Iterator[int]:
    """Bytes that a run may take, promised to it until the block ends; waits while there is too little.

    Raises:
        ExperimentTooLargeError: so much will never be free.
    """
    most = memory_of_all(settings)
    if asked is not None and asked > most:
        raise ExperimentTooLargeError(asked, most)
    folder = settings.home / "running"
    folder.mkdir(parents=True, exist_ok=True)
    needed = min(LEAST, most) if asked is None else asked
    waiting = False
    while True:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            free = most - _promised(folder)
            if free >= needed:
                promise = folder / f"{uuid4().hex}.promise"
                held = promise.open("x")
                fcntl.flock(held, fcntl.LOCK_EX)
                granted = asked if asked is not None else max(needed, free // 2)
                held.write(str(granted))
                held.flush()
                break
        if not waiting:
            say(f"Waits for {needed / GIB:.1f} GiB of memory, which other experiments hold.\n")
            waiting = True
        time.sleep(POLL_SECONDS)
    try:
        yield granted
    finally:
        promise.unlink(missing_ok=True)
        held.close()


def _promised(folder: Path) -> int:
    """The sum of what running experiments hold; a promise whose holder is gone is removed."""
    total = 0
    for path in folder.glob("*.promise"):
        try:
            with path.open() as promise:
                try:
                    fcntl.flock(promise, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    total += int(promise.read() or 0)
                else:
                    path.unlink(missing_ok=True)
        except FileNotFoundError:  # its holder has just ended
            continue
    return total
