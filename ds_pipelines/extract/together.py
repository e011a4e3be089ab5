"""Tables that are extracted together, as they all were at one moment.

What belongs here: holding that moment, and extracting each table as of it. What does not: how a table is extracted
(`publish`).

A policy asks for it by `consistency: snapshot`. A session of its own exports the moment and stays in its transaction
until the last table was read; every table is read by one statement as of it. Meanwhile vacuum removes nothing that has
changed since, in the whole database. So it is for a replica; without one it is done on production with a warning, and
in either case it ends after `snapshot_limit`: tables that were not begun by then are refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.errors import ConsistencyError
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import source
from ds_pipelines.extract.publish import extract_days, extract_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.extract.harm import Harm
    from ds_pipelines.settings import Settings

WARNING = (
    "Production itself is read at one moment, because DS_REPLICA_URL names no replica: until all tables are read, "
    "vacuum removes nothing that has changed since."
)


@dataclass(frozen=True)
class Together:
    """What was published of one moment."""

    manifests: tuple[SnapshotManifest, ...]
    warning: str | None


def extract_together(
    tables: Sequence[str],
    settings: Settings,
    *,
    first: date | None = None,
    last: date | None = None,
    on_harm: Callable[[Harm], None] | None = None,
) -> Together:
    """Publishes tables as they were at one moment: days of those by day, and the others whole.

    Args:
        tables: Tables of the policy; none: all of them.
        settings: Where production or its replica, the policy and the snapshots are.
        first: The first business day of tables by day; None: the newest.
        last: The last, included; None: the first.
        on_harm: Called for each table.

    Raises:
        ConsistencyError: the policy does not ask for one moment.
        The errors of `extract_days` and `extract_state`.
    """
    policy = policies.load(settings.policies / policies.SHOP)
    if policy.consistency != "snapshot":
        raise ConsistencyError(settings.policies / policies.SHOP)
    named = [policy.table(name) for name in tables or policy.tables]
    first = first or settings.last_extractable_day()
    last = last or first
    if settings.replica_url is not None:
        settings = settings.model_copy(update={"extract_url": settings.replica_url, "replica_url": None})
        warning = None
    else:
        warning = WARNING
    manifests: list[SnapshotManifest] = []
    with _held(settings) as moment:
        for table in named:
            if table.by_day is None:
                manifests.append(extract_state(table.name, settings, on_harm=on_harm, at=moment))
            else:
                manifests += extract_days(table.name, first, last, settings, on_harm=on_harm, at=moment)
    return Together(tuple(manifests), warning)


@contextmanager
def _held(settings: Settings) -> Iterator[str]:
    """Exports a moment and holds it; who idles in a transaction for longer than the limit is ended by the server."""
    limit = int(settings.snapshot_limit.total_seconds())
    with source.connect("extract", settings) as session, session.exported(limit) as moment:
        yield moment
