"""Errors of the days that a scoring job owes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date


class DaysRefusedError(DsPipelinesError):
    """Some days of a run were refused; the others were delivered."""

    def __init__(self, job: str, days: Iterable[date], reason: str) -> None:
        super().__init__(
            f"Of job {job!r}, {listing(str(day) for day in days)} could not be delivered and will be tried again only "
            f"when their input, the privacy policy or the release in use has changed; other days of this run were "
            f"delivered. The first was refused because: {reason}"
        )
