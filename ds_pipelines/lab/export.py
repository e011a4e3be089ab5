"""An extract as one file for other tools: Parquet, or CSV that Excel opens safely.

What belongs here: writing a table whole or not at all, in flat memory, and what CSV needs. What does not: which rows
and columns (`lab.table`).

CSV is for people with a spreadsheet, so by default it is what Excel needs: UTF-8 with a byte order mark, without which
Excel guesses another encoding, and an apostrophe before every text that Excel would take for a formula (OWASP calls it
CSV injection: whoever may type `=HYPERLINK(…)` into a form of the business would have it run at an analyst's desk).
That changes those cells, so it is said how many; `exact` writes every value as it is, without the mark, for programs.
Numbers, days and times are never changed.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import NestedColumnError, NoSuchFolderError, UnknownFileKindError, WouldOverwriteError

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
"""How a text begins that a spreadsheet may take for a formula; the wide forms are read as the narrow ones."""
SHEET_ROWS = 1_048_576
"""Rows of an Excel sheet, the header among them."""
GROUP_ROWS = 122_880
"""Rows of a row group: few enough for flat memory, enough for DuckDB to read them in parallel."""


@dataclass(frozen=True)
class Written:
    """What was written."""

    path: Path
    rows: int
    bytes: int
    guarded: int
    """Cells that got an apostrophe in front."""

    @property
    def beyond_a_sheet(self) -> bool:
        """Whether Excel would show only a part of it."""
        return self.path.suffix.lower() == ".csv" and self.rows >= SHEET_ROWS


def require_writable(path: Path, *, force: bool) -> None:
    """Refuses a file of an unknown kind, and to replace one that is there.

    Raises:
        UnknownFileKindError: it is named neither .parquet nor .csv.
        NoSuchFolderError: there is no folder for it.
        WouldOverwriteError: it exists.
    """
    if path.suffix.lower() not in {".parquet", ".csv"}:
        raise UnknownFileKindError(path)
    if not path.parent.is_dir():
        raise NoSuchFolderError(path.parent)
    if path.exists() and not force:
        raise WouldOverwriteError(path, "replace it with --force")


def write(table: str, frame: pl.LazyFrame, path: Path, *, exact: bool = False, force: bool = False) -> Written:
    """Writes a table; readable by this account only, because what is in it is still personal data.

    Args:
        table: Its name, for messages.
        frame: Its rows, of which no more than a part is ever in memory.
        path: Ending in .parquet or .csv.
        exact: Of CSV: every value as it is, and no byte order mark.
        force: Whether to replace a file that is there.

    Raises:
        UnknownFileKindError, NoSuchFolderError, WouldOverwriteError: as `require_writable`.
        NestedColumnError: lists cannot be in CSV.
    """
    require_writable(path, force=force)
    guarded = 0
    if path.suffix.lower() == ".csv":
        schema = frame.collect_schema()
        if nested := [name for name, dtype in schema.items() if dtype.is_nested() or dtype == pl.Binary]:
            raise NestedColumnError(table, nested)
        guarded, frame = (0, frame) if exact else _guarded(frame, [n for n, t in schema.items() if t == pl.String])
    rows = int(frame.select(pl.len()).collect(engine="streaming").item())
    with _whole(path, force=force) as part:
        if path.suffix.lower() == ".csv":
            frame.sink_csv(part, include_bom=not exact, check_extension=False, engine="streaming")
        else:
            frame.sink_parquet(part, row_group_size=GROUP_ROWS, engine="streaming")
        size = part.stat().st_size
    return Written(path, rows, size, guarded)


def _guarded(frame: pl.LazyFrame, texts: list[str]) -> tuple[int, pl.LazyFrame]:
    """The table with an apostrophe before every formula, and before how many; columns' names are guarded, too."""
    names = {name: f"'{name}" for name in frame.collect_schema() if pl.Series([name]).str.contains(FORMULA).item()}
    is_formula = pl.col(texts).str.contains(FORMULA)
    found = frame.select(is_formula.sum()).collect(engine="streaming") if texts else pl.DataFrame()
    touched = [name for name in texts if found[name].item()]
    guard = [
        pl.when(pl.col(name).str.contains(FORMULA)).then("'" + pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name in touched
    ]
    return sum(int(found[name].item()) for name in touched) + len(names), frame.with_columns(guard).rename(names)


@contextmanager
def _whole(path: Path, *, force: bool) -> Iterator[Path]:
    """A file that takes the path's place once the block succeeded, and leaves no trace if it did not."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=".part")
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        if force:
            part.replace(path)
        else:
            _place(part, path)
    finally:
        part.unlink(missing_ok=True)


def _place(part: Path, path: Path) -> None:
    """As a rename, but one that refuses to replace what has come there in the meantime."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise WouldOverwriteError(path, "replace it with --force") from None
    except OSError:  # a disk without hard links, as those of USB sticks and some network shares
        require_writable(path, force=False)
        part.replace(path)
