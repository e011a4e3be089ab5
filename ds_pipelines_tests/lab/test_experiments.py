"""The project's experiments, run on a generated shop that was extracted and is read through a gateway that runs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ds_pipelines import lab, postgres, sample
from ds_pipelines.evidence import ModelCard, RunInput
from ds_pipelines.extract.publish import extract_days, extract_state
from ds_pipelines.gateway.tokens import ensure_token
from ds_pipelines.production.jobs import repurchase, top_sellers
from ds_pipelines.settings import Settings, environment, load_settings
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.gateway.scenario import free_port, serving

if TYPE_CHECKING:
    from ds_pipelines.lab.run import Ran

Artifact = Callable[[str, str], Path]

CUSTOMERS = 5_000
"""Enough that *no signal* can be said of the tickets' mood: fewer held-out rows leave it undecided."""
BY_DAY, BY_STATE = ("orders", "order_lines", "tickets"), ("customers", "products", "categories")
EXPERIMENTS = ("repurchase", "ticket_mood", "top_sellers")


@pytest.fixture(scope="module")
def place(tracking_address: str) -> Iterator[Settings]:
    """An installation that has extracted a whole year and serves it; this process's environment points there."""
    with tempfile.TemporaryDirectory(prefix="ds-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        shop = sample.generate(customers=CUSTOMERS, seed=7)
        settings = load_settings(
            home=home,
            first_day=shop.first_day,
            today=shop.last_day + timedelta(days=1),
            zone=shop.zone,
            gateway_port=free_port(),
            tracking_address=tracking_address,
        )
        sample.load(shop, settings)
        for table in BY_DAY:
            extract_days(table, settings.first_day, settings.last_extractable_day(), settings)
        for table in BY_STATE:
            extract_state(table, settings)
        postgres._handle("production", home / "postgres", home / "secrets" / "postgres").release()
        ensure_token(settings)
        with pytest.MonkeyPatch.context() as patch, serving(settings):
            for name, value in settings.as_environment().items():
                patch.setenv(name, value)
            yield settings


@pytest.fixture(scope="module")
def ran(place: Settings) -> dict[str, Ran]:
    """Each experiment, run once; at the same time, as several people do."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(EXPERIMENTS, pool.map(lambda name: lab.run(name, settings=place), EXPERIMENTS), strict=True))


def published(place: Settings, table: str) -> set[RunInput]:
    manifests = SnapshotStore(place.snapshots).manifests(table)
    return {RunInput(table=table, day=manifest.day, digest=manifest.digest) for manifest in manifests}


def held_out(ran: Ran, artifact: Artifact) -> tuple[ModelCard, pl.DataFrame]:
    card = ModelCard.model_validate_json(artifact(ran.record.run_id, "evidence/model.json").read_text())
    return card, pl.read_parquet(artifact(ran.record.run_id, card.predictions))


def test_who_buys_again_can_be_predicted(ran: dict[str, Ran]) -> None:
    verdict = ran["repurchase"].verdict
    assert verdict is not None
    assert verdict.answer == "signal"
    assert verdict.p is not None
    assert verdict.p <= 0.01
    assert {family.name for family in verdict.families} == {"logistic", "lightgbm"}


def test_the_mood_of_a_ticket_cannot_be_predicted(ran: dict[str, Ran]) -> None:
    verdict = ran["ticket_mood"].verdict
    assert verdict is not None
    assert verdict.answer == "no signal"


def test_held_out_rows_lie_after_training_and_are_one_a_customer(ran: dict[str, Ran]) -> None:
    for name in ("repurchase", "ticket_mood"):
        verdict = ran[name].verdict
        assert verdict is not None
        assert verdict.rows == verdict.rows_given  # one row a customer
        assert "(checked)" in verdict.assumptions[0]


def test_a_run_names_every_snapshot_that_it_read(place: Settings, ran: dict[str, Ran]) -> None:
    for name, tables in (
        ("repurchase", ("orders", "order_lines", "customers")),
        ("ticket_mood", ("tickets", "orders", "customers")),
        ("top_sellers", ("order_lines", "products", "categories")),
    ):
        assert set(ran[name].record.inputs) == set[RunInput]().union(*(published(place, table) for table in tables))


def test_inputs_are_datasets_in_mlflow_one_a_table(place: Settings, ran: dict[str, Ran]) -> None:
    from mlflow import MlflowClient

    run = MlflowClient(place.tracking_base).get_run(ran["top_sellers"].record.run_id)
    datasets = {given.dataset.name: given.dataset for given in run.inputs.dataset_inputs}
    assert datasets.keys() == {"order_lines", "products", "categories"}
    (products,) = published(place, "products")
    assert datasets["products"].digest == products.digest[:32]


def test_production_computes_the_same_features(place: Settings, ran: dict[str, Ran], artifact: Artifact) -> None:
    card, rows = held_out(ran["repurchase"], artifact)
    names = [feature.name for feature in card.features]
    (day,) = rows["as_of"].unique()
    tables = {name: lab.table(name) for name in repurchase.JOB.reads}
    again = repurchase.JOB.compute(tables, day, place.zone).collect()
    assert again.columns == ["customer_id", *names]
    assert_frame_equal(again, rows.select("customer_id", *names), check_row_order=False, check_exact=True)


def test_production_computes_the_same_top_sellers(place: Settings, ran: dict[str, Ran], artifact: Artifact) -> None:
    table = pl.read_parquet(artifact(ran["top_sellers"].record.run_id, "tables/top_sellers.parquet"))
    (day,) = table["day"].unique()
    tables = {name: lab.table(name) for name in top_sellers.JOB.reads}
    again = top_sellers.JOB.compute(tables, day, place.zone).collect()
    again = again.filter(pl.col("segment") == top_sellers.EVERYBODY).drop("segment")
    assert_frame_equal(again, table.drop("day"), check_row_order=False, check_dtypes=False, check_exact=True)


def test_models_plots_and_tables_are_kept(ran: dict[str, Ran], artifact: Artifact) -> None:
    assert {name: set(one.figures) for name, one in ran.items()} == {
        "repurchase": {"verdict", "gains", "calibration"},
        "ticket_mood": {"verdict", "roc"},
        "top_sellers": {"top_sellers"},
    }
    for name in ("repurchase", "ticket_mood"):
        card, rows = held_out(ran[name], artifact)
        assert card.name == name
        assert rows.columns == [card.entity, "as_of", *(feature.name for feature in card.features), "score"]


def test_a_second_run_gives_the_same_numbers_and_the_same_model(
    place: Settings, ran: dict[str, Ran], artifact: Artifact
) -> None:
    first, second = ran["repurchase"], lab.run("repurchase", settings=place)
    assert second.record.metrics == first.record.metrics
    assert second.verdict == first.verdict
    files = [
        {file.path: file.sha256 for file in held_out(one, artifact)[0].files if file.path != "MLmodel"}
        for one in (first, second)
    ]
    assert files[0] == files[1]


def test_parameters_change_an_experiment(place: Settings) -> None:
    changed = lab.run("top_sellers", settings=place, parameters={"places": "2", "window_days": "7"})
    assert changed.record.parameters["places"] == "2"


def test_an_experiment_runs_by_itself_too(place: Settings) -> None:
    script = place.experiments / "top_sellers.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(DS_TRACKING_ADDRESS="http://127.0.0.1:1"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "table top_sellers:" in done.stdout
