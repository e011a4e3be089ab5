"""Following foreign keys in what is about to be published: value by value, to what is published of the other table.

What belongs here: which keys can be followed in the extract, and following them. What does not: what follows from a
value that leads nowhere (`proofs`).

That both ends are treated alike is sure before anything is read; this is the check of the files themselves. A value may
lead nowhere for good reasons: its row is younger than what is published of the other table, lies on a day that is not
published, or was somebody's who is erased. So it counts against the extract only where none of these can be:

- the table refers to itself, and both ends were read at one moment;
- the other table is published whole, by the same policy, on a later day than the rows that refer to it, and nothing of
  it was left out;
- not one of many values leads anywhere.

Values of large tables are compared on a random sixteenth (or a power of it) of them, those whose pseudonym begins with
0, so that memory stays flat.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import UnknownExtractError, UnknownSnapshotError
from ds_pipelines.extract.treatments import Pseudonym

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.extract.policy import ColumnPolicy, Policy, TablePolicy
    from ds_pipelines.extract.source import ForeignKey
    from ds_pipelines.snapshots.parquet import Written
    from ds_pipelines.snapshots.store import SnapshotStore

ALL_ROWS = 100_000
"""Up to so many rows are compared all."""
SHARE = 16
MANY = 20
"""So many values of which not one leads anywhere are no accident."""
_DAYS_AT_ONCE = 50


@dataclass(frozen=True)
class Followed:
    """A foreign key of which both ends are in the extract, and what became of its values."""

    key: ForeignKey
    compared: int = 0
    """Different values that were sought in what is published of the other table."""
    missing: int = 0
    """Of these, the ones that lead nowhere."""
    broken: str = ""
    """Why those count against the extract; empty: they do not."""

    @property
    def name(self) -> str:
        """The key as people call it."""
        return f"{', '.join(self.key.columns)} to {self.key.parent}"


class References:
    """The foreign keys of one table, over all that one extract publishes."""

    def __init__(
        self, store: SnapshotStore, policy: Policy, table: TablePolicy, live: Sequence[ForeignKey], key_id: str
    ) -> None:
        """`key_id` tells the pseudonyms of the extract; what has others is not compared."""
        self._store, self._policy, self._table, self._key_id = store, policy, table, key_id
        self.unlike: list[ForeignKey] = []
        """Keys of which one end is treated otherwise than the other."""
        self.outside: list[ForeignKey] = []
        """Keys of which an end is not in the extract."""
        self.followed: list[Followed] = []
        for key in live:
            ends = list(self._ends(key))
            if any(a is None or b is None or not (a.treatment.visible and b.treatment.visible) for a, b in ends):
                self.outside.append(key)
            elif all(
                a and b and a.treatment == b.treatment and a.treatment.kind in ("keep", "pseudonym") for a, b in ends
            ):
                self.followed.append(Followed(key))
            else:
                self.unlike.append(key)

    def follow(self, staged: Mapping[date, Written]) -> None:
        """Follows each key from what was staged."""
        self.followed = [self._follow(each, staged) for each in self.followed]

    def _ends(self, key: ForeignKey) -> Iterable[tuple[ColumnPolicy | None, ColumnPolicy | None]]:
        parent = self._policy.tables.get(key.parent)
        for name, other in zip(key.columns, key.parent_columns, strict=True):
            yield self._table.columns.get(name), parent.columns.get(other) if parent else None

    def _follow(self, followed: Followed, staged: Mapping[date, Written]) -> Followed:
        key = followed.key
        published = self._published(key.parent)
        rows = max(sum(file.rows for file in staged.values()), sum(each.rows for each in published))
        part = _Part(rows, prefixed=self._prefixed(key))
        values = part.of([file.path for file in staged.values()], key.columns).drop_nulls()
        left, looked = values, False
        for paths in self._files(key, staged, published):
            if looked and left.is_empty():
                break
            known = part.of(paths, key.parent_columns)
            if known.schema == values.schema:  # else of an older policy
                left, looked = left.join(known, on=values.columns, how="anti"), True
        if not looked:
            return followed
        return replace(
            followed,
            compared=followed.compared + values.height,
            missing=followed.missing + left.height,
            broken=followed.broken or self._broken(key, published, max(staged), of=values.height, missing=left.height),
        )

    def _published(self, parent: str) -> list[SnapshotManifest]:
        """What is published of a table: the newest state, or every day, newest first."""
        try:
            manifests = [each for each in self._store.manifests(parent) if each.key_id == self._key_id]
        except UnknownExtractError:
            return []
        return manifests[-1:] if self._policy.table(parent).by_day is None else manifests[::-1]

    def _files(
        self, key: ForeignKey, staged: Mapping[date, Written], published: Sequence[SnapshotManifest]
    ) -> Iterable[list[Path]]:
        """Where the values may lead to, some files at a time."""
        if key.parent == self._table.name:
            yield [file.path for file in staged.values()]
            if self._table.by_day is None:
                return
        for start in range(0, len(published), _DAYS_AT_ONCE):
            with suppress(UnknownSnapshotError):  # replaced or removed meanwhile
                yield [self._store.path(each.digest) for each in published[start : start + _DAYS_AT_ONCE]]

    def _prefixed(self, key: ForeignKey) -> bool:
        """Whether its first column holds pseudonyms that begin with a random digit."""
        treatment = self._table.columns[key.columns[0]].treatment
        return isinstance(treatment, Pseudonym) and treatment.shape != "bigint"

    def _broken(self, key: ForeignKey, published: list[SnapshotManifest], last: date, *, of: int, missing: int) -> str:
        """Why values that lead nowhere count against the extract; empty: there may be a good reason."""
        if not missing or self._policy.table(key.parent).by_day is not None:
            return ""
        if key.parent == self._table.name:
            return "both ends were read at one moment"
        [newest] = published
        if newest.policy_digest != self._policy.digest or newest.erased_rows:
            return ""
        again = f"extract {key.parent} again, then this"
        if self._table.by_day is not None and newest.day > last:
            return f"the extract of {key.parent} was read later, on {newest.day}; {again}"
        return f"not one is in the extract of {key.parent} of {newest.day}; {again}" if missing == of >= MANY else ""


class _Part:
    """Which of the values are compared: all, or a random part that is the same at both ends."""

    def __init__(self, rows: int, *, prefixed: bool) -> None:
        """`prefixed` tells that values begin with random digits: then files in their order are read in part only."""
        self._prefixed = prefixed
        self._of, self._digits = 1, 0
        while rows > ALL_ROWS * self._of:
            self._of, self._digits = self._of * SHARE, self._digits + 1

    def of(self, paths: list[Path], columns: Sequence[str]) -> pl.DataFrame:
        """The different values of some columns of some files, each named by its place."""
        found = pl.scan_parquet(paths).select(pl.col(name).alias(str(place)) for place, name in enumerate(columns))
        if self._digits and self._prefixed:
            found = found.filter(pl.col("0") < "1".rjust(self._digits, "0"))
        found = found.with_columns(pl.selectors.integer().cast(pl.Int64))  # a key may be wider than what refers to it
        if self._digits and not self._prefixed:
            found = found.filter(pl.struct(pl.all()).hash(7) % self._of == 0)
        return found.unique().collect(engine="streaming")
