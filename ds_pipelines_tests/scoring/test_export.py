"""A delivered day as a file that says which delivery it is."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from ds_pipelines.errors import NothingDeliveredError
from ds_pipelines.scoring import export as exporting
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.export import export
from ds_pipelines.scoring.receipt import Receipt
from ds_pipelines_tests.scoring.scenario import INPUTS, MONDAY, RELEASE, SCORES, SCORES_CORRECTED, TUESDAY, job, rows

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


@pytest.fixture
def keen() -> ScoringJob:
    """A job whose table no other test has touched."""
    return job(f"keen_{uuid.uuid4().hex[:8]}")


def give(keen: ScoringJob, day: date, scores: list[float], settings: Settings) -> Receipt:
    facts: dict[str, Any] = {"release": RELEASE, "inputs": INPUTS, "began": begin(settings)}
    return deliver(rows(day, scores), keen, day, settings=settings, **facts)


def test_a_file_holds_the_rows_and_their_receipt(keen: ScoringJob, settings: Settings, tmp_path: Path) -> None:
    given = give(keen, MONDAY, SCORES, settings)
    path = export(keen, MONDAY, tmp_path, settings)
    assert path == tmp_path / keen.table / f"{MONDAY}.parquet"
    assert pl.read_parquet(path).equals(rows(MONDAY, SCORES))
    about = pq.read_metadata(path).metadata
    assert Receipt.model_validate_json(about[b"receipt"]) == given
    assert about[b"stale"] == b"true"


def test_without_a_day_it_is_the_newest_and_anew_it_is_replaced(
    keen: ScoringJob, settings: Settings, tmp_path: Path
) -> None:
    for day, scores in ((TUESDAY, SCORES), (MONDAY, SCORES), (TUESDAY, SCORES_CORRECTED)):
        give(keen, day, scores, settings)
        path = export(keen, None, tmp_path, settings)
    assert path.name == f"{TUESDAY}.parquet"
    assert pl.read_parquet(path)["score"].to_list() == SCORES_CORRECTED
    assert list(path.parent.iterdir()) == [path]


def test_more_rows_than_memory_takes_at_once(
    keen: ScoringJob, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(keen, MONDAY, SCORES, settings)
    monkeypatch.setattr(exporting, "ROWS", 2)
    assert pl.read_parquet(export(keen, MONDAY, tmp_path, settings)).equals(rows(MONDAY, SCORES))


def test_what_was_not_delivered_is_told_and_leaves_no_file(
    keen: ScoringJob, settings: Settings, tmp_path: Path
) -> None:
    give(keen, MONDAY, SCORES, settings)
    with pytest.raises(NothingDeliveredError, match=str(TUESDAY)):
        export(keen, TUESDAY, tmp_path, settings)
    with pytest.raises(NothingDeliveredError):
        export(job(f"never_{uuid.uuid4().hex[:8]}"), None, tmp_path, settings)
    assert list(tmp_path.rglob("*")) == []
