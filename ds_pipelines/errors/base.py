"""The root of all errors of ours, and their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date


class DsPipelinesError(Exception):
    """Base of every error that the project raises on purpose; the command line prints it as one line, exit status 1."""


def listing(names: Iterable[str]) -> str:
    """Names for a message: sorted, comma-separated."""
    return ", ".join(sorted(names))


def how_to_ask(table: str, since: date | str | None = None, until: date | str | None = None) -> str:
    """The next step towards data that is not published yet; a data scientist's, and an engineer's."""
    ends = (("since", since), ("until", until if until != since else None))
    days = [(name, day) for name, day in ends if day is not None]
    arguments = "".join(f', {name}="{day}"' for name, day in days)
    options = "".join(f" --{name} {day}" for name, day in days)
    return (
        f'Ask production for it with lab.request("{table}"{arguments}, because="…"), with `ds-pipelines requests ask '
        f'{table}{options} --because "…"`, or by materializing lab/{table} in Dagster; in the location production, '
        f"materialize extract/{table}."
    )
