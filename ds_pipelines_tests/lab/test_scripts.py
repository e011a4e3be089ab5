"""Experiments are found by reading their folder, never by running them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.errors import UnknownExperimentError
from ds_pipelines.evidence import Limits
from ds_pipelines.lab.header import KEYS, Header
from ds_pipelines.lab.scripts import Script, discover, find
from ds_pipelines.settings import PACKAGE, load_settings

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
        "Forecast", "Ran", "figure", "forecast", "metric", "param", "progress", "request", "run", "save", "table",
        "verdict",
    }  # fmt: skip
    assert all(callable(getattr(lab, name)) for name in lab.__all__)


# ---------------------------------------------------------------- notebooks and R


def notebook(*cells: str, **metadata: object) -> str:
    """A notebook of these cells; one that begins with a # and a blank is Markdown."""
    kinds = ["markdown" if each.startswith("# ") and not each.startswith("# ///") else "code" for each in cells]
    made = [{"cell_type": kind, "source": each} for kind, each in zip(kinds, cells, strict=True)]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": made})


def test_a_notebook_is_described_by_its_first_markdown_cell(tmp_path: Path) -> None:
    write(tmp_path, "churn.ipynb", notebook("x = 1", "# Who leaves?\nAnd why.", "# Later"))
    script = only(tmp_path)
    assert (script.kind, script.description) == ("notebook", "# Who leaves?\nAnd why.")


def test_the_tables_of_a_notebook_are_found_across_cells_and_among_magics(tmp_path: Path) -> None:
    cells = (
        "%load_ext autoreload\n!pip list\nfrom ds_pipelines import lab",
        "%%bash\nlab.table('not_python')",
        "%%time\norders = lab.table('orders')\nlab.table?",
        "%time lines = lab.table('order_lines')\nx = %timeit -n1 1\nfiles = !ls",
        "total = (5\n  % 3)\nawait something()",
        "%%experiment idea\nlab.table('customers')",
    )
    write(tmp_path, "idea.ipynb", notebook(*cells))
    assert (only(tmp_path).tables, only(tmp_path).problem) == (("customers", "order_lines", "orders"), None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (notebook("x = 1", "y = 2\nz = ("), "cell 2, line 2, is not Python"),
        ("", "is not a notebook"),
        ("[]", "is not a notebook"),
        ('{"cells": [{"cell_type": "code"}]}', "is not a notebook"),
        ('{"cells": [{"cell_type": "code", "source": 1}]}', "is not a notebook"),
        (b"\xff\xfe", "is not a notebook"),
        (notebook("x <- 1", kernelspec={"language": "R"}), "its kernel is for R"),
    ],
)
def test_a_notebook_that_cannot_be_run_is_listed_with_its_problem(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    write(tmp_path, "broken.ipynb", text)
    assert problem in str(only(tmp_path).problem)


@pytest.mark.parametrize("suffix", ["R", "r"])
def test_an_r_script_is_described_by_its_leading_comment(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, f"churn.{suffix}", "#!/usr/bin/env Rscript\n#' Who leaves?\n# And why.\nx <- 1 # no\n")
    assert (only(tmp_path).kind, only(tmp_path).description) == ("r", "Who leaves?\nAnd why.")


def test_the_tables_of_an_r_script_are_found_in_each_way_to_ask_for_one(tmp_path: Path) -> None:
    text = (
        'a <- lab_table("orders", since = "2025-03-01")\n'
        "b <- lab_table(name = 'customers')\n"
        'system2("ds-pipelines", c("table", "tickets", "--to", "x.csv"))\n'
        'system("ds-pipelines table products --to x.csv")\n'
        '# lab_table("in_a_comment")\n'
        'says <- "a # is no comment in a text"; lab_table("categories")\n'
    )
    write(tmp_path, "idea.R", text)
    assert only(tmp_path).tables == ("categories", "customers", "orders", "products", "tickets")


def test_an_r_script_in_another_encoding_is_read_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, "idea.R", "# Größe\nlab_table('orders')\n".encode("latin-1"))
    assert (only(tmp_path).description, only(tmp_path).tables) == ("Größe", ("orders",))


# ---------------------------------------------------------------- files of any name and kind


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my idea.py", "my_idea"),
        ("Größe.py", "Grosse"),
        ("2025 churn.py", "2025_churn"),
        ("日本.py", "__"),
        ("a.b.c.py", "a_b_c"),
        ("UPPER.PY", "UPPER"),
        ("it's; rm -rf $HOME.py", "it_s__rm__rf__HOME"),
    ],
)
def test_a_file_may_have_any_name(tmp_path: Path, file: str, name: str) -> None:
    write(tmp_path, file)
    assert names(tmp_path) == [name]


def test_a_file_name_that_is_no_unicode_is_listed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_bytes(b"x = 1\n")
    assert names(tmp_path) == ["caf_"]


def test_a_very_long_name_is_cut_and_stays_its_own(tmp_path: Path) -> None:
    for last in "ab":
        write(tmp_path, "x" * 250 + f"{last}.py")
    first, second = names(tmp_path)
    assert first != second
    assert max(len(first), len(second)) <= 120


def test_a_notebook_beside_a_script_of_its_name_does_not_rename_it(tmp_path: Path) -> None:
    for name in ("churn.py", "churn.ipynb", "churn.R"):
        write(tmp_path, name, notebook("x = 1") if name.endswith("ipynb") else "x = 1\n")
    assert {script.name: script.path.name for script in discover(tmp_path)} == {
        "churn": "churn.py", "churn_ipynb": "churn.ipynb", "churn_r": "churn.R",
    }  # fmt: skip


def test_links_are_followed_and_one_in_a_circle_ends(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, "linked.py")
    folder = tmp_path / "experiments"
    write(folder, "own.py")
    (folder / "theirs").symlink_to(elsewhere)
    (folder / "circle").symlink_to(folder)
    (elsewhere / "back").symlink_to(folder)
    (folder / "alias.py").symlink_to(elsewhere / "linked.py")
    (folder / "gone.py").symlink_to(elsewhere / "gone.py")
    assert {script.name: script.problem for script in discover(folder)} == {
        "alias": None, "gone": "it cannot be read: FileNotFoundError", "linked": None, "own": None,
    }  # fmt: skip


def test_what_is_no_regular_file_is_no_experiment(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")  # reading it would wait for ever
    (tmp_path / "folder.py").mkdir()
    assert discover(tmp_path) == ()


def test_what_tools_installed_is_no_experiment(tmp_path: Path) -> None:
    for name in ("venv/pyvenv.cfg", "venv/lib/site.py", "node_modules/a/b.py", "renv/activate.R", "own.py"):
        write(tmp_path, name)
    assert names(tmp_path) == ["own"]


def test_empty_files_are_experiments(tmp_path: Path) -> None:
    for name in ("a.py", "b.R"):
        write(tmp_path, name, "")
    assert [(script.name, script.problem) for script in discover(tmp_path)] == [("a", None), ("b", None)]


@pytest.mark.parametrize("name", ["huge.py", "huge.R", "huge.ipynb"])
def test_a_huge_file_is_listed_at_once(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(b"# /// experiment\n# minutes = 7\n# ///\n" + b"x = 1\n" * (50 << 20 >> 3))
        file.truncate(50 << 20)
    began = time.process_time()
    script = only(tmp_path)
    assert time.process_time() - began < 0.5
    assert "too large to be read" in script.description
    assert script.header.limits.seconds == (None if name.endswith("ipynb") else 420)


def test_a_description_holds_nothing_that_pages_and_databases_cannot(tmp_path: Path) -> None:
    write(tmp_path, "odd.py", '"""half \\ud800, null \\x00, bell \\x07."""\n')
    assert only(tmp_path).description == "half ?, null , bell ."


def test_five_hundred_scripts_are_found_fast_and_faster_again(tmp_path: Path) -> None:
    text = (EXPERIMENTS / "top_sellers.py").read_text()
    for number in range(500):
        write(tmp_path, f"folder {number % 10}/idea {number}.py", text)
    began = time.process_time()
    assert len(discover(tmp_path)) == 500
    first = time.process_time() - began
    assert len(discover(tmp_path)) == 500
    again = time.process_time() - began - first
    assert first < 3
    assert again < first / 4


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "idea.py", '"""One."""\n')
    assert only(tmp_path).description == "One."
    path.write_text('"""Another."""\n')
    assert only(tmp_path).description == "Another."


# ---------------------------------------------------------------- headers

HEADER = """# /// experiment
# owner = "team:marketing"
# schedule = "0 6 * * 1"
# memory = "1.5 GiB"
# minutes = 30
# disk = 1_000_000
# cores = 1
# tolerance = 1e-6
# forecast = true
# question = "Do customers come back?"
# ///
"""
ASKED = Header(
    owner="team:marketing", schedule="0 6 * * 1",
    limits=Limits(seconds=1800, memory=3 << 29, disk=1_000_000, cores=1),
    tolerance=1e-6, forecast=True, question="Do customers come back?",
)  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("idea.py", HEADER + '"""Says what."""\n'),
        ("idea.py", '"""Says what."""\n' + HEADER),
        ("idea.R", "# Says what.\n" + HEADER + "x <- 1\n"),
        ("idea.ipynb", notebook(HEADER + "x = 1", "# Says what.")),
    ],
)
def test_a_header_says_how_an_experiment_is_run(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, file, text)
    script = only(tmp_path)
    assert (script.problem, script.header) == (None, ASKED)
    assert script.description.removeprefix("# ") == "Says what."


def test_a_notebook_may_hold_its_header_in_its_metadata(tmp_path: Path) -> None:
    write(tmp_path, "idea.ipynb", notebook("x = 1", experiment={"minutes": 30, "owner": "ada@example.com"}))
    assert only(tmp_path).header == Header(owner="ada@example.com", limits=Limits(seconds=1800))


def test_without_a_header_nothing_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "idea.py")
    assert only(tmp_path).header == Header()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("minuets = 3", "line 3 of the header: the key 'minuets' cannot be used, expected one of owner, schedule"),
        ('owner = "ada"', "line 3 of the header: the value of 'owner' cannot be used, expected an e-mail address"),
        ('schedule = "daily"', "expected five fields of cron"),
        ('schedule = "61 * * * *"', "expected five fields of cron"),
        ('schedule = "0 0 31 2 *"', "that come true some day"),
        ('memory = "lots"', "expected bytes, or as 4 GiB"),
        ("minutes = -1", "expected a number above 0"),
        ("minutes = nan", "expected a number above 0"),
        ("cores = true", "expected a whole number"),
        ("tolerance = 2", "expected a number from 0 to below 1"),
        ("minutes", "line 3 of the header: this line cannot be used, expected TOML"),
        ('memory = "4000 TiB"', "'memory' of its header asks for 4.096e+06 GiB, and this environment gives"),
        ("minutes = 1e9", "(DS_EXPERIMENT_MINUTES)"),
        ('disk = "9 TiB"', "(DS_EXPERIMENT_DISK)"),
        ("cores = 4000", "(DS_EXPERIMENT_CORES)"),
    ],
)
def test_a_header_that_cannot_be_followed_is_a_problem_with_its_line_and_key(
    tmp_path: Path, line: str, problem: str
) -> None:
    write(tmp_path, "idea.py", f"# /// experiment\n#\n# {line}\n# ///\n")
    assert problem in str(only(tmp_path).problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# /// experiment\n# minutes = 3\n", "the end of the file"),
        ("# /// experiment\nx = 1\n# ///\n", "line 2 of the header: a line that is no comment"),
        ("# /// experiment\n# ///\n# /// experiment\n# ///\n", "line 3 of the header: a second beginning"),
    ],
)
def test_a_header_that_does_not_end_is_a_problem(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, "idea.py", text)
    assert problem in str(only(tmp_path).problem)


def test_a_header_may_ask_for_as_much_as_the_environment_gives(tmp_path: Path) -> None:
    write(tmp_path, "idea.py", "# /// experiment\n# minutes = 10\n# cores = 2\n# ///\n")
    settings = load_settings(home=tmp_path, experiment_minutes=10, experiment_cores=2)
    assert discover(tmp_path, settings)[0].problem is None
    assert discover(tmp_path, settings.model_copy(update={"experiment_minutes": 9}))[0].problem is not None


@given(st.binary(max_size=300), st.sampled_from(["py", "R", "ipynb"]))
def test_no_content_whatever_breaks_finding(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"any.{suffix}").write_bytes(content)
        assert len(discover(Path(folder))) == 1


@given(
    st.dictionaries(
        st.sampled_from(list(KEYS)),
        st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.lists(st.integers())),
        max_size=3,
    )
)
def test_no_value_whatever_of_a_notebook_s_metadata_breaks_finding(values: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "any.ipynb").write_text(notebook("x = 1", experiment=values))
        assert len(discover(Path(folder))) == 1
