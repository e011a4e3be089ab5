"""A table materialized in the pages: fetched, asked for when it is not there yet, and its lineage whole by itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from ds_pipelines.exploration.tables import SHOP, STANDS_FOR
from ds_pipelines.gateway.cache import Cache
from ds_pipelines.gateway.client import connect
from ds_pipelines.gateway.wire import ExtractSummary
from ds_pipelines.settings import load_settings
from ds_pipelines_tests.gateway.asking import asking
from ds_pipelines_tests.gateway.scenario import (
    FRIDAY,
    MONDAY,
    NEXT_WEEK,
    database_of_its_own,
    make_installation,
    serving,
)
from ds_pipelines_tests.locations import STUB, adopt, load, reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, shared: Settings) -> Iterator[Settings]:
    """A small shop's extracts behind a gateway that takes requests."""
    settings = make_installation(tmp_path_factory.mktemp("home"), database_of_its_own(shared))
    with asking(settings):
        yield settings


@pytest.fixture(scope="module")
def exploration(installation: Settings) -> dg.Definitions:
    return load("exploration", installation)


def materialize(
    definitions: dg.Definitions, table: str, settings: Settings, *, tags: dict[str, str] | None = None, **config: Any
) -> dg.ExecuteInProcessResult:
    """Materializes a table as the pages do; `tags` name its days or its user."""
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        adopt(patch, settings)
        return definitions.resolve_job_def("fetch_tables").execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["lab", table])],
            tags=tags,
            run_config={"ops": {f"lab__{table}": {"config": config}}},
            raise_on_error=False,
        )


def of_day(day: object, until: object = None, **more: str) -> dict[str, str]:
    if until is None:
        return {"dagster/partition": str(day), **more}
    return {"dagster/asset_partition_range_start": str(day), "dagster/asset_partition_range_end": str(until), **more}


def said(result: dg.ExecuteInProcessResult, capsys: pytest.CaptureFixture[str]) -> str:
    """What the run logged."""
    assert result.success, reason(result)
    return capsys.readouterr().err


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    """By partition."""
    return {
        str(event.materialization.partition): event.materialization
        for event in result.get_asset_materialization_events()
    }


# What comes


def test_a_published_day_comes_with_its_version_age_and_columns(
    exploration: dg.Definitions, installation: Settings
) -> None:
    result = materialize(exploration, "orders", installation, tags=of_day(MONDAY))
    [event] = materialized(result).values()
    with connect(installation) as gateway:
        manifest = gateway.manifest("orders", MONDAY)
        assert gateway.cache.has(manifest)
    told = {name: getattr(value, "value", value) for name, value in event.metadata.items()}
    assert (event.tags or {})["dagster/data_version"] == manifest.logical_digest == told["rows' digest"]
    assert (told["dagster/row_count"], told["snapshot"]) == (3, manifest.digest)
    assert told["published"] == manifest.published_at.timestamp()
    assert str(told["age when fetched"]).endswith("days")
    assert "`ship_city`: narrows down who ordered" in str(told["withheld by the privacy policy"])


def test_the_days_of_one_run_have_one_version_which_only_other_rows_change(
    exploration: dg.Definitions, installation: Settings
) -> None:
    def versions(last: object) -> set[str]:
        events = materialized(materialize(exploration, "orders", installation, tags=of_day(MONDAY, last)))
        return {(event.tags or {})["dagster/data_version"] for event in events.values()}

    assert len(versions(FRIDAY)) == 1
    assert versions(FRIDAY) == versions(FRIDAY) != versions(FRIDAY - timedelta(days=1))


def test_a_day_that_is_not_there_is_asked_for_and_awaited_with_progress_in_the_log(
    exploration: dg.Definitions, installation: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    log = said(materialize(exploration, "orders", installation, tags=of_day(NEXT_WEEK)), capsys)
    for part in (f"{NEXT_WEEK}, is not published yet: asked production for it as ", "Request ", "done, 1 of 1 days."):
        assert part in log
    with connect(installation) as gateway:
        [asked] = [each for each in gateway.requests() if each.since == NEXT_WEEK]
    assert (asked.user, asked.asserted_by) == ("shared", "nobody")
    assert asked.reason == f"shared materialized lab/orders for {NEXT_WEEK} in Dagster"


def test_a_request_carries_the_user_of_the_run_and_the_reason_that_was_given(
    exploration: dg.Definitions, installation: Settings
) -> None:
    day = NEXT_WEEK + timedelta(days=1)
    tags = of_day(day, user="ada")
    assert materialize(exploration, "orders", installation, tags=tags, because="Easter").success
    with connect(installation) as gateway:
        [asked] = [each for each in gateway.requests() if each.since == day]
    assert (asked.user, asked.asserted_by, asked.reason) == ("ada", "token", "Easter")


def test_of_a_range_each_stretch_that_is_not_there_is_asked_for(
    exploration: dg.Definitions, installation: Settings
) -> None:
    first, last = FRIDAY - timedelta(days=1), NEXT_WEEK + timedelta(days=3)
    result = materialize(exploration, "orders", installation, tags=of_day(first, last))
    assert result.success, reason(result)
    assert len(materialized(result)) == (last - first).days + 1
    with connect(installation) as gateway:
        asked = {(each.since, each.until) for each in gateway.requests()}
    assert (FRIDAY + timedelta(days=1), NEXT_WEEK - timedelta(days=1)) in asked


def test_a_table_of_current_state_that_was_never_published_is_asked_for(
    exploration: dg.Definitions, installation: Settings
) -> None:
    result = materialize(exploration, "products", installation)
    assert result.success, reason(result)
    with connect(installation) as gateway:
        assert {"products"} <= {each.table for each in gateway.tables()}


def test_what_was_fetched_can_be_materialized_while_the_gateway_is_away_and_says_how_old_it_is(
    tmp_path: Path, database: dict[str, SecretStr], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_installation(tmp_path / "home", database)
    definitions = load("exploration", settings)
    with serving(settings):
        assert materialize(definitions, "orders", settings, tags=of_day(MONDAY)).success
    log = said(materialize(definitions, "orders", settings, tags=of_day(MONDAY)), capsys)
    assert "The gateway does not answer: 'orders' is what it listed " in log
    assert "does not answer at 127.0.0.1" in reason(materialize(definitions, "orders", settings, tags=of_day(FRIDAY)))


def test_why_a_day_cannot_be_had_is_the_reason_of_the_failure(
    exploration: dg.Definitions, installation: Settings
) -> None:
    failed = materialize(exploration, "order_lines", installation, tags=of_day(MONDAY))
    assert "failed in production: the database is in its hours" in reason(failed)


# Which tables


def test_the_tables_are_those_that_the_gateway_listed_when_it_was_last_reached(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    keep(settings, patients="state", visits="day", **{"no/name": "day"})
    loaded = load("exploration", settings).resolve_asset_graph()
    ours = {key.path[1] for key in loaded.get_all_asset_keys() if key.path[0] == "lab"}
    assert ours == {"patients", "visits"}
    assert loaded.get(dg.AssetKey(["lab", "visits"])).partitions_def is not None
    assert loaded.get(dg.AssetKey(["lab", "patients"])).partitions_def is None


@pytest.mark.parametrize("listed", [{}, {"orders": "day"}])
def test_the_shop_s_tables_stay_while_not_all_are_published(tmp_path: Path, listed: dict[str, str]) -> None:
    settings = load_settings(home=tmp_path)
    keep(settings, **listed)
    keys = load("exploration", settings).resolve_asset_graph().get_all_asset_keys()
    assert {key.path[1] for key in keys if key.path[0] == "lab"} == set(SHOP)


def test_a_damaged_list_or_an_address_that_is_none_hides_nothing(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    keep(settings, patients="state")
    [path] = settings.cache.glob("listings/*/catalog")
    path.write_text(json.dumps({"tables": 1}))
    for each in (settings, settings.model_copy(update={"gateway_address": "nowhere"})):
        keys = load("exploration", each).resolve_asset_graph().get_all_asset_keys()
        assert dg.AssetKey(["lab", "orders"]) in keys


def keep(settings: Settings, **listed: Any) -> None:
    """Leaves what the gateway would have listed."""
    tables = [
        ExtractSummary(table=name, rows_of=rows_of, first_day=MONDAY, last_day=MONDAY, days=1, rows=1)
        for name, rows_of in listed.items()
    ]
    Cache(settings.cache, f"{settings.host}:{settings.gateway_port}").keep_catalogue(tables)


# The lineage


def test_without_production_every_table_has_its_extract_above_it(exploration: dg.Definitions) -> None:
    graph = exploration.resolve_asset_graph()
    specs = {spec.key: spec for spec in exploration.resolve_all_asset_specs()}
    assert not [key for key, spec in specs.items() if STUB in spec.metadata]
    for name in SHOP:
        above, ours = dg.AssetKey(["extract", name]), dg.AssetKey(["lab", name])
        assert graph.get(ours).parent_keys == {above}
        assert graph.get(above).is_external
        assert graph.get(above).partitions_def == graph.get(ours).partitions_def
        assert "production publishes" in str(specs[above].description)
        assert specs[above].group_name == "anonymized_extracts"


def test_beside_production_its_own_extracts_are_the_ones_that_count(
    exploration: dg.Definitions, installation: Settings
) -> None:
    """Dagster prefers, of one key in two locations, the one that can be materialized."""
    theirs = load("production", installation).resolve_asset_graph()
    ours = exploration.resolve_asset_graph()
    shared = ours.get_all_asset_keys() & theirs.get_all_asset_keys()
    assert {dg.AssetKey(["extract", name]) for name in SHOP} <= shared
    assert not ours.materializable_asset_keys & theirs.materializable_asset_keys
    for key in (dg.AssetKey(["extract", name]) for name in SHOP):
        assert ours.get(key).partitions_def == theirs.get(key).partitions_def
        assert STANDS_FOR not in theirs.get(key).metadata
