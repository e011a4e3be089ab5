"""Gates over one whole day: it is scored and delivered to `serving_acceptance`, within what it may take.

What belongs here: holding that trial, and judging its time, memory and rows. What does not: the work itself (`child`).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.gates.confined import run

if TYPE_CHECKING:
    from datetime import date

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case
    from ds_pipelines.release.gates.confined import Answer

STARTING_SECONDS = 30.0
"""For Python and the libraries to be loaded, which production does once and not each day."""


@dataclass(frozen=True)
class Trial:
    """What came of the day."""

    day: date
    answer: Answer


def hold(case: Case) -> Trial:
    """Empties `serving_acceptance`, and has the candidate score and deliver the newest day into it.

    Raises:
        ConfinedProcessError, DatabaseUnreachableError: it could not be tried.
    """
    day = case.settings.last_extractable_day()
    _empty(case)
    seconds = case.manifest.budget_seconds + STARTING_SECONDS
    return Trial(day, run(case, "day", seconds=seconds, memory=case.manifest.budget_memory, day=str(day)))


def budget(case: Case) -> GateResult:
    """The day takes no more time and memory than the release declares."""
    manifest, trial = case.manifest, case.trial
    took = trial.answer.told.get("seconds")
    refused = trial.answer.capped
    if refused is None and took is not None and took > manifest.budget_seconds:
        refused = f"time: it needed {took:.1f} s of its {manifest.budget_seconds}"
    return answer(
        "budget",
        f"a day within {manifest.budget_seconds:,} s and {manifest.budget_memory / 2**20:,.0f} MiB",
        refused,
        f"{took or trial.answer.seconds:.1f} s and {trial.answer.peak_memory / 2**20:,.0f} MiB",
        day=str(trial.day),
        peak_memory=trial.answer.peak_memory,
        process_seconds=trial.answer.seconds,
        **{name: value for name, value in trial.answer.told.items() if name in PARTS},
    )


PARTS = ("seconds", "loading", "scoring", "delivering")


def delivery(case: Case) -> GateResult:
    """The day's rows keep the contract, and are delivered whole, with their receipt."""
    told = case.trial.answer.told
    rows = told.get("rows", 0)
    return answer(
        "delivery",
        "rows that keep the contract, delivered whole with a receipt",
        str(told["refused"]) if "refused" in told else None,
        f"{rows:,} rows of {case.trial.day} with their receipt",
        **{name: told[name] for name in ("rows", "checksum") if name in told},
    )


def _empty(case: Case) -> None:
    """Removes what earlier trials left: their tables may have other columns. The gate `environment` let us in here."""
    with closing(postgres.connect("serving", case.settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute("DROP SCHEMA public CASCADE")
        cursor.execute("CREATE SCHEMA public")
        cursor.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
