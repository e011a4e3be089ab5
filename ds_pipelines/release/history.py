"""What the ledger answers: what was done to releases, and which was champion on a day.

What belongs here: choosing entries, and telling them in a line each. What does not: the ledger itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.release.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from ds_pipelines.release.ledger import Entry
    from ds_pipelines.settings import Settings

SHOWN = 12
"""Digits of a digest."""


@dataclass(frozen=True)
class ChampionOfDay:
    """Which release of a job was in use at the end of a day; None: none was."""

    job: str
    entry: Entry | None


def history(settings: Settings, job: str | None = None) -> list[Entry]:
    """The entries of a job, or all, once the whole ledger is verified.

    Raises:
        LedgerBrokenError: it was changed.
    """
    return [each for each in Ledger(settings).verify() if job is None or each.job == job]


def champions_on(day: date, settings: Settings, jobs: Iterable[str]) -> list[ChampionOfDay]:
    """Which releases were in use at the end of a business day.

    Raises:
        LedgerBrokenError: the ledger was changed.
    """
    ledger = Ledger(settings)
    ledger.verify()
    return [ChampionOfDay(job, ledger.champion_on(job, day)) for job in jobs]


def told(entry: Entry, settings: Settings) -> str:
    """An entry in a line: when by the business's clock, by whom, what, and why."""
    from zoneinfo import ZoneInfo

    at = entry.at.astimezone(ZoneInfo(settings.zone))
    what = f"{entry.job} {entry.release[:SHOWN]}".strip()
    gate = f" ({entry.evidence['gate']})" if entry.action == "waived" else ""
    because = f": {entry.because}" if entry.because else ""
    return f"{entry.number:>4}  {at:%Y-%m-%d %H:%M}  {entry.action}{gate} by {entry.actor}  {what}{because}"
