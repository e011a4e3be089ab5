"""What makes two tables the same table: a digest of names, types, rows and their order.

What belongs here: the logical digest. What does not: the digest of a file, which names a snapshot.

A Parquet file's bytes depend on the version that wrote it, its compression and its pages; an Arrow stream's on how
strings are laid out, on what lies under a null, on whether a column without nulls carries a bitmap. None of that is
content. So the rows are taken in blocks of 65,536, however they were chunked, and each column of a block is written
down by value: which rows are null, then the values, with nulls as zero or as nothing.

    SHA-256( JSON of [[name, type], …] ‖ newline ‖ for each block, for each column: its rows as 8 bytes ‖ a byte a row,
             1 where there is a value ‖ numbers in their own width, little-endian; texts' lengths in bytes, 8 bytes
             each, then their bytes )

A column of any other type, as a list, goes in by `polars-hash`'s row encoding of version 1, which its authors promise
not to change: for each row, the BLAKE3 of it in hex.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import polars_hash as plh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

BLOCK_ROWS = 1 << 16
ENCODING = 1
_SIZED = (pl.Date, pl.Time, pl.Datetime, pl.Duration, pl.Decimal)


class LogicalDigest:
    """The digest of a table that comes in blocks of `BLOCK_ROWS` rows, the last of them shorter."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        described = json.dumps([[name, str(dtype)] for name, dtype in schema.items()], ensure_ascii=False)
        self._digest = hashlib.sha256(described.encode() + b"\n")

    def update(self, block: pl.DataFrame, arrow: pa.Table) -> None:
        """Takes the next block, as a frame and as the same frame in Arrow, where most bytes are read from."""
        for name, column in zip(block.columns, arrow.columns, strict=True):
            self._digest.update(block.height.to_bytes(8, "little"))
            for content in _content(block[name], column.combine_chunks()):
                self._digest.update(content)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._digest.hexdigest()


def logical_digest(frame: pl.DataFrame) -> str:
    """The digest of a frame with at least one column: 64 hexadecimal digits, whatever its chunks."""
    return logical_digest_of_batches(frame.schema, [frame])


def logical_digest_of_batches(schema: pl.Schema, batches: Iterable[pl.DataFrame]) -> str:
    """The digest of the frame that the batches, all of this schema, make together."""
    digest = LogicalDigest(schema)
    for block in blocks(batches):
        digest.update(block, block.to_arrow())
    return digest.hexdigest()


def blocks(batches: Iterable[pl.DataFrame], rows: int = BLOCK_ROWS) -> Iterator[pl.DataFrame]:
    """The same rows in the same order, in frames of exactly so many rows each, but for the last."""
    held: list[pl.DataFrame] = []
    height = 0
    for batch in batches:
        held.append(batch)
        height += batch.height
        if height < rows:
            continue
        together = pl.concat(held, rechunk=False)
        whole = height - height % rows
        for start in range(0, whole, rows):
            yield together.slice(start, rows).rechunk()
        held, height = [together.slice(whole)], height - whole
    if height:
        yield pl.concat(held, rechunk=True)


def _content(values: pl.Series, array: pa.Array) -> Iterator[bytes | memoryview]:
    """The bytes that a column's values are, whatever the memory they lie in."""
    dtype = values.dtype
    present = values.is_not_null().cast(pl.UInt8).to_numpy()
    yield np.ascontiguousarray(present).data
    if dtype in (pl.String, pl.Binary):
        yield from _texts(array, present)
    elif dtype == pl.Boolean:
        yield np.ascontiguousarray(values.fill_null(value=False).cast(pl.UInt8).to_numpy()).data
    elif dtype.is_numeric() or dtype in _SIZED:
        yield _numbers(array, present)
    else:
        hashed = values.to_frame().select(plh.hash_rows(pl.all(), version=ENCODING).chash.blake3().str.join(""))
        yield (hashed.item() or "").encode()


def _numbers(array: pa.Array, present: np.ndarray) -> memoryview:
    width = array.type.bit_width // 8
    buffer = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8)
    content = buffer[array.offset * width : (array.offset + len(array)) * width]
    if array.null_count:
        content = content.reshape(len(array), width) * present[:, None]
    return np.ascontiguousarray(content).data


def _texts(array: pa.Array, present: np.ndarray) -> Iterator[memoryview]:
    """Polars gives texts to Arrow without gaps, so that what lies between the offsets is what they say."""
    _, offsets, data = array.buffers()
    edges = np.frombuffer(offsets or b"", dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    lengths = np.diff(edges)
    content = np.frombuffer(data or b"", dtype=np.uint8)[edges[0] : edges[-1]] if len(edges) else lengths
    if array.null_count and lengths[present == 0].any():
        content = content[np.repeat(present, lengths).astype(bool)]
        lengths = lengths * present
    yield np.ascontiguousarray(lengths).data
    yield np.ascontiguousarray(content).data
