"""A second read touches no network, and what was fetched can be read whatever is down."""

from __future__ import annotations

import http.server
import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import lab
from ds_pipelines.errors import GatewayUnreachableError
from ds_pipelines.gateway.ages import moment, words
from ds_pipelines.gateway.cache import Cache
from ds_pipelines.gateway.client import connect
from ds_pipelines.settings import environment
from ds_pipelines_tests.gateway.scenario import DAYS, MONDAY, NEXT_WEEK, make_installation, orders_of, publish, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

READ = """
import json, sys
counted = []
sys.addaudithook(lambda event, args: counted.append(event) if event.startswith("socket.") else None)
from ds_pipelines import lab
rows = [lab.table("orders", since="2025-03-04").collect().height, lab.table("customers").collect().height]
print(json.dumps({"rows": rows, "sockets": counted.count("socket.connect"), "made": counted.count("socket.__new__")}))
"""


@pytest.fixture
def desk(tmp_path: Path, database: dict[str, SecretStr], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A data scientist's environment; the gateway is the test's to start."""
    settings = make_installation(tmp_path / "home", database)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return settings


def read(**variables: str) -> dict[str, object]:
    """Reads in a process of its own, which counts what it connects to."""
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environment(**variables), capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout)) | {"said": done.stderr}


def grow_old(settings: Settings, table: str, age: timedelta) -> None:
    """Sets back when a table was listed, and when the gateway last answered."""
    then = datetime.now(UTC) - age
    [path] = settings.cache.glob(f"listings/*/{table}.json")
    listing = json.loads(path.read_text())
    path.write_text(json.dumps(listing | {"listed_at": then.isoformat()}))
    os.utime(path.parent / "reached", (then.timestamp(), then.timestamp()))


def test_the_first_read_connects_and_the_second_makes_no_socket_at_all(desk: Settings) -> None:
    with serving(desk):
        first = read()
    second = read()
    assert first["rows"] == second["rows"] == [12, 6]
    assert first["sockets"] != 0
    assert (second["sockets"], second["made"], second["said"]) == (0, 0, "")


def test_an_old_listing_is_asked_for_again(desk: Settings) -> None:
    with serving(desk):
        assert lab.table("orders").collect().height == 15
        publish(desk, "orders", {NEXT_WEEK - timedelta(days=2): orders_of(NEXT_WEEK)})
        assert lab.table("orders").collect().height == 15
        grow_old(desk, "orders", timedelta(minutes=6))
        assert lab.table("orders").collect().height == 18


def test_days_beyond_a_listing_are_asked_for_however_new_it_is(desk: Settings) -> None:
    with serving(desk):
        lab.table("orders")
        publish(desk, "orders", {DAYS[-1] + timedelta(days=1): orders_of(NEXT_WEEK)})
        assert lab.table("orders", until=DAYS[-1] + timedelta(days=1)).collect().height == 18


def test_a_day_published_anew_or_erased_since_it_was_listed_is_read_as_it_is_now(desk: Settings) -> None:
    with serving(desk):
        lab.table("orders", since=DAYS[1])
        publish(desk, "orders", {MONDAY: orders_of(MONDAY)[:1]})
        assert lab.table("orders").collect().height == 13


def test_with_the_gateway_down_it_says_how_old_what_it_reads_is(
    desk: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(desk):
        lab.table("orders")
    grow_old(desk, "orders", timedelta(hours=3))
    assert lab.table("orders").collect().height == 15
    [said] = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    for part in (
        "does not answer at 127.0.0.1",
        "`ds-pipelines up`",
        "'orders' is read as listed 3 hours ago (",
        "last answered 3 hours ago (",
    ):
        assert part in said


@contextmanager
def ailing(port: int) -> Iterator[None]:
    """A gateway whose database is away: it gives this answer to everything."""

    class Ailing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({"detail": "The gateway's database does not answer."}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Ailing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_with_the_gateway_s_database_down_it_reads_on_and_says_why(
    desk: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(desk):
        lab.table("orders")
    grow_old(desk, "orders", timedelta(days=2))
    with ailing(desk.gateway_port):
        assert lab.table("orders").collect().height == 15
    for part in ("status 503, The gateway's database does not answer. Try again", "listed 2 days ago ("):
        assert part in caplog.text


def test_with_the_gateway_down_the_tables_are_listed_as_they_were(
    desk: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(desk), connect(desk) as gateway:
        listed = gateway.tables()
    with connect(desk) as gateway:
        assert gateway.known_tables() == listed
        assert "the tables are shown as listed" in caplog.text
        assert {each.table for each in listed} == {"orders", "customers"}


def test_without_gateway_and_listing_the_error_names_the_next_step(desk: Settings) -> None:
    with serving(desk), pytest.raises(Exception, match="invoices"):
        lab.table("invoices")
    with connect(desk) as gateway, pytest.raises(GatewayUnreachableError, match="ds-pipelines up"):
        gateway.known_manifests("customers")


@pytest.mark.parametrize("damage", ["[1, 2", '{"listed_at": "yesterday", "manifests": []}'])
def test_a_damaged_listing_counts_as_none(desk: Settings, damage: str) -> None:
    with serving(desk):
        lab.table("orders")
        [path] = desk.cache.glob("listings/*/orders.json")
        path.write_text(damage)
        assert lab.table("orders").collect().height == 15
    assert Cache(desk.cache, f"127.0.0.1:{desk.gateway_port}").listing("orders") is not None


def test_the_cache_is_its_owner_s_alone(desk: Settings) -> None:
    with serving(desk):
        lab.table("orders")
    assert not [path for path in [desk.cache, *desk.cache.rglob("*")] if path.stat().st_mode & 0o077]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 seconds"), (119, "119 seconds"), (600, "10 minutes"), (10_800, "3 hours"), (1e6, "12 days")],
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert words(seconds) == said
    assert moment(datetime.now(UTC) - timedelta(seconds=seconds)).startswith(f"{said} ago (20")
