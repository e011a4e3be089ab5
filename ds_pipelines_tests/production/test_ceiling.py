"""A process that goes through its memory's ceiling is ended, and says why before."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import sys, time
from ds_pipelines.caps.ceiling import ceiling
with ceiling(64 << 20, lambda reason: print(reason, flush=True)):
    held = bytearray(int(sys.argv[1]) << 20)
    for place in range(0, len(held), 4096):
        held[place] = 1
    time.sleep(0.3)
print("done", flush=True)
"""


def taking(mebibytes: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(mebibytes)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.strip()


def test_what_stays_below_is_left_alone() -> None:
    assert taking(32) == (0, "done")


def test_what_goes_through_it_is_ended_and_says_why() -> None:
    assert taking(256) == (-signal.SIGKILL, "It needed more memory than its budget of 64 MiB.")
