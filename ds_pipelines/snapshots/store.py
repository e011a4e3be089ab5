"""The store of snapshots: a folder that holds published tables and, apart from them, what is being made.

    objects/ab/<sha256>.parquet      a snapshot; its name is the SHA-256 of its bytes, and it never changes
    published/<table>/<day>.json     its manifest; a day published anew gets another. In the folder's name, whatever is
                                     no ASCII letter, digit, _ or $ of the table's is percent-encoded
    generation                       the name of the folder of manifests, once it is another than `published`
    withdrawn                        digests of what was removed on purpose, and why
    staging/<name>/                  what a running extract has written so far; nobody reads it

What belongs here: writing, publishing and finding files. What does not: what they contain, or who may have them.

Publication is one rename of a manifest. Before it, the snapshot's bytes and its name are on disk (fsync), so that a
visible manifest always leads to a whole file, whenever the power fails; a lost manifest is an extract to be repeated.
What is published together is synced together, from several threads: each fsync waits for a commit of the file system's
journal, and those that wait at the same time share one (365 files on two busy cores: 0.3 s instead of 1.4). Files are
synced by name rather than the whole disk at once, because the disk is shared with databases.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic import ValidationError

from ds_pipelines.errors import (
    DamagedManifestError,
    DiskFullError,
    ErasedSnapshotError,
    MalformedDigestError,
    UnknownExtractError,
    UnknownSnapshotError,
    UnpublishedDayError,
    UnusableTableNameError,
)
from ds_pipelines.evidence import SnapshotManifest
from ds_pipelines.snapshots.ledger import Ledger
from ds_pipelines.snapshots.parquet import Written, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    import polars as pl

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PLAIN = re.compile(r"[A-Za-z0-9_$]")
_NAME_BYTES = 63
"""Of a table's name, in UTF-8: PostgreSQL's own limit."""
_MIB = 1 << 20
_MANIFEST_BYTES = 8 << 10
"""About what the manifest of a wide table takes."""
_SYNCS_AT_ONCE = 8


class SnapshotStore:
    """The store in one folder, which is made when something is first staged; only its owner can enter it."""

    def __init__(self, root: Path, *, generation: str | None = None) -> None:
        """The store as it is published; `generation` names another folder of manifests, not yet or no longer so."""
        self.root = root
        self.withdrawn = Ledger(root / "withdrawn")
        self._generation = generation

    @property
    def generation(self) -> str:
        """The folder of the manifests."""
        if self._generation is not None:
            return self._generation
        try:
            return (self.root / "generation").read_text(encoding="utf-8")
        except FileNotFoundError:
            return "published"

    def switch(self, generation: str) -> None:
        """Publishes another folder of manifests in place of this one: every table, in one step."""
        draft = self.root / ".generation"
        draft.write_text(generation, encoding="utf-8")
        _move([(draft, self.root / "generation")])

    def tables(self) -> list[str]:
        """The tables of which something is published, by name."""
        return sorted({unquote(path.parent.name) for path in self._published.glob("*/*.json")})

    def folders(self) -> dict[str, Path]:
        """By table, the folder of its manifests, which changes whenever one of them does; it may be empty."""
        try:
            with os.scandir(self._published) as entries:
                return {unquote(entry.name): Path(entry.path) for entry in entries if entry.is_dir()}
        except FileNotFoundError:
            return {}

    def manifests(self, table: str) -> list[SnapshotManifest]:
        """What is published of a table, by day.

        Raises:
            UnknownExtractError: nothing is; the message names the tables that are published.
            DamagedManifestError: a manifest cannot be read.
        """
        with suppress(UnusableTableNameError):
            found = sorted((self._published / folder_name(table)).glob("*.json"))
            if found:
                return [_read(path) for path in found]
        raise UnknownExtractError(table, self.tables())

    def manifest(self, table: str, day: date) -> SnapshotManifest:
        """What is published of a table for a day.

        Raises:
            UnknownExtractError: nothing of the table is published; the message names the tables that are.
            UnpublishedDayError: other days are; the message names the first and the last.
            DamagedManifestError: the manifest cannot be read.
        """
        with suppress(UnusableTableNameError):
            path = self._published / folder_name(table) / f"{day}.json"
            if path.exists():
                return _read(path)
        manifests = self.manifests(table)
        raise UnpublishedDayError(table, str(day), manifests[0].day, manifests[-1].day)

    def path(self, digest: str) -> Path:
        """The file of a snapshot.

        Raises:
            MalformedDigestError: this is no digest.
            ErasedSnapshotError: it was removed on purpose.
            UnknownSnapshotError: there is no snapshot of this digest.
        """
        path = self._object(digest)
        if not path.exists():
            if (reason := self.withdrawn.entries().get(digest)) is not None:
                raise ErasedSnapshotError(digest, reason)
            raise UnknownSnapshotError
        return path

    def digests(self) -> set[str]:
        """Every snapshot that is stored, whether a manifest names it or not."""
        return {path.stem for path in self._objects.glob("*/*.parquet")}

    def withdraw(self, digests: Iterable[str], reason: str) -> None:
        """Removes snapshots for good, after noting why: a later question for one is answered with the reason."""
        digests = sorted(digests)
        self.withdrawn.add(dict.fromkeys(digests, reason))
        self.discard(digests)

    def discard(self, digests: Iterable[str]) -> None:
        """Removes snapshots that nothing names; the same content may come back."""
        paths = [self._object(digest) for digest in digests]
        for path in paths:
            path.unlink(missing_ok=True)
        _sync({path.parent for path in paths if path.parent.exists()})

    def unpublish(self, manifests: Iterable[SnapshotManifest]) -> None:
        """Removes manifests; their snapshots stay."""
        paths = [self._published / manifest.table / f"{manifest.day}.json" for manifest in manifests]
        for path in paths:
            path.unlink(missing_ok=True)
        _sync({path.parent for path in paths if path.parent.exists()})

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        """A place to write what will be published; gone afterwards, with whatever was not published.

        Clears away the stages of killed processes: a live one holds a lock on its folder, which the kernel drops with
        it.
        """
        for folder in (self.root, self._objects, self._published, self._staging):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self._staging):
            for leftover in self._staging.iterdir():
                _remove_unless_locked(leftover)
            folder = Path(tempfile.mkdtemp(dir=self._staging))  # mode 0700
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield Stage(self, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    @property
    def _objects(self) -> Path:
        return self.root / "objects"

    @property
    def _published(self) -> Path:
        return self.root / self.generation

    @property
    def _staging(self) -> Path:
        return self.root / "staging"

    def _object(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise MalformedDigestError
        return self._objects / digest[:2] / f"{digest}.parquet"


class Stage:
    """Where one process writes before it publishes; made by `SnapshotStore.stage`."""

    def __init__(self, store: SnapshotStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._numbers = itertools.count()

    def write(self, frame: pl.DataFrame) -> Written:
        """Writes a frame as a Parquet file; equal frames give equal bytes, however they are chunked.

        Raises:
            DiskFullError: there is no space for it.
        """
        return self.write_batches(frame.schema, [frame])

    def write_batches(
        self, schema: Mapping[str, pl.DataType], batches: Iterable[pl.DataFrame], *, unlike: Collection[str] = ()
    ) -> Written:
        """Writes the frame that the batches make together, row group by row group; memory does not grow with it.

        The bytes depend on rows, their order and `unlike`, and not on where one batch ends and the next begins.

        Args:
            schema: What every batch has.
            batches: The rows in their order.
            unlike: Columns of which hardly two values are equal, as pseudonyms: no dictionary is tried on them.

        Raises:
            DiskFullError: there is no space for it.
        """
        draft = self._folder / f"{next(self._numbers)}.draft"
        with _enough_space(self._store.root, lambda: draft.stat().st_size if draft.exists() else 0):
            written = write_parquet(draft, schema, batches, unlike=unlike)
        draft.chmod(0o444)
        path = self._folder / f"{written.digest}.parquet"
        draft.replace(path)
        return replace(written, path=path)

    def spill(self) -> Path:
        """A new folder of this stage for what does not fit into memory; gone with the stage."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def publish(self, manifests: Sequence[SnapshotManifest]) -> None:
        """Makes files of this stage visible, each with its manifest, in place of what was visible of its day.

        Raises:
            UnknownSnapshotError: a manifest names a file that is neither in this stage nor in the store.
            UnusableTableNameError: a table's name cannot be a folder's.
            DiskFullError: there is no space left; what is visible is whole.
        """
        for manifest in manifests:
            folder_name(manifest.table)  # before anything is moved
        with _enough_space(self._store.root, lambda: _MANIFEST_BYTES * len(manifests)):
            self._place({manifest.digest for manifest in manifests})
            self._announce(manifests)

    def _place(self, digests: set[str]) -> None:
        """Moves files from the stage to where their digest belongs; one that is there already is the same."""
        moves: list[tuple[Path, Path]] = []
        for digest in digests:
            staged, target = self._folder / f"{digest}.parquet", self._store._object(digest)
            if staged.exists():
                moves.append((staged, target))
            elif not target.exists():
                raise UnknownSnapshotError
        _move(moves)

    def _announce(self, manifests: Sequence[SnapshotManifest]) -> None:
        moves: list[tuple[Path, Path]] = []
        for number, manifest in enumerate(manifests):
            draft = self._folder / f"{number}.json"
            _write(draft, manifest.model_dump_json(indent=1).encode(), mode=0o600)
            moves.append((draft, self._store._published / folder_name(manifest.table) / f"{manifest.day}.json"))
        _move(moves)


def folder_name(table: str) -> str:
    """The name of a table's folder or file: its own, but for what is no ASCII letter, digit, _ or $.

    Raises:
        UnusableTableNameError: no table can have this name.
    """
    try:
        content = table.encode()
    except UnicodeEncodeError:  # a lone surrogate
        content = b""
    if not 0 < len(content) <= _NAME_BYTES or b"\0" in content:
        raise UnusableTableNameError(table)
    return "".join(chr(byte) if _PLAIN.fullmatch(chr(byte)) else f"%{byte:02X}" for byte in content)


def _read(path: Path) -> SnapshotManifest:
    try:
        return SnapshotManifest.model_validate_json(path.read_bytes())
    except ValidationError:
        raise DamagedManifestError(unquote(path.parent.name), path.stem) from None


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Writes a file; if that fails, nothing of it stays."""
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
    except OSError:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _enough_space(folder: Path, needed: Callable[[], int]) -> Iterator[None]:
    """Turns the system's words for a full disk into ours; `needed` in bytes, at least."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(folder, shutil.disk_usage(folder).free // _MIB, needed() // _MIB + 1) from None


def _move(moves: Sequence[tuple[Path, Path]]) -> None:
    """Gives files their final place, each at once and for good; a file that is there is replaced."""
    _sync({staged for staged, _ in moves})
    touched: set[Path] = set()
    for staged, target in moves:
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True, mode=0o700)
            touched.add(target.parent.parent)
        staged.replace(target)
        touched.add(target.parent)
    _sync(touched)


def _sync(paths: set[Path]) -> None:
    """Waits until files or folders are on the disk itself."""

    def sync(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    with ThreadPoolExecutor(_SYNCS_AT_ONCE, thread_name_prefix="fsync") as threads:
        for _ in threads.map(sync, paths):
            pass  # raises what the thread raised


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_unless_locked(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its process has just removed it
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
