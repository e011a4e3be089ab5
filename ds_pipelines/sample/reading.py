"""Reads a file of transactions into rows of text, and accounts for each line of it.

What belongs here: bytes, encodings, fields. What does not: what a row means.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ds_pipelines.errors import MissingTransactionColumnsError, UnreadableTransactionsError
from ds_pipelines.sample.shop import Accounted

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
"""Of UCI's Online Retail, <https://archive.ics.uci.edu/dataset/352/online+retail>."""

CHUNK = 50_000


@dataclass(frozen=True)
class Rows:
    """The rows that have all fields, as text without outer spaces, and what became of the other lines."""

    frame: pl.DataFrame
    """The columns of `COLUMNS`, null where a field is empty."""
    read: int
    """Lines of the file below its header."""
    accounting: list[Accounted]


def read(path: Path) -> Rows:
    """Reads a comma-separated file with a header, plain or compressed with gzip, in UTF-8 or Windows-1252.

    Raises:
        UnreadableTransactionsError: there is no such file, or it is empty, damaged, or not text.
        MissingTransactionColumnsError: its header lacks columns.
    """
    text, is_utf8 = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""))
    lines = _Lines()
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise MissingTransactionColumnsError(path, missing)
        positions = [header.index(name) for name in COLUMNS]
        chunks = [_frame(chunk, positions) for chunk in lines.whole(reader, fields=len(header))]
    except csv.Error as error:
        raise UnreadableTransactionsError(path, f"line {reader.line_num} is not CSV ({error})") from None
    accounting = [
        Accounted("blank line", lines.blank, "set aside"),
        Accounted("other number of fields than the header has", lines.ragged, "set aside"),
        Accounted("field that runs on over the end of a line", lines.torn, "set aside"),
    ]
    if not is_utf8:
        accounting.append(Accounted("file that is not UTF-8: taken for Windows-1252", lines.read, "noticed"))
    empty = pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String))
    return Rows(pl.concat([empty, *chunks]), lines.read, accounting)


class _Lines:
    """Counts lines while they pass."""

    def __init__(self) -> None:
        self.read = self.blank = self.ragged = self.torn = 0

    def whole(self, reader: Iterator[list[str]], *, fields: int) -> Iterator[list[list[str]]]:
        """The rows with the right number of fields on one line, in chunks."""
        chunk: list[list[str]] = []
        last = reader.line_num  # type: ignore[attr-defined]  # typeshed keeps the reader's class private
        for row in reader:
            spanned, last = reader.line_num - last, reader.line_num  # type: ignore[attr-defined]
            self.read += spanned
            if not row:
                self.blank += spanned
            elif spanned > 1:
                self.torn += spanned
            elif len(row) != fields:
                self.ragged += 1
            else:
                chunk.append(row)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _frame(rows: list[list[str]], positions: list[int]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True))
    frame = pl.DataFrame(
        {name: columns[position] for name, position in zip(COLUMNS, positions, strict=True)},
        schema=dict.fromkeys(COLUMNS, pl.String),
    )
    text = pl.all().str.strip_chars()
    return frame.select(pl.when(text != "").then(text))


def _text(path: Path) -> tuple[str, bool]:
    """The whole text, and whether it was UTF-8."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UnreadableTransactionsError(path, "its compression is damaged or cut short") from None
    except OSError as error:
        raise UnreadableTransactionsError(path, (error.strerror or "it cannot be opened").lower()) from None
    if not content.strip():
        raise UnreadableTransactionsError(path, "it is empty")
    if b"\0" in content[:65_536]:
        raise UnreadableTransactionsError(path, "it is not text, but perhaps a spreadsheet or an archive")
    try:
        return content.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), False
