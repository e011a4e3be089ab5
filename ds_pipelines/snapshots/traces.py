"""Traces of pseudonyms in files beside the store: tables and texts that experiments, caches and logs keep.

What belongs here: finding pseudonyms in a Parquet or text file, and writing the file anew without them or with others.
What does not: deciding which ones; the caller brings their fates. Published snapshots have manifests and are rewritten
by those who publish.

A pseudonym is a word of 32 hexadecimal digits. Where it goes, its row goes; in a text of lines its line, in another
text, whose syntax must stay whole, the word alone. Other kinds of files, as pictures and models, are not looked into.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD = r"\b[0-9a-f]{32}\b"
LINES = frozenset({".csv", ".err", ".log", ".out", ".txt"})
"""Endings of texts that stay whole without a line."""
TEXTS = LINES | {".diff", ".html", ".ipynb", ".json", ".jsonl", ".md", ".py", ".svg", ".yaml"}
"""Endings of files that are searched as text."""
GONE = "(erased)"


class Fates(Protocol):
    """What becomes of pseudonyms."""

    def __call__(self, words: pl.Series, *, identifiers: bool) -> pl.Series:
        """For each word itself, another, or null when it must go, shape as `words`.

        Args:
            words: Distinct words of 32 hexadecimal digits.
            identifiers: Whether they are all that a column of a table holds, so that all are pseudonyms if one is.
        """


@dataclass(frozen=True)
class Trace:
    """A file that holds pseudonyms which must go or change."""

    path: Path
    removed: int
    """Rows of a table or lines of a text that go; with none, pseudonyms were only replaced."""


def find(folder: Path) -> Iterator[Path]:
    """The files below a folder that are looked into, hidden ones included."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in TEXTS | {".parquet"} and path.is_file() and not path.is_symlink():
            yield path


def follow(path: Path, fates: Fates, *, do_it: bool, remove: bool = False) -> Trace | None:
    """What of a file has to go or change; None: nothing.

    Args:
        path: A file as `find` gives them.
        fates: What becomes of each pseudonym.
        do_it: Whether to write the file anew, whole or not at all.
        remove: Whether to remove the file instead of writing it anew.
    """
    try:
        content, removed = _table(path, fates) if path.suffix == ".parquet" else _text(path, fates)
    except (
        pl.exceptions.ComputeError,
        pl.exceptions.NoDataError,
    ):  # the half of a file that a killed process left: nobody can read it
        content, removed = b"", 0
    if content is None:
        return None
    if do_it and (remove or not content):
        path.unlink()
    elif do_it:
        _replace(path, content)
    return Trace(path, removed)


def without(frame: pl.DataFrame, fates: Fates) -> pl.DataFrame | None:
    """The table after its pseudonyms met their fates; None when nothing changes."""
    gone, replaced = pl.repeat(value=False, n=frame.height, dtype=pl.Boolean, eager=True), frame
    for column in frame.get_columns():
        text = _as_text(column)
        if text is None:
            continue
        words = text.str.extract_all(WORD)
        distinct = words.explode().drop_nulls().unique().sort()
        if distinct.is_empty():
            continue
        identifiers = bool((text.drop_nulls().str.len_bytes() == 32).all())
        fate = fates(distinct, identifiers=identifiers)
        changed = pl.DataFrame({"word": distinct, "fate": fate}).filter(fate.is_null() | (fate != distinct))
        if changed.is_empty():
            continue
        kept = changed.drop_nulls()
        going = changed["word"] if column.dtype != pl.String else changed.filter(pl.col("fate").is_null())["word"]
        hit = words.list.eval(pl.element().is_in(going.implode())).list.any()
        gone = gone | hit.fill_null(value=False)
        if column.dtype == pl.String and kept.height:
            mapped = pl.col(column.name).str.replace_many(kept["word"].to_list(), kept["fate"].to_list())
            replaced = replaced.with_columns(mapped)
    if not gone.any() and replaced.equals(frame):
        return None
    return replaced.filter(~gone)


def _as_text(column: pl.Series) -> pl.Series | None:
    """A column's values as text, if they may hold words."""
    if column.dtype == pl.String:
        return column
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if column.dtype.is_nested():
        return pl.Series(column.name, [None if value is None else str(value) for value in column], dtype=pl.String)
    return None


def _table(path: Path, fates: Fates) -> tuple[bytes | None, int]:
    import io

    frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    left = without(frame, fates)
    if left is None:
        return None, 0
    buffer = io.BytesIO()
    left.write_parquet(buffer)
    return buffer.getvalue(), frame.height - left.height


def _text(path: Path, fates: Fates) -> tuple[bytes | None, int]:
    content = path.read_text(encoding="utf-8", errors="surrogateescape")
    distinct = pl.Series(sorted(set(re.findall(WORD, content))), dtype=pl.String)
    if distinct.is_empty():
        return None, 0
    fate = dict(zip(distinct, fates(distinct, identifiers=False), strict=True))
    if all(word == becomes for word, becomes in fate.items()):
        return None, 0
    lines = content.splitlines(keepends=True)
    if path.suffix in LINES:
        kept = [line for line in lines if all(fate[word] is not None for word in re.findall(WORD, line))]
    else:
        kept = lines
    text = re.sub(WORD, lambda found: fate[found.group()] or GONE, "".join(kept))
    return text.encode("utf-8", errors="surrogateescape"), len(lines) - len(kept)


def _replace(path: Path, content: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".draft")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(path.stat().st_mode & 0o777)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
