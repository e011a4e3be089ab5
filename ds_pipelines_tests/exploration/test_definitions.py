"""The location exploration: the tables that data scientists have, and their scripts as assets."""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from ds_pipelines import postgres
from ds_pipelines.exploration.tables import SHOP as TABLES
from ds_pipelines.extract import policy
from ds_pipelines.extract.publish import extract_day, extract_state
from ds_pipelines.lab.header import checked
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.gateway.scenario import free_port, serving
from ds_pipelines_tests.locations import defined, facts, load, materializable, reason, run, version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

MONDAY, NEVER_PUBLISHED = date(2025, 3, 3), date(2025, 3, 4)
GOOD = '''"""Counts the orders."""

from ds_pipelines import lab

lab.metric("orders", lab.table("orders").collect().height)
'''
BROKEN = '''"""Stops in the middle."""

def half_a_function(
'''


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Settings]:
    """The small shop's customers and one day of its orders, published, behind a gateway."""
    served = settings.model_copy(update={"gateway_port": free_port()})
    extract_state("customers", served)
    extract_day("orders", MONDAY, served)
    with serving(served):
        yield served


@pytest.fixture(scope="module")
def exploration(served: Settings) -> dg.Definitions:
    return load("exploration", served)


@pytest.fixture
def with_a_broken_script(served: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "count.py").write_text(GOOD)
    (tmp_path / "broken.py").write_text(BROKEN)
    # MLflow's database itself, without its server, which takes 20 s to start.
    tracking = postgres.sqlalchemy_url(postgres.url("mlflow", served))
    return served.model_copy(update={"experiments": tmp_path, "tracking_address": tracking})


def upstream(spec: dg.AssetSpec) -> set[str]:
    return {dep.asset_key.to_user_string() for dep in spec.deps}


def test_data_scientists_have_the_tables_of_the_privacy_policy(settings: Settings) -> None:
    tables = policy.load(settings.policies / policy.SHOP).tables
    assert {name: rows_of for name, (rows_of, _) in TABLES.items()} == {
        name: "day" if table.by_day else "state" for name, table in tables.items()
    }


def test_each_table_comes_from_production_s_extract_of_that_name(exploration: dg.Definitions) -> None:
    specs = defined(exploration)
    assert {key: upstream(specs[key]) for key in specs if key.startswith("lab/")} == {
        f"lab/{name}": {f"extract/{name}"} for name in TABLES
    }


def test_a_day_of_the_lab_is_a_day_of_the_extract(exploration: dg.Definitions, served: Settings) -> None:
    ours, theirs = exploration.resolve_asset_graph(), load("production", served).resolve_asset_graph()
    for name in TABLES:
        fetched, extracted = ours.get(dg.AssetKey(["lab", name])), theirs.get(dg.AssetKey(["extract", name]))
        assert fetched.partitions_def == extracted.partitions_def, name


def test_every_script_is_an_asset_below_the_tables_that_it_reads(exploration: dg.Definitions) -> None:
    specs = {key: upstream(spec) for key, spec in defined(exploration).items() if key.startswith("experiments/")}
    assert specs == {
        "experiments/repurchase": {"lab/orders", "lab/order_lines", "lab/customers"},
        "experiments/ticket_mood": {"lab/tickets", "lab/orders", "lab/customers"},
        "experiments/top_sellers": {"lab/order_lines", "lab/products", "lab/categories"},
    }


def test_the_jobs_fetch_every_table_and_run_every_experiment(exploration: dg.Definitions) -> None:
    made = materializable(exploration)
    for job, folder in (("fetch_tables", "lab/"), ("all_experiments", "experiments/")):
        selected = exploration.resolve_job_def(job).asset_layer.executable_asset_keys
        assert {key.to_user_string() for key in selected} == {key for key in made if key.startswith(folder)}


def test_a_table_is_fetched_with_what_the_gateway_tells_of_it(exploration: dg.Definitions, served: Settings) -> None:
    result = run(exploration, "fetch_tables", "lab/customers", served)
    assert result.success
    told = facts(result)
    assert version(result) == SnapshotStore(served.snapshots).manifests("customers")[-1].logical_digest
    assert (served.cache / str(told["snapshot"])[:2] / f"{told['snapshot']}.parquet").is_file()
    schema = told["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert "pseudonym(customer)" in {column.name: str(column.description) for column in schema.columns}["customer_id"]


def test_a_broken_script_hides_no_other_and_says_what_is_wrong(with_a_broken_script: Settings) -> None:
    specs = defined(load("exploration", with_a_broken_script))
    assert specs["experiments/count"].description == "Counts the orders."
    assert "line 3 is not Python" in str(specs["experiments/broken"].description)


def test_materializing_a_broken_script_fails_with_the_reason(with_a_broken_script: Settings) -> None:
    broken = load("exploration", with_a_broken_script)
    result = run(broken, "all_experiments", "experiments/broken", with_a_broken_script)
    assert not result.success
    assert "broken.py" in reason(result)
    assert "line 3" in reason(result)


# ---------------------------------------------------------------- files of any kind

HEADED = """# /// experiment
# owner = "ada@example.com"
# schedule = "0 6 * * 1"
# ///
"""
NOTEBOOK = '{"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "markdown", "source": "Who leaves?"}]}'


@pytest.fixture
def dropped_in(served: Settings, tmp_path: Path) -> Settings:
    """Files as people leave them."""
    folder = tmp_path / "an other repository"
    for name, text in {
        "deep/er/count.py": HEADED + GOOD, "leavers.ipynb": NOTEBOOK, "2025 größe.R": "# How?\nlab_table('orders')\n",
        "greedy.py": '# /// experiment\n# memory = "900 TiB"\n# schedule = "0 6 * * *"\n# ///\n', "empty.py": "",
        "broken.ipynb": "{", "x" * 240 + ".py": GOOD,
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / os.fsdecode(b"caf\xe9.py")).write_bytes(b"'\xe9'\n")
    tracking = postgres.sqlalchemy_url(postgres.url("mlflow", served))
    return served.model_copy(update={"experiments": folder, "tracking_address": tracking})


def test_files_of_any_kind_and_name_are_assets(dropped_in: Settings) -> None:
    specs = defined(load("exploration", dropped_in))
    found = {key.removeprefix("experiments/"): spec for key, spec in specs.items() if key.startswith("experiments/")}
    assert len(found) == 8
    assert found["leavers"].description == "Who leaves?"
    assert set(found["leavers"].kinds) == {"python", "jupyter", "mlflow"}
    assert set(found["2025_grosse"].kinds) == {"r", "mlflow"}
    assert upstream(found["2025_grosse"]) == {"lab/orders"}
    assert list(found["count"].owners) == ["ada@example.com"]
    assert "is not a notebook" in str(found["broken"].description)
    assert "'memory' of its header asks for" in str(found["greedy"].description)


def test_the_schedule_of_a_header_is_dagster_s_and_a_file_that_cannot_run_has_none(dropped_in: Settings) -> None:
    schedules = {each.name: each for each in load("exploration", dropped_in).schedules or ()}
    assert schedules.keys() == {"experiment_count", "reproduce_released_nightly"}
    schedule = schedules["experiment_count"]
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.name, schedule.cron_schedule) == ("experiment_count", "0 6 * * 1")
    assert schedule.execution_timezone == dropped_in.zone
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize(("name", "said"), [("greedy", "this environment gives"), ("broken", "is not a notebook")])
def test_materializing_a_file_that_cannot_run_fails_with_the_reason(dropped_in: Settings, name: str, said: str) -> None:
    result = run(load("exploration", dropped_in), "all_experiments", f"experiments/{name}", dropped_in)
    assert not result.success
    assert said in reason(result)


def test_a_script_from_another_repository_is_materialized(dropped_in: Settings) -> None:
    assert run(load("exploration", dropped_in), "all_experiments", "experiments/count", dropped_in).success


def test_every_schedule_that_a_header_may_ask_for_is_one_to_dagster() -> None:
    for cron in ("* * * * *", "0 6 * * 1", "*/15 8-18 * * 1-5", "0 0 1,15 */3 *", "5 0-23/2 29 2 *", "59 23 31 12 6"):
        assert checked({"schedule": cron}, {}, "").schedule == cron
        dg.ScheduleDefinition(job_name="any", cron_schedule=cron)
