"""What acceptance tests share: the project's command as people type it, in a home and on ports of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import postgres
from ds_pipelines.settings import Settings, environment, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PORTS = ("webserver_port", "gateway_port", "mlflow_port", "exploration_port", "production_port")


def free_ports(number: int) -> list[int]:
    """Ports that the kernel just said are free, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass(frozen=True)
class CommandLine:
    """`ds-pipelines …`, each time in a process of its own."""

    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, seconds: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end; nothing that it started outlives it if it takes too long."""
        command = [sys.executable, "-m", "ds_pipelines.cli", *arguments]
        with subprocess.Popen(
            command, env=self.environment(**variables), text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                output, errors = process.communicate(timeout=seconds)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def environment(self, **variables: str) -> dict[str, str]:
        """What the command's process is started with. Wide, so that no table is wrapped."""
        return environment(DS_HOME=str(self.home), COLUMNS="300", **{**self.variables, **variables})

    def settings(self) -> Settings:
        """What the command reads as its settings."""
        named = {name: self.variables[f"DS_{name.upper()}"] for name in PORTS}
        return load_settings(home=self.home, releases=self.home / "releases", **named)


@contextmanager
def new_home() -> Iterator[CommandLine]:
    """The command in an empty home, whose databases stop and which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="ds-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        yield command_line(home)
        for name in ("production", "platform"):
            postgres._handle(name, home / "postgres", home / "secrets" / "postgres").release()


def command_line(home: Path) -> CommandLine:
    """The command in a home, on free ports; the manifests of releases go there too, not into the working tree."""
    ports = {f"DS_{name.upper()}": str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    return CommandLine(home, {**ports, "DS_RELEASES": str(home / "releases")})


@pytest.fixture
def empty_home() -> Iterator[CommandLine]:
    """The command where nothing was made yet."""
    with new_home() as command:
        yield command
