"""What makes two tables the same table: a digest of names, types, rows and their order.

What belongs here: the logical digest. What does not: the digest of a file, which names a snapshot.

A Parquet file's bytes depend on the version that wrote it, its compression and its pages; an Arrow stream's on how
strings are laid out, on what lies under a null, on whether a column without nulls carries a bitmap. None of that is
content. So each row is encoded by value, in `polars-hash`'s row encoding of version 1, which its authors promise not to
change: nulls are values, and equal values encode equally however they are stored. The encoding ignores names and widths
of types, so the schema goes into the digest beside it:

    SHA-256( JSON of [[name, type], …] ‖ newline ‖ for each row, its BLAKE3 in hex )
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import polars as pl
import polars_hash as plh

if TYPE_CHECKING:
    from collections.abc import Iterable

ENCODING = 1


def logical_digest(frame: pl.DataFrame) -> str:
    """The digest of a frame with at least one column: 64 hexadecimal digits, whatever its chunks."""
    return logical_digest_of_batches(frame.schema, [frame])


def logical_digest_of_batches(schema: pl.Schema, batches: Iterable[pl.DataFrame]) -> str:
    """The digest of the frame that the batches, all of this schema, make together."""
    described = json.dumps([[name, str(dtype)] for name, dtype in schema.items()], ensure_ascii=False)
    digest = hashlib.sha256(described.encode() + b"\n")
    for batch in batches:
        if batch.height:
            rows = batch.select(plh.hash_rows(pl.all(), version=ENCODING).chash.blake3().str.join(""))
            digest.update(rows.item().encode())
    return digest.hexdigest()
