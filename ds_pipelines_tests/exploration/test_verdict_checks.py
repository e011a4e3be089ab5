"""An experiment that asks for a verdict has it as asset checks, and each says what it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pytest

from ds_pipelines.exploration.experiment_assets import experiment_assets
from ds_pipelines.exploration.verdict_checks import CHECKS, verdict_check_results, verdict_check_specs
from ds_pipelines.lab.judge import judge
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.evidence import Verdict

KEY = dg.AssetKey(["experiments", "idea"])


def specs_of(folder: Path, text: str) -> list[dg.AssetCheckSpec]:
    script = folder / "idea.py"
    script.write_text(text)
    return verdict_check_specs(KEY, script)


def verdict(strength: float, look: int = 1) -> Verdict:
    rng = np.random.default_rng(1)
    y = rng.random(1_500) < 0.4
    said = 1 / (1 + np.exp(-strength * y - rng.normal(size=1_500)))
    judged = judge("Is it?", y, {"a": said}, train_prevalence=0.4, look=look).verdict
    return judged.model_copy(update={"look": look})


@pytest.mark.parametrize("call", ["lab.verdict('?', y, p)", "from ds_pipelines.lab import verdict\nverdict(\n'?')"])
def test_a_script_that_asks_for_a_verdict_has_its_checks(tmp_path: Path, call: str) -> None:
    assert [spec.name for spec in specs_of(tmp_path, call)] == list(CHECKS)


def test_a_script_that_asks_for_none_has_none(tmp_path: Path) -> None:
    assert specs_of(tmp_path, "print('the verdict is open')") == []
    assert verdict_check_specs(KEY, tmp_path / "gone.py") == []


def test_the_results_are_the_verdict_s(tmp_path: Path) -> None:
    specs = specs_of(tmp_path, "lab.verdict()")

    def passed(judged: Verdict | None) -> list[bool]:
        return [result.passed for result in verdict_check_results(judged, specs)]

    assert passed(verdict(0.8)) == [True, True, True]
    assert passed(verdict(0.0)) == [True, False, True]
    assert passed(verdict(0.8, look=2)) == [True, True, False]
    assert passed(verdict(0.8).model_copy(update={"answer": "invalid", "p": None})) == [False, False, True]
    assert passed(None) == [False, False, False]


def test_only_an_invalid_split_is_an_error_and_the_figures_are_metadata(tmp_path: Path) -> None:
    results = verdict_check_results(verdict(0.8), specs_of(tmp_path, "lab.verdict()"))
    assert [result.severity.name for result in results] == ["ERROR", "WARN", "WARN"]
    assert {"p", "effect", "a: AUC"} <= set(results[1].metadata)


def test_the_checks_are_on_the_experiment_s_asset(tmp_path: Path) -> None:
    (tmp_path / "idea.py").write_text("from ds_pipelines import lab\nlab.verdict('?', [], {})\n")
    [asset] = experiment_assets(load_settings(experiments=tmp_path))
    assert {key.name for key in asset.check_keys} == set(CHECKS)
