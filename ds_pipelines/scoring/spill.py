"""Rows that are computed in pieces and given back in the order of a key, without being held together.

What belongs here: the files in between. What does not: how pieces are put in order (`extract.order`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract.order import Ordering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Spill:
    """Takes pieces in any order; after `settle`, gives the rows in the order of the key, as often as asked."""

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        folder.mkdir(mode=0o700)
        self._folder = folder
        self._key = list(key)
        self._files: list[Path] = []
        self._last: pl.DataFrame | None = None
        self._ascending = True
        self.rows = 0

    def add(self, piece: pl.DataFrame) -> None:
        """Keeps some rows."""
        if piece.is_empty():
            return
        self._ascending = self._ascending and self._continues(piece)
        self._last = piece.select(self._key).tail(1)
        self._keep(piece, "piece")

    def settle(self) -> None:
        """Puts the rows in the order of the key; nothing is done if they came in it."""
        if self._ascending:
            return
        runs = self._folder / "runs"
        runs.mkdir()
        ordering = Ordering(None, runs, by=self._key)
        for file in self._files:
            ordering.add(pl.read_ipc(file))
            file.unlink()
        self._files, self.rows = [], 0
        for piece in ordering.ordered():
            self._keep(piece, "ordered")
        for file in runs.iterdir():
            file.unlink()

    def pieces(self) -> Iterator[pl.DataFrame]:
        """The rows, a piece at a time."""
        for file in self._files:
            yield pl.read_ipc(file)

    def _continues(self, piece: pl.DataFrame) -> bool:
        """Whether the rows ascend strictly, after those that came before."""
        keys = piece.select(self._key)
        keys = keys if self._last is None else pl.concat([self._last, keys])
        if len(self._key) == 1:
            only = keys.to_series()
            return bool((only.slice(1) > only.head(only.len() - 1)).all())
        structs = keys.select(pl.struct(self._key)).to_series()
        return bool(structs.rank("ordinal").eq(pl.int_range(1, structs.len() + 1, eager=True)).all())

    def _keep(self, piece: pl.DataFrame, name: str) -> None:
        path = self._folder / f"{name}-{len(self._files)}.arrow"
        piece.write_ipc(path)
        self._files.append(path)
        self.rows += piece.height
