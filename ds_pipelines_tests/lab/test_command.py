"""`ds-pipelines table` and `requests`, as people type them, and progress where a person looks on."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ds_pipelines.settings import environment
from ds_pipelines_tests.gateway.asking import asking
from ds_pipelines_tests.gateway.scenario import (
    CUSTOMERS,
    FRIDAY,
    MONDAY,
    NEXT_WEEK,
    ORDERS,
    database_of_its_own,
    make_installation,
    publish,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

COMMAND = str(Path(sys.executable).parent / "ds-pipelines")
ORDERS_OF_TWO_DAYS = pl.concat([ORDERS[MONDAY], ORDERS[MONDAY + timedelta(days=1)]])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared: Settings) -> Iterator[Settings]:
    settings = make_installation(tmp_path_factory.mktemp("home"), database_of_its_own(shared))
    publish(settings, "names", {MONDAY: pl.DataFrame({"name": ["=1+1", "plain"]})})
    with asking(settings):
        yield settings


def typed(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], env=environment(**settings.as_environment()), capture_output=True, text=True, check=False
    )


def test_a_table_goes_to_parquet(served: Settings, tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    done = typed(served, "table", "orders", "--since", "2025-03-03", "--until", "2025-03-04", "--to", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{path}: 6 rows" in done.stdout
    assert_frame_equal(pl.read_parquet(path), ORDERS_OF_TWO_DAYS)


def test_a_table_goes_to_csv_with_the_columns_asked_for(served: Settings, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    done = typed(
        served, "table", "customers", "--as-of", "2025-03-06", "--columns", "newsletter, customer_id", "--to", str(path)
    )
    assert done.returncode == 0, done.stderr
    read = pl.read_csv(path, schema_overrides={"customer_id": pl.String})
    assert_frame_equal(read, CUSTOMERS[MONDAY].select("newsletter", "customer_id"))


def test_what_was_changed_for_excel_is_said(served: Settings, tmp_path: Path) -> None:
    done = typed(served, "table", "names", "--to", str(tmp_path / "names.csv"))
    assert "1 cells begin like a formula and got an apostrophe" in done.stderr
    assert typed(served, "table", "names", "--exact", "--to", str(tmp_path / "exact.csv")).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders", "--columns", "ship_city"], "'ship_city' is withheld by the privacy policy (narrows down who"),
        (["orders", "--columns", "price"], "There are: customer_id, kind, order_id, paid"),
        (["invoices"], "There is no extract of a table 'invoices'. Published are: customers, names, orders"),
        (["orders", "--since", "2025-09-01"], "ds-pipelines requests ask orders --since 2025-09-01"),
        (["orders", "--since", "soon"], "cannot use since as given: expected a day"),
        (["orders", "--to", "orders.xlsx"], "expected .parquet or .csv at the end"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_sentence(served: Settings, arguments: list[str], said: str) -> None:
    done = typed(served, "table", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_file_it_says_what_there_is(served: Settings) -> None:
    told = typed(served, "table", "orders", "--until", str(FRIDAY)).stdout
    for part in (
        "orders: 2025-03-03 to 2025-03-07, 15 rows", "pseudonym(customer)", "Decimal(precision=10, scale=2)",
        "withheld", "narrows down who ordered", "The newest was published ", "files are in the cache",
    ):  # fmt: skip
        assert part in told


def test_without_a_name_it_lists_the_tables_even_when_the_gateway_is_away(
    tmp_path: Path, database: dict[str, SecretStr]
) -> None:
    settings = make_installation(tmp_path / "home", database)
    with serving(settings):
        told = typed(settings, "table")
    away = typed(settings, "table")
    assert told.stdout == away.stdout
    [orders] = [line.split() for line in told.stdout.splitlines() if line.startswith("orders")]
    assert orders == ["orders", "of", "each", "day", "2025-03-03", "2025-03-07", "5", "15"]
    assert "the tables are shown as listed" in away.stderr


def test_a_request_is_asked_awaited_shown_and_listed(served: Settings) -> None:
    asked = typed(served, "requests", "ask", "orders", "--since", str(NEXT_WEEK), "--because", "Easter sales", "--wait")
    assert asked.returncode == 0, asked.stderr
    id_ = asked.stdout.split("\n", 1)[0]
    assert f"orders, {NEXT_WEEK}: done, 1 of 1 days" in asked.stdout
    assert "Easter sales" in typed(served, "requests", "show", id_).stdout
    assert id_ in typed(served, "requests", "list").stdout
    assert typed(served, "table", "orders", "--since", str(NEXT_WEEK), "--until", str(NEXT_WEEK)).returncode == 0


def test_a_reason_that_says_nothing_is_refused(served: Settings) -> None:
    done = typed(served, "requests", "ask", "orders", "--since", str(NEXT_WEEK), "--because", "x")
    assert done.returncode == 1
    assert "expected 5 to 500 characters" in done.stderr


# Progress

WAITING = """
from datetime import timedelta
from ds_pipelines import lab
lab.request("orders", since="2025-08-01", until="2025-08-12", because="to see a bar")
"""


FETCHING = """
from ds_pipelines import lab
from ds_pipelines.gateway import progress
progress.PAUSE = 0
lab.table("orders", until="2025-03-07")
"""


def on_a_terminal(settings: Settings, program: str) -> str:
    """What a program shows where a person looks on."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment(**settings.as_environment(), TERM="xterm"), stderr=theirs
    )
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 1)
        try:
            piece = os.read(ours, 4096) if ready else b""
        except OSError:  # the terminal is closed with its last program
            break
        shown += piece
    os.close(ours)
    assert process.wait(10) == 0
    return shown.decode()


def test_progress_is_drawn_on_a_terminal(served: Settings) -> None:
    shown = on_a_terminal(served, WAITING)
    assert "orders, 2025-08-01 to 2025-08-12" in shown
    assert "/12" in shown


def test_a_transfer_that_takes_long_is_drawn_in_bytes(served: Settings, tmp_path: Path) -> None:
    elsewhere = served.model_copy(update={"home": tmp_path / "home", "gateway_address": served.gateway_base})
    shutil.copytree(served.secrets, elsewhere.secrets)
    shown = on_a_terminal(elsewhere, FETCHING)
    assert "Fetching orders" in shown
    assert "kB" in shown


def test_progress_is_never_drawn_in_a_log(served: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAITING.replace("2025-08", "2025-10")], env=environment(**served.as_environment()),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout + done.stderr == ""
