"""The pace: production goes first, and reading stops where it should."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.errors import HeldBackError, SettingsError
from ds_pipelines.extract import harm, status
from ds_pipelines.extract.harm_plot import plot
from ds_pipelines.extract.pace import Pace, spend, spent_today, within
from ds_pipelines.extract.publish import extract_state
from ds_pipelines.extract.pulse import open_pulse
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.extract.harm import Harm
    from ds_pipelines.settings import Settings

TABLE = "products"


@pytest.fixture
def calm(place: Settings) -> Settings:
    """An installation that other tests' sessions do not slow down."""
    return place.model_copy(update={"pace_active": 1_000, "pace_waiting": 1_000, "pace_probe": 1_000_000.0})


@contextmanager
def at_work(settings: Settings, backends: int) -> Iterator[None]:
    """So many backends of others that are busy."""
    with closing(postgres.connect("owner", settings)) as ends:
        connections = [postgres.connect("owner", settings) for _ in range(backends)]
        pids = [connection.info.backend_pid for connection in connections]

        def sleep(connection: Any) -> None:
            with suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(60)")

        threads = [threading.Thread(target=sleep, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        try:
            yield
        finally:
            with ends.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", (pids,))
            for thread in threads:
                thread.join()


@contextmanager
def paced(settings: Settings) -> Iterator[Pace]:
    with open_pulse("extract", settings) as pulse:
        yield Pace(settings, pulse, TABLE)


def read(pace: Pace, chunks: int, seconds: float = 0.01) -> list[int]:
    """As if chunks were read that take so long; how many rows were asked for."""
    asked = []
    for _ in range(chunks):
        with pace.turn() as turn:
            asked.append(turn.rows)
            turn.read = turn.rows
            time.sleep(seconds)
    return asked


def waited(pace: Pace) -> dict[str, float]:
    return pace.harm(None, None).waited


def test_a_calm_database_is_left_alone_for_a_tenth_of_the_time(calm: Settings, settings: Settings) -> None:
    with paced(calm) as pace, at_work(settings, 1):
        read(pace, 6, seconds=0.05)
        done = pace.harm(None, None)
    assert {look.sleep for look in done.looks} == {0.1}
    assert set(done.waited) == {"in proportion"}
    assert done.waited["in proportion"] >= 5 * 0.1 * 0.05


def test_a_database_where_nobody_else_is_at_work_is_left_alone_for_less(place: Settings) -> None:
    with paced(place.model_copy(update={"pace_sleep": 1.0})) as pace:
        read(pace, 6, seconds=0.05)
        done = pace.harm(None, None)
    alone = [look for look in done.looks if look.active == 0]
    assert alone, "sessions of other tests kept it busy"
    assert done.waited["in proportion"] >= 0.9 * (len(alone) - 1) * 0.2 * 0.05
    if len(alone) == len(done.looks):
        assert done.waited["in proportion"] < 5 * 1.0 * 0.05


def test_chunks_become_as_large_as_they_may_take_long(calm: Settings) -> None:
    settings = calm.model_copy(update={"pace_chunk": timedelta(seconds=0.02)})
    with paced(settings) as pace:
        asked = read(pace, 6, seconds=0.01)
    assert asked[:3] == sorted(asked[:3])
    assert asked[1] > asked[0]
    with paced(settings.model_copy(update={"pace_chunk": timedelta(seconds=0.002)})) as pace:
        assert read(pace, 4, seconds=0.01)[-1] < asked[0]


def test_others_at_work_make_it_sleep_more_and_read_less_at_once(calm: Settings, settings: Settings) -> None:
    pressed = calm.model_copy(update={"pace_active": 1, "pace_chunk": timedelta(seconds=0.02)})
    with paced(pressed) as pace, at_work(settings, 3):
        asked = read(pace, 5)
        sleeps = [look.sleep for look in pace.harm(None, None).looks]
        assert asked[-1] < asked[0]
        assert sleeps == sorted(sleeps)
        assert sleeps[-1] == calm.pace_most_sleep > sleeps[0]
        assert waited(pace)["active backends"] > 0.5


def test_it_recovers_slowly_once_they_have_gone(calm: Settings, settings: Settings) -> None:
    pressed = calm.model_copy(update={"pace_active": 1, "pace_most_sleep": 8.0})
    with paced(pressed) as pace:
        with at_work(settings, 3):
            read(pace, 3)
        read(pace, 6, seconds=0.002)
        sleeps = [look.sleep for look in pace.harm(None, None).looks][-6:]
    assert sleeps == sorted(sleeps, reverse=True)
    assert all(b == pytest.approx(0.8 * a) for a, b in itertools.pairwise(sleeps))


def test_a_slow_probe_counts_as_pressed(calm: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from ds_pipelines.extract import pulse

    with paced(calm.model_copy(update={"pace_probe": 3.0})) as pace:
        read(pace, 2)
        monkeypatch.setattr(pulse, "_PROBE", "SELECT pg_sleep(0.03)")
        read(pace, 2)
        assert "slow probe" in waited(pace)


def test_nothing_is_read_while_somebody_waits_for_a_lock(calm: Settings, settings: Settings, sql: Any) -> None:
    sql("CREATE TABLE counter (id int); INSERT INTO counter VALUES (1)")
    update = f"UPDATE {sql.schema}.counter SET id = id + 1"
    watchful = calm.model_copy(update={"pace_waiting": 0})
    with closing(postgres.connect("owner", settings)) as first, closing(postgres.connect("owner", settings)) as second:
        first.cursor().execute(update)
        waiting = threading.Thread(target=lambda: second.cursor().execute(update))
        waiting.start()
        time.sleep(0.3)
        threading.Timer(0.8, first.commit).start()
        with paced(watchful) as pace:
            read(pace, 1)
            assert waited(pace)["lock waits"] > 0.4
        waiting.join()


def test_the_switch_holds_extracts_until_it_is_released(calm: Settings) -> None:
    assert "no chunk is begun" in status.pause(calm)
    assert "paused by" in next(status.status(calm))
    threading.Timer(0.8, status.resume, [calm]).start()
    told: list[Harm] = []
    began = time.monotonic()
    assert extract_state(TABLE, calm, on_harm=told.append).rows > 0
    assert time.monotonic() - began > 0.5
    assert told[0].waited["paused"] > 0.3
    assert status.resume(calm) == "Extracts were not paused."


def test_patience_ends_with_an_error_that_says_what_to_do(calm: Settings) -> None:
    status.pause(calm)
    impatient = calm.model_copy(update={"pace_patience": timedelta(seconds=0.1)})
    with pytest.raises(HeldBackError, match=r"'products' stopped: it waited for \d s: paused. What was read is kept"):
        extract_state(TABLE, impatient)


def test_above_the_hard_limit_it_stops(calm: Settings, settings: Settings) -> None:
    strict = calm.model_copy(update={"pace_stop": 1})
    with paced(strict) as pace, at_work(settings, 3), pytest.raises(HeldBackError, match="raise DS_PACE_STOP"):
        read(pace, 1)


def test_outside_its_hours_nothing_is_read(calm: Settings) -> None:
    now = datetime.now().astimezone()
    never = f"{now + timedelta(hours=3):%H}:00-{now + timedelta(hours=4):%H}:00"
    with pytest.raises(HeldBackError, match="outside DS_EXTRACT_HOURS"):
        extract_state(TABLE, calm.model_copy(update={"extract_hours": never, "zone": "UTC"}))


@pytest.mark.parametrize(
    ("hours", "clock", "allowed"),
    [
        ("08:00-18:00", "07:59", False), ("08:00-18:00", "08:00", True), ("08:00-18:00", "18:00", False),
        ("20:00-06:00", "23:59", True), ("20:00-06:00", "00:00", True), ("20:00-06:00", "06:00", False),
        (None, "12:00", True),
    ],
)  # fmt: skip
def test_hours_may_pass_midnight(hours: str | None, clock: str, allowed: bool) -> None:
    assert within(hours, datetime.fromisoformat(f"2025-06-17T{clock}:00+00:00")) is allowed


def test_hours_that_are_none_are_refused() -> None:
    with pytest.raises(SettingsError, match="DS_EXTRACT_HOURS"):
        load_settings(extract_hours="8-18")


@pytest.mark.parametrize(("limit", "name"), [("extract_rows_a_day", "ROWS"), ("extract_seconds_a_day", "SECONDS")])
def test_a_days_budget_is_kept_to_by_all_extracts_together(calm: Settings, limit: str, name: str) -> None:
    budget = calm.model_copy(update={limit: 10})
    spend(budget, 6, 6.0)
    spend(budget, 4, 4.0)
    assert (spent_today(budget).rows, spent_today(budget).seconds) == (10, 10.0)
    with pytest.raises(HeldBackError, match=f"DS_EXTRACT_{name}_A_DAY=10"):
        extract_state(TABLE, budget)


def test_who_cannot_see_what_others_do_is_told_so(calm: Settings, settings: Settings) -> None:
    cluster = postgres.cluster("production", settings)

    with closing(psycopg2.connect(cluster.url("postgres", "postgres"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("REVOKE pg_read_all_stats FROM extract")
        try:
            told: list[Harm] = []
            extract_state(TABLE, calm, on_harm=told.append)
        finally:
            cursor.execute("GRANT pg_read_all_stats TO extract")
    assert any("pg_read_all_stats" in note for note in told[0].notes)


def test_the_harm_of_each_extract_is_kept_told_and_drawn(calm: Settings) -> None:
    told: list[Harm] = []
    manifest = extract_state(TABLE, calm, on_harm=told.append)
    assert harm.latest(calm) == told
    [done] = told
    assert done.rows >= manifest.rows
    assert done.before is not None
    assert done.after is not None
    assert f"{TABLE}, " in "\n".join(status.status(calm))
    many = done.model_copy(update={"looks": done.looks * 3})
    assert (plot(many) or b"")[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_replica_that_does_not_answer_is_replaced_by_production(calm: Settings) -> None:
    there = calm.model_copy(update={"replica_url": SecretStr("postgresql://u@127.0.0.1:1/shop")})
    told: list[Harm] = []
    extract_state(TABLE, there, on_harm=told.append)
    assert told[0].database == "primary"
    assert any("DS_REPLICA_URL does not answer" in note for note in told[0].notes)
