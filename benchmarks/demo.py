"""How long does a newcomer wait for the demonstration, and how much memory does it take?

The limit is what importing the libraries alone takes on this machine: the demonstration cannot be faster.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.processes import free_ports, measure
from benchmarks.report import conclude

FIRST_SECONDS, SECOND_SECONDS, PEAK_MIB = 75, 45, 2_048
LIBRARIES = "import dagster, mlflow.server.fastapi_app, sklearn.linear_model, lightgbm, matplotlib.figure, polars"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        variables = {"DS_HOME": str(home), "DS_RELEASES": str(home / "releases"), **free_ports()}
        limit = measure([sys.executable, "-c", LIBRARIES], home)
        command = [sys.executable, "-m", "ds_pipelines.cli", "demo"]
        first = measure(command, home, **variables)
        second = measure(command, home, **variables)
    peak = max(first.peak_mib, second.peak_mib)
    conclude(
        "demo",
        [
            ("importing the libraries (the limit)", f"{limit.seconds:.1f}", f"{limit.peak_mib:.0f}", ""),
            ("first run", f"{first.seconds:.1f}", f"{first.peak_mib:.0f}", f"≤ {FIRST_SECONDS} s"),
            ("second run", f"{second.seconds:.1f}", f"{second.peak_mib:.0f}", f"≤ {SECOND_SECONDS} s"),
        ],
        header=("what", "seconds", "peak MiB", "goal"),
        figure=first.seconds,
        goal=f"first <= {FIRST_SECONDS} s, second <= {SECOND_SECONDS} s, peak <= {PEAK_MIB} MiB",
        limit=f"{limit.seconds:.1f} s for the imports",
        holds=first.seconds <= FIRST_SECONDS and second.seconds <= SECOND_SECONDS and peak <= PEAK_MIB,
    )


if __name__ == "__main__":
    main()
