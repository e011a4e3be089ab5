"""Working on two cores: what is made by one thread while another uses what was made before.

What belongs here: that one hand-over. What does not: reading and writing. Polars, the database driver and Parquet all
let go of the interpreter's lock, so that two threads use two cores.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

AHEAD = 2
"""How many pieces wait at most: enough that neither thread waits for the other's every breath."""
_SECONDS_BETWEEN_LOOKS = 0.05


@contextmanager
def ahead(pieces: Iterable[T], *, depth: int = AHEAD) -> Iterator[Iterator[T]]:
    """The same pieces in the same order, made by a thread of their own, at most `depth` of them ahead.

    Leaving the block ends the thread, whether all was taken or not. What making a piece raises is raised where it would
    be taken.
    """
    handover = _Handover(pieces, depth)
    handover.start()
    try:
        yield handover.taken()
    finally:
        handover.left.set()
        handover.join()


class _Handover(threading.Thread, Generic[T]):
    def __init__(self, pieces: Iterable[T], depth: int) -> None:
        super().__init__(name="ahead", daemon=True)
        self.left = threading.Event()
        self._pieces = pieces
        self._queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)

    def run(self) -> None:
        try:
            for piece in self._pieces:
                if not self._hand((piece,)):
                    return
        except BaseException as error:  # raised again where the piece would be taken
            self._hand(error)
        else:
            self._hand(None)

    def taken(self) -> Iterator[T]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def _hand(self, item: tuple[T] | BaseException | None) -> bool:
        """Whether somebody still wants it."""
        while not self.left.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_SECONDS_BETWEEN_LOOKS)
                return True
        return False
