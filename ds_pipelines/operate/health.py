"""Whether each service does its work, asked the way its users would ask.

A process that runs is not yet a service that works: Dagster's code locations count as healthy once the webserver has
loaded them without an error, its daemon once it reports its own heartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.operate import jupyter
from ds_pipelines.operate.services import Service, services_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

SECONDS = 3.0


@dataclass(frozen=True)
class Health:
    """What a probe found; `problem` is None when all is well."""

    service: Service
    problem: str | None
    address: str = ""


def probe_all(settings: Settings) -> list[Health]:
    """The health of every service, in the order in which they start."""
    graph = _ask_dagster(settings)
    return [_probe(service, settings, graph) for service in services_of(settings).values()]


def probe_service(name: str, settings: Settings) -> str | None:
    """What is wrong with a service that answers over HTTP by itself; None if it is well."""
    url = {
        "gateway": f"{settings.gateway_base}/health",
        "mlflow": f"{settings.tracking_base}/health",
        "jupyter": f"http://{settings.host}:{settings.jupyter_port}/api",  # its version, which it tells everybody
    }[name]
    return _get(url, settings.gateway_certificate if name == "gateway" else None)


def _probe(service: Service, settings: Settings, graph: dict[str, object] | str) -> Health:
    probes: dict[str, tuple[Callable[[], str | None], str]] = {
        "webserver": (lambda: graph if isinstance(graph, str) else None, settings.webserver_base),
        "gateway": (lambda: probe_service("gateway", settings), f"{settings.gateway_base}/docs"),
        "mlflow": (lambda: probe_service("mlflow", settings), settings.tracking_base),
        "daemon": (lambda: _daemon_problem(graph), ""),
        "jupyter": (lambda: probe_service("jupyter", settings), jupyter.address(settings)),
    }
    probe, address = probes.get(service.name, (lambda: _location_problem(graph, service.name), ""))
    return Health(service, probe(), address)


def _get(url: str, certificate: Path | None = None) -> str | None:
    """What is wrong with an address; the service's own certificate is trusted, whoever signed it."""
    import ssl

    import httpx

    trusted = ssl.create_default_context()
    try:
        if certificate is not None:
            trusted.load_verify_locations(certificate)
        answer = httpx.get(url, timeout=SECONDS, verify=trusted)
    except OSError:
        return "cannot be asked, because its certificate cannot be read"
    except httpx.TransportError as error:
        return f"does not answer ({type(error).__name__})"
    return None if answer.is_success else f"answers with status {answer.status_code}"


QUESTION = """{
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""


def _ask_dagster(settings: Settings) -> dict[str, object] | str:
    import httpx

    try:
        answer = httpx.post(f"{settings.webserver_base}/graphql", json={"query": QUESTION}, timeout=3 * SECONDS)
        return dict(answer.raise_for_status().json()["data"])
    except httpx.TransportError as error:
        return f"does not answer ({type(error).__name__})"
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
        return "answers, but not as Dagster's webserver does"


def _location_problem(graph: dict[str, object] | str, name: str) -> str | None:
    if isinstance(graph, str):
        return "unknown while the webserver does not answer"
    entries = graph["workspaceOrError"].get("locationEntries", [])  # type: ignore[attr-defined]
    for entry in entries:
        if entry["name"] == name:
            loaded = entry["locationOrLoadError"] or {}
            if loaded.get("__typename") == "PythonError":
                return f"does not load: {loaded['message'].strip().splitlines()[0]}"
            return None if entry["loadStatus"] == "LOADED" else "still loading"
    return "the webserver does not know it"


def _daemon_problem(graph: dict[str, object] | str) -> str | None:
    if isinstance(graph, str):
        return "unknown while the webserver does not answer"
    statuses = graph["instance"]["daemonHealth"]["allDaemonStatuses"]  # type: ignore[index]
    silent = [status["daemonType"] for status in statuses if status["required"] and not status["healthy"]]
    return f"no heartbeat from {', '.join(sorted(silent))}" if silent else None
