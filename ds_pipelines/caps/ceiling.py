"""A ceiling over the memory of this very process: when it goes through it, it is ended.

What belongs here: watching and ending the process that calls it. What does not: how high the ceiling is (a release's
budget), and caps on programs that are started (`warden`).

What counts is what the process takes in addition to what it held when the ceiling came over it: not the interpreter and
its libraries. A thread looks thirty times a second, for what computes releases the interpreter; it tells the reason and
ends the process by a signal that nothing can catch.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_SECONDS = 0.03
MIB = 1 << 20


@contextmanager
def ceiling(memory: int, tell: Callable[[str], None]) -> Iterator[None]:
    """While the body works, this process is ended if it takes more memory than this in addition.

    Where the kernel does not tell what a process holds (not Linux), nothing is watched.

    Args:
        memory: Bytes.
        tell: Told why, just before the process is ended by SIGKILL; what it raises is ignored.
    """
    base, over = held(), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if held() - base > memory:
                with suppress(Exception):
                    tell(f"It needed more memory than its budget of {memory / MIB:,.0f} MiB.")
                os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, name="memory ceiling", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def held() -> int:
    """Bytes of this process that are no file's, so that the kernel could not simply drop them."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
    return 0
