"""A candidate scores real days beside the champion: nothing of it is delivered, and no row of it is kept."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import NoShadowError, ShadowRefusedError
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release import shadow
from ds_pipelines.release.disagreement import FEWEST, disagreement
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.propose import propose
from ds_pipelines.scoring import model as models
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.score import score_day
from ds_pipelines_tests.release.conftest import HELD_OUT

if TYPE_CHECKING:
    from datetime import date

    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.release.conftest import Runs

REPURCHASE = JOBS["repurchase"]
DAYS = (HELD_OUT, HELD_OUT + timedelta(days=1))


def offered(run_id: str, place: Settings, *, accepted: bool = True) -> ReleaseManifest:
    """A candidate, through the gates or not yet."""
    manifest = manifests.load(propose(run_id, REPURCHASE, place))
    if accepted:
        Ledger(place).append("accepted", job=REPURCHASE.name, release=manifest.digest, actor="the gates")
    return manifest


def deliver_with(manifest: ReleaseManifest, day: date, place: Settings) -> None:
    """What the scoring does with a champion."""
    assert manifest.model is not None
    began = begin(place)
    model = models.load(manifest.model, place.registry_artifacts / "offered" / manifest.digest / "model")
    with score_day(REPURCHASE, day, place, release=manifest.digest, model=model) as scored:
        deliver(
            scored.frame, REPURCHASE, day, release=manifest.digest, inputs=scored.inputs, settings=place, began=began
        )


@pytest.fixture(scope="module")
def champion(runs: Runs, tracked: Settings) -> ReleaseManifest:
    """In use: both days are delivered by it."""
    used = offered(runs.logistic(), tracked)
    for day in DAYS:
        deliver_with(used, day, tracked)
    return used


@pytest.fixture(scope="module")
def candidate(runs: Runs, tracked: Settings, champion: ReleaseManifest) -> ReleaseManifest:
    return offered(runs.lightgbm(seed=3), tracked)


def receipts(place: Settings) -> list[tuple[object, ...]]:
    with closing(postgres.connect("consumer", place)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT day, delivery, checksum FROM receipts WHERE job = 'repurchase' ORDER BY day")
        return cursor.fetchall()


def test_a_shadow_compares_its_days_delivers_nothing_and_concludes_with_evidence(
    candidate: ReleaseManifest, champion: ReleaseManifest, tracked: Settings
) -> None:
    before = receipts(tracked)
    shadow.begin(candidate.file_name, REPURCHASE, tracked, days=2, actor="ada", since=DAYS[0])
    assert shadow.wanted(REPURCHASE, tracked) == list(DAYS)
    for day in DAYS:
        found = shadow.compare(REPURCHASE, day, tracked)
        assert (found.candidate, found.champion) == (candidate.digest, champion.digest)
        assert found.rows > 100
        assert (found.only_champion, found.only_candidate, found.same_inputs) == (0, 0, True)
        assert -1 <= found.rank_agreement < 1

    assert receipts(tracked) == before
    assert shadow.going_on(REPURCHASE, tracked) is None
    assert shadow.wanted(REPURCHASE, tracked) == []
    last = Ledger(tracked).entries("repurchase", candidate.digest)[-1]
    assert (last.action, last.actor, last.evidence["state"]) == ("shadowed", "production", "concluded")
    assert last.evidence["days"] == [str(day) for day in DAYS]
    folder = tracked.registry_artifacts / "shadows" / candidate.digest
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{DAYS[0]}.json",
        f"{DAYS[1]}.json",
        "report.json",
        "report.png",
    ]
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_kept_of_a_shadow_names_no_customer(candidate: ReleaseManifest, tracked: Settings) -> None:
    folder = tracked.registry_artifacts / "shadows" / candidate.digest
    kept = [path.read_text() for path in folder.glob("*.json")]
    assert kept
    assert not any("customer_id" in text for text in kept)


def test_nobody_shadows_before_the_gates(runs: Runs, tracked: Settings, champion: ReleaseManifest) -> None:
    new = offered(runs.lightgbm(seed=4), tracked, accepted=False)
    with pytest.raises(ShadowRefusedError, match="acceptance let through"):
        shadow.begin(new.file_name, REPURCHASE, tracked, days=1, actor="ada")


def test_a_rejected_candidate_shadows_no_more(runs: Runs, tracked: Settings, champion: ReleaseManifest) -> None:
    new = offered(runs.lightgbm(seed=5), tracked)
    shadow.begin(new.file_name, REPURCHASE, tracked, days=1, actor="ada", since=DAYS[0])
    Ledger(tracked).append("rejected", job="repurchase", release=new.digest, actor="grace", because="no gain")
    assert shadow.going_on(REPURCHASE, tracked) is None
    with pytest.raises(NoShadowError):
        shadow.compare(REPURCHASE, DAYS[0], tracked)
    with pytest.raises(ShadowRefusedError, match="rejected"):
        shadow.begin(new.file_name, REPURCHASE, tracked, days=1, actor="ada")


def test_equal_scores_agree_in_everything() -> None:
    scores = pl.Series(np.linspace(0, 1, 400))
    told = disagreement(pl.DataFrame({"champion": scores, "candidate": scores}), pl.DataFrame({"age": range(400)}))
    assert (told["rank_agreement"], told["top_kept"], told["mean_distance"]) == (1.0, 1.0, 0.0)
    assert sum(told["rank_changes"]) == pytest.approx(1)
    assert [row[at] for at, row in enumerate(told["deciles"])] == [40] * 10


def test_reversed_scores_agree_in_nothing() -> None:
    scores = np.linspace(0, 1, 400)
    told = disagreement(pl.DataFrame({"champion": scores, "candidate": 1 - scores}), pl.DataFrame())
    assert (told["rank_agreement"], told["top_kept"]) == (pytest.approx(-1.0), 0.0)


def test_a_segment_with_a_small_part_is_not_told_at_all() -> None:
    scores = pl.DataFrame({"champion": np.linspace(0, 1, 400), "candidate": np.linspace(0, 1, 400) ** 2})
    few, enough = [1] * (FEWEST - 1), [1] * FEWEST
    features = pl.DataFrame({"rare": few + [0] * (400 - len(few)), "fine": enough + [0] * (400 - len(enough))})
    told = disagreement(scores, features)["segments"]
    assert {each.feature for each in told} == {"fine"}
    assert {each.part: each.rows for each in told} == {"0": 400 - FEWEST, "1": FEWEST}
