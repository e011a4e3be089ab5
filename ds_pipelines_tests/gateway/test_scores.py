"""Scores for consumers: what was delivered, in the form that they ask for, for who may read it."""

from __future__ import annotations

import io
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
import polars as pl
import pytest

from ds_pipelines.gateway import grants
from ds_pipelines.gateway.grants import Wanted
from ds_pipelines.gateway.server.scores import ARROW, JSON, PARQUET
from ds_pipelines.production.jobs.top_sellers import JOB
from ds_pipelines.scoring import serving
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines_tests.gateway import scenario
from ds_pipelines_tests.gateway.scenario import make_installation, serving_database_of_its_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

MONDAY = date(2025, 3, 3)
TUESDAY = MONDAY + timedelta(days=1)
PRODUCTS = {MONDAY: ["mug", "tray"], TUESDAY: ["lamp"]}


def sellers(day: date) -> pl.DataFrame:
    """The best sellers of the one category that there is."""
    products = PRODUCTS[day]
    return pl.DataFrame(
        {
            "day": [day] * len(products),
            "segment": ["all"] * len(products),
            "category": ["kitchen"] * len(products),
            "rank": range(1, len(products) + 1),
            "product_id": range(7, 7 + len(products)),
            "product": products,
            "quantity": [10] * len(products),
            "revenue": [Decimal("12.30")] * len(products),
        },
        schema={column.name: JOB.schema[column.name] for column in JOB.columns},
    )


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, shared: Settings, database: dict[str, SecretStr]
) -> Iterator[Settings]:
    """A gateway over a serving database of its own, with two days delivered."""
    urls = database | serving_database_of_its_own(shared)
    place = make_installation(tmp_path_factory.mktemp("scores"), urls)
    for day in PRODUCTS:
        deliver(sellers(day), JOB, day, release="0" * 64, inputs=[], settings=place, began=begin(place))
    with scenario.serving(place):
        yield place


@pytest.fixture(scope="module")
def consumer(place: Settings) -> Iterator[httpx.Client]:
    """HTTP with a token for the best sellers."""
    token = grants.create(Wanted("web shop", "scores", frozenset({JOB.table}), timedelta(days=1)), place)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=place.gateway_base, headers=headers, trust_env=False) as client:
        yield client


def test_what_was_delivered_is_listed(consumer: httpx.Client) -> None:
    assert consumer.get("/v1/scores").json() == [
        {
            "table": JOB.table, "job": JOB.name, "description": JOB.description, "first_day": str(MONDAY),
            "last_day": str(TUESDAY), "days": 2, "rows": 1, "stale": True,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("day", [MONDAY, TUESDAY])
def test_a_day_comes_as_it_was_delivered(consumer: httpx.Client, day: date) -> None:
    answer = consumer.get(f"/v1/scores/{JOB.table}", params={"day": str(day)}, headers={"Accept": PARQUET})
    assert answer.headers["Content-Type"] == PARQUET
    assert pl.read_parquet(io.BytesIO(answer.content)).sort("rank").equals(sellers(day))


def test_without_a_day_the_newest_comes(consumer: httpx.Client) -> None:
    answer = consumer.get(f"/v1/scores/{JOB.table}", headers={"Accept": ARROW})
    assert pl.read_ipc_stream(io.BytesIO(answer.content)).equals(sellers(TUESDAY))
    assert answer.headers["X-Day"] == str(TUESDAY)


def test_the_newest_is_marked_stale_as_long_as_a_newer_one_is_due(place: Settings) -> None:
    assert stale_on(place, TUESDAY + timedelta(days=1)) == "false"
    assert stale_on(place, TUESDAY + timedelta(days=2)) == "true"


def stale_on(place: Settings, today: date) -> str:
    """What the gateway says of the newest day at noon of a day."""
    serving.ensure([JOB], place.model_copy(update={"today": today}))
    token = grants.create(Wanted(f"shop on {today}", "scores", frozenset({JOB.table}), timedelta(days=1)), place)
    headers = {"Authorization": f"Bearer {token}", "Accept": ARROW}
    with httpx.Client(base_url=place.gateway_base, headers=headers, trust_env=False) as client:
        return client.get(f"/v1/scores/{JOB.table}").headers["X-Stale"]


@pytest.mark.parametrize("accept", [JSON, "*/*", "text/html, application/*;q=0.8"])
def test_json_is_for_who_asks_for_nothing_else(consumer: httpx.Client, accept: str) -> None:
    answer = consumer.get(f"/v1/scores/{JOB.table}", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == JSON
    [row] = answer.json()
    assert (row["product"], row["day"], Decimal(str(row["revenue"]))) == ("lamp", str(TUESDAY), Decimal("12.30"))


def test_a_form_that_there_is_not_is_refused(consumer: httpx.Client) -> None:
    answer = consumer.get(f"/v1/scores/{JOB.table}", headers={"Accept": "text/csv"})
    assert answer.status_code == 406
    assert PARQUET in answer.json()["detail"]


def test_scores_that_were_not_delivered_are_none(consumer: httpx.Client) -> None:
    never = consumer.get(f"/v1/scores/{JOB.table}", params={"day": "2024-01-01"})
    hidden, absent = consumer.get("/v1/scores/repurchase_scores"), consumer.get("/v1/scores/nothing")
    assert [answer.status_code for answer in (never, hidden, absent)] == [404, 404, 404]
    assert hidden.json()["detail"] == absent.json()["detail"].replace("nothing", "repurchase_scores")
    assert f"This token may read: {JOB.table}" in absent.json()["detail"]


@pytest.mark.parametrize("table", ["receipts", "latest_top_sellers", "top_sellers; SELECT 1", "pg_roles"])
def test_nothing_else_of_the_serving_database_is_read(consumer: httpx.Client, table: str) -> None:
    assert consumer.get(f"/v1/scores/{table}").status_code == 404


def test_the_schema_of_a_table_says_what_the_policy_made_of_each_column(web: httpx.Client) -> None:
    schema = web.get("/v1/extracts/orders/schema").json()
    assert {column["name"]: column["treatment"] for column in schema["columns"]}["customer_id"] == "pseudonym(customer)"
    assert schema["withheld"] == [{"name": "ship_city", "explanation": "narrows down who ordered"}]


def test_the_days_of_a_table_come_in_short(web: httpx.Client) -> None:
    days, manifests = web.get("/v1/extracts/orders/days").json(), web.get("/v1/extracts/orders").json()
    assert [(each["day"], each["digest"]) for each in days] == [(each["day"], each["digest"]) for each in manifests]
