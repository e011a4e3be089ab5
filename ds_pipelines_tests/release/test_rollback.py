"""Going back to an earlier champion takes one command: model, features, settings and, if asked, the scores."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import NothingToRollBackError, ReleaseRefusedError
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release import approval, registry
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.history import champions_on, history, told
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.propose import propose
from ds_pipelines.release.rollback import rollback
from ds_pipelines.scoring import receipt
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.score import score_day
from ds_pipelines_tests.release.people import ANA, CAI, Way

if TYPE_CHECKING:
    from ds_pipelines.release.registry import Champion
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.release.conftest import Runs

REPURCHASE = JOBS["repurchase"]
MONDAY = date(2025, 4, 28)
TUESDAY, WEDNESDAY = MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
BECAUSE = "it ranks business customers last"


@dataclass(frozen=True)
class Two:
    """Two releases that were in use one after the other."""

    settings: Settings
    older: Champion
    newer: Champion


@pytest.fixture
def two(runs: Runs, tracked: Settings) -> Two:
    """Monday scored by the older one, then Monday and Tuesday by the newer one."""
    older = in_use(runs, tracked, seed=2)
    score(older, MONDAY, tracked)
    newer = in_use(runs, tracked, seed=3)
    for day in (MONDAY, TUESDAY):
        score(newer, day, tracked)
    return Two(tracked, older, newer)


def in_use(runs: Runs, settings: Settings, seed: int) -> Champion:
    manifest = manifests.load(propose(runs.lightgbm(seed=seed), REPURCHASE, settings, by=ANA.user))
    return approval.deploy(Way(settings).approved(manifest), REPURCHASE, CAI, settings)


def score(champion: Champion, day: date, settings: Settings) -> None:
    began = begin(settings)
    with score_day(champion.job, day, settings, release=champion.digest, model=champion.model()) as scored:
        deliver(
            scored.batches(), champion.job, day, release=champion.digest, inputs=scored.inputs, settings=settings,
            began=began,
        )  # fmt: skip


def seen(settings: Settings, day: date) -> list[tuple[object, ...]]:
    """What consumers see of a day."""
    with closing(postgres.connect("consumer", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM repurchase_scores WHERE day = %s ORDER BY customer_id", (day,))
        return cursor.fetchall()


def test_the_champion_before_is_in_use_again_and_the_ledger_says_why(two: Two) -> None:
    done = rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    assert done.champion == two.older
    assert registry.champion(REPURCHASE, two.settings) == two.older
    entry = Ledger(two.settings).verify()[-1]
    assert (entry.action, entry.release, entry.actor, entry.because) == (
        "rolled back",
        two.older.digest,
        "cai",
        BECAUSE,
    )
    assert entry.evidence["from"] == [two.newer.digest]


def test_its_scores_are_seen_again_byte_by_byte_and_days_it_never_scored_are_scored_with_it(two: Two) -> None:
    began = time.monotonic()
    done = rollback(REPURCHASE, CAI, two.settings, because=BECAUSE, scores=True)
    took = time.monotonic() - began
    assert (MONDAY in done.restored, TUESDAY in done.scored) == (True, True)
    with_older = receipt.delivered(REPURCHASE, two.settings)
    assert {with_older[day].release for day in (MONDAY, TUESDAY)} == {two.older.digest}
    assert with_older[MONDAY].restores is not None
    assert {row[-1] for row in seen(two.settings, TUESDAY)} == {two.older.digest}
    assert took < 60


def test_restored_scores_are_the_very_rows_that_were_delivered(runs: Runs, tracked: Settings) -> None:
    older = in_use(runs, tracked, seed=2)
    score(older, WEDNESDAY, tracked)
    before = seen(tracked, WEDNESDAY)
    score(in_use(runs, tracked, seed=3), WEDNESDAY, tracked)
    assert seen(tracked, WEDNESDAY) != before
    rollback(REPURCHASE, CAI, tracked, because=BECAUSE, scores=True)
    assert seen(tracked, WEDNESDAY) == before


def test_without_being_asked_no_score_changes(two: Two) -> None:
    before = seen(two.settings, TUESDAY)
    rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    assert seen(two.settings, TUESDAY) == before


def test_asking_again_for_the_same_finishes_the_scores_without_another_entry(two: Two) -> None:
    rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    entries = len(Ledger(two.settings).entries())
    digest = two.older.digest
    done = rollback(REPURCHASE, CAI, two.settings, because=BECAUSE, to=digest[:12], scores=True)
    assert {MONDAY, TUESDAY} <= {*done.restored, *done.scored}
    assert len(Ledger(two.settings).entries()) == entries


def test_what_was_undone_is_not_gone_back_to_by_itself(two: Two) -> None:
    rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    try:
        done = rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    except NothingToRollBackError:
        return
    assert done.champion.digest not in {two.older.digest, two.newer.digest}


def test_a_release_that_was_undone_can_be_named(two: Two) -> None:
    rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    done = rollback(REPURCHASE, CAI, two.settings, because="it was the data", to=two.newer.digest)
    assert done.champion == two.newer


def test_a_release_that_was_never_in_use_or_is_rejected_is_not_gone_back_to(two: Two) -> None:
    with pytest.raises(NothingToRollBackError, match="not ffff"):
        rollback(REPURCHASE, CAI, two.settings, because=BECAUSE, to="ffff")
    approval.reject(two.older.manifest, CAI, two.settings, because="it learned from wrong prices")
    with pytest.raises(NothingToRollBackError, match="rejected since"):
        rollback(REPURCHASE, CAI, two.settings, because=BECAUSE, to=two.older.digest)
    assert registry.champion(REPURCHASE, two.settings) == two.newer


def test_a_release_whose_files_were_changed_is_not_gone_back_to_and_nothing_is_written(two: Two) -> None:
    model = two.older.folder / "model" / "model.lgb"
    whole = model.read_bytes()
    model.write_bytes(whole.replace(b"leaf_value=", b"leaf_value=9", 1))
    entries = len(Ledger(two.settings).entries())
    try:
        with pytest.raises(ReleaseRefusedError, match=r"model/model\.lgb"):
            rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    finally:
        model.write_bytes(whole)
    assert registry.champion(REPURCHASE, two.settings) == two.newer
    assert len(Ledger(two.settings).entries()) == entries


def test_history_tells_each_step_and_who_was_champion(two: Two) -> None:
    rollback(REPURCHASE, CAI, two.settings, because=BECAUSE)
    lines = [told(entry, two.settings) for entry in history(two.settings, "repurchase")]
    assert lines[-1].endswith(f"rolled back by cai  repurchase {two.older.digest[:12]}: {BECAUSE}")
    today = Ledger(two.settings).entries()[-1].at.date()
    [found] = champions_on(today, two.settings, ["repurchase"])
    assert found.entry is not None
    assert found.entry.release == two.older.digest
    [before] = champions_on(date(2025, 1, 1), two.settings, ["repurchase"])
    assert before.entry is None
