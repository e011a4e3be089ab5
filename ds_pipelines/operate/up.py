"""All services under a supervisor, until Ctrl-C.

What belongs here: starting, waiting for health, watching the embedded databases, stopping. Restarting a crashed service
with back-off is supervisord's work.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.operate.health import Health, probe_all
from ds_pipelines.operate.services import SERVICES, prepare_instance, require_free_port, workspace_file
from ds_pipelines.settings import Settings, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

PATIENCE_SECONDS = 180
STOP_SECONDS = 30


class AlreadyUpError(DsPipelinesError):
    """The services of this home run already."""

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"The services of {home} are up already; expected one stack a home. "
            "Stop the other with Ctrl-C, or choose another folder with DS_HOME and other ports with DS_…_PORT."
        )


class NotHealthyError(DsPipelinesError):
    """Some service did not become healthy in time."""

    def __init__(self, problems: list[Health], logs: Path) -> None:
        named = "; ".join(f"{health.service.title}: {health.problem}" for health in problems)
        super().__init__(f"After {PATIENCE_SECONDS} s not every service is healthy: {named}. Their logs are in {logs}.")


def up(settings: Settings, *, tell: Callable[[str], None] = print) -> None:
    """Starts everything, says where, and returns after Ctrl-C or SIGTERM, when everything has stopped.

    Raises:
        AlreadyUpError, PortTakenError: nothing was started.
        NotHealthyError: a service does not work; everything was stopped again.
    """
    began = time.monotonic()
    with _only_one(settings), _interruptible() as stopping:
        for service in SERVICES.values():
            require_free_port(service, settings)
        clusters = [postgres.cluster(name, settings) for name in postgres.embedded_clusters(settings)]
        prepare_instance(settings)
        workspace_file(settings)
        _ensure_secrets(settings)
        with supervised(settings) as supervisor:
            tell("Starting " + ", ".join(service.title for service in SERVICES.values()) + " …")
            _wait_until_healthy(settings, supervisor, stopping)
            if not stopping:
                tell(f"All healthy after {time.monotonic() - began:.0f} s. Ctrl-C stops everything.")
                for health in probe_all(settings):
                    if health.address:
                        tell(f"  {health.service.title:<16} {health.address}")
            while not stopping and supervisor.poll() is None:
                time.sleep(1)
                for cluster in clusters:
                    cluster.hold()
            tell("Stopping …")


@contextmanager
def supervised(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Supervisord with all services, in a session of its own so that Ctrl-C reaches only us; stopped at the end."""
    configuration = _write_configuration(settings)
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env=environment(),
    )  # fmt: skip
    try:
        yield supervisor
    finally:
        supervisor.terminate()
        try:
            supervisor.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(supervisor.pid, signal.SIGKILL)
            supervisor.wait()


def _ensure_secrets(settings: Settings) -> None:
    from ds_pipelines.extract.pseudonyms import ensure_key
    from ds_pipelines.gateway.tokens import ensure_token

    ensure_key(settings)
    ensure_token(settings)


def _wait_until_healthy(settings: Settings, supervisor: subprocess.Popen[bytes], stopping: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    problems: list[Health] = []
    while time.monotonic() < deadline and supervisor.poll() is None and not stopping:
        problems = [health for health in probe_all(settings) if health.problem]
        if not problems:
            return
        time.sleep(0.5)
    if not stopping:
        raise NotHealthyError(problems, settings.home / "logs")


def _write_configuration(settings: Settings) -> Path:
    logs = settings.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    run = settings.home / "run"
    run.mkdir(parents=True, exist_ok=True)
    sections = [
        f"[supervisord]\nnodaemon=true\nlogfile={logs}/supervisor.log\npidfile={run}/supervisor.pid\n"
        f"childlogdir={logs}\nloglevel=info\n"
    ]
    for priority, name in enumerate(SERVICES):
        sections.append(
            f"[program:{name}]\ncommand={sys.executable} -m ds_pipelines.cli serve {name}\n"
            f"priority={priority}\nautorestart=true\nstartsecs=2\nstartretries=20\n"
            f"stopasgroup=true\nkillasgroup=true\nstopwaitsecs=15\n"
            f"redirect_stderr=true\nstdout_logfile={logs}/{name}.log\n"
            "stdout_logfile_maxbytes=10MB\nstdout_logfile_backups=3\n" + _environment_line(settings)
        )
    path = run / "supervisor.conf"
    path.write_text("\n".join(sections))
    return path


def _environment_line(settings: Settings) -> str:
    pairs = ",".join(
        f'{name}="{value.replace("%", "%%")}"' for name, value in sorted(settings.as_environment().items())
    )
    return f"environment={pairs}\n"


def is_up(settings: Settings) -> bool:
    """Whether `up` serves this home at the moment."""
    try:
        with (settings.home / "up.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUpError(settings.home) from None
        yield


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that a first Ctrl-C or SIGTERM makes non-empty, so that what runs can be stopped in order."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
