"""Does the memory of a publication grow with its rows: ordered, proved and published, 1 M against 8 M order lines?

The limit is what the libraries alone take.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.extracting import best, multiply, run, shop
from benchmarks.report import conclude

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

PEAK_MIB, GROWTH, TIMES = 450, 1.15, 8


def libraries(settings: Settings, *, warm: bool) -> None:
    """The limit."""
    from ds_pipelines.extract.publish import extract_state

    assert callable(extract_state), (settings, warm)


def publication(settings: Settings, *, warm: bool) -> None:
    """The whole of it, in the process that is measured."""
    from ds_pipelines.extract.publish import extract_state

    if not warm:
        shutil.rmtree(settings.snapshots, ignore_errors=True)
        extract_state("order_lines", settings)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000, help="Of the smaller publication")
    chosen = parser.parse_args()
    name = "benchmarks.extract_memory"  # and not __main__, which another process does not have
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        settings = shop(Path(folder) / "home", chosen.rows)
        limit = run(name, "libraries", settings)
        small = best(run(name, "publication", settings) for _ in range(2))
        multiply(settings, TIMES)
        large = best(run(name, "publication", settings) for _ in range(2))
    growth = large.peak / small.peak
    conclude(
        "extract_memory",
        [
            ("libraries (the limit)", f"{limit.peak:.0f}", ""),
            (f"{chosen.rows:,} rows", f"{small.peak:.0f}", f"{small.wall:.1f}"),
            (f"{chosen.rows * TIMES:,} rows", f"{large.peak:.0f}", f"{large.wall:.1f}"),
        ],
        header=("publication of", "peak MiB", "seconds"),
        figure=growth,
        goal=f"peak <= {PEAK_MIB} MiB at {chosen.rows:,} rows, and <= {GROWTH} x that at {TIMES} times as many",
        limit=f"{limit.peak:.0f} MiB",
        holds=small.peak <= PEAK_MIB and growth <= GROWTH,
    )


if __name__ == "__main__":
    main()
