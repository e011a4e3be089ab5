"""A cell of a notebook runs as an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

IPython = pytest.importorskip("IPython", reason="the extra `jupyter` is not installed")


@pytest.fixture
def shell(bench: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shell as Jupyter's, in which `%load_ext ds_pipelines.lab` was run."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    for name, value in bench.as_environment().items():
        monkeypatch.setenv(name, value)
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "ds_pipelines.lab")
    yield shell
    InteractiveShell.clear_instance()


def runs(settings: Settings, experiment: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_base)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def test_a_cell_runs_as_an_experiment_of_its_name_and_its_text_is_kept(
    shell: Any, bench: Settings, artifact: Callable[[str, str], Path]
) -> None:
    cell = "from ds_pipelines import lab\nlab.metric('auc', 0.75)\n"
    shell.run_cell_magic("experiment", "from_a_cell", cell)
    (run,) = runs(bench, "from_a_cell")
    assert run.data.metrics["auc"] == 0.75
    assert artifact(run.info.run_id, "code/from_a_cell.py").read_text() == cell


def test_a_cell_sees_nothing_of_the_notebook_so_that_its_record_is_whole(shell: Any, bench: Settings) -> None:
    from IPython.core.error import UsageError

    shell.run_cell("secret = 5")
    with pytest.raises(UsageError, match=r"alone\.py, line 1, ended with NameError"):
        shell.run_cell_magic("experiment", "alone", "print(secret)\n")


def test_a_cell_has_a_header_as_files_have(shell: Any) -> None:
    from IPython.core.error import UsageError

    with pytest.raises(UsageError, match=r"line 2 of the header: the key 'minuets'"):
        shell.run_cell_magic("experiment", "headed", "# /// experiment\n# minuets = 3\n# ///\n")


def test_without_a_name_it_is_the_experiment_cell(shell: Any, bench: Settings) -> None:
    before = len(runs(bench, "cell"))
    shell.run_cell_magic("experiment", "", "x = 1\n")
    assert len(runs(bench, "cell")) == before + 1
