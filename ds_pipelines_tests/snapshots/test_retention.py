"""Retention removes what is old, and never what a release or a kept run needs."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines.errors import DamagedRecordError
from ds_pipelines.evidence import Column, RunInput, RunRecord, SnapshotManifest
from ds_pipelines.settings import Settings, load_settings
from ds_pipelines.snapshots.retention import prune, told
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2025, 3, 31)
DAYS = [date(2025, 3, day) for day in range(1, 31)]
KEPT = 10
OLD, YOUNG = datetime(2025, 3, 2, tzinfo=UTC), datetime(2025, 3, 30, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    """A store of thirty days of visits and of thirty states of guests, of which ten days are to be kept."""
    settings = load_settings(home=tmp_path, today=TODAY, retention_days=KEPT)
    for day in DAYS:
        publish(settings, "visits", "day", day)
        publish(settings, "guests", "state", day)
    return settings


def publish(settings: Settings, table: str, rows_of: str, day: date, value: int = 0) -> SnapshotManifest:
    with SnapshotStore(settings.snapshots).stage() as stage:
        written = stage.write(pl.DataFrame({"table": [table], "day": [day], "value": [value]}))
        manifest = SnapshotManifest(
            table=table,
            rows_of=rows_of,  # type: ignore[arg-type]
            day=day,
            rows=1,
            bytes=written.bytes,
            digest=written.digest,
            logical_digest=written.logical_digest,
            columns=(Column(name="day", dtype="Date", treatment="keep"),),
            policy_digest="0" * 64,
            key_id="key",
            read_at=YOUNG,
            published_at=YOUNG,
        )
        stage.publish([manifest])
    return manifest


def inputs(settings: Settings, table: str, days: list[date]) -> tuple[RunInput, ...]:
    store = SnapshotStore(settings.snapshots)
    return tuple(RunInput(table=table, day=day, digest=store.manifest(table, day).digest) for day in days)


def ran(settings: Settings, run_id: str, started_at: datetime, read: tuple[RunInput, ...]) -> None:
    record = RunRecord(
        run_id=run_id, experiment="mood", script="mood.py", code_digest="0" * 64, inputs=read, parameters={},
        metrics={}, started_at=started_at, seconds=1.0, url="http://127.0.0.1/",
    )  # fmt: skip
    path = settings.artifacts / "1" / run_id / "artifacts" / "evidence" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(record.model_dump_json())


def released(settings: Settings, kind: str, read: tuple[RunInput, ...]) -> None:
    path = settings.registry_artifacts / kind / ("e" * 64) / "evidence" / "inputs.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([each.model_dump(mode="json") for each in read]))


def published(settings: Settings, table: str) -> list[date]:
    return [manifest.day for manifest in SnapshotStore(settings.snapshots).manifests(table)]


def test_days_older_than_the_retention_go_with_their_files(place: Settings) -> None:
    prune(place, do_it=True)
    assert published(place, "visits") == published(place, "guests") == DAYS[20:]
    assert len(SnapshotStore(place.snapshots).digests()) == 20


def test_a_dry_run_tells_and_changes_nothing(place: Settings) -> None:
    before = {path: path.read_bytes() for path in place.home.rglob("*") if path.is_file()}
    pruned = prune(place, do_it=False)
    assert len(pruned.days) == 40
    assert {path: path.read_bytes() for path in place.home.rglob("*") if path.is_file()} == before
    text = list(told(pruned))
    assert "would remove 20 days of visits, 2025-03-01 to 2025-03-20: older than DS_RETENTION_DAYS" in text
    assert "dry run" in text[-1]


def test_without_a_retention_only_what_no_manifest_names_goes(place: Settings) -> None:
    former = SnapshotStore(place.snapshots).manifest("visits", DAYS[0]).digest
    publish(place, "visits", "day", DAYS[0], value=1)
    pruned = prune(place.model_copy(update={"retention_days": None}), do_it=True)
    assert (pruned.days, pruned.unnamed) == ((), {former})
    assert published(place, "visits") == DAYS
    assert former not in SnapshotStore(place.snapshots).digests()


@pytest.mark.parametrize("kind", ["accepted", "offered"])
def test_what_a_release_was_made_from_stays_without_a_gap(place: Settings, kind: str) -> None:
    released(place, kind, inputs(place, "visits", DAYS[5:8]))
    pruned = prune(place, do_it=True)
    assert published(place, "visits") == DAYS[5:]
    assert published(place, "guests") == DAYS[20:]
    assert list(pruned.kept) == ["release eeeeeeeeeeee"]


def test_of_a_table_of_states_only_what_is_needed_stays(place: Settings) -> None:
    released(place, "accepted", inputs(place, "guests", DAYS[5:6]))
    prune(place, do_it=True)
    assert published(place, "guests") == [DAYS[5], *DAYS[20:]]


def test_the_newest_run_of_an_experiment_keeps_its_inputs_and_an_older_one_lets_go(place: Settings) -> None:
    ran(place, "first", OLD, inputs(place, "visits", DAYS[3:5]))
    ran(place, "second", OLD + timedelta(days=1), inputs(place, "visits", DAYS[9:11]))
    prune(place, do_it=True)
    assert published(place, "visits") == DAYS[9:]


def test_a_young_run_keeps_its_inputs_although_it_is_not_the_newest(place: Settings) -> None:
    ran(place, "first", YOUNG, inputs(place, "visits", DAYS[3:5]))
    ran(place, "second", YOUNG + timedelta(hours=1), inputs(place, "visits", DAYS[9:11]))
    prune(place, do_it=True)
    assert published(place, "visits") == DAYS[3:]


def test_a_replaced_snapshot_that_a_release_needs_stays(place: Settings) -> None:
    [read] = inputs(place, "visits", DAYS[25:26])
    released(place, "accepted", (read,))
    publish(place, "visits", "day", DAYS[25], value=1)
    prune(place, do_it=True)
    assert SnapshotStore(place.snapshots).path(read.digest).exists()


def test_the_newest_state_stays_however_old(place: Settings) -> None:
    later = place.model_copy(update={"today": date(2027, 1, 1)})
    prune(later, do_it=True)
    assert published(place, "guests") == DAYS[-1:]
    assert SnapshotStore(place.snapshots).tables() == ["guests"]


def test_a_record_that_cannot_be_read_stops_everything(place: Settings) -> None:
    path = place.artifacts / "1" / "run" / "artifacts" / "evidence" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(DamagedRecordError, match=r"run\.json"):
        prune(place, do_it=True)
    assert published(place, "visits") == DAYS
