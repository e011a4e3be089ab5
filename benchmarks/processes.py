"""Running a command and measuring what it and everything that it starts takes."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from ds_pipelines.settings import environment

if TYPE_CHECKING:
    from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.25
PORTS = ("WEBSERVER", "GATEWAY", "MLFLOW", "EXPLORATION", "PRODUCTION")


@dataclass(frozen=True)
class Measured:
    """What a command took."""

    seconds: float
    peak_mib: float
    """Proportional memory of the command, what it started and the databases it uses, at its highest."""
    output: str


def free_ports() -> dict[str, str]:
    """Variables that give every service a port that is free now, from the kernel."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {f"DS_{name}_PORT": str(each.getsockname()[1]) for name, each in zip(PORTS, sockets, strict=True)}


def measure(command: list[str], home: Path, **variables: str) -> Measured:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    began = time.monotonic()
    log = home.parent / f"{home.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(**variables)
        )
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory_mib(process.pid, home))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    text = log.read_text()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{text[-2_000:]}")
    return Measured(time.monotonic() - began, peak, text)


def memory_mib(pid: int, home: Path) -> float:
    """Proportional set size of a process, its descendants, and the embedded databases below a home, in MiB."""
    total = 0
    with suppress(psutil.Error):
        family = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
        for server in home.glob("postgres/*/data/postmaster.pid"):
            with suppress(psutil.Error, OSError, ValueError):
                postmaster = psutil.Process(int(server.read_text().split("\n", 1)[0]))
                family |= {postmaster.pid, *(child.pid for child in postmaster.children(recursive=True))}
        for each in family:
            with suppress(psutil.Error, OSError):
                total += psutil.Process(each).memory_full_info().pss
    return total / 2**20
