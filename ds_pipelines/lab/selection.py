"""What is asked of a table, and which of the published snapshots and columns that means.

What belongs here: days, states and columns, and refusing what cannot be one table. What does not: asking the gateway,
fetching and reading (table.py).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from ds_pipelines.errors import (
    MissingDaysError,
    MixedExtractError,
    TableArgumentError,
    UnknownColumnError,
    UnpublishedDayError,
    listing,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ds_pipelines.evidence import SnapshotManifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """The snapshots and columns that a question means."""

    manifests: tuple[SnapshotManifest, ...]
    columns: tuple[str, ...]

    @property
    def newest(self) -> SnapshotManifest:
        """The last of them; there is at least one."""
        return self.manifests[-1]


@dataclass(frozen=True)
class Question:
    """What is asked of a table."""

    since: date | None = None
    until: date | None = None
    as_of: date | None = None
    columns: Sequence[str] | None = None


def asking(
    table: str,
    *,
    since: str | date | None = None,
    until: str | date | None = None,
    as_of: str | date | None = None,
    columns: Sequence[str] | None = None,
) -> Question:
    """A question as people put it.

    Raises:
        TableArgumentError: a day is none.
    """
    return Question(
        as_day(table, "since", since), as_day(table, "until", until), as_day(table, "as_of", as_of), columns
    )  # fmt: skip


def choose(published: Sequence[SnapshotManifest], question: Question) -> Selection:
    """What a question means, of what is published.

    Raises:
        The errors of `table`, but for those of asking and fetching.
    """
    manifests = _chosen(published, since=question.since, until=question.until, as_of=question.as_of)
    wanted = wanted_columns(manifests[-1], question.columns)
    _require_agreement(manifests, None if question.columns is None else wanted)
    return Selection(tuple(manifests), tuple(wanted))


def as_day(table: str, argument: str, value: str | date | None) -> date | None:
    """A day as people give it.

    Raises:
        TableArgumentError: it is none.
    """
    if isinstance(value, datetime):  # a subclass of date; its midnight would be taken for the day's end
        raise TableArgumentError(table, argument, "a day without a time, as YYYY-MM-DD or a date")
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise TableArgumentError(table, argument, "a day, as YYYY-MM-DD or a date") from None


def _chosen(
    published: Sequence[SnapshotManifest], *, since: date | None, until: date | None, as_of: date | None
) -> list[SnapshotManifest]:
    """The snapshots that the bounds mean, by day; at least one."""
    newest = published[-1]
    if newest.rows_of == "state":
        if since is not None or until is not None:
            raise TableArgumentError(newest.table, "since or until", "as_of, because it holds a state and not days")
        return [_newest_state(published, as_of)]
    if until is not None and as_of is not None:
        raise TableArgumentError(newest.table, "until and as_of together", "one of them; both mean the last day")
    return _days(published, since, as_of or until)


def _newest_state(published: Sequence[SnapshotManifest], as_of: date | None) -> SnapshotManifest:
    known = [manifest for manifest in published if as_of is None or manifest.day <= as_of]
    if not known:
        raise UnpublishedDayError(published[0].table, f"{as_of} or before", published[0].day, published[-1].day)
    return known[-1]


def _days(published: Sequence[SnapshotManifest], since: date | None, until: date | None) -> list[SnapshotManifest]:
    table, first, last = published[0].table, published[0].day, published[-1].day
    if since is not None and until is not None and since > until:
        raise TableArgumentError(table, "since", f"a day not after {until}, the last one asked for")
    begin, end = max(since or first, first), min(until or last, last)
    if begin > end:
        raise UnpublishedDayError(table, f"{since or first} to {until or last}", first, last, since=since, until=until)
    if (since or begin) < begin or (until or end) > end:
        log.warning(
            "%r is published from %s to %s: the other days asked for are not in the table. "
            "lab.request and `ds-pipelines requests ask` ask production for more.", table, first, last,
        )  # fmt: skip
    by_day = {manifest.day: manifest for manifest in published}
    asked = [begin + timedelta(days=offset) for offset in range((end - begin).days + 1)]
    if missing := [day for day in asked if day not in by_day]:
        raise MissingDaysError(table, missing)
    return [by_day[day] for day in asked]


def wanted_columns(manifest: SnapshotManifest, columns: Sequence[str] | None) -> list[str]:
    """The columns to read, in order, all of them known to exist."""
    available = [column.name for column in manifest.columns]
    if columns is None:
        return available
    if isinstance(columns, str) or len(set(columns)) < len(columns):
        raise TableArgumentError(manifest.table, "columns", "a list of column names, each once")
    if absent := [name for name in columns if name not in available]:
        reasons = {column.name: column.explanation for column in manifest.withheld if column.name in absent}
        unknown = [name for name in absent if name not in reasons]
        raise UnknownColumnError(manifest.table, unknown, available, reasons)
    return list(columns)


def _require_agreement(chosen: Sequence[SnapshotManifest], columns: Sequence[str] | None) -> None:
    """Refuses days that would be one table in form only: other columns, other treatments, pseudonyms of another key."""
    newest = chosen[-1]
    expected = _meaning(newest, columns)
    pseudonymous = any(treatment.startswith("pseudonym") for _, treatment in expected.values())
    for manifest in chosen:
        found = _meaning(manifest, columns)
        if found != expected:
            names = {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)}
            difference = f"columns are missing, or of another type or treatment ({listing(names)})"
            raise MixedExtractError(newest.table, manifest.day, newest.day, difference)
        if pseudonymous and manifest.key_id != newest.key_id:
            raise MixedExtractError(newest.table, manifest.day, newest.day, "pseudonyms come from another key")


def _meaning(manifest: SnapshotManifest, columns: Sequence[str] | None) -> dict[str, tuple[str, str]]:
    return {
        column.name: (column.dtype, column.treatment)
        for column in manifest.columns
        if columns is None or column.name in columns
    }
