"""A delivery is visible whole or not at all, once a job and day, and says so by a receipt."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg2
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import ContractBrokenError, DeliveryFailedError, ServingTableDiffersError
from ds_pipelines.scoring import receipt
from ds_pipelines.scoring.deliver import deliver
from ds_pipelines.settings import Settings, environment
from ds_pipelines_tests.scoring.scenario import INPUTS, MONDAY, RELEASE, SCORES, SCORES_CORRECTED, TUESDAY, job, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt


@pytest.fixture
def keen() -> ScoringJob:
    """A job whose table no other test has touched."""
    return job(f"keen_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def give(keen: ScoringJob, settings: Settings) -> Callable[[date, list[float]], Receipt]:
    return lambda day, scores: deliver(rows(day, scores), keen, day, release=RELEASE, inputs=INPUTS, settings=settings)


def ask(settings: Settings, query: str, role: postgres.Role = "consumer") -> list[tuple[Any, ...]]:
    with closing(postgres.connect(role, settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def scores_of(settings: Settings, keen: ScoringJob, day: date) -> list[float]:
    found = ask(settings, f"SELECT score FROM {keen.table} WHERE day = '{day}' ORDER BY customer")
    return [score for (score,) in found]


def test_every_value_arrives_as_it_was(settings: Settings, keen: ScoringJob, give: Any) -> None:
    give(MONDAY, SCORES)
    columns = ", ".join(keen.schema)
    found = ask(settings, f"SELECT {columns} FROM {keen.table} ORDER BY customer")
    assert found == rows(MONDAY, SCORES).rows()


def test_a_receipt_says_what_was_delivered(settings: Settings, keen: ScoringJob, give: Any) -> None:
    given = give(MONDAY, SCORES)
    assert receipt.find(keen, MONDAY, settings) == given
    assert (given.job, given.day, given.rows, given.release) == (keen.name, MONDAY, len(SCORES), RELEASE)
    assert given.inputs == INPUTS
    assert given.replaces is None


def test_the_checksum_is_that_of_the_rows_a_consumer_reads(settings: Settings, keen: ScoringJob, give: Any) -> None:
    given = give(MONDAY, SCORES)
    query = f"COPY (SELECT * FROM {keen.table} WHERE day = '{MONDAY}' ORDER BY day, customer) TO STDOUT (FORMAT csv)"
    psql = [postgres.binaries() / "psql", "--dbname", postgres.url("consumer", settings), "--command", query]
    printed = subprocess.run(psql, capture_output=True, check=True).stdout
    assert hashlib.sha256(printed).hexdigest() == given.checksum


def test_a_day_delivered_twice_is_visible_once(settings: Settings, keen: ScoringJob, give: Any) -> None:
    first = give(MONDAY, SCORES)
    second = give(MONDAY, SCORES_CORRECTED)
    assert scores_of(settings, keen, MONDAY) == SCORES_CORRECTED
    assert second.replaces == first.delivery
    assert ask(settings, f"SELECT delivery FROM receipts WHERE job = '{keen.name}'") == [(str(second.delivery),)]
    replaced = ask(settings, f"SELECT delivery FROM receipts_replaced WHERE job = '{keen.name}'", "serving")
    assert replaced == [(str(first.delivery),)]


def test_the_view_holds_the_newest_delivered_day(settings: Settings, keen: ScoringJob, give: Any) -> None:
    give(TUESDAY, SCORES)
    give(MONDAY, SCORES_CORRECTED)
    latest = ask(settings, f"SELECT DISTINCT day FROM latest_{keen.table}")
    assert latest == [(TUESDAY,)]
    assert len(ask(settings, f"SELECT FROM latest_{keen.table}")) == len(SCORES)


GOOD = rows(MONDAY, SCORES)
BROKEN = {
    "an empty frame": (GOOD.clear(), "the whole (at least one row)"),
    "NaN": (GOOD.with_columns(score=pl.lit(float("nan"))), "score (null or NaN)"),
    "infinity": (GOOD.with_columns(score=pl.lit(float("inf"))), "score (finite)"),
    "null": (GOOD.with_columns(segment=pl.lit(None, pl.String)), "segment (null or NaN)"),
    "an extra column": (GOOD.with_columns(email=pl.lit("x")), "email (not a column of the contract)"),
    "a missing column": (GOOD.drop("score"), "score (missing)"),
    "columns out of order": (GOOD.select(sorted(GOOD.columns)), "customer (out of order)"),
    "another type": (GOOD.with_columns(pl.col("score").cast(pl.String)), "score (of type Float64)"),
    "a value out of bounds": (GOOD.with_columns(decile=pl.lit(11, pl.Int16)), "decile (at most 10)"),
    "the same customer twice": (GOOD.vstack(GOOD), "day, customer (the same key more than once)"),
    "another day": (GOOD.with_columns(day=pl.lit(TUESDAY)), "day (the day that is delivered)"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_rows_that_break_the_contract_are_refused_by_column_and_check_and_deliver_nothing(
    case: str, settings: Settings, keen: ScoringJob, give: Any
) -> None:
    give(MONDAY, SCORES_CORRECTED)
    frame, named = BROKEN[case]
    with pytest.raises(ContractBrokenError) as refused:
        deliver(frame, keen, MONDAY, release=RELEASE, inputs=INPUTS, settings=settings)
    assert named in str(refused.value)
    assert scores_of(settings, keen, MONDAY) == SCORES_CORRECTED


def test_a_refusal_tells_no_value(settings: Settings, keen: ScoringJob) -> None:
    frame = rows(MONDAY, [0.123456]).with_columns(segment=pl.lit("rosa@example.org"), score=pl.lit(7.77125))
    with pytest.raises(ContractBrokenError) as refused:
        deliver(frame, keen, MONDAY, release=RELEASE, inputs=INPUTS, settings=settings)
    assert "rosa" not in str(refused.value)
    assert "7.77" not in str(refused.value)


def test_what_only_the_database_refuses_is_rolled_back_and_not_quoted(
    settings: Settings, keen: ScoringJob, give: Any
) -> None:
    give(MONDAY, SCORES)
    unstorable = rows(MONDAY, SCORES_CORRECTED).with_columns(segment=pl.lit("secret\x00text"))
    with pytest.raises(DeliveryFailedError) as failed:
        deliver(unstorable, keen, MONDAY, release=RELEASE, inputs=INPUTS, settings=settings)
    assert "secret" not in str(failed.value)
    assert scores_of(settings, keen, MONDAY) == SCORES


def test_a_table_with_other_columns_is_left_alone(settings: Settings, keen: ScoringJob, give: Any) -> None:
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {keen.table} (day date, customer bigint, grade text)")
    with pytest.raises(ServingTableDiffersError, match="grade text"):
        give(MONDAY, SCORES)


KILLED_WHILE_DELIVERING = """
import os, signal, sys
from pathlib import Path
from ds_pipelines.scoring import deliver
from ds_pipelines.settings import load_settings
from ds_pipelines_tests.scoring.scenario import INPUTS, MONDAY, RELEASE, SCORES_CORRECTED, job, rows

whole = deliver.checksum

def killed(*arguments):
    whole(*arguments)  # the old receipt is gone and the new rows are in, none of it committed
    os.kill(os.getpid(), signal.SIGKILL)

deliver.checksum = killed
settings = load_settings(home=Path(sys.argv[1]))
frame = rows(MONDAY, SCORES_CORRECTED)
deliver.deliver(frame, job(sys.argv[2]), MONDAY, release=RELEASE, inputs=INPUTS, settings=settings)
"""


def test_a_delivery_killed_midway_leaves_what_was_there(settings: Settings, keen: ScoringJob, give: Any) -> None:
    given = give(MONDAY, SCORES)
    command = [sys.executable, "-c", KILLED_WHILE_DELIVERING, str(settings.home), keen.name]
    root = str(Path(__file__).parents[2])
    killed = subprocess.run(command, check=False, cwd=root, env=environment(PYTHONPATH=root))
    assert killed.returncode == -signal.SIGKILL
    assert scores_of(settings, keen, MONDAY) == SCORES
    assert receipt.find(keen, MONDAY, settings) == given
    assert give(MONDAY, SCORES_CORRECTED).replaces == given.delivery


def test_deliveries_of_one_day_at_once_follow_each_other(settings: Settings, keen: ScoringJob, give: Any) -> None:
    versions = [[score] * 2_000 for score in (0.1, 0.2, 0.3, 0.4)]
    started = threading.Barrier(len(versions))

    def at_once(scores: list[float]) -> None:
        started.wait()
        give(MONDAY, scores)

    threads = [threading.Thread(target=at_once, args=(scores,)) for scores in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scores_of(settings, keen, MONDAY) in versions
    assert ask(settings, f"SELECT count(*) FROM receipts WHERE job = '{keen.name}'") == [(1,)]
    replaced = ask(settings, f"SELECT replaces FROM receipts_replaced WHERE job = '{keen.name}'", "serving")
    assert len(replaced) == len(versions) - 1


def test_consumers_read_tables_views_and_receipts_and_write_nothing(
    settings: Settings, keen: ScoringJob, give: Any
) -> None:
    give(MONDAY, SCORES)
    for readable in (keen.table, f"latest_{keen.table}", "receipts"):
        assert ask(settings, f"SELECT count(*) FROM {readable}")[0][0] > 0
    forbidden = (
        "SELECT FROM receipts_replaced",
        f"DELETE FROM {keen.table}",
        f"INSERT INTO latest_{keen.table} SELECT * FROM {keen.table}",
        "UPDATE receipts SET rows = 1",
        "CREATE TABLE mine ()",
    )
    for statement in forbidden:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(settings, statement)


def test_scoring_reads_the_shop_and_cannot_write_it(settings: Settings) -> None:
    assert ask(settings, "SELECT count(*) FROM customers", "scoring")[0][0] > 0
    for statement in ("DELETE FROM tickets", "UPDATE customers SET city = 'x'", "CREATE TABLE mine ()"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(settings, statement, "scoring")
