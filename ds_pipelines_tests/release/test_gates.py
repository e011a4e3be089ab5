"""A release goes through every gate, each answers by name, and the ledger keeps what they said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release.gates.every import accept
from ds_pipelines.release.gates.names import GATES
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.propose import propose, propose_computation

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.release.conftest import Runs

REPURCHASE, TOP_SELLERS = JOBS["repurchase"], JOBS["top_sellers"]


@pytest.fixture
def fresh(tracked: Settings, tmp_path: Path) -> Settings:
    return tracked.model_copy(update={"releases": tmp_path / "releases"}).in_acceptance()


def test_a_model_goes_through_every_gate(runs: Runs, fresh: Settings) -> None:
    propose(runs.lightgbm(), REPURCHASE, fresh, by="ada")
    found = accept(REPURCHASE, fresh, by="ada")
    for each in found.gates:
        print(each.gate, each.passed, each.seconds, each.words, each.evidence)
    assert {each.gate: each.words for each in found.gates if not each.passed} == {}
    assert [each.gate for each in found.gates] == list(GATES)


def test_a_computation_too(fresh: Settings) -> None:
    propose_computation(TOP_SELLERS, fresh, by="ada")
    found = accept(TOP_SELLERS, fresh, by="ada")
    for each in found.gates:
        print(each.gate, each.passed, each.seconds, each.words, each.evidence)
    assert {each.gate: each.words for each in found.gates if not each.passed} == {}
