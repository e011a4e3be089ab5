"""Asking for what is not published: queued once, followed with patience, and explained when it cannot be had."""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import pytest

from ds_pipelines.errors import (
    GatewayBusyError,
    GatewayFailedError,
    GatewayForbidsError,
    NoSuchRequestError,
    RequestFailedError,
    RequestRefusedError,
    StillWaitingError,
)
from ds_pipelines.gateway import transport, waiting
from ds_pipelines.gateway.client import Gateway, connect
from ds_pipelines.gateway.tokens import ensure_token
from ds_pipelines.gateway.waiting import wait
from ds_pipelines.gateway.wire import RequestStatus, RequestWanted
from ds_pipelines_tests.gateway.asking import asking
from ds_pipelines_tests.gateway.scenario import NEXT_WEEK, database_of_its_own, make_installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

TUESDAY = NEXT_WEEK + timedelta(days=1)
PATIENCE = timedelta(seconds=20)
REASON = "repurchase within 30 days"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, shared: Settings) -> Iterator[Settings]:
    """An installation whose gateway takes requests, with a production that answers them."""
    settings = make_installation(tmp_path_factory.mktemp("home"), database_of_its_own(shared))
    with asking(settings):
        yield settings


@pytest.fixture
def gateway(production: Settings) -> Iterator[Gateway]:
    with connect(production) as gateway:
        yield gateway


def wanted(
    table: str = "orders", since: date | None = NEXT_WEEK, until: date | None = TUESDAY, **said: str
) -> RequestWanted:
    return RequestWanted(table=table, since=since, until=until, **{"reason": REASON} | said)


def ignore(_: RequestStatus) -> None: ...


# With a production that answers


def test_what_was_asked_for_is_published_when_the_request_is_done(gateway: Gateway) -> None:
    told: list[RequestStatus] = []
    done = wait(gateway, gateway.ask(wanted()), PATIENCE, told.append)
    assert (done.state, done.done, done.days) == ("done", 2, 2)
    assert {NEXT_WEEK, TUESDAY} <= {manifest.day for manifest in gateway.manifests("orders")}
    assert told[0].state in {"queued", "running"}
    assert told[-1] == done
    assert [each.done for each in told] == sorted(each.done for each in told)


def test_a_state_is_asked_for_without_days(gateway: Gateway) -> None:
    done = wait(gateway, gateway.ask(wanted("products", None, None)), PATIENCE, ignore)
    assert done.days == 1
    assert gateway.manifests("products")[-1].rows_of == "state"


def test_the_same_question_is_not_asked_twice_while_it_is_open(gateway: Gateway, production: Settings) -> None:
    question = wanted(since=date(2025, 5, 1), until=date(2025, 5, 4))
    first = gateway.ask(question)
    assert gateway.ask(question).id == first.id
    with connect(production, user="ada") as ada:
        assert ada.ask(question).id not in {first.id, gateway.ask(question).id}
    assert gateway.ask(question.model_copy(update={"until": date(2025, 5, 5)})).id != first.id


def test_a_request_carries_its_reason_and_its_user_whom_nobody_but_the_client_vouches_for(
    gateway: Gateway, production: Settings
) -> None:
    with connect(production, user="Ada Lovelace") as ada:
        asked = ada.ask(wanted(since=date(2025, 6, 1), until=date(2025, 6, 1)))
    shown = gateway.request(asked.id)
    assert (shown.reason, shown.user, shown.asserted_by) == (REASON, "Ada Lovelace", "token")
    assert asked.id in {each.id for each in gateway.requests()}


def test_a_table_that_there_is_not_is_named_with_those_there_are(gateway: Gateway) -> None:
    known = "categories, customers, order_lines, orders, products, tickets"
    with pytest.raises(RequestRefusedError, match=f"'invoices' that this token may ask for; expected one of {known}"):
        gateway.ask(wanted("invoices"))


def test_days_that_cannot_be_extracted_are_refused_in_the_gateway_s_words(gateway: Gateway) -> None:
    with pytest.raises(RequestRefusedError, match=r"'orders' is refused: .*2025"):
        gateway.ask(wanted(since=date(1999, 1, 1), until=date(1999, 1, 1)))


@pytest.mark.parametrize("id_", ["6d0c0a0e-58a3-4a63-9d43-0a1f6d2b9f11", "none", "../extracts"])
def test_a_request_that_there_is_not_is_explained(gateway: Gateway, id_: str) -> None:
    with pytest.raises(NoSuchRequestError, match="ds-pipelines requests list"):
        gateway.request(id_)


def test_a_request_that_fails_says_why(gateway: Gateway) -> None:
    with pytest.raises(RequestFailedError, match=r"'order_lines' failed in production: the database is in its hours\."):
        wait(gateway, gateway.ask(wanted("order_lines")), PATIENCE, ignore)


def test_who_waits_no_longer_is_told_that_it_goes_on(gateway: Gateway) -> None:
    asked = gateway.ask(wanted(since=date(2025, 7, 1), until=date(2025, 7, 20)))
    with pytest.raises(StillWaitingError, match=rf"{asked.id} .* not done after .*requests show {asked.id}"):
        wait(gateway, asked, timedelta(seconds=0.5), ignore)


def test_a_gateway_that_is_away_is_waited_for_as_long_as_patience_lasts(
    tmp_path: Path, database: dict[str, SecretStr], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_installation(tmp_path / "home", database)
    ensure_token(settings)
    monkeypatch.setattr(waiting, "LAST_PAUSE", 0.2)
    with connect(settings) as gateway:
        with asking(settings):
            asked = gateway.ask(wanted(until=NEXT_WEEK + timedelta(days=30)))
        with pytest.raises(StillWaitingError, match="the gateway does not answer now; before that, queued"):
            wait(gateway, asked, timedelta(seconds=2), ignore)


# With a gateway that has had enough


@contextmanager
def answering(*answers: tuple[int, dict[str, str]]) -> Iterator[tuple[str, list[float]]]:
    """A service that gives these answers, the last one for ever; its address, and when it was asked."""

    class Answers(http.server.BaseHTTPRequestHandler):
        left: ClassVar = list(answers)
        asked: ClassVar[list[float]] = []

        def do_GET(self) -> None:
            status, headers = self.left.pop(0) if len(self.left) > 1 else self.left[0]
            self.asked.append(time.monotonic())
            content = b"[]" if status == 200 else json.dumps({"detail": "Its database is away."}).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", Answers.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_gateway_s_wish_to_wait_is_respected(tmp_path: Path) -> None:
    enough = (429, {"Retry-After": "0.4"})
    with answering(enough, enough, (200, {})) as (url, asked), Gateway(url, "ds_token", tmp_path) as gateway:
        assert gateway.requests() == []
    assert len(asked) == 3
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(asked))


def test_waiting_for_longer_than_a_person_would_is_refused_at_once(tmp_path: Path) -> None:
    with answering((429, {"Retry-After": "3600"})) as (url, asked), Gateway(url, "ds_token", tmp_path) as gateway:
        with pytest.raises(GatewayBusyError, match=r"for now: Its database is away\. .* try again in 60 minutes"):
            gateway.requests()
        assert len(asked) == 1


def test_waiting_again_and_again_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PATIENCE", 1.0)
    with answering((429, {"Retry-After": "0.3"})) as (url, asked), Gateway(url, "ds_token", tmp_path) as gateway:
        with pytest.raises(GatewayBusyError):
            gateway.requests()
        assert len(asked) == 4


def test_a_token_for_something_else_is_told_apart_from_one_that_is_none(tmp_path: Path) -> None:
    with (
        answering((403, {})) as (url, _),
        Gateway(url, "ds_token", tmp_path) as gateway,
        pytest.raises(GatewayForbidsError, match="Expected a token for extracts"),
    ):
        gateway.tables()


def test_a_gateway_that_fails_says_why(tmp_path: Path) -> None:
    words = r"cannot serve now: status 503, Its database is away\. Try again"
    with (
        answering((503, {})) as (url, _),
        Gateway(url, "ds_token", tmp_path) as gateway,
        pytest.raises(GatewayFailedError, match=words),
    ):
        gateway.requests()
