"""How long something takes and how old it is, as people say it.

What belongs here: the words. What does not: measuring.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


def words(length: timedelta | float) -> str:
    """A duration as a person says it, in its largest whole unit."""
    seconds = length if isinstance(length, (int, float)) else length.total_seconds()
    for unit, span in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * span:
            return f"{seconds / span:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def moment(at: datetime) -> str:
    """A time and how long ago it was, for a person."""
    return f"{words(datetime.now(UTC) - at)} ago ({at.astimezone(UTC):%Y-%m-%d %H:%M UTC})"
