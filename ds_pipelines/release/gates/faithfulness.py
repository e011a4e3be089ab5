"""The gate over whether production computes what was judged: `faithful`, asked in the confined process.

What belongs here: asking, and telling the answer. What does not: the comparison (`release.faithful`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.release.faithful import CLOSE
from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.gates.confined import run

if TYPE_CHECKING:
    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case

SECONDS = 1_800.0
"""The experiment's whole history may take longer than a day of scoring."""
MEMORY = 2
"""Times the memory of a day."""


def faithful(case: Case) -> GateResult:
    """From the experiment's snapshots, production's features and the loaded model give the experiment's predictions."""
    expected = f"every held-out feature and score of the experiment, within {CLOSE:g}"
    if case.manifest.model is None:
        return answer("faithful", expected, None, "a computation, which has no experiment")
    done = run(case, "faithful", seconds=SECONDS, memory=MEMORY * case.manifest.budget_memory)
    told = done.told
    return answer(
        "faithful",
        expected,
        done.capped or told.get("refused"),
        f"{told.get('rows', 0):,} held-out rows on {told.get('days', 0)} days are the same",
        **{name: told[name] for name in ("rows", "days", "difference") if name in told},
    )
