"""Taking chance out of a process, to find out which chance it was: seeds for what has none, one thread for all.

What belongs here: what makes two executions of one script alike when only chance told them apart. It is put into a
repetition before the script begins, and never into a run that counts. What does not: deciding from it (causes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HASHES = {"PYTHONHASHSEED": "0"}
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "LOKY_MAX_CPU_COUNT",
    ),
    "1",
)  # fmt: skip
"""Variables by which libraries are told how many threads to use."""


def install(how: str, folder: Path) -> Mapping[str, str]:
    """Writes what Python executes when it starts, and returns the variables that make it do so.

    Args:
        how: "seeded" or "one_thread".
        folder: An empty folder.
    """
    (folder / "sitecustomize.py").write_text(f"from ds_pipelines.lab.steady import {how}\n\n{how}()\n")
    return {"PYTHONPATH": str(folder)} | (HASHES if how == "seeded" else ONE_THREAD)


def seeded() -> None:
    """Gives the generators that everybody shares a seed, and those that ask the system for one always the same."""
    import random

    import numpy.random
    import numpy.random.bit_generator

    random.seed(0)
    numpy.random.seed(0)
    numpy.random.bit_generator.randbits = lambda bits: (1 << bits) // 3  # type: ignore[attr-defined]


def one_thread() -> None:
    """Makes joblib, and with it scikit-learn, work one after the other, whatever `n_jobs` says."""
    import joblib

    begin = joblib.Parallel.__init__

    def alone(self: Any, n_jobs: Any = None, **others: Any) -> None:
        del n_jobs  # whatever the script asks for
        begin(self, n_jobs=1, **others)

    joblib.Parallel.__init__ = alone
