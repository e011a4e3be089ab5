"""How many threads the libraries of this process use: more than one may change the last digits of a result.

What belongs here: asking the libraries that are loaded. What does not: loading one in order to ask it.
"""

from __future__ import annotations

import sys


def threads() -> dict[str, int]:
    """Threads by library, of those that are loaded, as polars, openmp, blas."""
    found: dict[str, int] = {}
    if "numpy" in sys.modules and sys.modules["numpy"] is not None:
        from threadpoolctl import threadpool_info

        for pool in threadpool_info():
            found[pool["user_api"]] = max(found.get(pool["user_api"], 0), int(pool["num_threads"]))
    if (polars := sys.modules.get("polars")) is not None:
        found["polars"] = int(polars.thread_pool_size())
    if (arrow := sys.modules.get("pyarrow")) is not None:
        found["arrow"] = int(arrow.cpu_count())
    return found
