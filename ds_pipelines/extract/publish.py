"""The extract: read production by the policy, transform, stage, prove, publish.

What belongs here: the order of these steps for days and for tables of current state. What does not: each of the steps,
and when they happen.

A table of current state, and a day by itself, stream: one thread reads while another transforms and spills, and then
one sorts buckets while another writes them (`order`), so that memory does not grow with the rows. Many small days are
read by one query and held together, which is faster; if they turn out not to be small, each is streamed after all. Both
ways give the same bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from ds_pipelines.evidence import Column, ResidualRisk, SnapshotManifest, Withheld
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, source, tombstones
from ds_pipelines.extract.examine import Examination
from ds_pipelines.extract.fitting import fitted
from ds_pipelines.extract.masking import Masker
from ds_pipelines.extract.order import Ordering, columns_of_order
from ds_pipelines.extract.stream import ahead
from ds_pipelines.extract.transform import transform
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.snapshots.locks import publishing
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.extract.proofs import Proofs
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.extract.source import Readable, Source
    from ds_pipelines.extract.tombstones import Tombstones
    from ds_pipelines.settings import Settings
    from ds_pipelines.snapshots.parquet import Written
    from ds_pipelines.snapshots.store import Stage

    Told = Callable[[Proofs], None]

WINDOW_DAYS = 100
"""How many days one query reads: one scan instead of a hundred."""
HELD_ROWS = 200_000
"""Rows of a window that are held in memory; if there are more, its days are streamed one by one."""


def extract_day(table: str, day: date, settings: Settings, on_proofs: Told | None = None) -> SnapshotManifest:
    """Publishes the rows of one business day; as `extract_days`."""
    [manifest] = extract_days(table, day, day, settings, on_proofs=on_proofs)
    return manifest


@publishing
def extract_days(
    table: str,
    first: date,
    last: date,
    settings: Settings,
    *,
    on_day: Callable[[SnapshotManifest], None] | None = None,
    on_proofs: Told | None = None,
) -> list[SnapshotManifest]:
    """Publishes the rows of each business day from first to last, both included; a day without rows is published empty.

    A day that is published already is replaced; with the same rows it keeps its digest. Days become visible some at a
    time, each whole, and none before what is published with it was proved to give nobody away.

    Args:
        table: A table that the policy extracts by day.
        first: The first business day.
        last: The last, included.
        settings: Where production, the policy and the snapshots are.
        on_day: Called once for each day when it is visible.
        on_proofs: Called once with what was proved, be it that a proof failed.

    Raises:
        UndeclaredTableError, RowsOfError: the policy does not name the table, or does not extract it by day.
        UnknownDayError: a day cannot be extracted, or the last is before the first.
        AmbiguousKeyError, CollidingPseudonymsError, UnpublishableError, ProofFailedError: what was read cannot be
            published; it stays invisible.
        PolicyError, MissingSecretError, DiskFullError, and the errors of `source`, `fitting` and `transform`.
    """
    publication = _prepare(table, settings)
    if publication.table.by_day is None:
        raise RowsOfError(table, by_day=False)
    first, last = settings.require_day(first), settings.require_day(last)
    if last < first:
        raise UnknownDayError(str(last), str(first), str(settings.last_extractable_day()))
    published: list[SnapshotManifest] = []
    with _making(publication, settings, on_proofs) as making:
        for days in _windows(first, last):
            manifests = making.published(making.of_days(days))
            published += manifests
            if on_day is not None:
                for manifest in manifests:
                    on_day(manifest)
    return published


@publishing
def extract_state(table: str, settings: Settings, on_proofs: Told | None = None) -> SnapshotManifest:
    """Publishes a whole table as it is now, under the business's today: never under an earlier day.

    Raises:
        RowsOfError: the policy extracts the table by day.
        The other errors of `extract_days`.
    """
    publication = _prepare(table, settings)
    if publication.table.by_day is not None:
        raise RowsOfError(table, by_day=True)
    with _making(publication, settings, on_proofs) as making:
        [manifest] = making.published({settings.now().date(): making.streamed(None)})
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

    def ascending(self, buckets: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The same rows, once it is sure that each comes after the one before it and none shares a key with another."""
        columns, key = columns_of_order(self.table), list(self.table.key)
        before = None
        keys: list[pl.DataFrame] = []
        for bucket in buckets:
            rows = bucket.select(columns)
            rows = rows if before is None else pl.concat([before, rows])
            leading = rows[columns[0]]
            if not leading.dtype.is_nested() and not leading.is_sorted():
                raise UnpublishableError(self.table.name, None, f"the rows are not in the order of {columns[0]}")
            if key:
                repeated = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in columns)
                if rows.select(repeated.slice(1).any()).item():
                    raise AmbiguousKeyError(self.table.name, self.table.key)
            if key and columns[0] not in key:  # equal keys need not be neighbours
                keys.append(bucket.select(key))
            before = rows.tail(1)
            yield bucket
        if keys and pl.concat(keys).is_duplicated().any():
            raise AmbiguousKeyError(self.table.name, self.table.key)

    def without_erased(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that may be published, and those of erased persons."""
        return self.tombstones.without_erased(batch, self.table, self.pseudonyms)

    def manifest(self, day: date, staged: _Staged, residual: ResidualRisk | None) -> SnapshotManifest:
        """What is said of a day's file, as of now; `residual` is what masking free text misses."""
        decisions, file = self.table.columns, staged.written
        return SnapshotManifest(
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
                    residual=residual if name in self.table.masked else None,
                )
                for name, dtype in file.schema.items()
            ),
            withheld=tuple(
                Withheld(name=name, explanation=decisions[name].explanation) for name in self.table.withheld
            ),
            erased_rows=staged.erased,
            policy_digest=self.policy.digest,
            key_id=self.pseudonyms.key_id,
            read_at=staged.read_at,
            published_at=datetime.now(UTC),
        )


@dataclass(frozen=True)
class _Making:
    """One extract while it is made."""

    publication: _Publication
    settings: Settings
    session: Source
    readable: Readable
    """With its policy as it was fitted."""
    stage: Stage
    examination: Examination
    counted: _Counted
    unlike: list[str]
    """Columns of which hardly two values are equal."""

    def published(self, staged: Mapping[date, _Staged]) -> list[SnapshotManifest]:
        """Proves what was staged, and makes it visible."""
        self.examination.prove({day: each.written for day, each in staged.items()})
        self.counted.prove()
        residual = self.examination.residual
        manifests = [self.publication.manifest(day, each, residual) for day, each in staged.items()]
        self.stage.publish(manifests)
        return manifests

    def of_days(self, days: list[date]) -> dict[date, _Staged]:
        """Stages some consecutive days: together if they are small, else each by itself."""
        if len(days) > 1 and (held := self._held(days)) is not None:
            return held
        return {day: self.streamed(day) for day in days}

    def streamed(self, day: date | None) -> _Staged:
        """Stages a day, or a table of current state, in memory that does not grow with its rows."""
        read_at, erased = datetime.now(UTC), 0
        ordering = Ordering(self.publication.table, self.stage.spill())
        with ahead(self.session.batches(self.readable, since=day, until=day)) as batches:
            for batch in batches:
                kept, gone = self.publication.without_erased(batch)
                erased += gone.height
                ordering.add(self._transformed(kept))
        with ahead(ordering.ordered(), depth=1) as buckets:
            return _Staged(self._written(buckets), read_at, erased)

    def _held(self, days: list[date]) -> dict[date, _Staged] | None:
        """Stages days that fit into memory together; None if they do not."""
        read_at = datetime.now(UTC)
        frames, height = [pl.DataFrame(schema=self.readable.dtypes)], 0
        with ahead(self.session.batches(self.readable, since=days[0], until=days[-1])) as batches:
            for batch in batches:
                frames.append(batch)
                height += batch.height
                if height > HELD_ROWS:
                    return None
        kept, gone = self.publication.without_erased(pl.concat(frames, rechunk=True))
        rows = self._transformed(kept).sort(columns_of_order(self.publication.table))
        by_day = str(self.publication.table.by_day)
        erased = {day: part.height for day, part in _split(gone, by_day, days, self.settings)}
        return {
            day: _Staged(self._written([part]), read_at, erased[day])
            for day, part in _split(rows, by_day, days, self.settings)
        }

    def _transformed(self, batch: pl.DataFrame) -> pl.DataFrame:
        publication = self.publication
        decisions, masker = self.readable.policy, self.examination.masker
        rows = transform(batch, decisions, publication.pseudonyms, zone=publication.zone, masker=masker)
        self.counted.add(batch, rows)
        self.examination.take(batch, rows)
        return rows

    def _written(self, batches: Iterable[pl.DataFrame]) -> Written:
        """Writes rows, and checks the file itself rather than what went into it."""
        released = (self.examination.released(rows) for rows in self.publication.ascending(batches))
        written = self.stage.write_batches(self.examination.schema, released, unlike=self.unlike)
        footer = pq.read_metadata(written.path)
        if footer.num_rows != written.rows:
            reason = f"the file has {footer.num_rows} rows, and {written.rows} were given to it"
            raise UnpublishableError(self.publication.table.name, None, reason)
        if footer.schema.to_arrow_schema().names != list(self.publication.table.visible):
            raise UnpublishableError(
                self.publication.table.name, None, "the file has other columns than the policy allows"
            )
        return written


@dataclass(frozen=True)
class _Staged:
    written: Written
    read_at: datetime
    erased: int
    """Rows of erased persons, which were left out."""


class _Counted:
    """As many bigint pseudonyms as identifiers, over all that one extract publishes."""

    def __init__(self, table: TablePolicy) -> None:
        self._table = table.name
        self._labels = {
            name: column.treatment.label
            for name, column in table.visible.items()
            if isinstance(column.treatment, Pseudonym) and column.treatment.shape == "bigint"
        }
        self._pairs: dict[str, list[pl.DataFrame]] = {name: [] for name in self._labels}

    def add(self, read: pl.DataFrame, rows: pl.DataFrame) -> None:
        """Takes the identifiers of a batch, hashed so that they are small, and what was made of them."""
        for name, pairs in self._pairs.items():
            pairs.append(pl.DataFrame({"identifier": read[name].hash(), "made": rows[name]}).unique())

    def prove(self) -> None:
        """Makes sure of it.

        Raises:
            CollidingPseudonymsError: two identifiers share a pseudonym.
        """
        for name, parts in self._pairs.items():
            if parts:
                pairs = pl.concat(parts).unique()
                parts[:] = [pairs]
                pseudonyms.require_distinct(
                    pairs["identifier"].alias(name), pairs["made"], self._table, self._labels[name]
                )


@contextmanager
def _making(publication: _Publication, settings: Settings, on_proofs: Told | None) -> Iterator[_Making]:
    """Everything that an extract needs; afterwards, what was proved is told and reported."""
    with (
        source.connect("extract", settings) as session,
        source.connect("extract", settings) as second,
        publication.store.stage() as stage,
    ):
        readable = session.readable(publication.policy, publication.table.name)
        decisions = fitted(publication.policy, readable, session, settings)
        readable = replace(readable, policy=decisions)
        made_by = publication.pseudonyms
        masker = Masker.of(publication.policy, readable, session)
        nothing = pl.DataFrame(schema=readable.dtypes)
        empty = transform(nothing, decisions, made_by, zone=publication.zone, masker=masker)
        examination = Examination(
            publication.policy,
            readable,
            second,
            schema=empty.schema,
            pseudonyms=made_by,
            masker=masker,
            store=publication.store,
            settings=settings,
        )
        unlike = [name for name, column in publication.table.visible.items() if isinstance(column.treatment, Pseudonym)]
        examination.tell = on_proofs
        yield _Making(publication, settings, session, readable, stage, examination, _Counted(decisions), unlike)
        examination.conclude()


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
