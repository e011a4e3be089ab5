"""Days that were published are read again, for what was changed, deleted or committed late in them.

What belongs here: which days, and what had changed. What does not: reading and publishing them (`publish`).

A day is read when it has been over for `extract_delay`. Whatever production changes in it later shows when it is read
again: by the daily extract of the newest day, which reads the `reconcile_days` before it again, and whenever somebody
asks. A day whose rows are the same as they are published keeps its file, its manifest and its version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from ds_pipelines.errors import RowsOfError, UnnamedDaysError
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract.publish import extract_days
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Reconciled:
    """What came of it."""

    read: tuple[SnapshotManifest, ...]
    """The days that were read again, as they are published now."""
    changed: tuple[SnapshotManifest, ...]
    """Those of which the rows had changed."""


def reconcile(table: str, settings: Settings, *, before: date, days: int) -> Reconciled:
    """Reads the published ones of some days again, and publishes those that have changed.

    Args:
        table: A table that the policy extracts by day.
        settings: Where production, the policy and the snapshots are.
        before: The day after the last of them.
        days: How many days.

    Raises:
        RowsOfError: the policy does not extract the table by day.
        UnnamedDaysError: none of the table's days is published.
        The errors of `extract_days`.
    """
    if policies.load(settings.policies / policies.SHOP).table(table).by_day is None:
        raise RowsOfError(table, by_day=False)
    store = SnapshotStore(settings.snapshots)
    if table not in store.tables():
        raise UnnamedDaysError(table)
    earliest = before - timedelta(days=days)
    published = {each.day: each for each in store.manifests(table) if earliest <= each.day < before}
    read: list[SnapshotManifest] = []
    for first, last in _spans(sorted(published)):
        read += extract_days(table, first, last, settings, only_changes=True)
    changed = [each for each in read if each != published[each.day]]
    return Reconciled(tuple(read), tuple(changed))


def _spans(days: list[date]) -> Iterator[tuple[date, date]]:
    """First and last of each run of consecutive days."""
    for _, run in groupby(enumerate(days), key=lambda each: each[1] - timedelta(days=each[0])):
        together = [day for _, day in run]
        yield together[0], together[-1]
