"""The code location `production`: loads without contacting anything.

What belongs here: putting the assets, jobs, schedules and sensors together. What does not: deciding anything; the
privacy policy, the scoring jobs and the settings do.
"""

import warnings

import dagster as dg

from ds_pipelines.extract.policy import SHOP, load
from ds_pipelines.production.alerts import alerts
from ds_pipelines.production.assets.champions import champion_asset
from ds_pipelines.production.assets.extracts import extract_assets
from ds_pipelines.production.assets.performance import performance_asset
from ds_pipelines.production.assets.report import weekly_report
from ds_pipelines.production.assets.scores import scores_extract
from ds_pipelines.production.assets.serving import serving_asset
from ds_pipelines.production.assets.shadow import shadow_asset
from ds_pipelines.production.assets.shop import shop_tables
from ds_pipelines.production.days import daily
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.production.reconciling import in_time, missing_days
from ds_pipelines.production.schedules import daily_at_five
from ds_pipelines.production.sensors import requested_extracts
from ds_pipelines.production.watching import watched_days, weekly
from ds_pipelines.settings import load_settings

# Filling many partitions in one run is what Dagster calls beta; a test notices should it change.
warnings.filterwarnings("ignore", message=".*backfill_policy", category=dg.BetaWarning)

SETTINGS = load_settings()
POLICY = load(SETTINGS.policies / SHOP)
DAYS = daily(SETTINGS)

EXTRACTS = extract_assets(POLICY, DAYS)
CHAMPIONS = [champion_asset(job) for job in JOBS.values()]
SERVING = [serving_asset(job, DAYS) for job in JOBS.values()]
PERFORMANCE = [performance_asset(job, DAYS) for job in JOBS.values() if job.outcome is not None]
SHADOWS = [shadow_asset(job, DAYS) for job in JOBS.values() if job.entity is not None]
SCORES = [scores_extract(job, DAYS) for job in JOBS.values() if job.entity is not None]
REPORT = weekly_report(JOBS.values())

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
verify_champions = dg.define_asset_job(
    "verify_champions",
    selection=dg.AssetSelection.assets(*CHAMPIONS),
    description="Shows the champion of every scoring job, verified against its signature and the ledger.",
    tags={"dagster/max_runtime": "3600"},
)
watch_days = dg.define_asset_job(
    "watch_days",
    selection=dg.AssetSelection.assets(*PERFORMANCE, *SHADOWS),
    description="Measures what came true of delivered days, and lets candidates score days in the champion's shadow.",
    tags={"dagster/max_runtime": "7200"},
)
report_week = dg.define_asset_job(
    "report_week",
    selection=dg.AssetSelection.assets(REPORT),
    description="Draws the report of the last seven days.",
    tags={"dagster/max_runtime": "1800"},
)
OWN_JOBS = [daily_extract, daily_scoring, verify_champions, watch_days, report_week]

defs = dg.Definitions(
    assets=[*shop_tables(POLICY), *EXTRACTS, *CHAMPIONS, *SERVING, *PERFORMANCE, *SHADOWS, *SCORES, REPORT],
    jobs=OWN_JOBS,
    asset_checks=[in_time(job) for job in JOBS.values()],
    schedules=[daily_at_five(daily_extract, SETTINGS), weekly(report_week, SETTINGS)],
    sensors=[
        requested_extracts(daily_extract, POLICY),
        alerts(JOBS.values(), [job.name for job in OWN_JOBS], SETTINGS),
        watched_days(JOBS.values(), watch_days, SETTINGS),
        *(missing_days(job, daily_scoring, SETTINGS) for job in JOBS.values()),
    ],
    executor=dg.in_process_executor,
)
