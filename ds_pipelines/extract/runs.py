"""Runs: rows in the order of their route, in a file that is read in pieces.

What belongs here: the file, and reading from it what lies between two routes. What does not: what the route of a row
is, and what is made of the pieces (`order`).
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTE = "the route of a row; no column of PostgreSQL's can have a name so long"
PIECES = 256
"""Routes of pseudonyms are cut into so many: more are slower to write, fewer make larger buckets of large tables."""
PIECE_ROWS = 1 << 10
"""Of a run whose routes are cut anywhere."""
UNIFORM_ROWS = 1 << 14
"""Runs of fewer rows are not worth so many pieces."""
_ROUTES_A_PIECE = (1 << 16) // PIECES
_UNIFORM = {b"pieces": b"uniform"}


def write_run(path: Path, rows: pl.DataFrame) -> None:
    """Writes rows that are in the order of their column `ROUTE`.

    Routes of 32 bits are those of pseudonyms, which are spread evenly from 0 to 65,535: they are cut at the same
    multiples in all runs, so that no piece is in two buckets.

    Raises:
        OSError: the file cannot be written; what there is of it stays.
    """
    uniform = rows.schema[ROUTE] == pl.UInt32 and rows.height >= UNIFORM_ROWS
    if uniform:
        lengths: list[int] = (rows[ROUTE] // _ROUTES_A_PIECE).rle().struct.field("len").to_list()
    else:
        lengths = [PIECE_ROWS] * -(-rows.height // PIECE_ROWS)
    table, start = rows.to_arrow(), 0
    table = table.replace_schema_metadata(_UNIFORM if uniform else None)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for length in lengths:
            writer.write_table(table.slice(start, length))
            start += length


class Run:
    """A file of `write_run`."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map)))
        self.uniform = self._reader.schema.metadata == _UNIFORM
        pieces = [self._reader.get_batch(number) for number in range(self._reader.num_record_batches)]
        self.rows = sum(piece.num_rows for piece in pieces)
        self.routes: list[Any] = [self._begin(piece) for piece in pieces]
        """With which each piece begins, at the earliest."""

    def between(self, low: Any, high: Any) -> Iterator[pa.RecordBatch]:
        """The rows with low ≤ route < high; None where a bound is open. If any run is uniform, bounds are its own."""
        first = 0 if low is None else bisect_left(self.routes, low)
        last = len(self.routes) if high is None else bisect_left(self.routes, high)
        if not self.uniform:
            first = max(first - 1, 0)  # it may end with rows of this bucket
        for number in range(first, last):
            piece = self._reader.get_batch(number)
            start, end = 0, piece.num_rows
            if not self.uniform and number in (first, last - 1):
                route = cast("pl.Series", pl.from_arrow(piece.column(ROUTE)))
                start = 0 if low is None else int(route.search_sorted(low, side="left"))
                end = piece.num_rows if high is None else int(route.search_sorted(high, side="left"))
            if end > start:
                yield piece.slice(start, end - start)

    def release(self) -> None:
        """Lets go of the memory that what was read takes; it can be read again."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def _begin(self, piece: pa.RecordBatch) -> Any:
        route = piece.column(ROUTE)[0].as_py()
        return route // _ROUTES_A_PIECE * _ROUTES_A_PIECE if self.uniform else route
