"""What is the same for every snapshot of one extract: who may be in it, in which order, and what is said of it.

What belongs here: the rules for rows and manifests of one extract. What does not: reading, staging and proving
(`publish`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import AmbiguousKeyError, UnpublishableError
from ds_pipelines.evidence import Column, ResidualRisk, SnapshotManifest, Withheld
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, tombstones
from ds_pipelines.extract.order import columns_of_order
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.extract.tombstones import Tombstones
    from ds_pipelines.settings import Settings
    from ds_pipelines.snapshots.parquet import Written

_MARK = "a keyed mark of what the following column was made of, for counting: "
"""In front of the name of a column: none of PostgreSQL's can have one so long."""
_MARKS = 1 << 63


@dataclass(frozen=True)
class Staged:
    """A file that is ready to be published."""

    written: Written
    read_at: datetime
    watermark: str | None
    erased: int
    """Rows of erased persons, which were left out."""


@dataclass(frozen=True)
class Publication:
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

    def privacy(self, decisions: TablePolicy) -> str:
        """Digest of all that decides what becomes of a row."""
        told = (self.policy.digest, decisions.model_dump_json(), self.pseudonyms.key_id, self.tombstones.digest)
        return hashlib.sha256("\n".join((*told, self.zone)).encode()).hexdigest()

    def manifest(self, day: date, staged: Staged, residual: ResidualRisk | None) -> SnapshotManifest:
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
            watermark=staged.watermark,
            read_at=staged.read_at,
            published_at=datetime.now(UTC),
        )


class Counted:
    """As many bigint pseudonyms as identifiers, over all that one extract publishes."""

    def __init__(self, table: TablePolicy, made_by: Pseudonyms) -> None:
        self._table, self._made_by = table.name, made_by
        self._treatments = {
            name: column.treatment
            for name, column in table.visible.items()
            if isinstance(column.treatment, Pseudonym) and column.treatment.shape == "bigint"
        }
        self._pairs: dict[str, list[pl.DataFrame]] = {name: [] for name in self._treatments}

    def marked(self, read: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with a mark of each identifier that they were made of: keyed, so that it may be kept on disk."""
        marks = [
            self._made_by.draw(read[name], f"count:{treatment.domain}", _MARKS).alias(_MARK + name)
            for name, treatment in self._treatments.items()
        ]
        return rows.with_columns(marks)

    def taken(self, marked: pl.DataFrame) -> pl.DataFrame:
        """The rows without the marks, which are counted."""
        for name, pairs in self._pairs.items():
            pairs.append(marked.select(identifier=_MARK + name, made=name).unique())
        return marked.drop(_MARK + name for name in self._pairs)

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
                    pairs["identifier"].alias(name), pairs["made"], self._table, self._treatments[name].label
                )


def prepare(table: str, settings: Settings) -> Publication:
    """What an extract of a table goes by.

    Raises:
        PolicyError, UndeclaredTableError: there is no usable policy for it.
        MissingSecretError: a secret cannot be used.
    """
    policy = policies.load(settings.policies / policies.SHOP)
    decisions = policy.table(table)
    store = SnapshotStore(settings.snapshots)
    return Publication(policy, decisions, pseudonyms.load(settings), tombstones.load(settings), store, settings.zone)


def split(rows: pl.DataFrame, by_day: str, days: list[date], settings: Settings) -> Iterator[tuple[date, pl.DataFrame]]:
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
