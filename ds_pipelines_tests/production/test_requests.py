"""What was asked for through the gateway: it becomes a run, once, and whoever asked learns what became of it."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import dagster as dg
import httpx
import polars as pl
import pytest
from pydantic import SecretStr

from ds_pipelines import lab, postgres
from ds_pipelines.gateway import audit, grants
from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.queue import Queue
from ds_pipelines.gateway.tokens import read_token
from ds_pipelines.gateway.users import stated
from ds_pipelines.gateway.wire import RequestStatus, RequestWanted
from ds_pipelines.production import sensors
from ds_pipelines.settings import load_settings
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.gateway.scenario import database_of_its_own, empty, free_port, serving
from ds_pipelines_tests.locations import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from ds_pipelines.sample import Shop
    from ds_pipelines.settings import Settings

REASON = "the days before the sale"
USER = "ana"


@pytest.fixture(scope="module")
def gateway_urls(settings: Settings) -> dict[str, SecretStr]:
    """A gateway's database for the tests of this file; each begins with an empty one."""
    return database_of_its_own(settings)


@pytest.fixture
def place(
    settings: Settings, gateway_urls: dict[str, SecretStr], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A home with nothing published yet, on the small shop; this process's environment points there."""
    urls = {"extract_url": SecretStr(postgres.url("extract", settings)), **gateway_urls}
    place = load_settings(
        home=tmp_path / "home",
        gateway_port=free_port(),
        **urls,
        **settings.model_dump(include={"first_day", "today", "zone"}),
    )
    empty(place)
    grants.prepare(place)
    for name, value in place.as_environment().items():
        monkeypatch.setenv(name, value)
    for name, url in urls.items():
        monkeypatch.setenv(f"DS_{name.upper()}", url.get_secret_value())
    return place


@dataclass(frozen=True)
class Production:
    """The location production with an instance of its own, and the requests that it follows."""

    place: Settings
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    queue: Queue
    token: UUID

    def ask(self, table: str = "orders", days: int = 2) -> str:
        """A new request for the first days of a table."""
        first = self.place.first_day
        wanted = RequestWanted(table=table, since=first, until=first + timedelta(days=days - 1), reason=REASON)
        return self.queue.ask(wanted, days, token=self.token, user=USER, asserted_by="proxy").id

    def look(self) -> Any:
        """One tick of the sensor."""
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(instance=self.instance, repository_def=repository) as context:
            return self.definitions.resolve_sensor_def("requested_extracts").evaluate_tick(context)

    def tick(self) -> list[dg.RunRequest]:
        """What one tick wants to launch."""
        return list(self.look().run_requests or [])

    def next_wanted(self, asking: Future[bool]) -> list[dg.RunRequest]:
        """What the first tick that finds something wants to launch, while somebody is still asking."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not asking.done():
            if found := self.tick():
                return found
            time.sleep(0.2)
        raise AssertionError(f"nothing was asked for: {asking}")

    def made(self, request: str, status: dg.DagsterRunStatus) -> str:
        """A run of a request as Dagster stores it, at this point of its life."""
        tags = {sensors.REQUEST: request}
        run = dg.DagsterRun(job_name="daily_extract", run_id=str(uuid4()), status=status, tags=tags)
        return self.instance.add_run(run).run_id

    def launch(self, wanted: dg.RunRequest) -> Any:
        """What the daemon does with a run request, in this process."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.definitions.resolve_job_def("daily_extract").execute_in_process(
                instance=self.instance, asset_selection=list(wanted.asset_selection or ()), tags=dict(wanted.tags),
                raise_on_error=False,
            )  # fmt: skip

    def status(self, request: str) -> RequestStatus:
        """What whoever asked sees."""
        return self.queue.find(UUID(request), token=self.token)


@pytest.fixture
def production(place: Settings) -> Iterator[Production]:
    with dg.DagsterInstance.ephemeral() as instance:
        token = grants.listed(place)[0].id
        yield Production(place, load("production", place), instance, Queue(Database(place)), token)


@pytest.fixture
def web(place: Settings) -> Iterator[httpx.Client]:
    """HTTP to a gateway that runs, with the lab's own token."""
    headers = {"Authorization": f"Bearer {read_token(place)}"}
    with serving(place), httpx.Client(base_url=place.gateway_base, headers=headers, trust_env=False) as web:
        yield web


def test_a_request_becomes_one_run_of_its_table_and_days(production: Production) -> None:
    request = production.ask()
    [wanted] = production.tick()
    assert wanted.run_key == request
    assert wanted.asset_selection == [dg.AssetKey(["extract", "orders"])]
    assert wanted.tags["dagster/asset_partition_range_start"] == str(production.place.first_day)
    assert wanted.tags["dagster/asset_partition_range_end"] == str(production.place.first_day + timedelta(days=1))
    assert wanted.tags["ds_pipelines/asked_by"] == f"{USER} (says the proxy)"


def test_until_its_run_is_seen_a_request_is_asked_for_again_by_the_same_key(production: Production) -> None:
    request = production.ask()
    assert [each.run_key for each in production.tick()] == [request]
    assert [each.run_key for each in production.tick()] == [request]  # Dagster launches a key once
    assert production.status(request).state == "queued"
    production.made(request, dg.DagsterRunStatus.NOT_STARTED)
    assert production.tick() == []
    assert production.status(request).state == "running"


def test_of_one_table_one_request_runs_at_a_time_and_the_others_say_why_they_wait(production: Production) -> None:
    first, second, other = (production.ask(table) for table in ("orders", "orders", "order_lines"))
    assert [each.run_key for each in production.tick()] == [first, other]
    production.made(first, dg.DagsterRunStatus.STARTED)
    assert [each.run_key for each in production.tick()] == [other]
    assert production.status(second).message == "Waits for an earlier request of orders."


@pytest.mark.parametrize(
    ("ended", "state", "message"),
    [
        (dg.DagsterRunStatus.SUCCESS, "done", ""),
        (dg.DagsterRunStatus.FAILURE, "failed", "failed; production's pages say why"),
        (dg.DagsterRunStatus.CANCELED, "failed", "was cancelled in production"),
    ],
)
def test_a_request_ends_as_its_run_did(
    ended: dg.DagsterRunStatus, state: str, message: str, production: Production
) -> None:
    request = production.ask()
    production.made(request, ended)
    production.tick()
    found = production.status(request)
    assert found.state == state
    assert message in found.message
    assert found.finished_at is not None


def test_a_request_whose_run_vanished_fails_and_says_so(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = production.ask()
    run = production.made(request, dg.DagsterRunStatus.STARTED)
    production.tick()
    production.instance.delete_run(run)
    production.tick()
    assert production.status(request).state == "running"  # it may be a storage that is slow to answer
    monkeypatch.setattr(sensors, "VANISHED_AFTER", timedelta(0))
    time.sleep(0.01)
    assert production.tick() == []
    assert production.status(request).state == "failed"
    assert "vanished" in production.status(request).message


def test_a_table_that_the_policy_no_longer_names_is_refused(production: Production) -> None:
    request = production.ask("abandoned")
    assert production.tick() == []
    assert production.status(request).message == "The privacy policy does not name abandoned any more."


def test_while_the_gateway_s_database_is_away_nothing_is_launched_and_nothing_breaks(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_GATEWAY_DATABASE_URL", "postgresql://gateway:hunter2@127.0.0.1:9/gateway")
    looked = production.look()
    assert not looked.run_requests
    assert "DS_GATEWAY_DATABASE_URL" in (looked.skip_message or "")
    assert "hunter2" not in (looked.skip_message or "")


def test_what_is_asked_for_through_the_gateway_is_published_and_watched_until_it_is_done(
    production: Production, web: httpx.Client
) -> None:
    days = {"since": str(production.place.first_day), "until": str(production.place.first_day + timedelta(days=2))}
    asked = web.post("/v1/requests", json={"table": "orders", "reason": REASON, **days}, headers=stated(USER))
    assert asked.status_code == 201
    path = f"/v1/requests/{asked.json()['id']}"
    assert web.get("/v1/extracts/orders").status_code == 404
    [wanted] = production.tick()
    assert production.launch(wanted).success
    assert (web.get(path).json()["state"], web.get(path).json()["done"]) == ("queued", 3)
    assert production.tick() == []
    done = RequestStatus.model_validate(web.get(path).json())
    assert (done.state, done.days, done.done, done.user) == ("done", 3, 3, USER)
    assert len(web.get("/v1/extracts/orders", params=days).json()) == 3


def test_a_day_materialized_in_exploration_comes_from_the_database_through_production_and_the_gateway(
    production: Production, shop: Shop
) -> None:
    """Every part is the real one, but for Dagster's daemon, in whose place the test ticks and launches."""
    place, day = production.place, production.place.first_day
    exploration = load("exploration", place)

    def materialize() -> bool:
        tags = {"dagster/partition": str(day), "user": USER}
        with dg.DagsterInstance.ephemeral() as instance:
            return exploration.resolve_job_def("fetch_tables").execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey(["lab", "orders"])], tags=tags
            ).success  # fmt: skip

    with serving(place), ThreadPoolExecutor(1) as pages:
        materialized = pages.submit(materialize)
        [wanted] = production.next_wanted(materialized)
        assert production.launch(wanted).success
        production.tick()
        assert materialized.result(timeout=60)
        orders = lab.table("orders", since=day, until=day).collect()

    start, end = place.bounds(day)
    ours = shop.tables["orders"].filter(pl.col("placed_at").is_between(start, end, closed="left"))
    assert 0 < orders.height == ours.height
    assert set(orders["order_id"]).isdisjoint(ours["order_id"].cast(pl.String))
    assert wanted.tags["ds_pipelines/asked_by"] == f"{USER} (says the token)"
    assert production.status(wanted.run_key or "").state == "done"
    audited = [line for _, line in Database(place).run(audit.read)]
    assert {(line.user, line.asserted_by, line.token_name) for line in audited} == {(USER, "token", grants.DEVELOPMENT)}
    [manifest] = SnapshotStore(place.snapshots).manifests("orders")
    got = {(line.method, line.route, line.table, line.digest, line.status) for line in audited}
    assert ("POST", "/v1/requests", "orders", None, 201) in got
    assert ("POST", "/v1/files", "orders", manifest.digest, 200) in got


def test_a_table_of_current_state_is_asked_for_without_days(production: Production, web: httpx.Client) -> None:
    asked = web.post("/v1/requests", json={"table": "categories", "reason": REASON}).json()
    [wanted] = production.tick()
    assert production.launch(wanted).success
    production.tick()
    done = web.get(f"/v1/requests/{asked['id']}").json()
    assert (done["state"], done["done"], done["user"]) == ("done", 1, "shared")


def test_why_a_run_failed_reaches_whoever_asked(production: Production, monkeypatch: pytest.MonkeyPatch) -> None:
    request = production.ask()
    [wanted] = production.tick()
    monkeypatch.setenv("DS_EXTRACT_URL", "postgresql://reader:hunter2@127.0.0.1:9/shop")
    assert not production.launch(wanted).success
    production.tick()
    message = production.status(request).message
    assert message.startswith("Role 'extract' cannot reach the database named by DS_EXTRACT_URL")
    assert "hunter2" not in message


def test_the_gateway_s_role_moves_requests_and_nothing_else(production: Production) -> None:
    import psycopg2

    production.ask()
    for statement in ("DELETE FROM requests", "UPDATE requests SET reason = 'another'"):
        with (
            closing(postgres.connect("gateway_database", production.place)) as connection,
            connection.cursor() as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
        ):
            cursor.execute(statement)
