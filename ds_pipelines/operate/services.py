"""The services of one environment: what each runs, where it listens, and what it may know.

What belongs here: one table of services and the way a process turns into one of them. What does not: supervising or
probing them.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.errors import DsPipelinesError, PortTakenError
from ds_pipelines.operate import jupyter
from ds_pipelines.settings import PROJECT, Settings, environment, scrubbed_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Command = tuple[list[str], dict[str, str]]
"""A program's arguments and its whole environment."""


class UnknownServiceError(DsPipelinesError):
    """A service was asked for that this environment does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no service {name!r}; expected one of {', '.join(SERVICES)}.")


@dataclass(frozen=True)
class Service:
    """One long-lived process."""

    name: str
    title: str
    command: Callable[[Settings], Command]
    port: Callable[[Settings], int] | None = None
    setting: str = ""
    """The variable that chooses the port."""


def prepare_instance(settings: Settings) -> dict[str, str]:
    """Lays out DAGSTER_HOME for this environment and returns the variables that Dagster's processes need.

    The instance's file is copied from git at each start, so that what Dagster writes beside it never lands in git.
    """
    home = settings.instance
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "dagster_home" / "dagster.yaml", home / "dagster.yaml")
    # Marks Dagster's invitation to sign up for news as seen: it would lie over the page at every first visit.
    (home / ".nux").mkdir(exist_ok=True)
    (home / ".nux" / "nux.yaml").write_text("seen: 1\n")
    return settings.as_environment() | {
        "DAGSTER_HOME": str(home),
        "DS_DAGSTER_STORAGE": postgres.sqlalchemy_url(postgres.url("dagster", settings)),
        # What went wrong in user code may quote data: the pages show the error's id, the server's log the error.
        "DAGSTER_REDACT_USER_CODE_ERRORS": "false" if settings.environment == "development" else "true",
        # One insert for the many partitions of a backfill in one run, instead of one for each.
        "DAGSTER_EVENT_BATCH_SIZE": "200",
    }


def workspace_file(settings: Settings) -> Path:
    """The workspace that names the code servers of this environment, written anew."""
    located = {"exploration": settings.exploration_port, "production": settings.production_port}
    entries = "".join(
        f"  - grpc_server: {{host: {settings.host}, port: {port}, location_name: {name}}}\n"
        for name, port in located.items()
        if name in services_of(settings)
    )
    path = settings.instance / "workspace.yaml"
    path.write_text(f"load_from:\n{entries}")
    return path


def _exploration(settings: Settings) -> Command:
    # The proxying server: "Reload" in the pages then loads the experiments' folder anew.
    arguments = ["code-server", "start", "-m", "ds_pipelines.exploration.definitions"]
    where = ["-h", settings.host, "-p", str(settings.exploration_port), "--location-name", "exploration"]
    return [*_dagster(), *arguments, *where], scrubbed_environment(**prepare_instance(settings))


def _production(settings: Settings) -> Command:
    module = "acceptance" if settings.environment == "acceptance" else "definitions"
    arguments = ["api", "grpc", "-m", f"ds_pipelines.production.{module}"]
    where = ["-h", settings.host, "-p", str(settings.production_port), "--location-name", "production"]
    # Nothing here loads a model through MLflow; should something try, it must not unpickle one.
    safer = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    return [*_dagster(), *arguments, *where], environment(**prepare_instance(settings), **safer)


def _webserver(settings: Settings) -> Command:
    arguments = ["-h", settings.host, "-p", str(settings.webserver_port), "-w", str(workspace_file(settings))]
    quiet = ["--uvicorn-log-level", "warning"]
    program = [sys.executable, "-m", "dagster_webserver", *arguments, *quiet]
    return program, scrubbed_environment(**prepare_instance(settings))


def _daemon(settings: Settings) -> Command:
    program = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace_file(settings))]
    return program, scrubbed_environment(**prepare_instance(settings))


def _mlflow(settings: Settings) -> Command:
    # `mlflow server` is a wrapper that imports everything and then starts this very program, which imports it again.
    program = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--log-level", "warning"]
    variables = {
        "_MLFLOW_SERVER_FILE_STORE": postgres.sqlalchemy_url(postgres.url("mlflow", settings)),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(settings.artifacts),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    where = ["--host", settings.host, "--port", str(settings.mlflow_port)]
    return [*program, *where], scrubbed_environment(**variables)


def _gateway(settings: Settings) -> Command:
    from ds_pipelines.gateway import grants

    # Made ready here: the service itself is not the owner of its tables. It knows its own database and, as consumers
    # do, the serving tables; nothing of production.
    grants.prepare(settings)
    urls = {
        f"DS_{name.upper()}": url.get_secret_value()
        for name in ("gateway_database_url", "consumer_url")
        if (url := getattr(settings, name)) is not None
    }
    program = [sys.executable, "-m", "ds_pipelines.cli", "gateway"]
    variables = scrubbed_environment(**settings.as_environment()) | urls
    variables.pop("DS_DAGSTER_URL", None)  # which is left to Dagster's own processes
    return program, variables


def _dagster() -> list[str]:
    return [sys.executable, "-m", "dagster"]


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service(
            "webserver", "Dagster's pages", _webserver, lambda settings: settings.webserver_port, "DS_WEBSERVER_PORT"
        ),
        Service(
            "production", "code location production", _production, lambda settings: settings.production_port,
            "DS_PRODUCTION_PORT",
        ),
        Service(
            "exploration", "code location exploration", _exploration, lambda settings: settings.exploration_port,
            "DS_EXPLORATION_PORT",
        ),
        Service("gateway", "gateway", _gateway, lambda settings: settings.gateway_port, "DS_GATEWAY_PORT"),
        Service("mlflow", "MLflow", _mlflow, lambda settings: settings.mlflow_port, "DS_MLFLOW_PORT"),
        Service("daemon", "Dagster's daemon (schedules, queue)", _daemon),
        Service(
            "jupyter", "JupyterLab", jupyter.command, lambda settings: settings.jupyter_port, "DS_JUPYTER_PORT"
        ),
    )
    if service.name != "jupyter" or jupyter.installed()
}  # fmt: skip
"""In the order in which they start."""
OF_ACCEPTANCE = ("webserver", "production", "daemon")
"""What acceptance needs to show the gates: it serves nobody, and nothing is explored there."""


def services_of(settings: Settings) -> dict[str, Service]:
    """The services of an environment, in the order in which they start."""
    if settings.environment != "acceptance":
        return SERVICES
    return {name: service for name, service in SERVICES.items() if name in OF_ACCEPTANCE}


def become(name: str, settings: Settings) -> None:
    """Replaces this process by the service.

    Raises:
        UnknownServiceError: there is none of that name.
        PortTakenError: something else listens on its port.
    """
    if name not in SERVICES:
        raise UnknownServiceError(name)
    require_free_port(SERVICES[name], settings)
    arguments, variables = SERVICES[name].command(settings)
    os.chdir(PROJECT)
    os.execve(arguments[0], arguments, variables)  # noqa: S606 - the process becomes the service, no shell wanted


def require_free_port(service: Service, settings: Settings) -> None:
    """Refuses a port on which anything listens: two gRPC servers would share one without an error.

    Raises:
        PortTakenError: the port is taken.
    """
    if service.port is None:
        return
    port = service.port(settings)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port that only waits for old connections to fade is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, port))
        except OSError:
            raise PortTakenError(service.title, port, service.setting) from None
