"""The code location `exploration`: loads without contacting anything."""

import warnings

import dagster as dg

from ds_pipelines.exploration.experiment_assets import experiment_assets
from ds_pipelines.exploration.history_jobs import history_jobs, marked_closed
from ds_pipelines.exploration.reproduction_jobs import nightly, reproduce_kept
from ds_pipelines.exploration.schedules import experiment_schedules
from ds_pipelines.exploration.tables import extract_specs, table_assets
from ds_pipelines.settings import load_settings

# Filling many partitions in one run is what Dagster calls beta; a test notices should it change.
warnings.filterwarnings("ignore", message=".*backfill_policy", category=dg.BetaWarning)

SETTINGS = load_settings()
EXTRACTS = extract_specs(SETTINGS)
TABLES = table_assets(SETTINGS)
EXPERIMENTS = marked_closed(experiment_assets(SETTINGS), SETTINGS)

defs = dg.Definitions(
    assets=[*EXTRACTS, *TABLES, *EXPERIMENTS],
    jobs=[
        *history_jobs(),
        reproduce_kept,
        dg.define_asset_job(
            "fetch_tables",
            selection=dg.AssetSelection.assets(*TABLES),
            description="Fetches every published table, or days of it, through the gateway.",
            tags={"dagster/max_runtime": "10800"},
        ),
        dg.define_asset_job(
            "all_experiments",
            selection=dg.AssetSelection.assets(*EXPERIMENTS),
            description="Runs every experiment once on the newest extracts.",
            tags={"dagster/max_runtime": "3600"},
        ),
    ],
    schedules=[*experiment_schedules(SETTINGS), nightly(SETTINGS)],
    executor=dg.in_process_executor,
)
