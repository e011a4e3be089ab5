"""The extract: read production by the policy, transform, check what was written, publish.

What belongs here: the order of these steps for days and for tables of current state. What does not: each of the steps,
and when they happen.

Rows are published in the order of their key after the transformation: production's own order would tell which pseudonym
stands for the older customer, and row for row undo the pseudonyms for anyone who knows one table's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq

from ds_pipelines.errors import (
    AmbiguousKeyError,
    RowsOfError,
    UnknownDayError,
    UnpublishableError,
)
from ds_pipelines.evidence import Column, SnapshotManifest, Withheld
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, source, tombstones
from ds_pipelines.extract.fitting import fitted
from ds_pipelines.extract.transform import transform
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.snapshots.locks import publishing
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.extract.tombstones import Tombstones
    from ds_pipelines.settings import Settings
    from ds_pipelines.snapshots.store import Stage, Written

WINDOW_DAYS = 100
"""How many days one query reads: one scan instead of a hundred, and memory that does not grow with the history."""


def extract_day(table: str, day: date, settings: Settings) -> SnapshotManifest:
    """Publishes the rows of one business day; as `extract_days`."""
    [manifest] = extract_days(table, day, day, settings)
    return manifest


@publishing
def extract_days(
    table: str,
    first: date,
    last: date,
    settings: Settings,
    on_day: Callable[[SnapshotManifest], None] | None = None,
) -> list[SnapshotManifest]:
    """Publishes the rows of each business day from first to last, both included; a day without rows is published empty.

    A day that is published already is replaced; with the same rows it keeps its digest. Days become visible some at a
    time, each whole. `on_day` is called once for each when it is visible.

    Raises:
        UndeclaredTableError, RowsOfError: the policy does not name the table, or does not extract it by day.
        UnknownDayError: a day cannot be extracted, or the last is before the first.
        AmbiguousKeyError, CollidingPseudonymsError, UnpublishableError: what was read cannot be published; it stays
            invisible.
        PolicyError, MissingSecretError, DiskFullError, and the errors of `source`, `fitting` and `transform`.
    """
    publication = _prepare(table, settings)
    if (by_day := publication.table.by_day) is None:
        raise RowsOfError(table, by_day=False)
    first, last = settings.require_day(first), settings.require_day(last)
    if last < first:
        raise UnknownDayError(str(last), str(first), str(settings.last_extractable_day()))
    published: list[SnapshotManifest] = []
    with source.connect("extract", settings) as session, publication.store.stage() as stage:
        readable = session.readable(publication.policy, table)
        decisions = fitted(publication.policy, readable, session, settings)
        for days in _windows(first, last):
            read_at = datetime.now(UTC)
            frame, gone = publication.without_erased(session.read(readable, since=days[0], until=days[-1]))
            erased = {day: rows.height for day, rows in _split(gone, by_day, days, settings)}
            rows_of = _split(publication.transformed(frame, decisions), by_day, days, settings)
            written = {day: publication.written(stage, rows, day) for day, rows in rows_of}
            if (rows_written := sum(each.rows for each in written.values())) != frame.height:
                reason = f"{frame.height} rows were read until {days[-1]}, and {rows_written} fall on the days"
                raise UnpublishableError(table, days[0], reason)
            manifests = publication.manifests(written, read_at, erased)
            stage.publish(manifests)
            published += manifests
            if on_day is not None:
                for manifest in manifests:
                    on_day(manifest)
    return published


@publishing
def extract_state(table: str, settings: Settings) -> SnapshotManifest:
    """Publishes a whole table as it is now, under the business's today: never under an earlier day.

    Raises:
        RowsOfError: the policy extracts the table by day.
        The other errors of `extract_days`.
    """
    publication = _prepare(table, settings)
    if publication.table.by_day is not None:
        raise RowsOfError(table, by_day=True)
    with source.connect("extract", settings) as session, publication.store.stage() as stage:
        readable = session.readable(publication.policy, table)
        decisions = fitted(publication.policy, readable, session, settings)
        day, read_at = settings.now().date(), datetime.now(UTC)
        frame, gone = publication.without_erased(session.read(readable))
        written = publication.written(stage, publication.transformed(frame, decisions), day)
        if written.rows != frame.height:
            raise UnpublishableError(table, day, f"{frame.height} rows were read and {written.rows} written")
        [manifest] = publication.manifests({day: written}, read_at, {day: gone.height})
        stage.publish([manifest])
    return manifest


@dataclass(frozen=True)
class _Publication:
    """What is the same for every snapshot of one extract."""

    policy: Policy
    table: TablePolicy
    pseudonyms: Pseudonyms
    tombstones: Tombstones
    store: SnapshotStore
    zone: str

    def without_erased(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that may be published, and those of erased persons."""
        return self.tombstones.without_erased(frame, self.table, self.pseudonyms)

    def transformed(self, frame: pl.DataFrame, decisions: TablePolicy) -> pl.DataFrame:
        """What may be published, in the order of its key."""
        rows = transform(frame, decisions, self.pseudonyms, zone=self.zone).sort(self.table.order)
        for name, column in decisions.visible.items():
            treatment = column.treatment
            if isinstance(treatment, Pseudonym) and treatment.shape == "bigint":
                pseudonyms.require_distinct(frame[name], rows[name], self.table.name, treatment.label)
        if self.table.key and rows.select(self.table.key).is_duplicated().any():
            raise AmbiguousKeyError(self.table.name, self.table.key)
        return rows

    def written(self, stage: Stage, rows: pl.DataFrame, day: date) -> Written:
        """Writes rows, and checks the file itself rather than the frame that went into it."""
        written = stage.write(rows)
        footer = pq.read_metadata(written.path)
        if footer.num_rows != rows.height:
            reason = f"the file has {footer.num_rows} rows, and {rows.height} were given to it"
            raise UnpublishableError(self.table.name, day, reason)
        if footer.schema.to_arrow_schema().names != list(self.table.visible):
            raise UnpublishableError(self.table.name, day, "the file has other columns than the policy allows")
        return written

    def manifests(
        self, written: Mapping[date, Written], read_at: datetime, erased: Mapping[date, int]
    ) -> list[SnapshotManifest]:
        """What is said of each day's file, as of now."""
        decisions = self.table.columns
        withheld = tuple(Withheld(name=name, explanation=decisions[name].explanation) for name in self.table.withheld)
        return [
            SnapshotManifest(
                table=self.table.name,
                rows_of="day" if self.table.by_day else "state",
                day=day,
                rows=file.rows,
                bytes=file.bytes,
                digest=file.digest,
                logical_digest=file.logical_digest,
                columns=tuple(
                    Column(
                        name=name,
                        dtype=str(dtype),
                        treatment=decisions[name].treatment.label,
                        explanation=decisions[name].explanation,
                    )
                    for name, dtype in file.schema.items()
                ),
                withheld=withheld,
                erased_rows=erased[day],
                policy_digest=self.policy.digest,
                key_id=self.pseudonyms.key_id,
                read_at=read_at,
                published_at=datetime.now(UTC),
            )
            for day, file in written.items()
        ]


def _prepare(table: str, settings: Settings) -> _Publication:
    policy = policies.load(settings.policies / policies.SHOP)
    decisions = policy.table(table)
    store = SnapshotStore(settings.snapshots)
    return _Publication(policy, decisions, pseudonyms.load(settings), tombstones.load(settings), store, settings.zone)


def _windows(first: date, last: date) -> Iterator[list[date]]:
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    for start in range(0, len(days), WINDOW_DAYS):
        yield days[start : start + WINDOW_DAYS]


def _split(
    rows: pl.DataFrame, by_day: str, days: list[date], settings: Settings
) -> Iterator[tuple[date, pl.DataFrame]]:
    """The rows of each of some consecutive days, told by the bounds by which they were read, and in their order."""
    dtype = rows.schema[by_day]
    begins = days if dtype == pl.Date else [settings.bounds(day)[0] for day in days]
    edges = pl.Series(begins, dtype=dtype).to_physical()
    begun = edges.search_sorted(rows[by_day].to_physical(), side="right")  # how many of the days; 1 on the first
    parts = rows.with_columns(begun.alias(_DAY)).partition_by(_DAY, as_dict=True, include_key=False)
    for number, day in enumerate(days, start=1):
        yield day, parts.get((number,), rows.clear())


_DAY = "\x00day"
"""No column of PostgreSQL's can have this name."""
