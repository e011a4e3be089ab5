"""A run is offered to production by a manifest that pins all of it, and only if its verdict is a signal."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING

import pytest
import yaml

from ds_pipelines.errors import NothingProposedError, ProposalRefusedError
from ds_pipelines.evidence import DUMMY, RunInput
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.propose import propose, propose_computation
from ds_pipelines.settings import PACKAGE, Settings
from ds_pipelines_tests.release.conftest import verdict

if TYPE_CHECKING:
    from ds_pipelines_tests.release.conftest import Runs

REPURCHASE, TOP_SELLERS = JOBS["repurchase"], JOBS["top_sellers"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_manifest_pins_code_contract_model_and_evidence(runs: Runs, tracked: Settings) -> None:
    run_id = runs.lightgbm()
    path = propose(run_id, REPURCHASE, tracked, owner="team:growth")
    written = yaml.safe_load(path.read_text())
    offered = tracked.registry_artifacts / "offered" / written["digest"]

    assert path.name == f"repurchase-{written['digest'][:12]}.yaml"
    assert (written["name"], written["kind"], written["run_id"]) == ("repurchase", "model", run_id)
    assert (written["owner"], written["consumers"]) == ("team:growth", ["the newsletter service"])
    assert written["budget_seconds"] == 600
    module = (PACKAGE / "production/jobs/repurchase.py").read_bytes()
    assert written["code"] == {
        "file": "production/jobs/repurchase.py", "sha256": sha256(module), "bytes": len(module)
    }  # fmt: skip
    assert (offered / "code" / "production/jobs/repurchase.py").read_bytes() == module
    assert [column["name"] for column in written["contract"]["columns"]] == list(REPURCHASE.schema)
    assert [file["path"] for file in written["model"]["files"]] == ["model.lgb"]
    assert written["model"]["files"][0]["sha256"] == sha256((offered / "model" / "model.lgb").read_bytes())
    evidence = written["evidence"]
    assert (evidence["answer"], evidence["p"], evidence["effect"]) == ("signal", 0.0005, 0.21)
    assert (evidence["family"], evidence["interval"], evidence["rows"]) == ("lightgbm", [0.64, 0.78], 180)
    assert {file["path"]: file["sha256"] for file in evidence["files"]} == {
        f"evidence/{name}": sha256((offered / "evidence" / name).read_bytes())
        for name in (
            "verdict.json",
            "predictions.parquet",
            "inputs.json",
            "profile.json",
            "review.json",
            "reproduction.json",
        )
    }
    assert [each["table"] for each in evidence["inputs"]] == ["customers", "order_lines", "orders"]


def test_a_run_offered_again_is_the_same_release(runs: Runs, tracked: Settings) -> None:
    run_id = runs.lightgbm()
    first = propose(run_id, REPURCHASE, tracked)
    before = first.read_bytes()
    assert propose(run_id, REPURCHASE, tracked) == first
    assert first.read_bytes() == before


def test_another_model_is_another_release(runs: Runs, tracked: Settings) -> None:
    assert propose(runs.lightgbm(seed=1), REPURCHASE, tracked) != propose(runs.lightgbm(seed=2), REPURCHASE, tracked)


def test_the_newest_manifest_is_the_one_offered_last(runs: Runs, tracked: Settings) -> None:
    first = runs.lightgbm(seed=1)
    one = propose(first, REPURCHASE, tracked)
    other = propose(runs.lightgbm(seed=2), REPURCHASE, tracked)
    assert manifests.newest("repurchase", tracked.releases) == other
    assert propose(first, REPURCHASE, tracked) == one
    assert manifests.newest("repurchase", tracked.releases) == one


def test_where_nothing_was_offered_it_is_said(tracked: Settings) -> None:
    with pytest.raises(NothingProposedError, match="'nothing'"):
        manifests.newest("nothing", tracked.releases)


@pytest.mark.parametrize("answer", ["no signal", "undecided", "invalid"])
def test_a_run_without_signal_is_not_offered(answer: str, runs: Runs, tracked: Settings) -> None:
    run_id = runs.lightgbm(answer=answer)
    with pytest.raises(ProposalRefusedError, match=f"verdict signal, not {answer}") as refused:
        propose(run_id, REPURCHASE, tracked)
    assert run_id in str(refused.value)


def test_a_run_that_was_judged_on_several_classes_is_not_offered(runs: Runs, tracked: Settings) -> None:
    from mlflow import MlflowClient

    run_id, judged = runs.lightgbm(), verdict("signal").model_copy(update={"task": "multiclass"})
    MlflowClient(tracked.tracking_base).log_text(run_id, judged.model_dump_json(), "evidence/verdict.json")
    with pytest.raises(ProposalRefusedError, match="one score: of several classes, ask about one of them"):
        propose(run_id, REPURCHASE, tracked)


def test_a_run_without_verdict_is_not_offered(runs: Runs, tracked: Settings) -> None:
    run_id = runs.lightgbm(answer=None)
    with pytest.raises(ProposalRefusedError, match="expected a verdict"):
        propose(run_id, REPURCHASE, tracked)


def test_a_run_on_made_up_rows_is_not_offered(runs: Runs, tracked: Settings) -> None:
    made_up = RunInput(table="customers", day=date(2025, 5, 1), digest=DUMMY)
    run_id = runs.lightgbm(inputs=(*runs.experiment.inputs, made_up))
    with pytest.raises(ProposalRefusedError, match="rows of extracts, not a dummy of customers"):
        propose(run_id, REPURCHASE, tracked)


def test_a_run_that_does_not_exist_is_not_offered(tracked: Settings) -> None:
    with pytest.raises(ProposalRefusedError, match="a run that MLflow knows"):
        propose("0" * 32, REPURCHASE, tracked)


def test_without_mlflow_nothing_is_offered_and_it_is_said(tracked: Settings) -> None:
    nobody = tracked.model_copy(update={"tracking_address": "http://127.0.0.1:9"})
    with pytest.raises(ProposalRefusedError, match="an answer from MLflow"):
        propose("0" * 32, REPURCHASE, nobody)


def test_a_computation_is_offered_without_a_run(tracked: Settings) -> None:
    manifest = manifests.load(propose_computation(TOP_SELLERS, tracked))
    assert (manifest.name, manifest.kind, manifest.model, manifest.evidence) == (
        "top_sellers",
        "computation",
        None,
        None,
    )
    assert manifest.owner == TOP_SELLERS.owner


def test_a_job_that_uses_a_model_is_no_computation(tracked: Settings) -> None:
    with pytest.raises(ProposalRefusedError, match="a run for job repurchase"):
        propose_computation(REPURCHASE, tracked)
