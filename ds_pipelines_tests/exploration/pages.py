"""Dagster's webserver over code locations of the project, without its daemon: runs that are launched stay queued."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from ds_pipelines.settings import PROJECT, environment
from ds_pipelines_tests.gateway.scenario import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings


class Pages:
    """Where they are, and asking them."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, question: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
        """Asks as the pages do."""
        answer = httpx.post(
            f"{self.address}/graphql", json={"query": question, "variables": variables}, headers=headers, timeout=60
        )
        content = answer.raise_for_status().json()
        assert "errors" not in content, content["errors"]
        return dict(content["data"])


@contextmanager
def pages(settings: Settings, folder: Path, *locations: str) -> Iterator[Pages]:
    """The pages of an instance with these locations: the project's own, but for its storage, which is in a folder."""
    stated = yaml.safe_load((PROJECT / "dagster_home" / "dagster.yaml").read_text())
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump({name: stated[name] for name in stated if name != "storage"}))
    (folder / ".nux").mkdir()
    (folder / ".nux" / "nux.yaml").write_text("seen: 1\n")
    workspace = [
        {"python_module": {"module_name": f"ds_pipelines.{name}.definitions", "location_name": name}}
        for name in locations
    ]
    (folder / "workspace.yaml").write_text(yaml.safe_dump({"load_from": workspace}))
    port = free_port()
    where = ["-h", "127.0.0.1", "-p", str(port), "-w", str(folder / "workspace.yaml")]
    server = subprocess.Popen(
        [sys.executable, "-m", "dagster_webserver", *where, "--uvicorn-log-level", "warning"],
        env=environment(**settings.as_environment(), DAGSTER_HOME=str(folder)),
    )
    try:
        served = Pages(f"http://127.0.0.1:{port}")
        _wait_until_loaded(served, server)
        yield served
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_loaded(served: Pages, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"{served.address}/server_info", timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("Dagster's pages do not answer")
