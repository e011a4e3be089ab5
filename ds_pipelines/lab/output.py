"""What a run prints: kept as it comes, and bounded.

What belongs here: the beginning and the end of a stream of any length, and a sentence about what was left out between.
What does not: what is done with it.
"""

from __future__ import annotations

import codecs
import os
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEGINNING = 4 << 20
ENDING = 1 << 20
"""Bytes of a stream that are kept."""
CHUNK = 1 << 18


class Output:
    """A file of what a run prints, and who is told of it."""

    def __init__(self, path: Path, on_output: Callable[[str], None] | None = None) -> None:
        self._path, self._on_output = path, on_output
        self._room = BEGINNING
        self._tail: deque[bytes] = deque()
        self._held = 0
        self._left_out = 0
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._tell("", last=True)
        self._file.close()

    def read(self, stream: BinaryIO) -> None:
        """Keeps what comes until the stream ends; never holds up the one who writes."""
        while chunk := os.read(stream.fileno(), CHUNK):
            if self._room:
                self._keep(chunk[: self._room])
                chunk = chunk[self._room :]
                self._room = max(0, BEGINNING - self._file.tell())
            if chunk:
                self._hold(chunk)
        if self._left_out:
            self.say(f"\n[… {self._left_out:,} bytes of output were left out here …]\n")
        for chunk in self._tail:
            self._keep(chunk)
        self._tail.clear()

    def say(self, sentence: str) -> None:
        """Adds a sentence of ours."""
        self._keep(sentence.encode())

    def _keep(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._file.flush()
        self._tell(self._text.decode(chunk))

    def _hold(self, chunk: bytes) -> None:
        self._tail.append(chunk)
        self._held += len(chunk)
        while self._held - len(self._tail[0]) >= ENDING:
            gone = len(self._tail.popleft())
            self._held -= gone
            self._left_out += gone

    def _tell(self, text: str, *, last: bool = False) -> None:
        if self._on_output is None:
            return
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._on_output(f"{line}\n")
        if last and self._line:
            self._on_output(self._line)
            self._line = ""
