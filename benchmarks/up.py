"""How long until the pages answer, and until everything is healthy, on a home that holds a small shop?

The limit is what importing each service's libraries takes, spread over the machine's cores.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.processes import free_ports, measure, memory_mib
from benchmarks.report import conclude
from ds_pipelines.settings import environment

PAGE_SECONDS, HEALTHY_SECONDS = 25, 40
SERVICES = (
    "import dagster_webserver.app", "import dagster._daemon.cli", "import mlflow.server.fastapi_app",
    "import ds_pipelines.gateway.server", "import dagster._grpc.server", "import dagster._grpc.server",
)  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        variables = {"DS_HOME": str(home), **free_ports()}
        ours = [sys.executable, "-m", "ds_pipelines.cli"]
        measure([*ours, "sample", "--customers", "300"], home, **variables)
        alone = [measure([sys.executable, "-c", program], home).seconds for program in SERVICES]
        page, healthy, peak = _until_healthy([*ours, "up"], home, variables)
    limit = sum(alone) / (os.cpu_count() or 1)
    conclude(
        "up",
        [
            ("importing the services' libraries (the limit)", f"{limit:.1f}", ""),
            ("Dagster's page answers", f"{page:.1f}", f"≤ {PAGE_SECONDS} s"),
            ("everything is healthy", f"{healthy:.1f}", f"≤ {HEALTHY_SECONDS} s"),
            (f"memory then: {peak:.0f} MiB", "", ""),
        ],
        header=("what", "seconds", "goal"),
        figure=healthy,
        goal=f"page <= {PAGE_SECONDS} s, healthy <= {HEALTHY_SECONDS} s",
        limit=f"{limit:.1f} s for the imports",
        holds=page <= PAGE_SECONDS and healthy <= HEALTHY_SECONDS,
    )


def _until_healthy(command: list[str], home: Path, variables: dict[str, str]) -> tuple[float, float, float]:
    """Seconds until the page answers and until all is healthy, and the memory then, in MiB."""
    address = f"http://127.0.0.1:{variables['DS_WEBSERVER_PORT']}/server_info"
    log = home.parent / "up.log"
    began = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment(**variables))
        try:
            page = 0.0
            while "All healthy" not in log.read_text():
                if process.poll() is not None:
                    raise RuntimeError(f"up ended early:\n{log.read_text()[-2_000:]}")
                page = page or (_answers(address) and time.monotonic() - began) or 0.0
                time.sleep(0.1)
            return page, time.monotonic() - began, memory_mib(process.pid, home)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=1).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
