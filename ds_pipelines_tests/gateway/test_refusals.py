"""What the client makes of the gateway's own refusals: each is told apart, and says what to do."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from ds_pipelines.errors import (
    GatewayBusyError,
    GatewayForbidsError,
    GatewayRefusedError,
    RequestRefusedError,
    UnknownExtractError,
)
from ds_pipelines.gateway import grants, transport
from ds_pipelines.gateway.client import Gateway
from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.grants import Wanted
from ds_pipelines.gateway.queue import OPEN_AT_ONCE, Queue
from ds_pipelines.gateway.tokens import new_token
from ds_pipelines.gateway.users import SHARED
from ds_pipelines.gateway.wire import RequestWanted
from ds_pipelines_tests.gateway.scenario import MONDAY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

QUESTION = RequestWanted(table="orders", since=MONDAY, until=MONDAY, reason="the spring sale")
A_SECOND = 60
"""Of the requests a minute that a token may send, so many come back in one."""


@contextmanager
def holding(place: Settings, cache: Path, **chosen: Any) -> Iterator[Gateway]:
    """The client of somebody with a token of their own."""
    said: dict[str, Any] = {"kind": "extracts", "tables": None, "lifetime": timedelta(days=1)} | chosen
    token = grants.create(Wanted(f"refused {uuid4()}", **said), place)
    with Gateway(place.gateway_base, token, cache) as gateway:
        yield gateway


def test_a_token_that_is_none_is_refused(served: Settings, tmp_path: Path) -> None:
    with (
        Gateway(served.gateway_base, new_token(), tmp_path) as gateway,
        pytest.raises(GatewayRefusedError, match="refuses the token: expected the one in secrets/gateway"),
    ):
        gateway.tables()


def test_a_token_for_scores_opens_no_extracts_and_is_told_why(served: Settings, tmp_path: Path) -> None:
    words = r"This token is for scores: expected one for extracts\..*Expected a token for extracts in"
    with holding(served, tmp_path, kind="scores", tables=frozenset({"top_sellers"})) as gateway:
        for ask in (gateway.tables, gateway.requests, lambda: gateway.ask(QUESTION)):
            with pytest.raises(GatewayForbidsError, match=words):
                ask()


def test_of_a_table_outside_the_token_s_nothing_is_told_but_what_there_is(served: Settings, tmp_path: Path) -> None:
    with holding(served, tmp_path, tables=frozenset({"orders"})) as gateway:
        with pytest.raises(UnknownExtractError, match=r"'customers'\. Published are: orders\b"):
            gateway.manifests("customers")
        with pytest.raises(
            RequestRefusedError, match="'customers' that this token may ask for; expected one of orders"
        ):
            gateway.ask(RequestWanted(table="customers", reason="the newest state"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"table": "customers"}, "customers is extracted as it is now; expected neither since nor until"),
        ({"since": None, "until": None}, "orders is extracted by day; expected since and until, days from"),
        ({"reason": "a reason\0"}, "no text may hold a NUL"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused_in_the_gateway_s_words(
    served: Settings, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with holding(served, tmp_path) as gateway, pytest.raises(RequestRefusedError, match=said):
        gateway.ask(QUESTION.model_copy(update=changed))


def test_who_asks_too_fast_is_slowed_down_and_served(served: Settings, tmp_path: Path) -> None:
    with holding(served, tmp_path, requests_per_minute=A_SECOND) as gateway:
        began = time.monotonic()
        for _ in range(A_SECOND + 3):
            gateway.tables()
        assert time.monotonic() - began >= 1


def test_who_asks_for_more_than_waiting_helps_is_told_the_limit(
    served: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PATIENCE", 1.0)
    with holding(served, tmp_path, requests_per_minute=2) as gateway:
        gateway.tables()
        gateway.tables()
        with pytest.raises(GatewayBusyError, match=r"used up its requests for the moment.*try again in \d+ seconds"):
            gateway.tables()


def test_bytes_that_are_used_up_are_told_at_once_and_until_when(served: Settings, tmp_path: Path) -> None:
    with holding(served, tmp_path, bytes_per_day=10_000) as gateway:
        manifests = gateway.manifests("orders")
        with pytest.raises(GatewayBusyError, match=r"used up its bytes for today \(UTC\).* try again in \d+ "):
            gateway.fetch_all(manifests)


def test_more_open_requests_than_there_may_be_are_told_with_their_number(
    served: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PATIENCE", 1.0)
    with holding(served, tmp_path) as gateway:
        queue, token = Queue(Database(served)), grants.listed(served)[-1].id
        for _ in range(OPEN_AT_ONCE):
            queue.ask(QUESTION, 1, token=token, user=SHARED, asserted_by="nobody")
        other = QUESTION.model_copy(update={"reason": "another reason"})
        with pytest.raises(GatewayBusyError, match=f"This token has {OPEN_AT_ONCE} requests waiting or running"):
            gateway.ask(other)
        assert gateway.ask(QUESTION).reason == QUESTION.reason
