"""The extract: read production by the policy, transform, stage, prove, publish.

What belongs here: the order of these steps for days and for tables of current state. What does not: each of the steps,
and when they happen.

Rows are read chunk by chunk; each is transformed and kept (`unfinished`), so that an extract that was killed is gone on
with. Then a table of current state, and a day by itself, stream: runs are spilled, and one thread sorts buckets while
another writes them (`order`), so that memory does not grow with the rows. Many small days are read and held together,
which is faster; if they turn out not to be small, each is read by itself after all. Both ways give the same bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq

from ds_pipelines.errors import RowsOfError, UnknownDayError, UnpublishableError
from ds_pipelines.extract.chunks import walk
from ds_pipelines.extract.examine import Examination
from ds_pipelines.extract.fitting import fitted
from ds_pipelines.extract.masking import Masker
from ds_pipelines.extract.order import Ordering, columns_of_order
from ds_pipelines.extract.publication import Counted, Publication, Staged, prepare, split
from ds_pipelines.extract.reading import Treated, opened, read_whole
from ds_pipelines.extract.stream import ahead
from ds_pipelines.extract.transform import transform
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.extract.unfinished import Unfinished
from ds_pipelines.snapshots.locks import publishing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.extract.chunks import Walk
    from ds_pipelines.extract.harm import Harm
    from ds_pipelines.extract.proofs import Proofs
    from ds_pipelines.extract.reading import Opened
    from ds_pipelines.extract.source import Readable
    from ds_pipelines.extract.unfinished import Reading, Whole
    from ds_pipelines.settings import Settings
    from ds_pipelines.snapshots.parquet import Written
    from ds_pipelines.snapshots.store import Stage

    Told = Callable[[Proofs], None]
    Harmed = Callable[[Harm], None]

WINDOW_DAYS = 100
"""How many days are read together."""
ONE_MOMENT = "the policy asks for one moment (consistency: snapshot)"
HELD_ROWS = 200_000
"""Rows of a window that are held in memory; if there are more, its days are read one by one."""


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
    on_harm: Harmed | None = None,
    only_changes: bool = False,
    at: str | None = None,
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
        on_harm: Called once with what was done to production, whatever came of it.
        only_changes: Whether a day with the same rows as are published of it stays published as it was.
        at: The exported moment as of which to read; None: any.

    An extract of the same days that was interrupted within a day is gone on with: what it read is not read again, and
    what it published is not published again.

    Raises:
        UndeclaredTableError, RowsOfError: the policy does not name the table, or does not extract it by day.
        UnknownDayError: a day cannot be extracted, or the last is before the first.
        AmbiguousKeyError, CollidingPseudonymsError, UnpublishableError, ProofFailedError: what was read cannot be
            published; it stays invisible.
        PolicyError, MissingSecretError, DiskFullError, and the errors of `source`, `fitting` and `transform`.
    """
    publication = prepare(table, settings)
    if publication.table.by_day is None:
        raise RowsOfError(table, by_day=False)
    first, last = settings.require_day(first), settings.require_day(last)
    if last < first:
        raise UnknownDayError(str(last), str(first), str(settings.last_extractable_day()))
    published: list[SnapshotManifest] = []
    with _making(publication, settings, on_proofs, on_harm, first=first, last=last, at=at) as making:
        making.begin(first, last)
        for days in _windows(first, last):
            manifests = making.published_before(days) or making.published(
                making.of_days(days), only_changes=only_changes
            )
            published += manifests
            if on_day is not None:
                for manifest in manifests:
                    on_day(manifest)
    return published


@publishing
def extract_state(
    table: str,
    settings: Settings,
    on_proofs: Told | None = None,
    on_harm: Harmed | None = None,
    *,
    at: str | None = None,
) -> SnapshotManifest:
    """Publishes a whole table as it is now, under the business's today: never under an earlier day.

    Raises:
        RowsOfError: the policy extracts the table by day.
        The other errors of `extract_days`.
    """
    publication = prepare(table, settings)
    if publication.table.by_day is not None:
        raise RowsOfError(table, by_day=True)
    with _making(publication, settings, on_proofs, on_harm, at=at) as making:
        [manifest] = making.published({settings.now().date(): making.streamed(None)})
    return manifest


@dataclass(frozen=True)
class _Making:
    """One extract while it is made."""

    publication: Publication
    settings: Settings
    opened: Opened
    readable: Readable
    """With its policy as it was fitted."""
    way: Walk | str
    """How it can be walked along, or why it cannot."""
    unfinished: Unfinished
    stage: Stage
    examination: Examination
    counted: Counted
    unlike: list[str]
    """Columns of which hardly two values are equal."""

    def begin(self, first: date, last: date) -> None:
        """Starts over if an interrupted extract has published all of these days already: they are asked for again."""
        if len(self.published_before([day for days in _windows(first, last) for day in days])) > 0:
            self.unfinished.start_over()

    def published_before(self, days: list[date]) -> list[SnapshotManifest]:
        """What an interrupted extract of the same has published of these days; nothing unless all of them."""
        done = self.unfinished.published
        if not all(str(day) in done for day in days):
            return []
        manifests = [self.publication.store.manifest(self.publication.table.name, day) for day in days]
        return manifests if all(done[str(each.day)] == each.digest for each in manifests) else []

    def published(self, staged: Mapping[date, Staged], *, only_changes: bool = False) -> list[SnapshotManifest]:
        """Proves what was staged, and makes it visible."""
        self.examination.prove({day: each.written for day, each in staged.items()})
        self.counted.prove()
        manifests = [self.publication.manifest(day, each, self.examination.residual) for day, each in staged.items()]
        known = self._equal_to(manifests) if only_changes else {}
        self.stage.publish([manifest for manifest in manifests if manifest.day not in known])
        manifests = [known.get(manifest.day, manifest) for manifest in manifests]
        self.unfinished.done({str(manifest.day): manifest.digest for manifest in manifests})
        return manifests

    def _equal_to(self, manifests: list[SnapshotManifest]) -> dict[date, SnapshotManifest]:
        """What is published with the same rows under the same policy and secret, by day."""
        table = self.publication.table.name
        known = {each.day: each for each in self.publication.store.manifests(table)}
        same = ("logical_digest", "policy_digest", "key_id", "erased_rows")
        return {
            each.day: known[each.day]
            for each in manifests
            if each.day in known and all(getattr(each, name) == getattr(known[each.day], name) for name in same)
        }

    def of_days(self, days: list[date]) -> dict[date, Staged]:
        """Stages some consecutive days: together if they are small, else each by itself."""
        if len(days) > 1 and (held := self._held(days)) is not None:
            return held
        return {day: self.streamed(day) for day in days}

    def streamed(self, day: date | None) -> Staged:
        """Stages a day, or a table of current state, in memory that does not grow with its rows."""
        read = self._read(day, day, None)
        if read is None:
            raise AssertionError("a reading without a bound is never given up")
        whole, frames = read
        ordering = Ordering(self.publication.table, self.stage.spill())
        for rows in frames:
            ordering.add(rows)
        with ahead(ordering.ordered(), depth=1) as buckets:
            return Staged(self._written(buckets), whole.read_at, whole.watermark, sum(whole.erased.values()))

    def _held(self, days: list[date]) -> dict[date, Staged] | None:
        """Stages days that fit into memory together; None if they do not."""
        read = self._read(days[0], days[-1], HELD_ROWS)
        if read is None:
            return None
        whole, frames = read
        rows = pl.concat([self._nothing(), *frames], rechunk=True).sort(columns_of_order(self.publication.table))
        by_day = str(self.publication.table.by_day)
        return {
            day: Staged(self._written([part]), whole.read_at, whole.watermark, whole.erased.get(str(day), 0))
            for day, part in split(rows, by_day, days, self.settings)
        }

    def _read(
        self, since: date | None, until: date | None, most: int | None
    ) -> tuple[Whole, Iterator[pl.DataFrame]] | None:
        """Reads rows and transforms them, and gives them back once all are there; None if there are more."""
        kept = self.unfinished.reading(since, until)
        before = {chunk.file for chunk in kept.chunks} if kept.whole is None else {*kept.whole.files}
        days = [since + timedelta(days=n) for n in range((until - since).days + 1)] if since and until else []

        def treat(read: pl.DataFrame, brief: bool) -> Treated:
            rows, gone = self.publication.without_erased(read)
            decisions, made_by = self.readable.policy, self.publication.pseudonyms
            masker = self.examination.masker
            made = transform(rows, decisions, made_by, zone=self.publication.zone, masker=masker)
            found = self.examination.seek(rows, made, now=not brief)
            return Treated(self.counted.marked(rows, made), self._by_day(gone, days), found)

        whole = read_whole(
            self.way, self.readable, self.opened, kept, treat,
            since=since, until=until, most=most,
        )  # fmt: skip
        if whole is None:
            return None
        self.examination.go_on(whole.found)
        return whole, self._taken(kept, whole, before)

    def _taken(self, kept: Reading, whole: Whole, before: set[str]) -> Iterator[pl.DataFrame]:
        """The rows that are to be published, counted."""
        for name, frame in kept.frames(whole.files):
            rows = self.counted.taken(frame)
            if name in before:  # an interrupted extract compared them with what they were made of
                self.examination.seek(None, rows)
            self.examination.take(rows)
            yield rows

    def _by_day(self, gone: pl.DataFrame, days: list[date]) -> dict[str, int]:
        if gone.is_empty():
            return {}
        if self.publication.table.by_day is None:
            return {"": gone.height}
        parts = split(gone, self.publication.table.by_day, days, self.settings)
        return {str(day): part.height for day, part in parts if part.height}

    def _nothing(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.examination.schema)

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


@contextmanager
def _making(
    publication: Publication,
    settings: Settings,
    on_proofs: Told | None,
    on_harm: Harmed | None,
    *,
    first: date | None = None,
    last: date | None = None,
    at: str | None = None,
) -> Iterator[_Making]:
    """Everything that an extract needs; afterwards, what was proved is told and reported."""
    policy, table = publication.policy, publication.table.name
    with (
        opened("extract", settings, policy, table, first=first, last=last, on_harm=on_harm) as production,
        publication.store.stage() as stage,
    ):
        readable = production.session.readable(policy, table)
        decisions = fitted(policy, readable, production.session, settings)
        readable = replace(readable, policy=decisions)
        production.session.at = at
        way = walk(production.session, policy, readable) if policy.consistency == "chunks" and not at else ONE_MOMENT
        made_by = publication.pseudonyms
        masker = Masker.of(policy, readable, production.session)
        nothing = pl.DataFrame(schema=readable.dtypes)
        empty = transform(nothing, decisions, made_by, zone=publication.zone, masker=masker)
        unlike = [name for name, column in publication.table.visible.items() if isinstance(column.treatment, Pseudonym)]
        with Unfinished(
            settings,
            table,
            f"{first} {last}",
            privacy=publication.privacy(decisions),
            source=f"{production.told(readable, way)} {at}",
        ) as unfinished:
            examination = Examination(
                policy, readable, production.second, schema=empty.schema, pseudonyms=made_by, masker=masker,
                store=publication.store, settings=settings,
            )  # fmt: skip
            examination.tell = on_proofs
            yield _Making(
                publication, settings, production, readable, way, unfinished, stage, examination,
                Counted(decisions, made_by), unlike,
            )  # fmt: skip
            examination.conclude()


def _windows(first: date, last: date) -> Iterator[list[date]]:
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    for start in range(0, len(days), WINDOW_DAYS):
        yield days[start : start + WINDOW_DAYS]
