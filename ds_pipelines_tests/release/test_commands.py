"""The way of a release as people type it, each with a token of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ds_pipelines.cli import app
from ds_pipelines.errors import NotPermittedError, SelfApprovalError
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.gates.every import record
from ds_pipelines_tests.release.people import acceptance, token_file

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.release.conftest import Runs


@pytest.fixture
def here(tracked: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """This process's environment points at the installation, with an empty folder of manifests."""
    settings = tracked.model_copy(update={"releases": tmp_path / "releases"})
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return settings


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["release", *arguments])


def test_a_run_goes_into_production_and_out_again_by_commands(here: Settings, runs: Runs, tmp_path: Path) -> None:
    ana = str(token_file(tmp_path, here, "release:propose", "release:approve", user="ana"))
    ben = str(token_file(tmp_path, here, "release:approve", "release:deploy", user="ben"))
    digests = []
    for seed in (4, 5):
        done = call("propose", runs.lightgbm(seed=seed), "--token-file", ana)
        manifest = manifests.load(manifests.newest("repurchase", here.releases))
        assert f"Review and commit {here.releases / manifest.file_name}" in done.output
        record(acceptance(manifest), here, by="ana")
        refused = call("approve", "repurchase", "--token-file", ana)
        assert isinstance(refused.exception, SelfApprovalError)
        assert "approved by ben" in call("approve", "repurchase", "--token-file", ben).output
        deployed = call("deploy", "repurchase", "--token-file", ben)
        assert f"repurchase scores with release {manifest.digest[:12]} now" in deployed.output
        digests.append(manifest.digest)
    assert isinstance(
        call("rollback", "repurchase", "--because", "x", "--token-file", ana).exception, NotPermittedError
    )
    back = call("rollback", "repurchase", "--because", "worse on returns", "--scores", "--token-file", ben)
    assert f"repurchase scores with release {digests[0][:12]} now" in back.output

    told = call("history", "repurchase").output
    assert f"rolled back by ben  repurchase {digests[0][:12]}: worse on returns" in told
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert f"repurchase {digests[0][:12]}" in call("history", "repurchase", "--on", today).output
    assert "no release was in use" in call("history", "repurchase", "--on", "2025-03-01").output


def test_a_rejection_and_a_waiver_are_told_with_their_reasons(here: Settings, runs: Runs, tmp_path: Path) -> None:
    ana = str(token_file(tmp_path, here, "release:propose", user="ana"))
    ben = str(token_file(tmp_path, here, "release:approve", user="ben"))
    run_id = runs.lightgbm(seed=6, again=None)
    waived = call(
        "waive", run_id, "--job", "repurchase", "--gate", "reproduction", "--because", "gone", "--token-file", ben
    )
    assert "reproduction of" in waived.output
    assert call("propose", run_id, "--token-file", ana).exit_code == 0
    name = manifests.newest("repurchase", here.releases).stem
    assert call("waive", name, "--gate", "backtest", "--because", "a pilot", "--token-file", ben).exit_code == 0
    assert "is rejected by ben" in call("reject", name, "--because", "twice", "--token-file", ben).output
    told = call("history", "repurchase").output.splitlines()[-4:]
    for line, expected in zip(
        told, ("waived (reproduction)", "proposed", "waived (backtest)", "rejected"), strict=True
    ):
        assert f"  {expected} by " in line
