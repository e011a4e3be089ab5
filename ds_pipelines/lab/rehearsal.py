"""Rehearsing a whole script on shares of its tables, to foretell what all of their rows will take.

What belongs here: which shares, and what is said and kept of them. What does not: executing a script (run.py), the rows
of a share (table.py), and what follows from several pilots (forecast.py).

Every table gives the same share of its rows, from all over it. Two of them that are joined then hold the share's square
of all pairs, which the laws of growth know.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ds_pipelines.errors import ForecastTooLargeError, PilotFailedError
from ds_pipelines.lab.admission import memory_of_all
from ds_pipelines.lab.forecast import FARTHEST, FIRST_SHARE, PATIENCE_SECONDS, Forecast, Ladder, forecast_figure
from ds_pipelines.lab.pilots import Pilot, TooMuchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.evidence import Limits
    from ds_pipelines.lab.launch import Ended
    from ds_pipelines.lab.scripts import Script
    from ds_pipelines.settings import Settings

PARTS = 1 << 16
"""The rows of all tables, as the laws of growth count them: so many parts."""
FREE_SECONDS = 15.0
"""For all rehearsals of a script, whatever it will take: each of them begins with a second that shows no growth."""


@dataclass(frozen=True)
class Foreseen:
    """What is said of a run before it starts."""

    words: str
    told: Forecast | None = None
    """None where nothing can be foretold."""
    refused: bool = False
    """Whether it does not fit, and its header wants it refused then."""

    def keep(self, evidence: Path) -> None:
        """Writes it into the folder of a run's evidence."""
        evidence.mkdir(parents=True, exist_ok=True)
        facts = {} if self.told is None else {"fits": self.told.fits, **asdict(self.told)}
        (evidence / "forecast.json").write_text(json.dumps({"words": self.words, **facts}, indent=2), encoding="utf-8")
        if self.told is not None:
            drawn = io.BytesIO()
            forecast_figure(self.told, f"rows, in {PARTS:,} parts of all").savefig(drawn, format="png")
            (evidence / "forecast.png").write_bytes(drawn.getvalue())


def rehearse(script: Script, settings: Settings, execute: Callable[[Settings, Limits], Ended]) -> Foreseen:
    """Foretells what a script will take.

    Args:
        script: Its header says what it may take, and whether it is refused where that is too little.
        settings: Those of the run.
        execute: Runs the script with these settings within these limits, and records nothing.
    """
    if not script.tables:
        return Foreseen("Nothing is foretold: it reads no table by a literal name.")
    asked = script.header.limits
    available = asked.memory or memory_of_all(settings) // 2
    limit = min(asked.seconds or settings.experiment_minutes * 60, settings.experiment_minutes * 60)
    limits = asked.model_copy(update={"seconds": min(limit, PATIENCE_SECONDS)})

    least: list[int] = []

    def attempt(part: int) -> Pilot:
        ended = execute(settings.model_copy(update={"table_share": part / PARTS}), limits)
        if ended.capped is not None:
            raise TooMuchError
        if ended.code != 0:
            raise PilotFailedError(part, "its process ended with a failure")
        least.append(min([ended.peak_memory, *least]))  # of the smallest share: nearly Python and its libraries alone
        return Pilot(part, ended.seconds, 0.0, ended.peak_memory - least[-1], least[-1])

    try:
        ladder = _climbed(attempt)
    except PilotFailedError:
        return Foreseen(f"Nothing is foretold: it fails on a share of its rows, even on 1 of {FARTHEST}.")
    except ForecastTooLargeError:
        words = f"Even a small share of its rows took more than a pilot may, which is {limits.seconds:.0f} seconds."
        return Foreseen(words, refused=script.header.forecast == "refuse")
    told = ladder.forecast(available, limit)
    return Foreseen(told.words, told, refused=script.header.forecast == "refuse" and not told.fits)


def _climbed(attempt: Callable[[int], Pilot]) -> Ladder:
    """From the smallest share on which it works; few rows may be too few for a script."""
    first = PARTS // FIRST_SHARE
    while True:
        ladder = Ladder(PARTS, attempt, FREE_SECONDS)
        try:
            ladder.climb(first)
        except PilotFailedError:
            if 2 * first > PARTS // FARTHEST:
                raise
            first *= 2
        else:
            return ladder
