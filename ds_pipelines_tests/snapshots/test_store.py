"""The store: files named by content, published at once, whole whatever happens."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines.errors import (
    DamagedManifestError,
    DiskFullError,
    MalformedDigestError,
    UnknownExtractError,
    UnknownSnapshotError,
    UnpublishedDayError,
    UnusableTableNameError,
)
from ds_pipelines.evidence import Column, SnapshotManifest
from ds_pipelines.snapshots.digest import logical_digest
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.snapshots.parquet import Written

MONDAY, TUESDAY = date(2025, 3, 3), date(2025, 3, 4)
NOON = datetime(2025, 3, 5, 12, tzinfo=UTC)
FRAME = pl.DataFrame({"id": ["a", "b"], "n": [1, None]})
OTHER = pl.DataFrame({"id": ["c"], "n": [3]})


def manifest(written: Written, day: date = MONDAY, table: str = "visits") -> SnapshotManifest:
    return SnapshotManifest(
        table=table, rows_of="day", day=day, rows=written.rows, bytes=written.bytes, digest=written.digest,
        logical_digest=written.logical_digest, columns=(Column(name="id", dtype="String", treatment="keep"),),
        policy_digest="p", key_id="k", read_at=NOON, published_at=NOON,
    )  # fmt: skip


def publish(store: SnapshotStore, frame: pl.DataFrame = FRAME, day: date = MONDAY) -> SnapshotManifest:
    with store.stage() as stage:
        made = manifest(stage.write(frame), day)
        stage.publish([made])
    return made


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots")


def test_a_published_table_is_found_by_day_and_by_digest(store: SnapshotStore) -> None:
    made = publish(store)
    assert store.tables() == ["visits"]
    assert store.manifest("visits", MONDAY) == made
    path = store.path(made.digest)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made.digest
    assert path.stat().st_size == made.bytes
    assert pl.read_parquet(path).equals(FRAME)
    assert logical_digest(pl.read_parquet(path)) == made.logical_digest


def test_manifests_come_by_day(store: SnapshotStore) -> None:
    publish(store, day=TUESDAY)
    publish(store, day=MONDAY)
    assert [made.day for made in store.manifests("visits")] == [MONDAY, TUESDAY]


def test_equal_tables_are_one_file_however_they_are_chunked(store: SnapshotStore) -> None:
    chunked = pl.concat([FRAME.head(1), FRAME.tail(1)], rechunk=False)
    assert publish(store).digest == publish(store, chunked, TUESDAY).digest
    assert len(list(store.root.glob("objects/*/*"))) == 1


def test_a_day_published_anew_is_replaced_and_the_old_file_stays(store: SnapshotStore) -> None:
    before, after = publish(store), publish(store, OTHER)
    assert store.manifests("visits") == [after]
    assert pl.read_parquet(store.path(before.digest)).equals(FRAME)


def test_only_the_owner_can_look_inside_and_nobody_can_write_a_snapshot(store: SnapshotStore) -> None:
    made = publish(store)
    modes = {path.stat().st_mode & 0o777 for path in (store.root, *store.root.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert store.path(made.digest).stat().st_mode & 0o777 == 0o444


def test_what_is_staged_is_invisible_and_gone_afterwards(store: SnapshotStore) -> None:
    with store.stage() as stage:
        written = stage.write(FRAME)
        assert store.tables() == []
        with pytest.raises(UnknownSnapshotError):
            store.path(written.digest)
    assert list(store.root.glob("*/*")) == []


def test_many_days_are_published_together(store: SnapshotStore) -> None:
    with store.stage() as stage:
        written = [stage.write(frame) for frame in (FRAME, OTHER)]
        stage.publish([manifest(written[0], MONDAY), manifest(written[1], TUESDAY)])
    assert [made.digest for made in store.manifests("visits")] == [each.digest for each in written]


KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
from ds_pipelines.snapshots.store import SnapshotStore
with SnapshotStore(Path(sys.argv[1])).stage() as stage:
    stage.write(pl.DataFrame({"id": ["a"]}))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_before_it_published_leaves_nothing_visible(store: SnapshotStore) -> None:
    before = publish(store)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store.root)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(store.root.glob("staging/*/*.parquet"))) == 1
    assert store.manifests("visits") == [before]
    with store.stage():
        assert len(list(store.root.glob("staging/*"))) == 1
    assert list(store.root.glob("staging/*")) == []


def test_the_stage_of_a_live_process_is_left_alone(store: SnapshotStore) -> None:
    with store.stage() as stage:
        written = stage.write(FRAME)
        publish(store, OTHER, TUESDAY)
        stage.publish([manifest(written)])
    assert [made.day for made in store.manifests("visits")] == [MONDAY, TUESDAY]


@pytest.mark.parametrize("digest", ["", "abc", "A" * 64, "../" * 21 + "a", "a" * 65, "a" * 64 + "\n"])
def test_a_name_that_is_no_digest_is_refused(store: SnapshotStore, digest: str) -> None:
    with pytest.raises(MalformedDigestError, match="64 hexadecimal digits"):
        store.path(digest)


def test_an_unknown_snapshot_is_refused(store: SnapshotStore) -> None:
    with pytest.raises(UnknownSnapshotError):
        store.path("0" * 64)


def test_an_unknown_table_or_day_is_answered_with_what_there_is(store: SnapshotStore) -> None:
    with pytest.raises(UnknownExtractError, match="Nothing is published yet"):
        store.manifests("visits")
    publish(store)
    publish(store, day=TUESDAY)
    for table in ("salaries", "../published/visits", ""):
        with pytest.raises(UnknownExtractError, match="Published are: visits"):
            store.manifest(table, MONDAY)
    with pytest.raises(UnpublishedDayError, match="expected days from 2025-03-03 to 2025-03-04"):
        store.manifest("visits", date(2025, 3, 5))


@pytest.mark.parametrize("table", ["../elsewhere", "a/b", "..", ".", "Order Details", "bıgınt", "%41", "A", "ж" * 31])
def test_a_table_of_any_name_is_published_under_it_and_in_a_folder_of_its_own(store: SnapshotStore, table: str) -> None:
    publish(store)
    with store.stage() as stage:
        made = manifest(stage.write(FRAME), table=table)
        stage.publish([made])
    assert store.tables() == sorted([table, "visits"])
    assert store.manifests(table) == [made]
    assert store.manifest(table, MONDAY) == made
    assert len(list((store.root / "published").iterdir())) == 2


@pytest.mark.parametrize("table", ["", "a" * 64, "ж" * 32, "a\0b", "\ud800"])
def test_a_name_that_no_table_can_have_is_refused(store: SnapshotStore, table: str) -> None:
    with store.stage() as stage:
        made = manifest(stage.write(FRAME), table=table)
        with pytest.raises(UnusableTableNameError):
            stage.publish([made])
    assert store.tables() == []


def test_a_manifest_without_its_file_is_not_published(store: SnapshotStore) -> None:
    with store.stage() as stage:
        absent = manifest(stage.write(FRAME)).model_copy(update={"digest": "0" * 64})
        with pytest.raises(UnknownSnapshotError):
            stage.publish([absent])
    assert store.tables() == []


def test_a_damaged_manifest_is_named(store: SnapshotStore) -> None:
    publish(store)
    (store.root / "published" / "visits" / f"{MONDAY}.json").write_text("{")
    with pytest.raises(DamagedManifestError, match="'visits' for 2025-03-03 is damaged"):
        store.manifest("visits", MONDAY)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A real file system of 256 KiB; the test skips where nobody may mount one."""
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None:
        pytest.skip("there is no program to mount a file system")
    command = [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield
    finally:
        subprocess.run([unmount, str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_what_was_visible(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk"):
        store = SnapshotStore(tmp_path / "disk" / "snapshots")
        before = publish(store)
        big = pl.select(pl.int_range(200_000).hash(7).alias("noise"))
        with pytest.raises(DiskFullError, match="Too little disk space"):
            publish(store, big, TUESDAY)
        assert store.manifests("visits") == [before]
        assert list(store.root.glob("staging/*")) == []
        assert publish(store, OTHER, TUESDAY).rows == 1
