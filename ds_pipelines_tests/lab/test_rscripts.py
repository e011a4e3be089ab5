"""An R script reads extracts, and what it read, printed and drew is kept."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines import lab
from ds_pipelines.errors import ExperimentFailedError, MissingRError, RFailedError
from ds_pipelines.evidence import RunInput
from ds_pipelines.lab import rscripts
from ds_pipelines.lab.notes import Notes, noting
from ds_pipelines.lab.table import reading
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.gateway.scenario import CUSTOMERS, DAYS, FRIDAY, publish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

needs_r = pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
PNG = b"\x89PNG"


def write(folder: Path, text: str, name: str = "idea") -> Path:
    path = folder / f"{name}.R"
    path.write_text(text)
    return path


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "run")


def run(path: Path, notes: Notes) -> tuple[RunInput, ...]:
    with noting(notes), reading() as inputs:
        rscripts.execute(path, notes)
    return tuple(inputs)


@needs_r
def test_it_reads_an_extract_and_the_run_knows_which(
    desk: Settings, tmp_path: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        'orders <- lab_table("orders", since = "2025-03-04", columns = c("order_id", "customer_id", "paid"))\n'
        "cat(nrow(orders), class(orders$order_id), class(orders$paid), sum(orders$paid))\n"
        "cat(sum(is.na(orders$customer_id)))\n"
    )
    inputs = run(write(tmp_path, text), notes)
    assert "12 character numeric 3.964" in capsys.readouterr().out
    published = {each.day: each.digest for each in SnapshotStore(desk.snapshots).manifests("orders")}
    assert inputs == tuple(RunInput(table="orders", day=day, digest=published[day]) for day in DAYS[1:])


@needs_r
def test_the_command_called_by_the_script_itself_is_noted_too(desk: Settings, tmp_path: Path, notes: Notes) -> None:
    file = tmp_path / "c.csv"
    text = f'system2("ds-pipelines", c("table", "customers", "--to", "{file}"), stdout = FALSE)\n'
    (read,) = run(write(tmp_path, text), notes)
    assert (read.table, read.day) == ("customers", FRIDAY)
    assert file.read_text().count("\n") == CUSTOMERS[FRIDAY].height + 1


TYPED = pl.DataFrame({
    "code": ["007", "1e5"], "flag": [True, None], "day": [date(2025, 3, 1), None], "count": [1, 2],
    "at": [datetime(2025, 3, 1, 12, 30, tzinfo=UTC), None], "paid": [Decimal("12.50"), None],
    "there": pl.Series([datetime(2025, 7, 1, 11, 30, tzinfo=UTC), None]).dt.convert_time_zone("Europe/London"),
})  # fmt: skip
SHOW = """
cat(x$code, x$flag, format(x$day), x$count, format(x$at, "%H:%M"), x$paid, format(x$there, "%H:%M"), sep = "|")
cat("\\n", vapply(x, function(each) class(each)[1], ""), "\\n")
"""
SHOWN = (
    "007|1e5|TRUE|NA|2025-03-01|NA|1|2|12:30|NA|12.5|NA|11:30|NA\n"
    " character logical Date numeric POSIXct numeric POSIXct"
)


@needs_r
def test_types_are_those_of_the_extract(
    desk: Settings, tmp_path: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(desk, "typed", {FRIDAY: TYPED})
    run(write(tmp_path, f'x <- lab_table("typed")\n{SHOW}'), notes)
    assert SHOWN in capsys.readouterr().out


@needs_r
@pytest.mark.parametrize("package", ["arrow", "nanoparquet"])
def test_a_package_for_parquet_gives_the_same_types(
    package: str, desk: Settings, tmp_path: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = f'quit(status = !requireNamespace("{package}"))'
    there = subprocess.run([str(shutil.which("Rscript")), "-e", asked], check=False, capture_output=True)
    if there.returncode:
        pytest.skip(f"the R package {package} is not installed")
    publish(desk, "typed_too", {FRIDAY: TYPED})
    reads = f'.lab_reader <- function() {package}::read_parquet\nx <- lab_table("typed_too")\n'
    run(write(tmp_path, reads + SHOW), notes)
    assert SHOWN in capsys.readouterr().out


@needs_r
def test_what_such_a_package_may_give_becomes_the_extract_s_type(
    tmp_path: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
    show <- function(type, values) cat(class(.lab_as(type, values))[1], format(.lab_as(type, values)), "\\n")
    show("String", factor(c("b", "a")))
    show("Int64", 3L)
    show("Boolean", c(TRUE, NA))
    show("Date", as.Date("2025-03-01"))
    show("Datetime(time_unit='us', time_zone='UTC')", as.POSIXct("2025-07-01 12:30", tz = "Europe/London"))
    """
    run(write(tmp_path, text), notes)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "character b a", "numeric 3", "logical TRUE   NA", "Date 2025-03-01", "POSIXct 2025-07-01 11:30:00",
    ]  # fmt: skip


@needs_r
def test_a_table_that_is_not_there_ends_the_script_with_the_reason(
    desk: Settings, tmp_path: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RFailedError, match=r"idea\.R, line 2, ended with status 1"):
        run(write(tmp_path, 'x <- 1\nlab_table("invoices")\n'), notes)
    assert "There is no extract of a table 'invoices'" in capsys.readouterr().out


@needs_r
def test_prints_plots_metrics_and_packages_are_kept(
    tmp_path: Path, notes: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        write(tmp_path, 'x <- c(1, 2, 3)\nmean(x)\nplot(x)\nhist(x)\ninvisible(7)\nlab_metric("mean", mean(x))\n'),
        notes,
    )
    assert capsys.readouterr().out.splitlines()[0] == "[1] 2"
    assert notes.metrics == {"mean": 2.0}
    assert [png[:4] for png in notes.figures.values()] == [PNG, PNG]
    assert (notes.folder / "plots" / "plot 002.png").read_bytes().startswith(PNG)
    assert '"stats"' in (notes.folder / "environment" / "r-packages.csv").read_text()
    assert "R version" in (notes.folder / "environment" / "r-session.txt").read_text()


@needs_r
@pytest.mark.parametrize(
    ("text", "line"),
    [("x <- 1\nstop('secret')\n", 2), ("f <- function() {\n  stop('secret')\n}\n\nf()\n", 5), ("x <- 1\ny <- (\n", 3)],
)
def test_a_script_that_fails_is_named_with_its_line_and_what_it_had_kept(
    tmp_path: Path, notes: Notes, text: str, line: int
) -> None:
    with pytest.raises(RFailedError, match=rf"idea\.R, line {line}, ended with status 1") as failed:
        run(write(tmp_path, text), notes)
    assert "secret" not in str(failed.value)
    assert (notes.folder / "environment" / "r-session.txt").is_file()


@needs_r
def test_what_was_noted_before_a_failure_is_kept(tmp_path: Path, notes: Notes) -> None:
    with pytest.raises(RFailedError):
        run(write(tmp_path, 'plot(1)\nlab_metric("auc", 0.5)\nstop()\n'), notes)
    assert (notes.metrics, len(notes.figures)) == ({"auc": 0.5}, 1)


@needs_r
def test_a_script_that_quits_well_has_not_failed(tmp_path: Path, notes: Notes) -> None:
    run(write(tmp_path, "quit(status = 0)\nstop()\n"), notes)


def test_without_r_the_next_step_is_said(tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingRError, match=r"expected the program Rscript.*apt-get install r-base-core"):
        run(write(tmp_path, "1"), notes)


@needs_r
def test_an_r_script_is_a_tracked_run(bench: Settings, artifact: Callable[[str, str], Path]) -> None:
    write(bench.experiments, 'cat("seen\\n")\nlab_metric("auc", 0.75)\nplot(1)\n', "tracked_r")
    record = lab.run("tracked_r", settings=bench).record
    assert (record.kind, record.metrics) == ("r", {"auc": 0.75})
    assert artifact(record.run_id, "stdout.txt").read_text() == "seen\nauc = 0.75\n"
    assert artifact(record.run_id, "plots/plot 001.png").read_bytes().startswith(PNG)
    assert artifact(record.run_id, "code/tracked_r.R").is_file()


@needs_r
def test_an_r_script_that_fails_is_a_failed_run(bench: Settings) -> None:
    write(bench.experiments, "stop()\n", "failing_r")
    with pytest.raises((RFailedError, ExperimentFailedError), match=r"failing_r\.R, line 1"):
        lab.run("failing_r", settings=bench)
