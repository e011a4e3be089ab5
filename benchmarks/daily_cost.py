"""What does one more day of scores cost: on day 30 of history and on day 900, in process, and through the queue?

A shop whose every 28 days are alike is as old as 30 days in one database and 900 in another, with as many days
delivered. The same day is scored and delivered in both, alternately, with all that surrounds it: fingerprints of the
source, receipts, the sensor's decision. Then the day is asked for as Dagster's run, in this process and of a daemon,
and what that takes in addition is orchestration.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from benchmarks.report import conclude
from ds_pipelines.settings import Settings, environment, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import dagster as dg

YOUNG, OLD = 30, 900
CYCLE = timedelta(days=28)
PORTS = {"DS_PRODUCTION_PORT": "24267", "DS_EXPLORATION_PORT": "24266"}
REPEAT = """
    DELETE FROM order_lines WHERE placed_at < %(from)s;
    INSERT INTO order_lines SELECT order_line_id + k * 1000000000, order_id, customer_id, product_id,
        placed_at - k * interval '28 days', quantity, unit_price, discount, tax_rate, channel, ship_postcode,
        gift_message FROM order_lines CROSS JOIN generate_series(1, %(times)s) AS k;
    ANALYZE order_lines;
"""


def installed(home: Path, customers: int) -> Settings:
    """A home with a shop of which every 28 days are alike, for 900 days, and with top_sellers in use."""
    from ds_pipelines import postgres, sample
    from ds_pipelines.production.jobs import JOBS
    from ds_pipelines.release.ledger import Ledger
    from ds_pipelines.release.propose import propose_computation
    from ds_pipelines.release.registry import import_release

    sample.load(sample.generate(customers=customers, seed=7), load_settings(home=home))
    settings = load_settings(home=home, releases=home / "releases")
    newest = settings.last_extractable_day()
    old = settings.model_copy(update={"first_day": newest - timedelta(days=OLD - 1)})
    with closing(postgres.connect("owner", old)) as connection, connection, connection.cursor() as cursor:
        start = old.bounds(newest - CYCLE + timedelta(days=1))[0]
        cursor.execute(REPEAT, {"from": start, "times": OLD // CYCLE.days + 1})
    job = JOBS["top_sellers"]
    released = import_release(propose_computation(job, old), job, old).champion.digest
    Ledger(old).append("deployed", job=job.name, release=released, actor="the benchmark")
    return old


def younger(old: Settings) -> Settings:
    """The same shop, of which only the newest 30 days are there, and a serving database of its own."""
    import psycopg2

    from ds_pipelines import postgres

    cluster = postgres.cluster("production", old)
    first = old.last_extractable_day() - timedelta(days=YOUNG - 1)
    with closing(psycopg2.connect(cluster.url("postgres", "postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE young_shop TEMPLATE shop OWNER owner")
            cursor.execute("CREATE DATABASE young_serving OWNER scoring")
            cursor.execute("GRANT CONNECT ON DATABASE young_shop TO scoring")
    urls = {"owner_url": ("young_shop", "owner"), "scoring_url": ("young_shop", "scoring")}
    urls["serving_url"] = ("young_serving", "scoring")
    chosen = {name: SecretStr(cluster.url(*where)) for name, where in urls.items()}
    young = old.model_copy(update={"first_day": first, **chosen})
    with closing(postgres.connect("owner", young)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM order_lines WHERE placed_at < %s", (young.bounds(first)[0],))
            cursor.execute("VACUUM FULL ANALYZE order_lines")
    return young


def deliver_all(settings: Settings) -> None:
    """Every day of history is delivered: its rows are those of one day, for that is not what is measured."""
    import polars as pl

    from ds_pipelines.production.jobs import JOBS
    from ds_pipelines.scoring.deliver import begin, deliver
    from ds_pipelines.scoring.score import score_day
    from ds_pipelines.scoring.sources import noted, sources

    job, last = JOBS["top_sellers"], settings.last_extractable_day()
    source = sources(job, [last], settings)[last]
    with score_day(job, last, settings, release="0" * 64) as scored:
        frame, inputs = scored.frame, noted(scored.inputs, source)
    for offset in range((last - settings.first_day).days + 1):
        day = settings.first_day + timedelta(days=offset)
        rows = frame.with_columns(day=pl.lit(day))
        deliver(rows, job, day, release="0" * 64, inputs=inputs, settings=settings, began=begin(settings))


def one_more_day(settings: Settings) -> None:
    """The newest day: what a tick decides about it, its scores, and their delivery."""
    from ds_pipelines.production.days import expected
    from ds_pipelines.production.due import Standing
    from ds_pipelines.production.jobs import JOBS
    from ds_pipelines.scoring.receipt import delivered
    from ds_pipelines.scoring.sources import sources

    job, day = JOBS["top_sellers"], settings.last_extractable_day()
    receipts = delivered(job, settings)
    del receipts[day]
    standing = Standing(expected(job, receipts, settings), receipts, [], datetime.now(UTC))
    [wanted] = standing.wanted(lambda days: sources(job, days, settings), version=str, most=31, again=7)
    assert wanted.days == (day,), wanted
    bare_day(settings, day)


def bare_day(settings: Settings, day: date) -> None:
    """Scores and delivers a day."""
    from ds_pipelines.production.jobs import JOBS
    from ds_pipelines.scoring.deliver import begin, deliver
    from ds_pipelines.scoring.score import score_day
    from ds_pipelines.scoring.sources import noted, sources

    job = JOBS["top_sellers"]
    source, began = sources(job, [day], settings)[day], begin(settings)
    with score_day(job, day, settings, release="0" * 64) as scored:
        inputs = noted(scored.inputs, source)
        deliver(scored.batches(), job, day, release="0" * 64, inputs=inputs, settings=settings, began=began)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def adopted(settings: Settings) -> dg.DagsterInstance:
    """This process as a run's, with the instance of the installation."""
    import dagster

    from ds_pipelines.operate.services import prepare_instance

    os.environ.update(prepare_instance(settings) | PORTS)
    return dagster.DagsterInstance.get()


def in_process(instance: dg.DagsterInstance, day: date) -> None:
    """The day as a run in this process."""
    import dagster

    from ds_pipelines.production.definitions import defs

    done = defs.resolve_job_def("daily_scoring").execute_in_process(
        instance=instance, partition_key=str(day), asset_selection=[dagster.AssetKey(["serving", "top_sellers"])],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )  # fmt: skip
    assert done.success


def through_the_queue(settings: Settings, instance: dg.DagsterInstance, times: int) -> list[float]:
    """Seconds from a run's entry into the queue to its end, of days that the sensor asks a daemon for."""
    import dagster

    chosen = {**settings.as_environment(), **PORTS, "DS_ENVIRONMENT": "production", "DS_DAYS_A_TICK": "1"}
    variables = environment(**chosen, DS_DAYS_INTERVAL="PT1S")
    serve, silent = [sys.executable, "-m", "ds_pipelines.cli", "serve"], subprocess.DEVNULL
    services = [
        subprocess.Popen([*serve, name], env=variables, stdin=silent, stdout=silent, stderr=silent)
        for name in ("production", "daemon")
    ]
    wanted = dagster.RunsFilter(
        tags={"ds_pipelines/scoring_job": "top_sellers"}, statuses=[dagster.DagsterRunStatus.SUCCESS]
    )
    try:
        deadline = time.monotonic() + 240
        while len(done := instance.get_run_records(wanted)) < times:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {len(done)} days came through the queue")
            time.sleep(0.5)
    finally:
        for service in services:
            service.terminate()
            service.wait(60)
    return [record.end_time - record.create_timestamp.timestamp() for record in done if record.end_time]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=2_000)
    parser.add_argument("--times", type=int, default=12, help="How often the day is done at either age")
    parser.add_argument("--queued", type=int, default=3, help="How many days go through the queue")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        old = installed(Path(folder) / "home", chosen.customers)
        young = younger(old)
        for each in (young, old):
            deliver_all(each)
            one_more_day(each)
        taken: dict[int, list[tuple[float, float]]] = {YOUNG: [], OLD: []}
        for _ in range(chosen.times):
            for age, each in ((YOUNG, young), (OLD, old)):
                taken[age].append(timed(lambda each=each: one_more_day(each)))  # type: ignore[misc]
        instance, day = adopted(old), old.last_extractable_day()
        in_process(instance, day)
        pairs = [
            (timed(lambda: bare_day(old, day))[0], timed(lambda: in_process(instance, day))[0])
            for _ in range(chosen.times)
        ]
        bare, added = median(each for each, _ in pairs), median(run - each for each, run in pairs)
        forget(old, day - timedelta(days=chosen.queued - 1))
        queued = median(through_the_queue(old, instance, chosen.queued)) - bare
        tell(taken, bare, added, queued)


def forget(settings: Settings, first: date) -> None:
    """The newest days count as missing, so that they are asked for."""
    from ds_pipelines import postgres

    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM receipts WHERE job = 'top_sellers' AND day >= %s", (first,))


def tell(taken: dict[int, list[tuple[float, float]]], bare: float, added: float, queued: float) -> None:
    """The table, and whether the goals are reached."""
    cpu = {age: median(each for _, each in found) for age, found in taken.items()}
    wall = {age: median(each for each, _ in found) for age, found in taken.items()}
    ratio = median(old / young for (_, young), (_, old) in zip(taken[YOUNG], taken[OLD], strict=True))
    of_wall = median(old / young for (young, _), (old, _) in zip(taken[YOUNG], taken[OLD], strict=True))
    conclude(
        "daily_cost",
        [
            *((f"one more day, on day {age}", f"{wall[age]:.2f}", f"{cpu[age]:.2f}", "") for age in (YOUNG, OLD)),
            ("day 900 / day 30", f"{of_wall:.2f} x", f"{ratio:.2f} x", "1.1 x"),
            ("a day by itself", f"{bare:.2f}", "", ""),
            ("orchestration, in process", f"{added:.2f}", "", "1"),
            ("orchestration, through the queue", f"{queued:.2f}", "", "8"),
        ],
        header=("what", "wall s", "CPU s", "goal"),
        figure=of_wall,
        goal="day 900 costs at most 1.1 x day 30 (wall); orchestration adds at most 1 s in process, 8 s by the queue",
        limit=f"a day by itself takes {bare:.2f} s; load average {os.getloadavg()[0]:.1f}",
        holds=of_wall <= 1.1 and added <= 1 and queued <= 8,
    )


if __name__ == "__main__":
    main()
