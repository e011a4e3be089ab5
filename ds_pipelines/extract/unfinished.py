"""What an extract has read so far, kept on disk, so that the next one goes on from there when this one is killed.

What belongs here: these files, and which of them may still be used. What does not: reading, and publishing.

    <home>/unfinished/<table>/<identity>/      one extract; its process holds a lock on it
        about.json                             when it began, and under which policy, secret and tombstones
        published                              days that are visible already, one a line
        <since>_<until>/                       one reading
            chunks                             a line for each chunk: its file, its rows, and the key where it ends
            <number>.arrow                     rows of a chunk, transformed
            whole.json                         once all was read and settled: which files, and as of when

Rows are transformed before they are written, so that no real key is in a file of rows. Where a chunk ends is a real
key: it stands in `chunks`, in folders that only their owner can enter, and goes with the extract's end. A chunk's file
is written before its line is, and whatever follows a line or a file that is not whole was not read. Nothing is forced
to the disk, on which production may be writing, too: what a process has written outlives it, and after a restart of the
machine nothing is gone on with. A folder is used by an extract of the same days of the same table under the same
policy, secret and tombstones, within a day; everything else is removed when the table is extracted next, and by an
erasure or a change of keys.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from ds_pipelines.errors import (
    AmbiguousKeyError,
    CollidingPseudonymsError,
    DiskFullError,
    ProofFailedError,
    UnpublishableError,
    UnreadableValueError,
)
from ds_pipelines.snapshots.store import folder_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

    from ds_pipelines.settings import Settings

_BOOT = Path("/proc/sys/kernel/random/boot_id")
RESUMABLE = timedelta(hours=24)
"""How old an extract may be that is gone on with."""

_OF_ROWS = (
    AmbiguousKeyError, CollidingPseudonymsError, ProofFailedError, UnpublishableError, UnreadableValueError,
)  # fmt: skip
"""What is wrong with rows that were read: after it, they are read anew."""


@dataclass(frozen=True)
class Chunk:
    """One chunk that was read."""

    file: str
    rows: int
    """In the file."""
    read: int
    """In production: with those of erased persons."""
    after: tuple[str, ...] | None
    """Where it begins; None: at the first row."""
    end: tuple[str, ...] | None
    """Where it ends; None: there is nothing behind it."""
    erased: Mapping[str, int] = field(default_factory=dict)
    """Rows of erased persons, by day where the table has days."""
    found: Mapping[str, int] = field(default_factory=dict)
    """Texts that name somebody, by column, so far."""


@dataclass(frozen=True)
class Whole:
    """A reading that is complete."""

    files: tuple[str, ...]
    rows: int
    erased: Mapping[str, int]
    found: Mapping[str, int]
    watermark: str | None
    """What the database had seen, where the rows are exactly what it held then."""
    read_at: datetime


class Reading:
    """The chunks of one reading; made by `Unfinished.reading`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True, mode=0o700)
        horizon = folder / "horizon"
        self.begun = horizon.exists()
        self.horizon = int(horizon.read_text() or 0) or None if self.begun else None
        self.chunks: list[Chunk] = list(_whole_lines(folder)) if self.begun else []
        self._log = folder / "chunks"
        if self._log.exists():  # a line that is not whole goes
            os.truncate(self._log, sum(len(_line(chunk).encode()) for chunk in self.chunks))

    @property
    def whole(self) -> Whole | None:
        """The reading, if it is complete."""
        path = self._folder / "whole.json"
        if not path.exists():
            return None
        said = json.loads(path.read_text())
        return Whole(**said | {"files": tuple(said["files"]), "read_at": datetime.fromisoformat(said["read_at"])})

    def begin(self, horizon: int | None) -> None:
        """Keeps from which transaction on rows are late."""
        self.begun, self.horizon = True, horizon
        _write(self._folder / "horizon", str(horizon or ""))

    def add(self, rows: pl.DataFrame, **told: Any) -> Chunk:
        """Keeps the next chunk; who kills this process later does not take it away."""
        chunk = Chunk(self.keep(rows, f"{len(self.chunks)}.arrow"), rows.height, **told)
        with _room(self._folder), open(self._log, "a", encoding="utf-8", opener=_private) as log:
            log.write(_line(chunk))
        self.chunks.append(chunk)
        return chunk

    def keep(self, rows: pl.DataFrame, name: str) -> str:
        """Writes rows into a file of this reading; returns its name."""
        path = self._folder / name
        with _room(self._folder), open(path, "wb", opener=_private) as file:
            table = rows.to_arrow()
            with pa.ipc.new_file(file, table.schema) as writer:  # takes half the CPU that Polars' own does
                writer.write_table(table)
        return name

    def finish(self, whole: Whole) -> Whole:
        """Keeps that the reading is complete."""
        _write(self._folder / "whole.json", json.dumps(asdict(whole) | {"read_at": whole.read_at.isoformat()}))
        return whole

    def frames(self, files: Iterable[str]) -> Iterator[tuple[str, pl.DataFrame]]:
        """Files and their rows, one after the other."""
        for name in files:
            yield name, pl.read_ipc(self._folder / name)


class Unfinished:
    """One extract of a table: what it has read and published so far. Use as a context; an error leaves it as it is."""

    def __init__(self, settings: Settings, table: str, span: str, *, privacy: str, source: str) -> None:
        """Takes up what there is.

        Args:
            settings: Name the home.
            table: The table.
            span: Which of its days.
            privacy: Digest of all that decides what becomes of a row.
            source: Digest of what is read and how.
        """
        self._tables = settings.home / "unfinished" / folder_name(table)
        self._identity = hashlib.sha256(f"{span}\n{privacy}\n{source}".encode()).hexdigest()[:24]
        self._privacy = privacy
        self.folder = self._tables / self._identity
        self._lock = -1
        self.published: dict[str, str] = {}
        """Digests of the days that an interrupted extract has published, by day."""

    def __enter__(self) -> Unfinished:
        self._tables.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in list(self._tables.iterdir()):
            if not _usable(left, self._privacy):
                _discard(left)
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self._lock = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # who does the same at the same time waits, and reads anew
        if not _usable(self.folder, self._privacy):
            self.folder.mkdir(exist_ok=True, mode=0o700)
            _write(self.folder / "about.json", json.dumps({"began": _now(), "boot": _boot(), "privacy": self._privacy}))
        if (path := self.folder / "published").exists():
            self.published = dict(line.split() for line in path.read_text().splitlines() if line.count(" ") == 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, _OF_ROWS):
            (self.folder / "about.json").unlink(missing_ok=True)  # what is left if this is killed now is not used
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def reading(self, since: date | None, until: date | None) -> Reading:
        """What was read of some days, or of the whole table."""
        return Reading(self.folder / f"{since}_{until}")

    def done(self, published: Mapping[str, str]) -> None:
        """Keeps that some days are visible, and lets go of what was read for them."""
        with open(self.folder / "published", "a", opener=_private) as file:
            file.writelines(f"{day} {digest}\n" for day, digest in published.items())
        self.let_go()

    def let_go(self) -> None:
        """Forgets what was read."""
        for reading in list(self.folder.iterdir()):
            if reading.is_dir():
                (reading / "whole.json").unlink(missing_ok=True)  # first, because it vouches for the rest
                (reading / "horizon").unlink(missing_ok=True)
                shutil.rmtree(reading, ignore_errors=True)

    def start_over(self) -> None:
        """Forgets what was published and read."""
        self.published = {}
        (self.folder / "published").unlink(missing_ok=True)
        self.let_go()


def discard_all(settings: Settings) -> None:
    """Removes whatever extracts have left behind; for those who hold the store alone."""
    shutil.rmtree(settings.home / "unfinished", ignore_errors=True)


def left_behind(settings: Settings) -> Iterator[tuple[str, int]]:
    """The tables of extracts that are running or were interrupted, and the rows that each has kept."""
    for chunks in sorted((settings.home / "unfinished").glob("*/*/*/chunks")):
        yield chunks.parent.parent.parent.name, sum(chunk.rows for chunk in _whole_lines(chunks.parent))


def _usable(folder: Path, privacy: str) -> bool:
    try:
        about = json.loads((folder / "about.json").read_text())
        age = datetime.now(UTC) - datetime.fromisoformat(about["began"])
    except (OSError, ValueError, KeyError):
        return False
    return bool(about["privacy"] == privacy and about["boot"] == _boot() and age < RESUMABLE)


def _discard(folder: Path) -> None:
    """Removes a folder, unless a live process works in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def _whole_lines(folder: Path) -> Iterator[Chunk]:
    """The chunks up to the first of which the line or the file is not whole."""
    path = folder / "chunks"
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            said = json.loads(line)
            ends = {name: said[name] and tuple(said[name]) for name in ("after", "end")}
            chunk = Chunk(**said | ends)
            rows = pl.scan_ipc(folder / chunk.file).select(pl.len()).collect().item()
        except (OSError, ValueError, TypeError, KeyError, pl.exceptions.PolarsError):
            return
        if rows != chunk.rows:
            return
        yield chunk


def _line(chunk: Chunk) -> str:
    return json.dumps(asdict(chunk)) + "\n"


def _write(path: Path, content: str) -> None:
    draft = path.with_name(f".{path.name}")
    with _room(path.parent), open(draft, "w", opener=_private) as file:
        file.write(content)
    draft.replace(path)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Turns the system's words for a full disk into ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(folder).free >> 20
        raise DiskFullError(folder, free, free + 1) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _boot() -> str:
    """Tells one start of the machine from another."""
    return _BOOT.read_text().strip() if _BOOT.exists() else ""


def _now() -> str:
    return datetime.now(UTC).isoformat()
