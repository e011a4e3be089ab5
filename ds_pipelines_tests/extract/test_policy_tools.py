"""The commands about the policy: check, preview and diff, as a privacy officer runs them."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from rich.console import Console

from ds_pipelines.errors import NotATerminalError
from ds_pipelines.extract import preview, source
from ds_pipelines.extract.difference import difference
from ds_pipelines.extract.free_text_policy import FreeTextPolicy
from ds_pipelines.extract.inspection import inspect
from ds_pipelines.extract.policy import SHOP, load
from ds_pipelines_tests.extract.scenario import VISITS_COLUMNS, kept, policy_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

VISITS = "CREATE TABLE visits (visit_id bigint PRIMARY KEY, at timestamptz NOT NULL, note text)"


def changes(tmp_path: Path, columns: dict[str, str], **options: str) -> list[str]:
    old = load(policy_file(tmp_path / "old", VISITS_COLUMNS))
    return [str(change) for change in difference(old, load(policy_file(tmp_path / "new", columns, **options)))]


def test_the_shops_policy_fits_the_shop(place: Settings) -> None:
    found = inspect(load(place.policies / SHOP), place)
    assert (found.misfits, found.draft) == ((), "")


def test_the_shops_policy_states_every_columns_type_as_the_database_has_it(place: Settings) -> None:
    stated = {
        name: {column: decision.type for column, decision in table.columns.items()}
        for name, table in load(place.policies / SHOP).tables.items()
    }
    live = source.live_tables(place)
    assert stated == {name: {c.name: c.type for c in table.columns.values()} for name, table in live.items()}


def test_everything_that_does_not_fit_is_told_and_what_is_missing_is_drafted(
    sql: Callable[..., Any], place: Settings, tmp_path: Path
) -> None:
    sql(VISITS)
    columns = VISITS_COLUMNS | {"gone": kept(), "at": "{type: date, treatment: keep, description: D., because: B.}"}
    policy = load(policy_file(tmp_path, columns, schema=sql.schema))  # type: ignore[attr-defined]
    sql("ALTER TABLE visits ADD phone text; CREATE TABLE staff (staff_id int PRIMARY KEY, full_name text)")
    found = inspect(policy, place)
    told = [(misfit.table, misfit.columns, type(misfit.error).__name__) for misfit in found.misfits]
    assert told == [
        ("staff", (), "UndeclaredTableError"),
        ("visits", ("phone",), "UndeclaredColumnError"),
        ("visits", ("gone",), "AbsentColumnError"),
        ("visits", ("at",), "ChangedTypeError"),
    ]
    draft = yaml.safe_load(found.draft)
    assert draft["staff"]["columns"]["full_name"]["treatment"] == "drop"
    assert {name: column["treatment"] for name, column in draft["visits"]["columns"].items()} == {
        "phone": "drop", "at": "keep"
    }  # fmt: skip
    assert draft["visits"]["columns"]["at"]["type"] == "timestamp with time zone"


def test_a_table_that_is_gone_is_told(sql: Callable[..., Any], place: Settings, tmp_path: Path) -> None:
    policy = load(policy_file(tmp_path, VISITS_COLUMNS, schema=sql.schema))  # type: ignore[attr-defined]
    [misfit] = inspect(policy, place).misfits
    assert (misfit.table, type(misfit.error).__name__) == ("visits", "AbsentTableError")


def test_a_preview_shows_the_same_rows_before_and_after_and_writes_nothing(
    sql: Callable[..., Any], place: Settings, tmp_path: Path
) -> None:
    sql(VISITS)
    sql("INSERT INTO visits SELECT n, '2025-03-03 12:00Z', 'Ann says ' || n FROM generate_series(1, 30) n")
    policy = load(policy_file(tmp_path / "policy", VISITS_COLUMNS, schema=sql.schema))  # type: ignore[attr-defined]
    shown = preview.preview(policy, "visits", place)
    assert (shown.before["visit_id"].to_list(), shown.after.height) == (list(range(1, 21)), 20)
    assert shown.after["at"].equals(shown.before["at"])
    again = preview.preview(policy, "visits", place)
    assert not again.after["visit_id"].equals(shown.after["visit_id"])  # no published pseudonym is undone on a screen
    assert not place.home.exists()
    console = Console(file=io.StringIO(), width=100)
    preview.show(shown, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "note is not read (free_text(withheld)): It may name anybody." in printed
    assert "2025-03-03 12:00" in printed
    assert "Ann" not in printed


def test_a_preview_goes_to_a_terminal_alone() -> None:
    with pytest.raises(NotATerminalError, match="policy preview"):
        preview.require_terminal(Console(file=io.StringIO(), force_terminal=True), "policy preview")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        preview.require_terminal(Console(file=terminal), "policy preview")
    os.close(ours)


def test_the_commands_draft_once_hold_it_against_the_database_and_refuse_a_pipe(
    place: Settings, tmp_path: Path
) -> None:
    environment = os.environ | {
        "DS_HOME": str(tmp_path / "home"), "DS_POLICIES": str(tmp_path), "DS_FIRST_DAY": str(place.first_day),
        "DS_TODAY": str(place.today), "DS_EXTRACT_URL": place.extract_url.get_secret_value(),  # type: ignore[union-attr]
    }  # fmt: skip

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ds_pipelines.cli", "policy", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    draft = tmp_path / SHOP
    first, again = (run("propose", "--to", str(draft)) for _ in range(2))
    assert (first.returncode, "6 tables" in first.stderr) == (0, True), first.stderr
    assert (again.returncode, "is not overwritten" in again.stderr) == (1, True)
    assert (run("check").returncode, run("diff", str(draft), str(draft)).stdout) == (0, "The policies say the same.\n")
    draft.write_text(draft.read_text().replace("      newsletter:\n", "      letters:\n"))
    misfit = run("check")
    assert misfit.returncode == 1
    assert "does not name: newsletter" in misfit.stdout
    assert "treatment: drop" in misfit.stdout
    assert "only on a terminal" in run("preview", "orders").stderr


COUNTRY = "      country:\n        type: text\n"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("      land:\n        type: text\n",
         "error: Table 'customers' has columns that the privacy policy does not name: country. Nothing of the table is "
         "read until the policy decides on each. `ds-pipelines policy check` drafts the decisions, each with its "
         "reason; under the table's `columns`, this would withhold them:\n"
         '      "country": {type: "text", treatment: drop, because: Nobody has decided yet.}\n'),
        ("      land: {treatment: drop, because: No.}\n" + COUNTRY,
         "error: The privacy policy names columns that table 'customers' does not have: land. Nothing of the table is "
         "read. Remove them under its `columns` if they were dropped; if they were renamed, write the new names, which "
         "`ds-pipelines policy check` tells.\n"),
        (COUNTRY.replace("text", "character(2)"),
         "error: Column customers.country is of type text, and the privacy policy decided on character(2). Nothing of "
         "the table is read. Check that the treatment is still right, then write `type: text` there; `ds-pipelines "
         "policy check` drafts the decision anew.\n"),
    ],
    ids=["a new column", "a dropped column", "a changed type"],
)  # fmt: skip
def test_the_extract_stops_and_says_what_to_write_which_then_fits(
    place: Settings, tmp_path: Path, now: str, said: str
) -> None:
    environment = os.environ | {
        "DS_HOME": str(tmp_path / "home"), "DS_POLICIES": str(tmp_path), "DS_FIRST_DAY": str(place.first_day),
        "DS_TODAY": str(place.today), "DS_EXTRACT_URL": place.extract_url.get_secret_value(),  # type: ignore[union-attr]
    }  # fmt: skip

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ds_pipelines.cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    written = (place.policies / SHOP).read_text()
    assert COUNTRY in written
    (tmp_path / SHOP).write_text(written.replace(COUNTRY, now))
    refused = run("extract", "customers")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", said)
    assert not (tmp_path / "home" / "snapshots" / "published" / "customers").exists()
    drafted = run("policy", "check").stdout.partition("# To put under")[2].partition("\n")[2]
    columns = (yaml.safe_load(drafted) or {"customers": {"columns": {}}})["customers"]["columns"]
    assert list(columns) == ([] if COUNTRY in now else ["country"])
    for column in columns.values():
        assert column["type"] == "text"
        assert column["because"] != "Nobody has decided yet."


def test_the_same_policy_has_no_differences(tmp_path: Path) -> None:
    assert changes(tmp_path, VISITS_COLUMNS) == []


def test_what_a_change_lets_out_comes_first(tmp_path: Path) -> None:
    columns = {
        "visit_id": VISITS_COLUMNS["visit_id"],
        "at": "{treatment: {generalise: month}, description: When., because: Many share it.}",
        "note": "{treatment: keep, description: Note., because: It was looked at.}",
        "price": kept(),
    }
    assert changes(tmp_path, columns, rows="all") == [
        "newly visible: visits.note: free_text(withheld) → keep",
        "newly visible: visits.price: not named → keep",
        "treated otherwise: visits.at: keep → generalise(month)",
        "rows: visits: by day of at → all rows; days published before stay as they are",
    ]


def test_a_column_that_is_withheld_or_no_longer_named_is_told(tmp_path: Path) -> None:
    columns = {"visit_id": VISITS_COLUMNS["visit_id"], "at": "{treatment: drop, because: No.}"}
    assert changes(tmp_path, columns, rows="all")[:2] == [
        "withheld now: visits.at: keep → drop",
        "gone: visits.note: free_text(withheld), and not named any more",
    ]


def test_another_domain_tells_what_joins_no_longer(tmp_path: Path) -> None:
    renamed = VISITS_COLUMNS | {"visit_id": VISITS_COLUMNS["visit_id"].replace("pseudonym: visit", "pseudonym: call")}
    assert changes(tmp_path, renamed) == [
        "treated otherwise: visits.visit_id: pseudonym(visit) → pseudonym(call)",
        "joins: visits.visit_id: new pseudonyms, unlike those published before; from now on it joins with nothing",
    ]


def test_another_search_of_free_text_is_told(tmp_path: Path) -> None:
    old = load(policy_file(tmp_path / "old", VISITS_COLUMNS))
    options = FreeTextPolicy(not_names=("rose",), least_score=0.5)
    found = difference(old, old.model_copy(update={"free_text": options}))
    assert [str(change) for change in found] == [
        "treated otherwise: free_text: another least_score, not_names; texts are masked otherwise"
    ]
