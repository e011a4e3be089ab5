"""Asking for what is not published: what can be asked for, by whom, and what the answer says."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from ds_pipelines.gateway import audit, grants, queue
from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.grants import Wanted
from ds_pipelines.gateway.users import stated
from ds_pipelines.gateway.wire import RequestStatus
from ds_pipelines_tests.gateway.scenario import DAYS, FRIDAY, MONDAY, make_installation, orders_of, publish, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

TODAY = MONDAY + timedelta(days=14)
YESTERDAY = TODAY - timedelta(days=1)
REASON = "the week before the sale"
ORDERS: dict[str, Any] = {"table": "orders", "since": str(MONDAY), "until": str(FRIDAY), "reason": REASON}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, database: dict[str, SecretStr]) -> Iterator[Settings]:
    """A gateway of a business that began on Monday and whose last day is Friday week."""
    home = tmp_path_factory.mktemp("requests")
    place = make_installation(home, database, first_day=MONDAY, today=TODAY)
    with serving(place):
        yield place


def client(place: Settings, name: str, tables: frozenset[str] | None = None) -> httpx.Client:
    token = grants.create(Wanted(name, "extracts", tables, timedelta(days=1)), place)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=place.gateway_base, headers=headers, trust_env=False)


@pytest.fixture
def ana(place: Settings) -> Iterator[httpx.Client]:
    with client(place, f"ana {uuid4()}") as ana:
        yield ana


def test_a_request_is_queued_and_can_be_watched(ana: httpx.Client) -> None:
    answer = ana.post("/v1/requests", json=ORDERS)
    assert answer.status_code == 201
    asked = RequestStatus.model_validate(answer.json())
    assert (asked.table, asked.since, asked.until, asked.reason) == ("orders", MONDAY, FRIDAY, REASON)
    assert (asked.state, asked.days, asked.done, asked.message) == ("queued", 5, 0, "")
    assert (asked.user, asked.asserted_by) == ("shared", "nobody")
    assert asked.started_at is None
    assert asked.finished_at is None
    assert ana.get(f"/v1/requests/{asked.id}").json() == answer.json()
    assert ana.get("/v1/requests").json() == [answer.json()]


def test_days_are_counted_as_they_are_published(place: Settings, ana: httpx.Client) -> None:
    """Days that were published before do not count: they are what was there when it was asked."""
    asked = ana.post("/v1/requests", json=ORDERS).json()
    now = RequestStatus.model_validate(asked).asked_at + timedelta(seconds=1)
    publish(place, "orders", {day: orders_of(day) for day in DAYS[:2]}, published_at=now)
    assert ana.get(f"/v1/requests/{asked['id']}").json()["done"] == 2


def test_a_table_of_current_state_is_one_day(ana: httpx.Client) -> None:
    asked = ana.post("/v1/requests", json={"table": "customers", "reason": REASON}).json()
    assert (asked["days"], asked["since"], asked["until"]) == (1, None, None)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"since": str(MONDAY - timedelta(days=1))}, f"from {MONDAY} to {YESTERDAY}"),
        ({"until": str(TODAY)}, f"from {MONDAY} to {YESTERDAY}"),
        ({"since": str(FRIDAY), "until": str(MONDAY)}, "is before since"),
        ({"since": None}, f"expected since and until, days from {MONDAY} to {YESTERDAY}"),
        ({"table": "customers"}, "expected neither since nor until"),
        ({"reason": "why"}, "reason: String should have at least 5 characters"),
        ({"reason": "w" * 501}, "reason: String should have at most 500 characters"),
        ({"reason": "a reason\0"}, "no text may hold a NUL"),
        ({"since": "yesterday"}, "since: Input should be a valid date"),
        ({"urgent": True}, "urgent: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_extracted_is_refused_with_what_can(
    ana: httpx.Client, changed: dict[str, Any], reason: str
) -> None:
    answer = ana.post("/v1/requests", json=ORDERS | changed)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


def test_a_table_that_the_token_may_not_see_is_answered_as_one_that_there_is_none_of(place: Settings) -> None:
    with client(place, "narrow", frozenset({"orders"})) as narrow:
        hidden = narrow.post("/v1/requests", json=ORDERS | {"table": "tickets"})
        absent = narrow.post("/v1/requests", json=ORDERS | {"table": "nothing"})
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json()["detail"] == absent.json()["detail"].replace("nothing", "tickets")


def test_a_request_is_seen_by_the_token_that_asked(place: Settings, ana: httpx.Client) -> None:
    asked = ana.post("/v1/requests", json=ORDERS).json()
    with client(place, "ben") as ben:
        assert ben.get("/v1/requests").json() == []
        assert ben.get(f"/v1/requests/{asked['id']}").status_code == 404
    assert ana.get(f"/v1/requests/{uuid4()}").status_code == 404
    assert ana.get("/v1/requests/1").status_code == 422


def test_whom_the_asker_names_is_said_to_be_the_asker_s_word(place: Settings) -> None:
    with client(place, "lab") as lab:
        asked = lab.post("/v1/requests", json=ORDERS, headers=stated("Zoë")).json()
    assert (asked["user"], asked["asserted_by"]) == ("Zoë", "token")
    [(_, line)] = Database(place).run(lambda cursor: audit.read(cursor, named="lab"))
    assert (line.user, line.asserted_by, line.table, line.status) == ("Zoë", "token", "orders", 201)


def test_so_many_may_be_open_and_no_more(place: Settings) -> None:
    with client(place, "eager") as eager:
        answers = [eager.post("/v1/requests", json=ORDERS) for _ in range(queue.OPEN_AT_ONCE + 1)]
    assert [answer.status_code for answer in answers] == [201] * queue.OPEN_AT_ONCE + [429]
    assert "Retry-After" in answers[-1].headers
    assert date.fromisoformat(answers[0].json()["since"]) == MONDAY
