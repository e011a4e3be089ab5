"""The code location `production`: loads without contacting anything.

What belongs here: putting the assets, jobs, schedules and sensors together. What does not: deciding anything; the
privacy policy, the scoring jobs and the settings do.
"""

import warnings

import dagster as dg

from ds_pipelines.extract.policy import SHOP, load
from ds_pipelines.production.assets.champions import champion_asset
from ds_pipelines.production.assets.extracts import extract_assets
from ds_pipelines.production.assets.serving import serving_asset
from ds_pipelines.production.assets.shop import shop_tables
from ds_pipelines.production.days import daily
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.production.reconciling import in_time, missing_days
from ds_pipelines.production.schedules import daily_at_five
from ds_pipelines.production.sensors import requested_extracts
from ds_pipelines.settings import load_settings

# Filling many partitions in one run is what Dagster calls beta; a test notices should it change.
warnings.filterwarnings("ignore", message=".*backfill_policy", category=dg.BetaWarning)

SETTINGS = load_settings()
POLICY = load(SETTINGS.policies / SHOP)
DAYS = daily(SETTINGS)

EXTRACTS = extract_assets(POLICY, DAYS)
CHAMPIONS = [champion_asset(job) for job in JOBS.values()]
SERVING = [serving_asset(job, DAYS) for job in JOBS.values()]

daily_extract = dg.define_asset_job(
    "daily_extract",
    selection=dg.AssetSelection.assets(*EXTRACTS),
    description="Publishes the anonymized extract of a day, and of the tables of current state as they are now.",
    # A worker that was killed; a proof that failed is not tried again.
    tags={"dagster/max_runtime": "7200", "dagster/max_retries": "2"},
)
daily_scoring = dg.define_asset_job(
    "daily_scoring",
    selection=dg.AssetSelection.assets(*SERVING),
    description="Scores a day with the champions and delivers the result to the serving tables.",
    tags={"dagster/max_runtime": "7200"},
)
import_releases = dg.define_asset_job(
    "import_releases",
    selection=dg.AssetSelection.assets(*CHAMPIONS),
    description="Takes the newest release of every scoring job into production, by its hash.",
    tags={"dagster/max_runtime": "3600"},
)

defs = dg.Definitions(
    assets=[*shop_tables(POLICY), *EXTRACTS, *CHAMPIONS, *SERVING],
    jobs=[daily_extract, daily_scoring, import_releases],
    asset_checks=[in_time(job) for job in JOBS.values()],
    schedules=[daily_at_five(daily_extract, SETTINGS)],
    sensors=[
        requested_extracts(daily_extract, POLICY),
        *(missing_days(job, daily_scoring, SETTINGS) for job in JOBS.values()),
    ],
    executor=dg.in_process_executor,
)
