"""The sensor that loses no day, on a real serving database and real runs: its ticks, and what each run leaves."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg
import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.production.attempts import ATTEMPT, FIRST, INPUTS, JOB, LAST, PARTITION, REFUSED, days_of
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.production.reconciling import IN_TIME
from ds_pipelines.scoring import lease
from ds_pipelines.scoring.receipt import delivered
from ds_pipelines.settings import load_settings
from ds_pipelines_tests.gateway.scenario import serving_database_of_its_own
from ds_pipelines_tests.locations import load
from ds_pipelines_tests.production.released import put_in_use

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from ds_pipelines.settings import Settings

TOP_SELLERS = JOBS["top_sellers"]
KEY = dg.AssetKey(["serving", TOP_SELLERS.table])
ROLES: tuple[postgres.Role, ...] = ("owner", "extract", "scoring")


@dataclass
class Production:
    """The location production, with an instance and a serving database of its own."""

    place: Settings
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    cursor: str | None = None

    @property
    def last(self) -> date:
        return self.place.last_extractable_day()

    def tick(self, *, look: bool = False) -> Any:
        """One tick; by default not one of those that look at sources."""
        if look:
            self.cursor = None
        with dg.build_sensor_context(
            instance=self.instance, repository_def=self.definitions.get_repository_def(), cursor=self.cursor
        ) as context:
            data = self.definitions.resolve_sensor_def("top_sellers_days").evaluate_tick(context)
        self.cursor = data.cursor
        return data

    def asked(self, *, look: bool = False) -> list[dg.RunRequest]:
        return list(self.tick(look=look).run_requests or [])

    def execute(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """A run as it was asked for."""
        return self.definitions.resolve_job_def("daily_scoring").execute_in_process(
            instance=self.instance, tags=request.tags, asset_selection=list(request.asset_selection or []),
            raise_on_error=False,
        )  # fmt: skip

    def started(self, request: dg.RunRequest) -> dg.DagsterRun:
        """A run that has started, as Dagster stores it."""
        selected = frozenset(request.asset_selection or [])
        run = dg.DagsterRun(
            "daily_scoring", str(uuid4()), status=dg.DagsterRunStatus.STARTED, tags=request.tags,
            asset_selection=selected,
        )  # fmt: skip
        return self.instance.add_run(run)

    def days(self) -> list[date]:
        return sorted(delivered(TOP_SELLERS, self.place))

    @contextmanager
    def late_line(self, day: date) -> Iterator[None]:
        """An order line that is committed long after its day."""
        noon = self.place.bounds(day)[0] + timedelta(hours=12)
        self.sql(
            "owner",
            "INSERT INTO order_lines SELECT -1, order_id, customer_id, (SELECT min(product_id) FROM products WHERE "
            f"is_product), '{noon}', 9000, 1, 0, 0, channel, ship_postcode, NULL FROM order_lines LIMIT 1",
        )
        try:
            yield
        finally:
            self.sql("owner", "DELETE FROM order_lines WHERE order_line_id = -1")

    @contextmanager
    def two_categories_of_one_name(self, since: date) -> Iterator[None]:
        """From a day on, places in two categories are told by the same key."""
        noon = self.place.bounds(since)[0] + timedelta(hours=12)
        self.sql(
            "owner",
            "INSERT INTO categories SELECT -1, name FROM categories ORDER BY category_id LIMIT 1;"
            "INSERT INTO products VALUES (-1, 'twin', 'twin', -1, 1, true);"
            f"INSERT INTO order_lines SELECT -1, order_id, customer_id, -1, '{noon}', 9000, 1, 0, 0, channel, "
            "ship_postcode, NULL FROM order_lines LIMIT 1",
        )
        try:
            yield
        finally:
            for table, key in (("order_lines", "order_line"), ("products", "product"), ("categories", "category")):
                self.sql("owner", f"DELETE FROM {table} WHERE {key}_id = -1")

    def sql(self, role: postgres.Role, statement: str) -> None:
        with closing(postgres.connect(role, self.place)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.fixture(scope="module")
def released(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A home in which top_sellers is in use."""
    home = tmp_path_factory.mktemp("production")
    urls = {f"{role}_url": SecretStr(postgres.url(role, settings)) for role in (*ROLES, "registry")}
    chosen = {"home": home, "releases": home / "releases", **urls}
    put_in_use(TOP_SELLERS, settings.model_copy(update=chosen))
    return chosen


@pytest.fixture
def production(settings: Settings, released: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Production]:
    urls = serving_database_of_its_own(settings)
    place = load_settings(**released, **urls, **settings.model_dump(include={"first_day", "today", "zone"}))
    for name, value in place.as_environment().items():
        monkeypatch.setenv(name, value)
    for name in ("owner_url", "extract_url", "scoring_url", "registry_url", "serving_url", "consumer_url"):
        monkeypatch.setenv(f"DS_{name.upper()}", getattr(place, name).get_secret_value())
    with dg.DagsterInstance.ephemeral() as instance:
        yield Production(place, load("production", place), instance)


def test_a_new_job_is_asked_for_its_newest_day_and_delivers_it(production: Production) -> None:
    [request] = production.asked()
    assert (request.tags[PARTITION], request.tags[JOB], request.tags[ATTEMPT]) == (
        str(production.last), "top_sellers", "1",
    )  # fmt: skip
    assert production.execute(request).success
    assert production.days() == [production.last]
    assert production.asked() == []


def test_a_daemon_that_was_away_for_five_days_has_them_delivered_by_one_run(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = production.place.today - timedelta(days=5)
    monkeypatch.setenv("DS_TODAY", str(before))
    [request] = production.asked()
    assert production.execute(request).success
    monkeypatch.setenv("DS_TODAY", str(production.place.today))
    [request] = production.asked()
    assert len(days_of(request.tags)) == 5
    assert request.tags["dagster/max_runtime"] == str(300 + 5 * int(TOP_SELLERS.budget.total_seconds()))
    assert production.execute(request).success
    assert production.days() == [production.last - timedelta(days=offset) for offset in range(5, -1, -1)]
    told = production.instance.get_materialized_partitions(KEY)
    assert told >= {str(day) for day in production.days()}


def test_source_data_that_comes_late_has_its_days_scored_again_and_no_other(production: Production) -> None:
    first = production.last - timedelta(days=3)
    request = dg.RunRequest(asset_selection=[KEY], tags={FIRST: str(first), LAST: str(production.last)})
    assert production.execute(request).success
    assert production.asked(look=True) == []
    before = delivered(TOP_SELLERS, production.place)
    with production.late_line(production.last - timedelta(days=1)):
        assert production.asked() == []
        [request] = production.asked(look=True)
        assert days_of(request.tags) == (production.last - timedelta(days=1), production.last)
        assert production.execute(request).success
        after = delivered(TOP_SELLERS, production.place)
        assert {day for day in before if after[day].replaces == before[day].delivery} == set(days_of(request.tags))
        assert production.asked(look=True) == []


def test_a_day_that_breaks_the_contract_is_refused_until_its_source_changes_and_holds_no_other_back(
    production: Production,
) -> None:
    good, bad = production.last - timedelta(days=1), production.last
    production.asked(look=True)
    with production.two_categories_of_one_name(bad):
        tags = {FIRST: str(good), LAST: str(bad), JOB: "top_sellers", INPUTS: f"{good}=a {bad}=b"}
        result = production.execute(dg.RunRequest(asset_selection=[KEY], tags=tags))
        assert "DaysRefusedError" in str(result.all_events)
        assert production.instance.get_run_by_id(result.run_id).tags[REFUSED] == str(bad)
        assert production.days() == [good]
        assert "refused" in production.tick().skip_message
        [request] = production.asked(look=True)  # what it was made from is not what that run was asked for
        assert not production.execute(request).success
        assert production.asked(look=True) == []
    [request] = production.asked(look=True)
    assert production.execute(request).success
    assert production.days() == [good, bad]


def test_a_run_that_finds_its_day_delivered_leaves_it_alone(production: Production) -> None:
    [request] = production.asked()
    assert production.execute(request).success
    [receipt] = delivered(TOP_SELLERS, production.place).values()
    assert production.execute(request).success
    assert list(delivered(TOP_SELLERS, production.place).values()) == [receipt]


def test_a_day_that_a_person_asks_for_is_done_again(production: Production) -> None:
    request = dg.RunRequest(asset_selection=[KEY], tags={PARTITION: str(production.last)})
    for _ in range(2):
        assert production.execute(request).success
    [receipt] = delivered(TOP_SELLERS, production.place).values()
    assert receipt.replaces is not None


def test_a_table_that_its_consumers_have_changed_is_a_refusal(production: Production) -> None:
    [request] = production.asked()
    assert production.execute(request).success
    production.sql("serving", "ALTER TABLE top_sellers_rows ADD COLUMN note text; DELETE FROM receipts")
    result = production.execute(dg.RunRequest(asset_selection=[KEY], tags=request.tags))
    assert production.instance.get_run_by_id(result.run_id).tags[REFUSED] == str(production.last)


def test_a_database_that_is_away_is_a_crash_that_is_tried_again(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    [request] = production.asked()
    with monkeypatch.context() as away:
        away.setenv("DS_SCORING_URL", "postgresql://nobody@127.0.0.1:9/shop")
        result = production.execute(request)
    assert not result.success
    run = production.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert REFUSED not in run.tags
    assert production.asked() == []  # after a minute


def test_while_production_cannot_be_reached_a_tick_says_so(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_SERVING_URL", "postgresql://nobody:hunter2@127.0.0.1:9/serving")
    told = production.tick().skip_message
    assert "DS_SERVING_URL" in told
    assert "hunter2" not in told


def test_while_reading_is_paused_nothing_is_asked_for(production: Production) -> None:
    production.place.pause.touch()
    try:
        assert "paused" in production.tick().skip_message
    finally:
        production.place.pause.unlink()
    assert production.asked()


def test_a_run_on_which_nobody_works_any_more_is_ended_at_the_second_look(production: Production) -> None:
    [request] = production.asked()
    run = production.started(request)
    with lease.held(run.run_id, production.place):
        for _ in range(4):
            assert production.asked() == []
    assert production.asked() == []
    assert production.instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED
    production.tick()
    assert production.instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
    assert production.asked() == []  # after a minute


def test_the_pages_are_told_once_when_a_job_is_late_and_once_when_it_has_caught_up(production: Production) -> None:
    late, silent = production.tick(), production.tick()
    [event] = late.asset_events
    assert (event.check_name, event.passed) == (IN_TIME, False)
    assert silent.asset_events == []
    [request] = production.asked()
    assert production.execute(request).success
    [event] = production.tick().asset_events
    assert event.passed


def test_a_cursor_that_cannot_be_read_is_forgotten(production: Production) -> None:
    production.cursor = json.dumps({"of": "another version"})
    assert production.asked()
