"""Whether production may be read now, and what reading it has done: what an engineer asks first.

What belongs here: the switch that stops all reading, and telling how things stand. What does not: obeying it (`pace`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ds_pipelines.extract import harm
from ds_pipelines.extract.pace import spent_today, within
from ds_pipelines.extract.unfinished import left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings


def pause(settings: Settings) -> str:
    """Stops all reading of production; says what that means."""
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.pause.touch()
    patience = settings.pace_patience.total_seconds() / 60
    return (
        f"Paused by {settings.pause}: no chunk is begun. Who waits longer than {patience:.0f} minutes stops with an "
        "error, and is gone on with by the next extract of the same. `ds-pipelines extract resume` ends the pause."
    )


def resume(settings: Settings) -> str:
    """Lets extracts go on; says whether they had been paused."""
    if not settings.pause.exists():
        return "Extracts were not paused."
    settings.pause.unlink(missing_ok=True)
    return "Extracts go on."


def status(settings: Settings) -> Iterator[str]:
    """How things stand, in lines for a terminal."""
    now = datetime.now(ZoneInfo(settings.zone))
    if settings.pause.exists():
        yield f"paused by {settings.pause}; `ds-pipelines extract resume` ends it"
    elif not within(settings.extract_hours, now):
        yield f"outside the allowed hours ({settings.extract_hours}): nothing is read"
    else:
        yield "production may be read"
    spent = spent_today(settings)
    rows, seconds = settings.extract_rows_a_day, settings.extract_seconds_a_day
    yield (
        f"read today: {spent.rows:,} rows{f' of {rows:,}' if rows else ''}, for which the database worked "
        f"{spent.seconds:,.0f} s{f' of {seconds:,} s' if seconds else ''}"
    )
    for table, kept in left_behind(settings):
        yield f"running or interrupted: {table}, {kept:,} rows are kept to go on from"
    for done in harm.latest(settings):
        yield f"{done.table}, {done.ended:%Y-%m-%d %H:%M} UTC: {done.words}"
        yield from (f"  {note}" for note in done.notes)
