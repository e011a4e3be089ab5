"""Reading in chunks: every row once, as it is at one moment, gone on with after a kill, whatever changes meanwhile."""

from __future__ import annotations

import json
import stat
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines.errors import DiskFullError, ProofFailedError, SourceRefusedError
from ds_pipelines.extract import chunks, harm, source, tombstones, unfinished
from ds_pipelines.extract.pace import Pace
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.production import transformed
from ds_pipelines.extract.pseudonyms import load as load_pseudonyms
from ds_pipelines.extract.publish import extract_day, extract_days, extract_state
from ds_pipelines.extract.reconcile import reconcile
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import kept, policy_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.extract.pace import Turn
    from ds_pipelines.settings import Settings

ROWS, CHUNK = 2_000, 300
VISITS = {
    "visit_id": "{treatment: {pseudonym: visit}, description: The visit., because: Its number is on a slip.}",
    "at": kept(),
    "amount": kept(),
}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds_pipelines.extract.pace.FIRST_ROWS", CHUNK)
    monkeypatch.setattr("ds_pipelines.extract.pace.MOST_ROWS", CHUNK)


@pytest.fixture
def visits(place: Settings, sql: Any, tmp_path: Path, small_chunks: None) -> Settings:
    """A table of two days with an index by day, read in chunks of 300 rows, and a policy for it."""
    sql(f"""
        CREATE TABLE visits (visit_id int PRIMARY KEY, at timestamptz NOT NULL, amount int);
        CREATE INDEX ON visits (at);
        INSERT INTO visits SELECT n, timestamptz '{place.first_day} 00:00+00' + n * interval '60 s', n
        FROM generate_series(0, {ROWS - 1}) AS n
    """)
    path = policy_file(tmp_path / "policies", VISITS, schema=sql.schema)
    return place.model_copy(update={"policies": path.parent, "pace_waiting": 1_000})


def after_turn(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> list[int]:
    """Acts once after so many chunks; returns the rows of each chunk, as they are read."""
    turn, read = Pace.turn, list[int]()

    @contextmanager
    def acting(self: Pace) -> Iterator[Turn]:
        if len(read) == number:
            act()
        with turn(self) as taken:
            yield taken
        read.append(taken.read)

    monkeypatch.setattr(Pace, "turn", acting)
    return read


def killed() -> None:
    raise InterruptedError


def rows_of(settings: Settings, manifest: SnapshotManifest) -> pl.DataFrame:
    return pl.read_parquet(SnapshotStore(settings.snapshots).path(manifest.digest))


def day_now(settings: Settings, sql: Any, day: date) -> pl.DataFrame:
    """A day as the database holds it, with pseudonyms."""
    start, end = settings.bounds(day)
    rows = sql("SELECT visit_id, at, amount FROM visits WHERE at >= %s AND at < %s", (start, end))
    schema = {"visit_id": pl.Int32(), "at": pl.Datetime("us", "UTC"), "amount": pl.Int32()}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(load_pseudonyms(settings).of(frame["visit_id"], "visit")).sort("visit_id")


KEYS = {
    "int": "n - 500",
    "bigint": "n * 4000000000",
    "text": "chr(192 + n % 60) || '''\\' || n",
    "varchar(20)": "'x' || n",
    "uuid": "gen_random_uuid()",
    "date": "date '0001-01-01' + n * 700",
    "timestamptz": "timestamptz '2025-03-30 00:59:59.999999+00' + n * interval '1 us'",
    "timestamp": "timestamp '0900-01-01' + n * interval '1 day'",
    "numeric(38,37)": "n / 10000000000000000000000000000000000000.0",
    "numeric": "round(-n / 8.0, 3)",
    "time": "time '00:00' + n * interval '1 s'",
}


@pytest.mark.parametrize("type_", KEYS)
@pytest.mark.parametrize("rows", [7, 1_000])
def test_chunks_along_a_key_of_any_type_are_the_table_in_its_order(
    place: Settings, sql: Any, tmp_path: Path, type_: str, rows: int
) -> None:
    sql(f"CREATE TABLE visits (id int NOT NULL, k {type_} NOT NULL, v int, UNIQUE (k))")
    sql(f"INSERT INTO visits SELECT n, {KEYS[type_]}, n FROM generate_series(1, 100) AS n")
    columns = {"id": kept(), "k": kept(), "v": kept()}
    policy = load(policy_file(tmp_path, columns, schema=sql.schema, rows="all", key="[id]"))
    with source.connect("extract", place) as session:
        table = session.readable(policy, "visits")
        way = chunks.walk(session, policy, table)
        assert not isinstance(way, str)
        assert way.by == ("k",)
        frames, after, more = [], None, True
        while more:
            frame, after = way.chunk(after, rows)
            frames.append(frame)
            more = after is not None
        whole = session.read(table)
    assert pl.concat(frames).sort("id").equals(whole.sort("id"))
    assert [str(value) for (value,) in sql("SELECT id FROM visits ORDER BY k")] == list(
        map(str, pl.concat(frames)["id"])
    )


@pytest.mark.parametrize(
    "case",
    [
        ("visit_id int, at timestamptz NOT NULL, amount int", "all", "no unique index"),
        ("visit_id int UNIQUE, at timestamptz NOT NULL, amount int", "all", "no unique index"),
        ("visit_id int PRIMARY KEY, at timestamptz NOT NULL, amount int", "{by_day: at}", "no index begins with at"),
        (
            "visit_id int NOT NULL, at timestamptz NOT NULL, amount int, EXCLUDE USING btree (visit_id WITH =)",
            "all",
            "no unique index",
        ),
    ],
)
def test_a_table_that_cannot_be_walked_along_is_read_by_one_statement_and_that_is_said(
    place: Settings, sql: Any, tmp_path: Path, case: tuple[str, str, str]
) -> None:
    ddl, rows, reason = case
    sql(f"CREATE TABLE visits ({ddl}); INSERT INTO visits VALUES (1, '{place.first_day} 12:00+00', 1)")
    path = policy_file(tmp_path / "policies", VISITS, schema=sql.schema, rows=rows)
    settings = place.model_copy(update={"policies": path.parent})
    told: list[harm.Harm] = []
    if rows == "all":
        assert extract_state("visits", settings, on_harm=told.append).rows == 1
    else:
        [manifest] = extract_days("visits", place.first_day, place.first_day, settings, on_harm=told.append)
        assert manifest.watermark is not None
    assert any(reason in note and "one statement" in note for note in told[0].notes)


def test_many_rows_of_one_instant_are_read_in_chunks(visits: Settings, sql: Any) -> None:
    sql(f"UPDATE visits SET at = '{visits.first_day} 12:00+00'")
    assert extract_day("visits", visits.first_day, visits).rows == ROWS


def test_what_changes_while_a_day_is_read_is_published_as_it_is_at_the_end(
    visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = visits.first_day

    def change() -> None:
        sql(f"INSERT INTO visits VALUES (90001, '{day} 00:00:30+00', 0), (90002, '{day} 23:00+00', 0)")
        sql("UPDATE visits SET amount = -1 WHERE visit_id IN (5, 1400)")
        sql("UPDATE visits SET at = at + interval '20 hours' WHERE visit_id = 6")
        sql("UPDATE visits SET at = at - interval '20 hours' WHERE visit_id = 1399")
        sql("DELETE FROM visits WHERE visit_id IN (7, 700, 1401)")

    read = after_turn(monkeypatch, 2, change)
    manifest = extract_day("visits", day, visits)
    assert len(read) > 4
    assert rows_of(visits, manifest).equals(day_now(visits, sql, day))


@pytest.mark.parametrize("granted", ["", ", xmin"])
def test_where_columns_are_granted_one_by_one_a_watermark_needs_xmin(visits: Settings, sql: Any, granted: str) -> None:
    sql(f"REVOKE ALL ON visits FROM extract; GRANT SELECT (visit_id, at, amount{granted}) ON visits TO extract")
    manifest = extract_day("visits", visits.first_day, visits)
    assert (manifest.watermark is not None) is bool(granted)
    assert rows_of(visits, manifest).equals(day_now(visits, sql, visits.first_day))


def test_what_was_committed_late_is_published_wherever_its_key_lies(
    visits: Settings, sql: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import closing

    from ds_pipelines import postgres

    with closing(postgres.connect("owner", settings)) as late, late.cursor() as cursor:
        cursor.execute(f"INSERT INTO {sql.schema}.visits VALUES (90001, '{visits.first_day} 00:00:01+00', 0)")
        after_turn(monkeypatch, 3, late.commit)
        manifest = extract_day("visits", visits.first_day, visits)
    assert 0 in rows_of(visits, manifest)["amount"].filter(rows_of(visits, manifest)["at"].dt.second() == 1)


def test_an_interrupted_extract_is_gone_on_with_behind_its_last_chunk(
    visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = visits.first_day
    with monkeypatch.context() as patched:
        first = after_turn(patched, 3, killed)
        with pytest.raises(InterruptedError):
            extract_day("visits", day, visits)
    second = after_turn(monkeypatch, -1, killed)
    manifest = extract_day("visits", day, visits)
    assert first == [CHUNK] * 3
    assert sum(first) + sum(second) == manifest.rows
    assert rows_of(visits, manifest).equals(day_now(visits, sql, day))
    assert list((visits.home / "unfinished").glob("*/*")) == []


def test_a_table_of_current_state_is_gone_on_with_too(
    visits: Settings, sql: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = policy_file(tmp_path / "other", VISITS, schema=sql.schema, rows="all")
    settings = visits.model_copy(update={"policies": path.parent})
    with monkeypatch.context() as patched:
        first = after_turn(patched, 4, killed)
        with pytest.raises(InterruptedError):
            extract_state("visits", settings)
    second = after_turn(monkeypatch, -1, killed)
    assert extract_state("visits", settings).rows == ROWS == sum(first) + sum(second)


def test_days_that_an_interrupted_extract_has_published_are_not_read_again(
    visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ds_pipelines.extract.publish.WINDOW_DAYS", 1)
    first, last = visits.first_day, visits.first_day + timedelta(1)

    def stop(_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        extract_days("visits", first, last, visits, on_day=stop)
    read = after_turn(monkeypatch, -1, killed)
    one, two = extract_days("visits", first, last, visits)
    assert sum(read) == two.rows
    assert one.rows + two.rows == ROWS


def test_an_extract_that_was_killed_when_all_was_published_is_made_anew(
    visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        extract_days("visits", visits.first_day, visits.first_day, visits, on_day=stop)
    read = after_turn(monkeypatch, -1, killed)
    assert sum(read) == 0
    assert extract_day("visits", visits.first_day, visits).rows == sum(read)


def interrupted(visits: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    with monkeypatch.context() as patched:
        after_turn(patched, 3, killed)
        with pytest.raises(InterruptedError):
            extract_day("visits", visits.first_day, visits)
    return list((visits.home / "unfinished").glob("visits/*"))


def test_what_is_kept_can_be_read_by_its_owner_alone_and_rows_hold_no_real_key(
    visits: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [folder] = interrupted(visits, monkeypatch)
    for path in [visits.home / "unfinished" / "visits", *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    for path in folder.rglob("*.arrow"):
        assert pl.read_ipc(path)["visit_id"].str.contains("^[0-9a-f]{32}$").all()


@pytest.mark.parametrize("damage", ["line", "file", "missing"])
def test_a_chunk_that_is_not_whole_is_read_again(
    visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    [folder] = interrupted(visits, monkeypatch)
    [log], last = list(folder.rglob("chunks")), next(folder.rglob("2.arrow"))
    if damage == "line":
        log.write_bytes(log.read_bytes()[:-9])
    elif damage == "file":
        last.write_bytes(last.read_bytes()[:-9])
    else:
        last.unlink()
    read = after_turn(monkeypatch, -1, killed)
    manifest = extract_day("visits", visits.first_day, visits)
    assert sum(read) == manifest.rows - 2 * CHUNK
    assert rows_of(visits, manifest).equals(day_now(visits, sql, visits.first_day))


@pytest.mark.parametrize("change", ["policy", "secret", "age", "erasure"])
def test_what_was_read_otherwise_is_read_anew(visits: Settings, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    [folder] = interrupted(visits, monkeypatch)
    if change == "policy":
        path = visits.policies / "shop.yaml"
        path.write_text(path.read_text().replace("A table.", "Another table."))
    elif change == "secret":
        visits.pseudonym_key.unlink()
    elif change == "age":
        about = json.loads((folder / "about.json").read_text())
        (folder / "about.json").write_text(json.dumps(about | {"began": "2020-01-01T00:00:00+00:00"}))
    else:
        tombstones.load(visits, make=True).keyed().adding("identifier", ["5"]).save(visits)
    read = after_turn(monkeypatch, -1, killed)
    manifest = extract_day("visits", visits.first_day, visits)
    assert sum(read) == manifest.rows


def test_rows_that_failed_a_proof_are_read_anew(place: Settings, sql: Any, tmp_path: Path, small_chunks: None) -> None:
    sql("CREATE TABLE visits (visit_id int PRIMARY KEY, guest text, note text)")
    sql("INSERT INTO visits VALUES (1, 'guest-4711-x', 'paid by guest-4711-x')")
    columns = {
        "visit_id": kept(), "guest": "{treatment: {pseudonym: guest}, description: Who., because: B.}", "note": kept(),
    }  # fmt: skip
    path = policy_file(tmp_path / "policies", columns, schema=sql.schema, rows="all")
    settings = place.model_copy(update={"policies": path.parent})
    with pytest.raises(ProofFailedError, match="nobody_named"):
        extract_state("visits", settings)
    sql("UPDATE visits SET note = 'paid'")
    assert extract_state("visits", settings).rows == 1


def test_what_named_somebody_before_the_interruption_still_fails_the_proof(
    place: Settings, sql: Any, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql("CREATE TABLE visits (visit_id int PRIMARY KEY, guest text, note text)")
    sql(f"INSERT INTO visits SELECT n, 'guest-' || n + 10000, CASE n WHEN 5 THEN 'of guest-10005' END "
        f"FROM generate_series(1, {ROWS}) AS n")  # fmt: skip
    columns = {
        "visit_id": kept(), "guest": "{treatment: {pseudonym: guest}, description: Who., because: B.}", "note": kept(),
    }  # fmt: skip
    path = policy_file(tmp_path / "policies", columns, schema=sql.schema, rows="all")
    settings = place.model_copy(update={"policies": path.parent})
    with monkeypatch.context() as patched:
        after_turn(patched, 3, killed)
        with pytest.raises(InterruptedError):
            extract_state("visits", settings)
    with pytest.raises(ProofFailedError, match=r"column note \(1 texts\)"):
        extract_state("visits", settings)


def test_an_erasure_removes_what_extracts_have_left_behind(visits: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interrupted(visits, monkeypatch)
    unfinished.discard_all(visits)
    assert not (visits.home / "unfinished").exists()


def test_a_full_disk_is_told_and_what_was_read_is_gone_on_with(
    visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    with monkeypatch.context() as patched:
        opened = list[object]()

        def full(path: Any, *arguments: Any, **options: Any) -> Any:
            opened.append(path)
            if len(opened) > 8:
                raise OSError(errno.ENOSPC, "No space left on device")
            return open(path, *arguments, **options)  # noqa: PTH123 — as the module does, with an opener

        patched.setattr(unfinished, "open", full, raising=False)
        with pytest.raises(DiskFullError):
            extract_day("visits", visits.first_day, visits)
    read = after_turn(monkeypatch, -1, killed)
    manifest = extract_day("visits", visits.first_day, visits)
    assert sum(read) < manifest.rows
    assert rows_of(visits, manifest).equals(day_now(visits, sql, visits.first_day))


def test_after_a_restart_of_the_machine_everything_is_read_anew(
    visits: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert interrupted(visits, monkeypatch)
    (tmp_path / "boot").write_text("another")
    monkeypatch.setattr(unfinished, "_BOOT", tmp_path / "boot")
    read = after_turn(monkeypatch, -1, killed)
    manifest = extract_day("visits", visits.first_day, visits)
    assert sum(read) >= manifest.rows


def test_a_session_that_the_server_ends_is_told_and_gone_on_with(
    visits: Settings, sql: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ds_pipelines_tests.chaos.test_changes import end_sessions

    with monkeypatch.context() as patched:
        after_turn(patched, 3, lambda: end_sessions(settings))
        with pytest.raises(SourceRefusedError):
            extract_day("visits", visits.first_day, visits)
    read = after_turn(monkeypatch, -1, killed)
    manifest = extract_day("visits", visits.first_day, visits)
    assert sum(read) == manifest.rows - 3 * CHUNK


def test_scoring_reads_at_the_same_pace(visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = after_turn(monkeypatch, -1, killed)
    frame = transformed("visits", visits)
    settled = 0  # rows that had to be read again at the end
    assert read == [*[CHUNK] * (ROWS // CHUNK), ROWS % CHUNK, settled]
    assert sorted(frame["visit_id"]) == list(range(ROWS))
    assert [each.rows for each in harm.latest(visits)] == [ROWS]


def test_scoring_gets_a_row_that_is_moved_forward_meanwhile_once(
    visits: Settings, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_turn(monkeypatch, 2, lambda: sql("UPDATE visits SET at = at + interval '25 hours' WHERE visit_id = 3"))
    frame = transformed("visits", visits)
    assert frame.filter(pl.col("visit_id") == 3)["at"].dt.day().to_list() == [visits.first_day.day + 1]


def test_reconciling_publishes_the_days_that_have_changed_and_no_other(visits: Settings, sql: Any) -> None:
    first, last = visits.first_day, visits.first_day + timedelta(1)
    one, two = extract_days("visits", first, last, visits)
    sql("DELETE FROM visits WHERE visit_id = 1999")
    done = reconcile("visits", visits, before=last + timedelta(1), days=7)
    assert [each.day for each in done.read] == [first, last]
    assert [(each.day, each.rows) for each in done.changed] == [(last, two.rows - 1)]
    assert SnapshotStore(visits.snapshots).manifests("visits") == [one, *done.changed]
