"""A release goes through every gate, each answers by name with its figures, and the ledger keeps what they said."""

from __future__ import annotations

import math
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from ds_pipelines import postgres
from ds_pipelines.operate.accept import accept as command
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release import approval
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.gates.backtest import compare
from ds_pipelines.release.gates.every import CHECKS, accept
from ds_pipelines.release.gates.names import GATES
from ds_pipelines.release.gates.people import _reviewers
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import package_digest
from ds_pipelines.release.propose import propose, propose_computation
from ds_pipelines_tests.release.people import ANA, BEN

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.evidence import Acceptance, GateResult
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.release.conftest import Runs

REPURCHASE, TOP_SELLERS = JOBS["repurchase"], JOBS["top_sellers"]


@pytest.fixture(scope="module")
def fresh(tracked: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Acceptance, with a folder of manifests of its own."""
    return tracked.model_copy(update={"releases": tmp_path_factory.mktemp("offered")}).in_acceptance()


@pytest.fixture(scope="module")
def accepted(runs: Runs, fresh: Settings) -> Acceptance:
    """A model, through the gates as the command takes it there: by Dagster, in acceptance's own instance."""
    manifest = manifests.load(propose(runs.lightgbm(), REPURCHASE, fresh, by=ANA.user))
    return command(manifest, REPURCHASE, fresh, by=ANA.user)


def found(acceptance: Acceptance, gate: str) -> GateResult:
    return next(each for each in acceptance.gates if each.gate == gate)


def test_every_name_has_a_gate_that_answers_for_it() -> None:
    assert list(CHECKS) == list(GATES)


def test_a_good_model_goes_through_every_gate(accepted: Acceptance) -> None:
    assert {each.gate: each.words for each in accepted.gates if not each.passed} == {}
    assert [each.gate for each in accepted.gates] == list(GATES)
    assert accepted.code == package_digest()


def test_the_ledger_keeps_all_that_was_said_and_another_can_approve_it(accepted: Acceptance, fresh: Settings) -> None:
    entry = Ledger(fresh).entries("repurchase", accepted.release)[-1]
    assert (entry.action, entry.actor) == ("accepted", ANA.user)
    assert entry.evidence == accepted.model_dump(mode="json")
    manifest = manifests.load(manifests.newest("repurchase", fresh.releases))
    assert approval.approve(manifest, BEN, fresh).evidence["acceptance"] == entry.digest


def test_a_day_was_delivered_to_acceptance_and_nothing_to_production(accepted: Acceptance, fresh: Settings) -> None:
    query = "SELECT count(*) FROM receipts WHERE release = %s"
    counts = {}
    for settings in (fresh, fresh.model_copy(update={"environment": "production"})):
        with closing(postgres.connect("serving", settings)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('receipts') IS NOT NULL")
            if cursor.fetchone() == (True,):
                cursor.execute(query, (accepted.release,))
                counts[settings.environment] = cursor.fetchall()[0][0]
    assert counts["acceptance"] == 1
    assert counts.get("production", 0) == 0


def test_the_budget_is_measured_and_the_backtest_tells_how_sure_it_is(accepted: Acceptance) -> None:
    budget, backtest = found(accepted, "budget").evidence, found(accepted, "backtest").evidence
    assert 0 < budget["seconds"] <= 600
    assert 100 << 20 < budget["peak_memory"] <= REPURCHASE.memory
    assert 0 < backtest["gain_at_least"] < backtest["gain"]
    assert backtest["days"] == ["2025-11-17", "2025-11-24", "2025-12-01"]


def test_acceptance_keeps_the_run_and_its_checks_in_an_instance_of_its_own(
    accepted: Acceptance, fresh: Settings
) -> None:
    asked = "SELECT count(*) FROM asset_check_executions"
    with closing(postgres.connect("dagster", fresh)) as connection, connection.cursor() as cursor:
        cursor.execute(asked)
        [(checks,)] = cursor.fetchall()
    assert checks >= len(accepted.gates)


def test_nothing_is_left_of_an_examination(accepted: Acceptance, fresh: Settings) -> None:
    assert accepted.passed
    assert not list(fresh.acceptance.glob("case-*"))


def test_a_computation_is_compared_with_its_independent_definition(fresh: Settings) -> None:
    propose_computation(TOP_SELLERS, fresh, by=ANA.user)
    acceptance = accept(TOP_SELLERS, fresh, by=ANA.user)
    assert {each.gate: each.words for each in acceptance.gates if not each.passed} == {}
    assert found(acceptance, "independent").evidence["rows"] > 0


# ---------------------------------------------------------------- the backtest's figures

RANDOM = np.random.default_rng(3)
PAST = pl.DataFrame(
    {
        "day": [date(2025, 11, 3)] * 300 + [date(2025, 11, 10)] * 300,
        "customer_id": [*range(300), *range(300)],
        "outcome": (truth := RANDOM.random(600) < 0.3).astype(float),
        "champion": (noise := RANDOM.normal(size=600).round(1)) + truth,
        "candidate": noise + 1.5 * truth,
    }
)


def test_the_area_is_the_mean_of_the_days_areas_ties_included() -> None:
    from sklearn.metrics import roc_auc_score

    gain = compare(PAST, "customer_id")
    areas = [roc_auc_score(day["outcome"], day["candidate"]) for day in PAST.partition_by("day")]
    assert gain is not None
    assert math.isclose(gain.candidate, float(np.mean(areas)), rel_tol=1e-12)
    assert (gain.rows, gain.entities) == (600, 300)


def test_a_better_candidate_beats_the_champion_beyond_chance_and_a_like_one_does_not() -> None:
    better, alike = compare(PAST, "customer_id"), compare(PAST.with_columns(candidate="champion"), "customer_id")
    assert better is not None
    assert alike is not None
    assert 0 < better.low < better.gain
    assert (alike.gain, alike.low) == (0.0, 0.0)


def test_of_noise_the_interval_holds_nineteen_times_in_twenty() -> None:
    held = 0
    for seed in range(200):
        drawn = np.random.default_rng(seed).normal(size=600)
        gain = compare(PAST.drop("champion").with_columns(candidate=pl.Series(drawn)), "customer_id")
        assert gain is not None
        held += gain.low <= 0
    assert 180 <= held <= 199


def test_days_without_both_outcomes_tell_nothing() -> None:
    assert compare(PAST.with_columns(outcome=pl.lit(0.0)), "customer_id") is None


# ---------------------------------------------------------------- owners


def test_the_last_line_that_matches_names_the_reviewers(tmp_path: Path) -> None:
    file = tmp_path / "CODEOWNERS"
    file.write_text("* @all  # everybody\n/ds_pipelines/production/jobs/ @science @engineering\n/docs/ @writers\n")
    assert _reviewers("production/jobs/repurchase.py", file) == ["@science", "@engineering"]
    assert _reviewers("scoring/job.py", file) == ["@all"]
    assert _reviewers("scoring/job.py", tmp_path / "none") == []
