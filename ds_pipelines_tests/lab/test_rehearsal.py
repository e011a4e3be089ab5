"""A script whose header asks for it is rehearsed on shares of its tables, and what it will take is said before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines import lab
from ds_pipelines.errors import ForecastTooLargeError
from ds_pipelines.lab.scripts import find
from ds_pipelines_tests.gateway.scenario import MONDAY, orders_of, publish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

ROWS = 20_000
MANY = pl.concat([orders_of(MONDAY)] * (ROWS // orders_of(MONDAY).height + 1)).head(ROWS)
HOARDING = """
# /// experiment
# memory = "1 GiB"
# forecast = {forecast}
# ///
from ds_pipelines import lab

held = b"x" * ({each} * lab.table("many").collect().height)
print("held", len(held))
"""


@pytest.fixture(scope="module", autouse=True)
def many(installation: Settings) -> None:
    """A table large enough to be rehearsed on."""
    publish(installation, "many", {MONDAY: MANY})


def write(settings: Settings, name: str, text: str) -> Path:
    path = settings.experiments / f"{name}.py"
    path.write_text(text)
    return path


def runs_of(settings: Settings, experiment: str) -> int:
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_base)
    found = client.get_experiment_by_name(experiment)
    return 0 if found is None else len(client.search_runs([found.experiment_id]))


def test_a_share_of_a_table_is_from_all_over_it(desk: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lab.table("many").with_row_index().collect()
    monkeypatch.setenv("DS_TABLE_SHARE", "0.25")
    quarter = lab.table("many").collect()
    assert quarter.height == pytest.approx(ROWS / 4, rel=0.01)
    assert quarter.columns == whole.columns[1:]
    assert set(quarter.rows()) <= set(whole.drop("index").rows())


def test_what_a_script_takes_is_said_before_it_runs_and_kept_with_the_run(
    desk: Settings, artifact: Callable[[str, str], Path]
) -> None:
    path = write(desk, "modest", HOARDING.format(forecast="true", each=20_000))
    lines: list[str] = []
    ran = lab.run(path, settings=desk, tell=lines.append)
    assert lines[0].startswith("About ")
    assert "held 400000000\n" in "".join(lines[1:])
    kept = json.loads(artifact(ran.record.run_id, "evidence/forecast.json").read_text())
    assert kept["words"] == lines[0].rstrip("\n")
    assert kept["fits"] is True
    assert kept["memory"]["low"] < 400_000_000 + (100 << 20) < 1.5 * kept["memory"]["high"]
    assert artifact(ran.record.run_id, "evidence/forecast.png").read_bytes().startswith(b"\x89PNG")
    assert "About" not in artifact(ran.record.run_id, "stdout.txt").read_text()
    assert runs_of(desk, "modest") == 1


def test_what_may_not_fit_is_refused_before_it_runs_where_the_header_says_so(desk: Settings) -> None:
    path = write(desk, "greedy", HOARDING.format(forecast='"refuse"', each=150_000))
    lines: list[str] = []
    with pytest.raises(ForecastTooLargeError, match=r"An experiment may have 1\.0 GiB: it may be ended"):
        lab.run(path, settings=desk, tell=lines.append)
    assert lines == []
    assert runs_of(desk, "greedy") == 0


def test_without_a_table_nothing_is_foretold_and_it_runs(desk: Settings) -> None:
    path = write(desk, "alone", "# /// experiment\n# forecast = true\n# ///\nprint('done')\n")
    assert find(path, desk.experiments, desk).header.forecast is True
    lines: list[str] = []
    assert lab.run(path, settings=desk, tell=lines.append).record.status == "finished"
    assert lines[0] == "Nothing is foretold: it reads no table by a literal name.\n"


def test_a_script_that_fails_on_shares_is_run_and_that_is_said(desk: Settings) -> None:
    text = "# /// experiment\n# forecast = true\n# ///\nfrom ds_pipelines import lab\n"
    path = write(desk, "needy", text + f"assert lab.table('many').collect().height == {ROWS}\n")
    lines: list[str] = []
    assert lab.run(path, settings=desk, tell=lines.append).record.status == "finished"
    assert lines[0] == "Nothing is foretold: it fails on a share of its rows, even on 1 of 8.\n"
