"""The location production, and how it fits the other: what an engineer who reviews the lineage expects to find."""

from __future__ import annotations

import warnings
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest

from ds_pipelines.extract import policy
from ds_pipelines.settings import load_settings
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.locations import GROUPS, defined, facts, load, materializable, reason, run, version

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.sample import Shop
    from ds_pipelines.settings import Settings

SCORING = ("repurchase_days", "top_sellers_days")
DAY = date(2025, 3, 3)
WAY = (
    "shop/orders", "extract/orders", "lab/orders", "experiments/repurchase", "release/repurchase",
    "serving/repurchase_scores",
)  # fmt: skip
NEVER_EXTRACTED = {"full_name", "email", "phone", "street", "national_id", "card_digits"}


@pytest.fixture(scope="module")
def production(settings: Settings) -> dg.Definitions:
    return load("production", settings)


@pytest.fixture(scope="module")
def exploration(settings: Settings) -> dg.Definitions:
    return load("exploration", settings)


@pytest.fixture(scope="module")
def everything(production: dg.Definitions, exploration: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return defined(production) | defined(exploration)


@pytest.fixture(scope="module")
def made(production: dg.Definitions, exploration: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return materializable(production) | materializable(exploration)


def days_of(definitions: dg.Definitions, key: str) -> dg.DailyPartitionsDefinition:
    days = definitions.resolve_asset_graph().get(dg.AssetKey.from_user_string(key)).partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    return days


def test_no_key_is_defined_twice(production: dg.Definitions, exploration: dg.Definitions) -> None:
    assert not set(defined(production)) & set(defined(exploration))


def test_what_a_location_refers_to_the_other_defines(
    production: dg.Definitions, exploration: dg.Definitions, everything: dict[str, dg.AssetSpec]
) -> None:
    graphs = [location.resolve_asset_graph() for location in (production, exploration)]
    assert {key.to_user_string() for graph in graphs for key in graph.get_all_asset_keys()} == set(everything)


def test_the_way_leads_from_the_shop_s_tables_to_what_is_served(everything: dict[str, dg.AssetSpec]) -> None:
    upstream = {key: {dep.asset_key.to_user_string() for dep in spec.deps} for key, spec in everything.items()}
    for above, below in pairwise(WAY):
        assert above in upstream[below]
    assert {key.partition("/")[0] for key, above in upstream.items() if not above} == {"shop"}


def test_every_asset_says_what_it_is_whose_it_is_and_where_it_belongs(everything: dict[str, dg.AssetSpec]) -> None:
    for key, spec in everything.items():
        assert spec.description, key
        assert spec.owners, key
        assert spec.kinds, key
    assert {spec.group_name for spec in everything.values()} == GROUPS


@pytest.mark.parametrize("folder", ["shop", "extract", "serving"])
def test_every_table_describes_its_columns(folder: str, everything: dict[str, dg.AssetSpec]) -> None:
    tables = {key: spec for key, spec in everything.items() if key.startswith(f"{folder}/")}
    assert tables
    for key, spec in tables.items():
        columns = spec.metadata["dagster/column_schema"].columns
        assert columns, key
        assert all(column.description for column in columns), key


def test_no_extract_has_a_column_that_names_a_person(everything: dict[str, dg.AssetSpec]) -> None:
    columns = {column.name for column in everything["extract/customers"].metadata["dagster/column_schema"].columns}
    assert "customer_id" in columns
    assert not columns & NEVER_EXTRACTED


def test_nothing_may_run_for_ever(
    made: dict[str, dg.AssetSpec], production: dg.Definitions, exploration: dg.Definitions
) -> None:
    for key, spec in made.items():
        assert int(spec.tags["dagster/max_runtime"]) > 0, key
    for location in (production, exploration):
        for job in location.jobs or []:
            assert int(job.tags["dagster/max_runtime"]) > 0, job.name


def test_whoever_reads_the_production_database_waits_for_its_turn(production: dg.Definitions) -> None:
    for key in materializable(production):
        if not key.startswith(("release/", "report/")):
            assert production.get_assets_def(dg.AssetKey.from_user_string(key)).op.pool == "production_database", key


@pytest.mark.parametrize("location", ["exploration", "production"])
def test_the_definitions_use_nothing_that_is_deprecated_or_only_a_preview(location: str, settings: Settings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(location, settings)


def test_many_days_are_filled_by_one_run(production: dg.Definitions, exploration: dg.Definitions) -> None:
    for location in (production, exploration):
        graph = location.resolve_asset_graph()
        by_day = [node for key in graph.materializable_asset_keys if (node := graph.get(key)).is_partitioned]
        assert by_day
        assert all(node.backfill_policy == dg.BackfillPolicy.single_run() for node in by_day)


def test_days_reach_from_the_business_s_first_to_the_last_that_has_ended(
    production: dg.Definitions, settings: Settings
) -> None:
    for key in ("extract/orders", "serving/repurchase_scores"):
        days = days_of(production, key)
        assert days.timezone == settings.zone
        assert (days.get_first_partition_key(), days.get_last_partition_key()) == (
            str(settings.first_day), str(settings.last_extractable_day()),
        )  # fmt: skip


def test_a_business_by_the_clock_has_yesterday_as_its_last_day(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, first_day=date(2025, 1, 1))
    yesterday = datetime.now(ZoneInfo(settings.zone)).date() - timedelta(days=1)
    assert days_of(load("production", settings), "extract/orders").get_last_partition_key() == str(yesterday)


@pytest.mark.parametrize(
    ("environment", "running"), [("development", False), ("acceptance", False), ("production", True)]
)
def test_only_production_works_by_itself_and_its_extract_at_five_business_time(
    environment: str, running: bool, tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path, environment=environment, zone="Europe/Berlin")
    location = load("production", settings)
    schedule = location.resolve_schedule_def("daily_extract_at_five")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 5 * * *", "Europe/Berlin")
    assert (schedule.default_status == dg.DefaultScheduleStatus.RUNNING) == running
    for sensor in SCORING:
        assert (location.resolve_sensor_def(sensor).default_status == dg.DefaultSensorStatus.RUNNING) == running


def test_a_tick_asks_for_the_last_day_that_can_be_extracted(production: dg.Definitions, settings: Settings) -> None:
    schedule = production.resolve_schedule_def("daily_extract_at_five")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(ZoneInfo(settings.zone)),
            repository_def=production.get_repository_def(),
        )
        [request] = schedule.evaluate_tick(context).run_requests
    day = str(settings.last_extractable_day())
    assert request.partition_key == day
    assert request.run_key == f"daily_extract {day}"


def test_one_day_of_orders_is_published_with_its_facts(
    production: dg.Definitions, settings: Settings, shop: Shop
) -> None:
    result = run(production, "daily_extract", "extract/orders", settings, day=str(DAY))
    assert result.success
    store = SnapshotStore(settings.snapshots)
    manifest = store.manifest("orders", DAY)
    told = facts(result)
    on = pl.col("placed_at").dt.convert_time_zone(settings.zone).dt.date()
    assert told["dagster/row_count"] == manifest.rows == shop.tables["orders"].filter(on == DAY).height
    assert told["snapshot"] == manifest.digest
    assert told["policy"] == policy.load(settings.policies / policy.SHOP).digest
    assert pl.read_parquet(store.path(manifest.digest)).height == manifest.rows


def test_what_is_published_tells_the_types_of_its_columns_and_where_each_comes_from(
    production: dg.Definitions, settings: Settings
) -> None:
    told = facts(run(production, "daily_extract", "extract/orders", settings, day=str(DAY)))
    schema, lineage = told["dagster/column_schema"], told["dagster/column_lineage"]
    assert isinstance(schema, dg.TableSchema)
    assert isinstance(lineage, dg.TableColumnLineage)
    assert {column.name: column.type for column in schema.columns}["placed_at"].startswith("Datetime")
    assert lineage.deps_by_column["placed_at"] == [dg.TableColumnDep(dg.AssetKey(["shop", "orders"]), "placed_at")]


def test_customers_are_published_as_of_the_business_s_today(
    production: dg.Definitions, settings: Settings, shop: Shop
) -> None:
    result = run(production, "daily_extract", "extract/customers", settings)
    assert result.success
    told = facts(result)
    assert told["day"] == str(settings.today)
    assert told["dagster/row_count"] == shop.tables["customers"].height
    published = pl.read_parquet(SnapshotStore(settings.snapshots).path(str(told["snapshot"])))
    assert not set(published.columns) & NEVER_EXTRACTED


def test_the_same_rows_read_again_are_the_same_version(production: dg.Definitions, settings: Settings) -> None:
    first = run(production, "daily_extract", "extract/categories", settings)
    again = run(production, "daily_extract", "extract/categories", settings)
    newest = SnapshotStore(settings.snapshots).manifests("categories")[-1]
    assert version(first) == version(again) == newest.logical_digest


def test_an_unreachable_database_is_named_and_its_url_is_not(production: dg.Definitions, settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DS_EXTRACT_URL", "postgresql://reader:hunter2@127.0.0.1:9/shop")
        result = run(production, "daily_extract", "extract/orders", settings, day=str(DAY))
    assert not result.success
    assert "DS_EXTRACT_URL" in reason(result)
    assert "hunter2" not in "".join(str(event) for event in result.all_events)
