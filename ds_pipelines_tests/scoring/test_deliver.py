"""A delivery is visible whole or not at all, once a job and day, and says so by a receipt."""

from __future__ import annotations

import dataclasses
import hashlib
import signal
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg2
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import ContractBrokenError, DeliveryFailedError, LateDeliveryError, ServingTableDiffersError
from ds_pipelines.scoring import receipt
from ds_pipelines.scoring.deliver import _begin as begin_within
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.job import ServedColumn
from ds_pipelines.settings import Settings, environment
from ds_pipelines_tests.scoring.scenario import (
    INPUTS,
    MONDAY,
    RELEASE,
    SCORES,
    SCORES_CORRECTED,
    TUESDAY,
    ask,
    job,
    rows,
    scores_of,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt


@pytest.fixture
def keen() -> ScoringJob:
    """A job whose table no other test has touched."""
    return job(f"keen_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def give(keen: ScoringJob, settings: Settings) -> Callable[[date, list[float]], Receipt]:
    return lambda day, scores: give_frame(rows(day, scores), keen, day, settings)


def give_frame(
    frame: pl.DataFrame | Iterator[pl.DataFrame], keen: ScoringJob, day: date, settings: Settings, **more: Any
) -> Receipt:
    facts = {"release": RELEASE, "inputs": INPUTS, "began": begin(settings)} | more
    return deliver(frame, keen, day, settings=settings, **facts)


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
    columns = "customer, segment, score, worth, decile"  # all but the day, which is the receipt's
    query = f"COPY (SELECT {columns} FROM {keen.table} WHERE day = '{MONDAY}' ORDER BY customer) TO STDOUT (FORMAT csv)"
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
        give_frame(frame, keen, MONDAY, settings)
    assert named in str(refused.value)
    assert scores_of(settings, keen, MONDAY) == SCORES_CORRECTED


def test_a_refusal_tells_no_value(settings: Settings, keen: ScoringJob) -> None:
    frame = rows(MONDAY, [0.123456]).with_columns(segment=pl.lit("rosa@example.org"), score=pl.lit(7.77125))
    with pytest.raises(ContractBrokenError) as refused:
        give_frame(frame, keen, MONDAY, settings)
    assert "rosa" not in str(refused.value)
    assert "7.77" not in str(refused.value)


def test_what_only_the_database_refuses_is_rolled_back_and_not_quoted(
    settings: Settings, keen: ScoringJob, give: Any
) -> None:
    give(MONDAY, SCORES)
    unstorable = rows(MONDAY, SCORES_CORRECTED).with_columns(segment=pl.lit("secret\x00text"))
    with pytest.raises(DeliveryFailedError) as failed:
        give_frame(unstorable, keen, MONDAY, settings)
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

whole = deliver.publish

def killed(*arguments):
    whole(*arguments)  # the old receipt is replaced and the new rows are in, none of it committed
    os.kill(os.getpid(), signal.SIGKILL)

deliver.publish = killed
settings = load_settings(home=Path(sys.argv[1]))
frame = rows(MONDAY, SCORES_CORRECTED)
began = deliver.begin(settings)
deliver.deliver(frame, job(sys.argv[2]), MONDAY, release=RELEASE, inputs=INPUTS, settings=settings, began=began)
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


def test_deliveries_of_one_day_at_once_leave_one_and_count_no_row_twice(
    settings: Settings, keen: ScoringJob, give: Any
) -> None:
    versions = [[score] * 2_000 for score in (0.1, 0.2, 0.3, 0.4)]
    started = threading.Barrier(len(versions))
    late: list[LateDeliveryError] = []

    def at_once(scores: list[float]) -> None:
        started.wait()
        try:
            give(MONDAY, scores)
        except LateDeliveryError as error:
            late.append(error)

    threads = [threading.Thread(target=at_once, args=(scores,)) for scores in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scores_of(settings, keen, MONDAY) in versions
    assert ask(settings, f"SELECT count(*) FROM receipts WHERE job = '{keen.name}'") == [(1,)]
    assert len(receipt.replaced(keen, settings)) + len(late) == len(versions) - 1


def test_a_run_that_began_earlier_never_replaces_what_a_later_one_delivered(
    settings: Settings, keen: ScoringJob, give: Any
) -> None:
    early = begin(settings)
    given = give(MONDAY, SCORES)
    with pytest.raises(LateDeliveryError, match="comes late"):
        give_frame(rows(MONDAY, SCORES_CORRECTED), keen, MONDAY, settings, began=early)
    assert scores_of(settings, keen, MONDAY) == SCORES
    assert receipt.find(keen, MONDAY, settings) == given


def test_one_run_delivers_a_day_once(settings: Settings, keen: ScoringJob) -> None:
    began = begin(settings)
    give_frame(rows(MONDAY, SCORES), keen, MONDAY, settings, began=began)
    with pytest.raises(LateDeliveryError):
        give_frame(rows(MONDAY, SCORES), keen, MONDAY, settings, began=began)
    assert receipt.replaced(keen, settings) == []


def test_runs_begin_one_after_the_other_when_the_clock_goes_back(settings: Settings) -> None:
    tomorrow = begin(settings) + timedelta(days=1)
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE beginnings SET last = %s", (tomorrow,))
        assert begin_within(cursor) > tomorrow
        connection.rollback()


def test_a_second_receipt_of_a_day_is_refused_by_the_database(settings: Settings, keen: ScoringJob, give: Any) -> None:
    given = give(MONDAY, SCORES)
    again = f"INSERT INTO receipts SELECT * FROM receipts WHERE delivery = '{given.delivery}'"
    with pytest.raises(psycopg2.errors.UniqueViolation):
        ask(settings, again, "serving")
    back = f"UPDATE receipts SET delivery = gen_random_uuid(), began = began - interval '1s' WHERE job = '{keen.name}'"
    with pytest.raises(psycopg2.Error, match="never replaces one that began later"):
        ask(settings, back, "serving")


def test_rows_come_in_batches_that_are_drawn_one_by_one(settings: Settings, keen: ScoringJob, give: Any) -> None:
    whole = give(MONDAY, SCORES)
    given = give_frame(rows(TUESDAY, SCORES).iter_slices(2), keen, TUESDAY, settings)
    assert scores_of(settings, keen, TUESDAY) == SCORES
    assert (given.rows, given.checksum) == (whole.rows, whole.checksum)


def test_a_batch_that_breaks_the_contract_leaves_nothing_of_those_before(settings: Settings, keen: ScoringJob) -> None:
    batches = iter([rows(MONDAY, SCORES), rows(MONDAY, SCORES).with_columns(score=pl.lit(2.0))])
    with pytest.raises(ContractBrokenError, match="at most 1"):
        give_frame(batches, keen, MONDAY, settings)
    assert ask(settings, f"SELECT FROM {keen.table}_rows", "serving") == []


def test_a_key_in_two_batches_breaks_the_contract(settings: Settings, keen: ScoringJob) -> None:
    with pytest.raises(ContractBrokenError, match="the same key more than once"):
        give_frame(iter([rows(MONDAY, SCORES)] * 2), keen, MONDAY, settings)


def test_rows_of_numbers_alone_arrive_as_they_were(settings: Settings, keen: ScoringJob) -> None:
    """They take another way than texts: PostgreSQL's binary form."""
    kinds = {"day": "date", "customer": "bigint", "since": "date", "visits": "integer", "score": "double precision"}
    columns = tuple(ServedColumn(name, kind, name) for name, kind in kinds.items())
    plain = dataclasses.replace(keen, columns=columns)
    least, most = -(2**31), 2**31 - 1
    frame = pl.DataFrame(
        [
            (MONDAY, -(2**63), date(1, 1, 1), least, -1e300),
            (MONDAY, 0, date(1999, 12, 31), 0, 5e-324),
            (MONDAY, 2**63 - 1, date(9999, 12, 31), most, 0.1 + 0.2),
        ],
        schema=plain.schema,
        orient="row",
    )
    give_frame(frame, plain, MONDAY, settings)
    assert ask(settings, f"SELECT * FROM {plain.table} ORDER BY customer") == frame.rows()


def test_a_job_with_one_row_a_day_is_delivered_and_corrected(settings: Settings, keen: ScoringJob) -> None:
    single = dataclasses.replace(keen, key=("day",))
    give_frame(rows(MONDAY, [0.5]), single, MONDAY, settings)
    assert give_frame(rows(MONDAY, [0.25]), single, MONDAY, settings).changed == 1


def test_consumers_read_tables_views_and_receipts_and_write_nothing(
    settings: Settings, keen: ScoringJob, give: Any
) -> None:
    give(MONDAY, SCORES)
    for readable in (keen.table, f"latest_{keen.table}", "receipts", "freshness"):
        assert ask(settings, f"SELECT count(*) FROM {readable}")[0][0] > 0
    forbidden = (
        "SELECT FROM receipts_replaced",
        f"SELECT FROM {keen.table}_rows",
        f"DELETE FROM {keen.table}",
        f"INSERT INTO latest_{keen.table} SELECT * FROM {keen.table}",
        "UPDATE receipts SET rows = 1",
        "CREATE TABLE mine ()",
    )
    for statement in forbidden:
        # Of a view over two tables PostgreSQL says before it looks at rights that nobody can write it.
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ObjectNotInPrerequisiteState)):
            ask(settings, statement)


def test_scoring_reads_the_shop_and_cannot_write_it(settings: Settings) -> None:
    assert ask(settings, "SELECT count(*) FROM customers", "scoring")[0][0] > 0
    for statement in ("DELETE FROM tickets", "UPDATE customers SET city = 'x'", "CREATE TABLE mine ()"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(settings, statement, "scoring")
