"""The gate over whether production computes what was judged: `faithful`, asked in the confined process.

What belongs here: asking that process, once for this gate and the backtest, and telling the answer. What does not: the
comparison (`release.faithful`), and what the backtest makes of past days (`backtest`).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.release.faithful import CLOSE
from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.gates.confined import run
from ds_pipelines.release.manifest import PREDICTIONS

if TYPE_CHECKING:
    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case
    from ds_pipelines.release.gates.confined import Answer

SECONDS = 1_800.0
"""The experiment's whole history may take longer than a day of scoring."""
MEMORY = 2
"""Times the memory of a day."""
DAYS, APART = 3, timedelta(days=7)
"""How many past days are looked at, at most, and how far they are apart; the last is the newest with an outcome."""


def faithful(case: Case) -> GateResult:
    """From the experiment's snapshots, production's features and the loaded model give the experiment's predictions."""
    expected = f"every held-out feature and score of the experiment, within {CLOSE:g}"
    if case.manifest.model is None:
        return answer("faithful", expected, None, "a computation, which has no experiment")
    told = case.judged.told.get("faithful", {})
    return answer(
        "faithful",
        expected,
        case.judged.capped or case.judged.told.get("refused") or told.get("refused"),
        f"{told.get('rows', 0):,} held-out rows on {told.get('days', 0)} days are the same",
        **{name: told[name] for name in ("rows", "days", "difference") if name in told},
    )


def ask(case: Case) -> Answer:
    """Has the confined process load the model, and score what was held out and what lies behind.

    Raises:
        ConfinedProcessError: it could not be asked.
    """
    champion = case.champion if case.champion and case.champion.manifest.model else None
    return run(
        case, "judged", seconds=SECONDS, memory=MEMORY * case.manifest.budget_memory,
        days=[str(day) for day in past_days(case)], champion=str(champion.folder) if champion else None,
    )  # fmt: skip


def past_days(case: Case) -> list[date]:
    """Recent days whose outcome is known, none of them before the first that the model was judged on."""
    job = case.job
    if job.outcome is None or job.horizon is None:
        return []
    judged = pl.scan_parquet(case.candidate.folder / PREDICTIONS).select(pl.col("as_of").min()).collect().item()
    last = case.settings.last_extractable_day() - job.horizon
    days = [last - number * APART for number in range(DAYS)]
    return sorted(day for day in days if day >= max(judged or date.max, case.settings.first_day))
