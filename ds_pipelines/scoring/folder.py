"""The folder of a day that is being scored: its tables, features and scores, until somebody has taken the result.

What belongs here: making it, and removing what killed processes have left. What does not: what lies in it.

Its rows have real keys: only its owner may enter it, and it goes with the process at the latest. A live process holds a
lock on its folder; a folder that nobody holds is removed when the next day is scored.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings


class Folder:
    """A folder that is removed with this object, or by `remove`."""

    def __init__(self, settings: Settings) -> None:
        settings.scoring.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in settings.scoring.iterdir():
            _remove_if_left(left)
        self.path = Path(tempfile.mkdtemp(dir=settings.scoring))  # mode 0700
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._finalizer = weakref.finalize(self, _remove, self.path, self._lock)

    def remove(self) -> None:
        """Removes the folder and all that is in it; again has no effect."""
        self._finalizer()


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _remove_if_left(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
