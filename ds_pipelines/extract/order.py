"""The order in which rows are published, and putting more rows into it than memory holds.

What belongs here: by which columns a table is ordered, and an external sort by buckets. What does not: what rows hold.

Production's own order tells which pseudonym stands for the older customer, and row for row undoes the pseudonyms for
anyone who knows one table's order. So a table with pseudonyms is published in their order.

Rows come in batches. Each 131,072 of them make a run: ordered by their route, which is the leading four characters of a
pseudonym (or the leading column itself), and spilled. Whatever is sampled of the routes then cuts all runs into the
same buckets of about 65,536 rows, which are read, sorted and handed on one after the other. Bounds and batches decide
how much is held at a time, never the result: that is one total order. Only rows that share the whole of the leading
column are held together, however many they are. What is spilled has been transformed: no real key reaches the disk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from ds_pipelines.extract.treatments import Pseudonym

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.extract.policy import TablePolicy

RUN_ROWS = 1 << 16
BUCKET_ROWS = 1 << 16
_PIECE_ROWS = 1 << 9
"""What is read of a run at a time."""
_ROUTE_CHARACTERS = 4
"""Of a pseudonym; Polars compares so many without following a pointer."""
_ROUTE = "the route of a row; no column of PostgreSQL's can have a name so long"


def columns_of_order(table: TablePolicy) -> list[str]:
    """The columns by which a table is published: pseudonyms first, of the key if it has any; then the key."""
    pseudonyms = [name for name, column in table.columns.items() if isinstance(column.treatment, Pseudonym)]
    key = table.order
    leading = [name for name in key if name in pseudonyms] or pseudonyms[:1]
    return [*leading, *(name for name in key if name not in leading)]


class Ordering:
    """Takes rows in any order, and gives them back in theirs."""

    def __init__(self, table: TablePolicy, folder: Path, *, run_rows: int = RUN_ROWS) -> None:
        self._by = columns_of_order(table)
        self._short = isinstance(table.columns[self._by[0]].treatment, Pseudonym)
        self._folder = folder
        self._run_rows = run_rows
        self._held: list[pl.DataFrame] = []
        self._height = 0
        self._runs: list[_Run] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Takes some rows; spills when there are many."""
        self._held.append(rows)
        self._height += rows.height
        if self._height >= self._run_rows:
            self._spill()

    def ordered(self) -> Iterator[pl.DataFrame]:
        """All rows that were taken, in their order; each bucket is sorted by itself."""
        if not self._runs:
            if self._held:
                yield pl.concat(self._held, rechunk=True).sort(self._by)
            return
        if self._height:
            self._spill()
        edges = sorted(route for run in self._runs for route in run.routes)
        cuts = sorted(set(edges[BUCKET_ROWS // _PIECE_ROWS :: BUCKET_ROWS // _PIECE_ROWS]))
        for low, high in zip([None, *cuts], [*cuts, None], strict=True):
            parts = [part for run in self._runs if (part := run.between(low, high)) is not None]
            if parts:
                yield pl.concat(parts, rechunk=True).sort(self._by).drop(_ROUTE)

    def close(self) -> None:
        """Lets go of the files."""
        for run in self._runs:
            run.close()

    def _spill(self) -> None:
        rows = pl.concat(self._held, rechunk=True)
        rows = rows.with_columns(self._route(rows[self._by[0]])).sort(_ROUTE)
        self._runs.append(_Run(self._folder / f"{len(self._runs)}.run", rows))
        self._held, self._height = [], 0

    def _route(self, leading: pl.Series) -> pl.Series:
        """Something small that never descends where the leading column ascends; nulls come first."""
        if self._short and leading.dtype == pl.String:
            return leading.str.head(_ROUTE_CHARACTERS).fill_null("").alias(_ROUTE)
        if leading.dtype == pl.String:
            return leading.fill_null("").alias(_ROUTE)
        if leading.dtype.is_float():
            return leading.fill_nan(float("inf")).fill_null(float("-inf")).alias(_ROUTE)
        if leading.dtype.is_decimal():  # two that are close may get the same route, which is no harm
            return leading.cast(pl.Float64).fill_null(float("-inf")).alias(_ROUTE)
        if leading.dtype.is_integer() or leading.dtype.is_temporal():
            return leading.to_physical().cast(pl.Int64).fill_null(-(2**63)).alias(_ROUTE)
        return pl.Series(_ROUTE, [0], dtype=pl.Int64).new_from_index(0, leading.len())


class _Run:
    """Rows in the order of their route, in a file that is read in pieces."""

    def __init__(self, path: Path, rows: pl.DataFrame) -> None:
        self.routes: list[Any] = rows[_ROUTE].gather_every(_PIECE_ROWS).to_list()
        """With which each piece begins."""
        table = rows.to_arrow()
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=_PIECE_ROWS)
        self._file = pa.OSFile(str(path), "rb")
        self._reader = pa.ipc.open_file(self._file)

    def between(self, low: Any, high: Any) -> pl.DataFrame | None:
        """The rows with low ≤ route < high; None where a bound is open."""
        first = 0 if low is None else max(bisect_left(self.routes, low) - 1, 0)
        last = len(self.routes) if high is None else bisect_right(self.routes, high)
        pieces = [self._reader.get_batch(number) for number in range(first, last)]
        if not pieces:
            return None
        rows: pl.DataFrame = pl.from_arrow(pa.Table.from_batches(pieces))  # type: ignore[assignment]
        route = rows[_ROUTE]
        start = 0 if low is None else int(route.search_sorted(low, side="left"))
        end = rows.height if high is None else int(route.search_sorted(high, side="left"))
        return rows.slice(start, end - start) if end > start else None

    def close(self) -> None:
        self._file.close()
