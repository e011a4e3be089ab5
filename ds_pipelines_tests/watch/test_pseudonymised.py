"""Scores reach development under pseudonyms alone, as an extract that erasure and a change of keys find."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines.errors import NoPseudonymError, NothingServedError
from ds_pipelines.extract import pseudonyms, tombstones
from ds_pipelines.extract.rotation import domains_of
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.pseudonymised import publish_scores
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

SCORES = {11: 0.123456789, 12: 0.987654321, 13: 0.5, 9_000_014: 0.25}
ERASED = 12


@pytest.fixture(scope="module")
def job() -> ScoringJob:
    return dataclasses.replace(JOBS["repurchase"], name="repurchase_shown", table="repurchase_shown_scores")


@pytest.fixture(scope="module")
def manifest(job: ScoringJob, settings: Settings) -> SnapshotManifest:
    """A delivered day that was published, after one of its customers was erased."""
    day = settings.last_extractable_day()
    frame = pl.DataFrame({"customer_id": list(SCORES), "score": list(SCORES.values())}).select(
        day=pl.lit(day), customer_id="customer_id", score="score", decile=pl.lit(1, pl.Int16), release=pl.lit("7" * 64)
    )
    deliver(frame, job, day, release="7" * 64, inputs=[], settings=settings, began=begin(settings))
    before = tombstones.load(settings, make=True)
    before.adding("identifier", [str(ERASED)]).save(settings)
    [published] = publish_scores(job, [day], settings)
    (settings.erased / tombstones.FILE).unlink()  # other tests know this customer
    before.save(settings)
    return published


@pytest.fixture(scope="module")
def rows(manifest: SnapshotManifest, settings: Settings) -> pl.DataFrame:
    return pl.read_parquet(SnapshotStore(settings.snapshots).path(manifest.digest))


def test_persons_have_the_pseudonyms_of_every_extract(rows: pl.DataFrame, settings: Settings) -> None:
    others = [who for who in SCORES if who != ERASED]
    known = pseudonyms.load(settings).of(pl.Series(others), "customer")
    assert set(rows["customer_id"]) == set(known)


def test_no_real_key_and_no_exact_score_is_in_it(rows: pl.DataFrame) -> None:
    assert rows["customer_id"].dtype == pl.String
    assert not set(rows["customer_id"]) & {str(who) for who in SCORES}
    assert set(rows["score"]) == {0.12, 0.5, 0.25}


def test_the_order_is_that_of_the_pseudonyms(rows: pl.DataFrame) -> None:
    assert rows["customer_id"].is_sorted()


def test_who_was_erased_is_not_in_it_and_is_counted(rows: pl.DataFrame, manifest: SnapshotManifest) -> None:
    assert (rows.height, manifest.erased_rows) == (len(SCORES) - 1, 1)


def test_the_manifest_says_what_became_of_each_column(manifest: SnapshotManifest) -> None:
    assert manifest.table == "scores_repurchase_shown"
    assert domains_of(manifest) == {"customer_id": "customer"}  # by which erasure and a change of keys find it
    assert {column.name: column.treatment for column in manifest.columns}["score"] == "round to 2 digits"


def test_a_day_that_is_not_delivered_is_refused(job: ScoringJob, settings: Settings) -> None:
    with pytest.raises(NothingServedError, match="Score it first"):
        publish_scores(job, [settings.first_day + timedelta(days=1)], settings)


def test_a_job_about_nobody_is_refused(settings: Settings) -> None:
    with pytest.raises(NoPseudonymError):
        publish_scores(JOBS["top_sellers"], [settings.last_extractable_day()], settings)
