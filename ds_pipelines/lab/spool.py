"""The spool: folders of runs that go on, and of those that MLflow has not got yet.

What belongs here: making a run's folder, telling whether anybody still works at it, and recording what was left over.
What does not: what is in a folder (layout.py), or making a record of it (record.py).

Whoever watches a run holds a lock in its folder, and so does the run's process; the system lets go of both when they
end, however they end. A folder of which nobody holds a lock is left over: MLflow did not answer, or the watcher was
killed. Nothing of it is lost: the next run records it, or `ds-pipelines experiments replay`.
"""

from __future__ import annotations

import fcntl
import shutil
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.errors import DsPipelinesError, TrackingUnreachableError
from ds_pipelines.lab.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.evidence import RunRecord
    from ds_pipelines.settings import Settings

UNFINISHED_SECONDS = 3600.0
"""After which a folder that was never completed is removed."""


@dataclass(frozen=True)
class Replayed:
    """What became of one run that was left over."""

    folder: Path
    record: RunRecord | None
    """None: it still is not recorded."""
    problem: str | None = None
    unreachable: bool = False
    """Whether it is because MLflow does not answer, so that no other run can be recorded either."""


@contextmanager
def opened(settings: Settings) -> Iterator[Layout]:
    """A new run's folder, watched until the block ends; whoever records the run removes it."""
    settings.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = uuid.uuid4().hex
    draft, folder = Layout(settings.spool / f".{name}"), Layout(settings.spool / name)
    draft.folder.mkdir(mode=0o700)
    with draft.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for made in (draft.artifacts, draft.temporary):
            made.mkdir()
        draft.folder.rename(folder.folder)
        yield folder


def replay(settings: Settings) -> list[Replayed]:
    """Records every run that was left over; those that go on are left alone. Stops where MLflow does not answer."""
    found = []
    for folder in waiting(settings):
        with _left_over(folder) as layout:
            if layout is not None:
                found.append(_replayed(layout, settings))
        if found and found[-1].unreachable:
            break
    return found


def waiting(settings: Settings) -> list[Path]:
    """Folders of runs that MLflow has not got, those that go on among them; the oldest first."""
    if not settings.spool.is_dir():
        return []
    _clear(settings.spool)
    folders = {}
    for path in settings.spool.iterdir():
        if not path.name.startswith("."):
            with suppress(FileNotFoundError):  # recorded and removed in this moment
                folders[path] = path.stat().st_ctime
    return sorted(folders, key=folders.__getitem__)


def _replayed(layout: Layout, settings: Settings) -> Replayed:
    from ds_pipelines.lab.record import complete

    try:
        return Replayed(layout.folder, complete(layout, settings).record)
    except TrackingUnreachableError as error:
        return Replayed(layout.folder, None, str(error), unreachable=True)
    except DsPipelinesError as error:
        return Replayed(layout.folder, None, str(error))


@contextmanager
def _left_over(folder: Path) -> Iterator[Layout | None]:
    """The folder, if nobody works at it, ours until the block ends; else None."""
    layout = Layout(folder)
    with ExitStack() as held:
        try:
            for path in (layout.lock, layout.child_lock):
                lock = held.enter_context(path.open("a"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = layout.task.exists()
        except (BlockingIOError, FileNotFoundError):  # somebody works at it, or has just removed it
            free = False
        yield layout if free else None


def _clear(spool: Path) -> None:
    for draft in spool.glob(".*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > UNFINISHED_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)
