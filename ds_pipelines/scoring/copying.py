"""Rows into a table by COPY, as fast as the server takes them and in the memory of one batch.

What belongs here: writing frames in the forms that COPY reads. What does not: what is copied, and into what.

Rows of fixed width go in PostgreSQL's binary form, which NumPy writes by columns: the server then parses nothing. It
took 0.4 of the time of CSV, 5 M rows of three numbers into a table with a primary key. Where a column is a text or a
decimal, the rows go as CSV.
"""

from __future__ import annotations

import io
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import psycopg2
from psycopg2 import extensions, sql

from ds_pipelines.scoring import serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ds_pipelines.scoring.job import ScoringJob, ServedType

BINARY: Mapping[ServedType, str] = MappingProxyType(
    {"date": ">i4", "smallint": ">i2", "integer": ">i4", "bigint": ">i8", "double precision": ">f8"}
)
"""NumPy's types of what the server receives for a value of fixed width."""
BINARY_BEGIN, BINARY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
EPOCH = pl.date(2000, 1, 1)
"""PostgreSQL counts days from here."""
READ_BYTES = 1 << 16


def copy(cursor: extensions.cursor, batches: Iterable[pl.DataFrame], job: ScoringJob, number: int) -> int:
    """Copies what a job's rows hold into its table, under the number of their batch.

    Args:
        cursor: In a transaction; nothing of it is visible before it commits.
        batches: Frames of the columns that are stored, in order; drawn one after the other.
        job: Whose they are.
        number: The batch's.

    Raises:
        psycopg2.Error: the database refused them, or went away; what goes wrong in drawing a batch is raised as it is.

    Returns:
        How many rows were copied.
    """
    binary = all(column.type in BINARY for column in serving.stored(job))
    names = ["batch", *(column.name for column in serving.stored(job))]
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(
        sql.Identifier(serving.rows_table(job)),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL("binary" if binary else "csv"),
    )
    file = _File(_binary(batches, job, number) if binary else _csv(batches, number))
    try:
        cursor.copy_expert(query, file, READ_BYTES)
    except psycopg2.Error:
        if file.failure is not None:
            raise file.failure from None
        raise
    return cursor.rowcount


def _csv(batches: Iterable[pl.DataFrame], number: int) -> Iterator[bytes]:
    """Text is always quoted, for an empty one bare would be a null."""
    for batch in batches:
        file = io.BytesIO()
        numbered = batch.select(pl.lit(number).alias("batch"), pl.all())
        numbered.write_csv(file, include_header=False, quote_style="non_numeric")
        yield file.getvalue()


def _binary(batches: Iterable[pl.DataFrame], job: ScoringJob, number: int) -> Iterator[bytes]:
    """A row is the number of its fields, and each field its length and its value, all of them big-endian."""
    types = [">i8", *(BINARY[column.type] for column in serving.stored(job))]
    fields = [field for at, kind in enumerate(types) for field in ((f"length {at}", ">i4"), (f"value {at}", kind))]
    row = np.dtype([("fields", ">i2"), *fields])
    yield BINARY_BEGIN
    for batch in batches:
        whole = np.empty(batch.height, row)
        whole["fields"] = len(types)
        for at, kind in enumerate(types):
            whole[f"length {at}"] = np.dtype(kind).itemsize
        whole["value 0"] = number
        for at, column in enumerate(batch, start=1):
            days = column.dtype == pl.Date
            whole[f"value {at}"] = (
                pl.select((column - EPOCH).dt.total_days()).to_series() if days else column
            ).to_numpy()
        yield whole.tobytes()
    yield BINARY_END


class _File(io.RawIOBase):
    """Pieces of bytes as a file to read from, each made when it is needed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.failure: Exception | None = None
        """What went wrong while a piece was made; psycopg2 would tell the server its words."""
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            try:
                piece = next(self._pieces, None)
            except Exception as error:
                self.failure = error
                raise InterruptedError from None
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)
