"""What was checked of deliveries shows in Dagster: one result a check and run, over all its days."""

from __future__ import annotations

from datetime import date

import dagster as dg

from ds_pipelines.errors import ContractBrokenError, DeliveryRefusedError
from ds_pipelines.production.assets.delivery_checks import Checked, specs
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.scoring.receipt import Check

MONDAY, TUESDAY = date(2025, 3, 3), date(2025, 3, 4)
REPURCHASE, TOP_SELLERS = JOBS["repurchase"], JOBS["top_sellers"]
NAMES = ["contract", "population", "score_distribution", "input_drift"]


def checks(**failed: str) -> tuple[Check, ...]:
    return tuple(Check(name=name, passed=name not in failed, words=failed.get(name, "well")) for name in NAMES)


def test_a_model_is_watched_for_drift_and_a_computation_is_not() -> None:
    assert [spec.name for spec in specs(REPURCHASE)] == NAMES
    assert [spec.name for spec in specs(TOP_SELLERS)] == ["contract"]


def test_every_check_is_told_once_with_the_days_that_failed_it() -> None:
    checked = Checked(REPURCHASE)
    checked.add(TUESDAY, checks())
    checked.add(MONDAY, checks(input_drift="1 of 9 moved: spend"))
    found = {result.check_name: result for result in checked.results(complete=True)}
    assert {name: result.passed for name, result in found.items()} == dict.fromkeys(NAMES, True) | {
        "input_drift": False
    }
    assert found["input_drift"].description == f"{MONDAY}: 1 of 9 moved: spend."
    assert found["input_drift"].severity == dg.AssetCheckSeverity.WARN
    assert found["population"].severity == dg.AssetCheckSeverity.ERROR


def test_a_run_that_had_nothing_to_deliver_tells_so_for_every_check() -> None:
    results = list(Checked(REPURCHASE).results(complete=True))
    assert [result.check_name for result in results] == NAMES
    assert all(result.passed and result.description == "No day of this run came to it." for result in results)


def test_a_refusal_is_told_by_the_checks_that_were_made() -> None:
    stopped, broken = Checked(REPURCHASE), Checked(TOP_SELLERS)
    found = checks(population="9 rows for a population of 8")
    stopped.add_refusal(MONDAY, DeliveryRefusedError("repurchase", MONDAY, [("population", "9 rows")], found))
    broken.add_refusal(MONDAY, ContractBrokenError("top_sellers", [("rank", "at most 5")]))
    assert [result.check_name for result in stopped.results(complete=False) if not result.passed] == ["population"]
    [told] = broken.results(complete=False)
    assert not told.passed
    assert "rank (at most 5)" in (told.description or "")
