"""All services under a supervisor, until Ctrl-C.

What belongs here: starting, waiting for health, watching the embedded databases, stopping. Restarting a crashed service
with back-off is supervisord's work.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.operate.health import Health, probe_all
from ds_pipelines.operate.services import prepare_instance, require_free_port, services_of, workspace_file
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


class SupervisorEndedError(DsPipelinesError):
    """The supervisor is gone though nobody asked it to stop; the services were stopped after it."""

    def __init__(self, status: int, logs: Path) -> None:
        super().__init__(
            f"The supervisor ended by itself (status {status}); expected it to run until Ctrl-C. Every service was "
            f"stopped. Its logs are supervisor.log and supervisor.err in {logs}; `ds-pipelines up` starts anew."
        )


class NotHealthyError(DsPipelinesError):
    """Some service did not become healthy in time."""

    def __init__(self, problems: list[Health], logs: Path) -> None:
        named = "; ".join(f"{health.service.title}: {health.problem}" for health in problems)
        super().__init__(f"After {PATIENCE_SECONDS} s not every service is healthy: {named}. Their logs are in {logs}.")


def up(settings: Settings, *, tell: Callable[[str], None] = print) -> None:
    """Starts everything, says where, and returns after Ctrl-C or SIGTERM, when everything has stopped.

    Raises:
        AlreadyUpError, PortTakenError, DatabaseUnreachableError: nothing was started.
        NotHealthyError: a service does not work; everything was stopped again.
        SupervisorEndedError: the supervisor was killed, or could not start; so is everything else.
    """
    began = time.monotonic()
    with _only_one(settings), _interruptible() as stopping:
        _stop_orphans(settings)
        for service in services_of(settings).values():
            require_free_port(service, settings)
        postgres.require_reachable(settings)
        clusters = [postgres.cluster(name, settings) for name in postgres.embedded_clusters(settings)]
        prepare_instance(settings)
        workspace_file(settings)
        _ensure_secrets(settings)
        with supervised(settings) as supervisor:
            tell("Starting " + ", ".join(service.title for service in services_of(settings).values()) + " …")
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
            if not stopping:
                raise SupervisorEndedError(supervisor.returncode, settings.running / "logs")
            tell("Stopping …")


@contextmanager
def supervised(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Supervisord with all services, in a session of its own so that Ctrl-C reaches only us; stopped at the end."""
    configuration = _write_configuration(settings)
    with (settings.running / "logs" / "supervisor.err").open("wb") as complaints:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints,
            start_new_session=True, env=environment(**settings.as_environment()),
        )  # fmt: skip
    try:
        yield supervisor
    finally:
        supervisor.terminate()
        with suppress(subprocess.TimeoutExpired):
            supervisor.wait(STOP_SECONDS)
        _end_session(supervisor.pid)
        supervisor.wait()


def _end_session(leader: int) -> None:
    """Kills what is left of the supervisor's session: it gives each service a process group of its own."""
    import psutil

    left = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            if os.getsid(process.pid) == leader:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, STOP_SECONDS)


def _stop_orphans(settings: Settings) -> None:
    """Stops the services of an `up` that was killed, which could not stop them itself; the caller holds its lock."""
    import psutil

    with suppress(OSError, ValueError, psutil.Error):
        leader = int(_pid_file(settings).read_text())
        supervisor = psutil.Process(leader)
        if str(_configuration_file(settings)) in supervisor.cmdline():
            supervisor.terminate()
            with suppress(psutil.TimeoutExpired):
                supervisor.wait(STOP_SECONDS)
            _end_session(leader)


def _ensure_secrets(settings: Settings) -> None:
    from ds_pipelines.extract.pseudonyms import ensure_key
    from ds_pipelines.gateway.grants import prepare

    ensure_key(settings)
    prepare(settings)


def _wait_until_healthy(settings: Settings, supervisor: subprocess.Popen[bytes], stopping: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    problems: list[Health] = []
    while time.monotonic() < deadline and supervisor.poll() is None and not stopping:
        problems = [health for health in probe_all(settings) if health.problem]
        if not problems:
            return
        time.sleep(0.5)
    if supervisor.poll() is None and not stopping:
        raise NotHealthyError(problems, settings.running / "logs")


def _write_configuration(settings: Settings) -> Path:
    logs, path = settings.running / "logs", _configuration_file(settings)
    logs.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = [
        f"[supervisord]\nnodaemon=true\nlogfile={logs}/supervisor.log\npidfile={_pid_file(settings)}\n"
        f"childlogdir={logs}\nloglevel=info\n",
        # One group: programs outside of a group are stopped one after the other, those of a group all at once.
        f"[group:services]\nprograms={','.join(services_of(settings))}\n",
    ]
    for priority, name in enumerate(services_of(settings)):
        sections.append(
            f"[program:{name}]\ncommand={shlex.quote(sys.executable)} -m ds_pipelines.cli serve {name}\n"
            f"priority={priority}\nautorestart=true\nstartsecs=2\nstartretries=20\n"
            f"stopasgroup=true\nkillasgroup=true\nstopwaitsecs=15\n"
            f"redirect_stderr=true\nstdout_logfile={logs}/{name}.log\n"
            "stdout_logfile_maxbytes=10MB\nstdout_logfile_backups=3\n"
        )
    # A percent sign would begin one of supervisord's own expansions.
    path.write_text("\n".join(sections).replace("%", "%%"))
    return path


def _configuration_file(settings: Settings) -> Path:
    return settings.running / "run" / "supervisor.conf"


def _pid_file(settings: Settings) -> Path:
    return settings.running / "run" / "supervisor.pid"


def is_up(settings: Settings) -> bool:
    """Whether `up` serves this home at the moment."""
    try:
        with (settings.running / "up.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    settings.running.mkdir(parents=True, exist_ok=True)
    with (settings.running / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUpError(settings.running) from None
        yield


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that Ctrl-C, SIGTERM or a closed terminal makes non-empty, so that what runs can be stopped in order."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup means
        wanted.append(signal.SIGHUP)
    previous = {number: signal.signal(number, note) for number in wanted}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
