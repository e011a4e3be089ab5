"""`ds-pipelines up` over a small sample, as a person runs it, shared by the tests that need everything running.

It starts when the first test asks for it and again when a test has stopped it. This process never asks for one of its
databases: whoever does holds the server, and Ctrl-C would not be the end of it. One database is somebody's own, named
by a URL with a password: that of the home that other tests use.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from ds_pipelines import postgres
from ds_pipelines.postgres import ACCESS, Role
from ds_pipelines.settings import DATABASE_SETTINGS, Settings, environment, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CUSTOMERS = 300
CLI = str(Path(sys.executable).parent / "ds-pipelines")
PATIENCE_SECONDS = 200
STOP_SECONDS = 60
SUPERVISED_AS = "SUPERVISOR_PROCESS_NAME"
"""Set by supervisord for a service, and inherited by what it starts."""
PORTS = ("webserver_port", "gateway_port", "mlflow_port", "exploration_port", "production_port", "jupyter_port")
URL_VARIABLES = {f"DS_{name.upper()}" for name in DATABASE_SETTINGS}


class Stack:
    """One home with its ports, and the process of `ds-pipelines up` while it runs."""

    def __init__(self, home: Path, consumer_url: str) -> None:
        self.home, self.consumer_url = home, consumer_url
        ports = free_ports()
        self.settings: Settings = load_settings(home=home, **ports)
        self.output = home / "up.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.command("sample", "--customers", str(CUSTOMERS), check=True)
        shutil.copytree(self.settings.experiments, home / "experiments")
        self.settings = load_settings(home=home, experiments=home / "experiments", **ports)

    @property
    def environment(self) -> dict[str, str]:
        """As of a shell in which somebody named the ports, and a database of their own."""
        return environment(**self.settings.as_environment(), DS_CONSUMER_URL=self.consumer_url, COLUMNS="400")

    def command(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs `ds-pipelines …` in this installation."""
        return subprocess.run(
            [CLI, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=check, timeout=120,
        )  # fmt: skip

    def ensure_up(self) -> None:
        """Starts everything, unless it runs, and returns when all is healthy."""
        if self.process is not None and self.process.poll() is None:
            return
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [CLI, "up"], env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        last = self.settings.tracking_base
        wait_until(lambda: last in self.said() or self.ended(), "everything is healthy", PATIENCE_SECONDS)
        assert last in self.said(), self.said()

    def ended(self) -> bool:
        """Whether `up` is over."""
        return self.process is None or self.process.poll() is not None

    def said(self) -> str:
        """What `up` has printed so far."""
        return self.output.read_text()

    def stop(self) -> int:
        """Presses Ctrl-C, if it runs; the exit status."""
        if self.process is None:
            return 0
        if not self.ended():
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def processes(self) -> list[psutil.Process]:
        """Every process below `up` that lives."""
        assert self.process is not None
        return [process for process in psutil.Process(self.process.pid).children(recursive=True) if lives(process)]

    def service(self, name: str) -> list[psutil.Process]:
        """Those of one service: itself, its workers and the runs that it started."""
        return [process for process in self.processes() if variables(process).get(SUPERVISED_AS) == name]

    def databases(self) -> list[psutil.Process]:
        """The embedded servers that run."""
        files = self.home.glob("postgres/*/data/postmaster.pid")
        return [psutil.Process(int(path.read_text().split("\n", 1)[0])) for path in files]

    def ask(self, question: str, **variables: Any) -> dict[str, Any]:
        """Asks Dagster's webserver."""
        answer = httpx.post(
            f"{self.settings.webserver_base}/graphql", json={"query": question, "variables": variables}, timeout=60
        )
        content = answer.raise_for_status().json()
        assert "errors" not in content, content["errors"]
        return dict(content["data"])

    def remove(self) -> None:
        """Stops everything and removes the home."""
        with ExitStack() as last:
            last.callback(shutil.rmtree, self.home, ignore_errors=True)
            self.stop()


def shared(request: pytest.FixtureRequest) -> Stack:
    """The stack of this test session, made at first use, running or not."""
    stash = request.config.stash
    if _STACK not in stash:
        elsewhere = load_settings(home=request.getfixturevalue("home"))
        stash[_STACK] = Stack(Path(tempfile.mkdtemp(prefix="ds-up-")), with_password("consumer", elsewhere))
        request.session.addfinalizer(stash[_STACK].remove)
    return stash[_STACK]


def running(request: pytest.FixtureRequest) -> Stack:
    """The stack of this test session, running."""
    stack = shared(request)
    stack.ensure_up()
    return stack


def with_password(role: Role, settings: Settings) -> str:
    """A URL that holds its password, as people write them."""
    access = ACCESS[role]
    held = postgres.cluster(access.cluster, settings)
    password = held.passfile(access.login).read_text().strip().rpartition(":")[2]
    return f"postgresql://{access.login}:{password}@/{access.database}?host={held.sockets}"


def lives(process: psutil.Process) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def variables(process: psutil.Process) -> dict[str, str]:
    """The environment in which it was started; of one that has just ended, none."""
    try:
        return process.environ()
    except psutil.NoSuchProcess:
        return {}


def free_ports() -> Mapping[str, int]:
    """A port for each service, all different."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in PORTS]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return {name: int(probe.getsockname()[1]) for name, probe in zip(PORTS, probes, strict=True)}


def wait_until(holds: Callable[[], object], what: str, seconds: float) -> None:
    """Waits until something holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.2)


_STACK = pytest.StashKey[Stack]()
