"""Reading a table piece by piece along an index, so that no transaction lasts longer than a piece does.

What belongs here: by which columns a table can be walked along, a chunk, and telling rows that were changed meanwhile.
What does not: how large a chunk is and when it is read (`pace`), and what becomes of it (`reading`).

A table of current state is walked along its key: a unique index of columns that are never null and that the policy
shows. A table by day is walked along `(the day's column, key)`; for that an index has to begin with the day's column,
and PostgreSQL sorts rows of the same instant by itself. Each chunk begins after the last key of the one before it,
written out as literals of the columns' own types, because COPY takes no parameters.

A row's version was made by the transaction that its `xmin` names. Versions made by one that was under way, or had not
begun, at the start of a reading are *late*: they are left out of the chunks and read together at the end, at one
moment. That finds what was committed late, wherever its key lies. A version that is not late was there from the start,
so it is in its chunk if it is there at the end; where fewer are there than were read, some were changed or deleted,
and only those chunks are read again. So the reading is the table as it was at that last moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines.extract.names import literal, qualified, quoted
from ds_pipelines.extract.types import Carried, carried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.extract.source import Readable, Source
    from ds_pipelines.extract.types import LiveColumn

_ORDERED = ("integer", "text", "uuid", "date", "timestamp", "time", "decimal")
"""Families whose values can be written down exactly, and of which one comes after another."""
_BATCH_BYTES = 32 << 20
"""So that a chunk comes as one batch, whatever the pace lets it grow to."""
_XIDS = 1 << 32
_FIRST_XID = 3

Position = tuple[str, ...]
"""The key of a row, as literals of SQL."""


@dataclass(frozen=True)
class Walk:
    """How a table can be read piece by piece."""

    table: Readable
    """With the columns of the key, be they asked for or not."""
    by: tuple[str, ...]
    """The columns along which it is walked."""
    visible: tuple[str, ...]
    """The columns that were asked for."""
    source: Source
    since: date | None
    until: date | None
    horizon: int | None = None
    """The first transaction whose rows are late; None: none are."""

    def chunk(self, after: Position | None, rows: int) -> tuple[pl.DataFrame, Position | None]:
        """The next rows, at most so many, and where they end; None if there are no more.

        Raises:
            SourceRefusedError, UnreadableValueError: as `Source.batches`.
        """
        order = ", ".join(map(quoted, self.by))
        wanted = self._rows(*self._on_time(), *self._between(after, None))
        query = f"{wanted} ORDER BY {order} LIMIT {rows:d}"
        frames = list(self.source.frames(self.table, query, batch_bytes=_BATCH_BYTES))
        frame = frames[0] if len(frames) == 1 else pl.concat([pl.DataFrame(schema=self.table.dtypes), *frames])
        end = None
        if frame.height:
            end = tuple(_literal(frame[name][-1], self.table.columns[name].column) for name in self.by)
        return frame.select(self.visible), end if frame.height == rows else None

    def again(self, after: Position | None, end: Position | None) -> Iterator[pl.DataFrame]:
        """The rows between two ends of chunks that are not late, as they are now."""
        rows = self._rows(*self._on_time(), *self._between(after, end))
        return (frame.select(self.visible) for frame in self.source.frames(self.table, rows))

    def count(self, after: Position | None, end: Position | None) -> int:
        """How many those are."""
        rows = self._rows(*self._on_time(), *self._between(after, end))
        [(count,)] = self.source.answer(self.table, f"SELECT count(*) {rows}")
        return int(count)

    def late(self) -> Iterator[pl.DataFrame]:
        """The rows whose versions were made since the reading began."""
        rows = self._rows(f"age(xmin) <= age('{self.horizon}'::xid)")
        return (frame.select(self.visible) for frame in self.source.frames(self.table, rows))

    def _rows(self, *conditions: str) -> str:
        return self.source.rows_of(self.table, self.since, self.until, *conditions)

    def _on_time(self) -> Sequence[str]:
        return () if self.horizon is None else (f"NOT age(xmin) <= age('{self.horizon}'::xid)",)

    def _between(self, after: Position | None, end: Position | None) -> Iterator[str]:
        """Comparisons of rows; of the leading column alone, too, because an index may have no other."""
        columns, leading = ", ".join(map(quoted, self.by)), quoted(self.by[0])
        for position, beyond, from_ in ((after, ">", ">="), (end, "<=", "<=")):
            if position is not None:
                yield f"({columns}) {beyond} ({', '.join(position)})"
                if len(self.by) > 1:
                    yield f"{leading} {from_} {position[0]}"


def walk(
    source: Source, policy: Policy, table: Readable, since: date | None = None, until: date | None = None
) -> Walk | str:
    """How a table can be read piece by piece, or why it cannot.

    Raises:
        SourceRefusedError: the database does not answer.
    """
    live = source.live_tables(policy.database_schema)[table.policy.name]
    indexes = source.indexes(policy.database_schema, table.policy.name)
    usable = {
        name: how
        for name in table.policy.visible
        if (column := live.columns.get(name)) is not None
        and column.required
        and isinstance(how := carried(column), Carried)
        and how.family in _ORDERED
    }
    keys = [index.columns for index in indexes if index.unique and usable.keys() >= {*index.columns}]
    if not keys:
        return "it has no unique index of columns that the policy shows and that are never null"
    key, by_day = keys[0], table.policy.by_day
    if by_day is not None:
        if by_day not in {index.columns[0] for index in indexes}:
            return f"no index begins with {by_day}"
        key = (by_day, *(name for name in key if name != by_day))
    columns = dict(table.columns) | {name: usable[name] for name in key if name not in table.columns}
    return Walk(replace(table, columns=columns), key, tuple(table.columns), source, since, until)


def settling(walk: Walk, horizon: int | None = None) -> Walk:
    """The same walk, so that late rows are told apart; as it is where the role may not see who wrote a row.

    Args:
        walk: Of a table by day.
        horizon: That of a reading that is continued.

    Raises:
        SourceRefusedError: the database does not answer.
    """
    named = literal(qualified(walk.table.schema, walk.table.policy.name))
    [(may,)] = walk.source.answer(walk.table, f"SELECT has_column_privilege({named}, 'xmin', 'SELECT')")
    if not may:
        return walk
    if horizon is None:
        begun = f"SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::numeric % {_XIDS})::bigint"
        [(first,)] = walk.source.answer(walk.table, begun)
        horizon = max(int(first), _FIRST_XID)
    return replace(walk, horizon=horizon)


def _literal(value: Any, column: LiveColumn) -> str:
    text = value if isinstance(value, str) else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"{literal(text)}::{column.type}"
