"""Experiments are found by reading their folder, never by running them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ds_pipelines.errors import UnknownExperimentError
from ds_pipelines.lab.scripts import Script, discover, find
from ds_pipelines.settings import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENTS = PACKAGE / "exploration" / "experiments"


def write(folder: Path, name: str, text: str | bytes = '"""One."""\n') -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def only(folder: Path) -> Script:
    (script,) = discover(folder)
    return script


def names(folder: Path) -> list[str]:
    return [script.name for script in discover(folder)]


def test_any_script_is_an_experiment_and_its_docstring_the_description(tmp_path: Path) -> None:
    path = write(tmp_path, "churn.py", '"""Who leaves?\n\nMore words.\n"""\n')
    assert discover(tmp_path) == (Script("churn", path, "Who leaves?\n\nMore words.", ()),)


def test_a_script_without_docstring_has_an_empty_description(tmp_path: Path) -> None:
    write(tmp_path, "churn.py", "x = 1\n")
    assert only(tmp_path).description == ""


def test_finding_runs_nothing(tmp_path: Path) -> None:
    write(tmp_path, "churn.py", "raise SystemExit('it was run')\n")
    assert only(tmp_path).problem is None


def test_files_and_folders_that_begin_with_an_underscore_or_a_dot_are_no_experiments(tmp_path: Path) -> None:
    for name in ("_helpers.py", ".hidden.py", "__pycache__/a.py", ".venv/b.py", "_old/c.py", "notes.txt"):
        write(tmp_path, name)
    assert discover(tmp_path) == ()


def test_a_folder_that_does_not_exist_holds_no_experiments(tmp_path: Path) -> None:
    assert discover(tmp_path / "nowhere") == ()


def test_scripts_lie_at_any_depth_under_their_own_name(tmp_path: Path) -> None:
    write(tmp_path, "churn.py")
    write(tmp_path, "mail/2025/opened.py")
    assert names(tmp_path) == ["churn", "opened"]


def test_scripts_of_one_name_take_their_folders(tmp_path: Path) -> None:
    for name in ("churn.py", "mail/churn.py", "mail/old/churn.py"):
        write(tmp_path, name)
    assert names(tmp_path) == ["churn", "mail_churn", "mail_old_churn"]


def test_names_hold_letters_digits_and_underscores_and_are_unique_all_the_same(tmp_path: Path) -> None:
    for name in ("a b.py", "a-b.py", "a_b.py"):
        write(tmp_path, name)
    assert names(tmp_path) == ["a_b", "a_b_2", "a_b_3"]


@pytest.mark.parametrize(
    "text",
    [
        'from ds_pipelines import lab\nlab.table("orders")\n',
        'from ds_pipelines import lab as l\nx = l.table("orders", columns=["a"]).collect()\n',
        'from ds_pipelines.lab import table\ntable("orders")\n',
        'from ds_pipelines.lab import table as t\nt(name="orders")\n',
        'import ds_pipelines.lab\nds_pipelines.lab.table("orders")\n',
        'import ds_pipelines.lab as dl\nif __name__ == "__main__":\n    dl.table("orders")\n',
        'def load():\n    from ds_pipelines import lab\n    return lab.table("orders")\n',
    ],
)
def test_tables_are_found_however_lab_is_imported(tmp_path: Path, text: str) -> None:
    write(tmp_path, "one.py", text)
    assert only(tmp_path).tables == ("orders",)


def test_tables_are_listed_once_and_sorted(tmp_path: Path) -> None:
    calls = "".join(f"lab.table({name!r})\n" for name in ("orders", "customers", "orders"))
    write(tmp_path, "one.py", f"from ds_pipelines import lab\n{calls}")
    assert only(tmp_path).tables == ("customers", "orders")


def test_what_is_not_a_literal_call_of_lab_table_is_not_taken_for_one(tmp_path: Path) -> None:
    text = 'from ds_pipelines import lab\nname = "a"\nlab.table(name)\nlab.table()\npandas.table("b")\ntable("c")\n'
    write(tmp_path, "one.py", text)
    assert only(tmp_path).tables == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\ny = (\n", "line 2 is not Python"),
        (b"x = '\xff'\n", "is not Python"),
        (b"x = 1\0\n", "is not Python"),
    ],
)
def test_a_broken_script_is_listed_with_its_problem_and_hides_no_other(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    write(tmp_path, "broken.py", text)
    write(tmp_path, "whole.py")
    broken, whole = discover(tmp_path)
    assert broken.problem is not None
    assert problem in broken.problem
    assert (broken.tables, broken.description) == ((), "")
    assert whole.problem is None


def test_a_script_is_found_by_name_by_path_and_outside_of_the_folder(tmp_path: Path) -> None:
    inside, outside = write(tmp_path, "experiments/churn.py"), write(tmp_path, "elsewhere/my idea.py")
    folder = tmp_path / "experiments"
    assert find("churn", folder).path == inside
    assert find(inside, folder).name == "churn"
    assert find(str(outside), folder).name == "my_idea"


def test_an_unknown_experiment_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    write(tmp_path, "churn.py")
    with pytest.raises(UnknownExperimentError, match=r"'repurchse'.*churn.*DS_EXPERIMENTS"):
        find("repurchse", tmp_path)


def test_the_projects_own_experiments_parse_describe_themselves_and_name_their_tables() -> None:
    scripts = {script.name: script for script in discover(EXPERIMENTS)}
    assert {name: script.tables for name, script in scripts.items()} == {
        "repurchase": ("customers", "order_lines", "orders"),
        "ticket_mood": ("customers", "orders", "tickets"),
        "top_sellers": ("categories", "order_lines", "products"),
    }
    assert all(script.problem is None and script.description for script in scripts.values())


def test_importing_the_lab_imports_nothing_heavy() -> None:
    heavy = {"mlflow", "sklearn", "lightgbm", "matplotlib", "pandas", "numpy", "skops", "dagster", "psycopg2"}
    code = "import sys; from ds_pipelines import lab; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()


def test_the_public_surface_is_what_a_data_scientist_needs() -> None:
    from ds_pipelines import lab

    assert set(lab.__all__) == {
        "Ran", "figure", "metric", "param", "progress", "request", "run", "save", "table", "verdict",
    }  # fmt: skip
    assert all(callable(getattr(lab, name)) for name in lab.__all__)
