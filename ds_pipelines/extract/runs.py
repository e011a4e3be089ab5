"""Runs: rows in the order of their route, in a file, of which any stretch can be read by itself.

What belongs here: the file, and reading from it what lies between two routes. What does not: what the route of a row
is, and what is made of the stretches (`order`).
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROUTE = "the route of a row; no column of PostgreSQL's can have a name so long"
PIECE_ROWS = 1 << 11
"""Rows whose columns lie together. More are read for little; fewer are slower to write."""


def write_run(path: Path, rows: pl.DataFrame) -> None:
    """Writes rows that are in the order of their column `ROUTE`.

    Raises:
        OSError: the file cannot be written; what there is of it stays.
    """
    table = rows.to_arrow().combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=PIECE_ROWS)


class Run:
    """A file of `write_run`, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map)))
        self._pieces = [self._reader.get_batch(number) for number in range(self._reader.num_record_batches)]
        self.begins: list[Any] = [piece.column(ROUTE)[0].as_py() for piece in self._pieces]
        """The route with which each piece begins."""

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Some columns of all rows."""
        table = pa.Table.from_batches(self._pieces, self._reader.schema).select(names)
        return cast("pl.DataFrame", pl.from_arrow(table.combine_chunks()))

    def between(self, low: Any, high: Any) -> Iterator[pa.RecordBatch]:
        """The rows with low ≤ route < high; None where a bound is open."""
        first = 0 if low is None else max(bisect_left(self.begins, low) - 1, 0)  # it may end with rows of this stretch
        last = len(self.begins) if high is None else bisect_left(self.begins, high)
        for number in range(first, last):
            piece = self._pieces[number]
            start, end = 0, piece.num_rows
            if number in (first, last - 1):
                routes = cast("pl.Series", pl.from_arrow(piece.column(ROUTE)))
                start = 0 if low is None else int(routes.search_sorted(low, side="left"))
                end = piece.num_rows if high is None else int(routes.search_sorted(high, side="left"))
            if end > start:
                yield piece.slice(start, end - start)

    def release(self) -> None:
        """Lets go of the memory that what was read takes; it can be read again."""
        self._map.madvise(mmap.MADV_DONTNEED)
