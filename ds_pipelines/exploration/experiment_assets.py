"""Every script in the experiments folder as an asset: materializing it is a tracked run.

What belongs here: turning a script into an asset and a run's record into metadata. What does not: finding scripts and
running them, which is the lab's.
"""

import base64
from collections.abc import Container, Iterator
from typing import Any

import dagster as dg

from ds_pipelines.exploration.tables import known_tables
from ds_pipelines.exploration.verdict_checks import verdict_check_results, verdict_check_specs
from ds_pipelines.lab.scripts import Script, discover
from ds_pipelines.settings import Settings, load_settings


def experiment_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One asset a script: `experiments/<name>`, downstream of the tables that it asks for."""
    tables = known_tables(settings)
    return [_experiment_asset(script, tables) for script in discover(settings.experiments)]


def _experiment_asset(script: Script, tables: Container[str]) -> dg.AssetsDefinition:
    checks = verdict_check_specs(["experiments", script.name], script.path)

    @dg.asset(
        key=["experiments", script.name],
        check_specs=checks,
        deps=[dg.AssetDep(["lab", table]) for table in script.tables if table in tables],
        description=script.description if script.problem is None else f"Cannot run: {script.problem}",
        owners=["team:data-science"],
        group_name="experiments",
        kinds={"python", "mlflow"},
        metadata={"script": dg.MetadataValue.path(str(script.path))},
        tags={"dagster/max_runtime": "7200"},
    )
    def experiment(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        from ds_pipelines import lab

        ran = lab.run(script.path, settings=load_settings(), dagster_run=context.run.run_id)
        yield dg.MaterializeResult(metadata=_metadata(ran), check_results=verdict_check_results(ran.verdict, checks))

    return experiment


def _metadata(ran: Any) -> dict[str, Any]:
    """Key numbers as plain metadata, plots as pictures in Markdown (raw HTML images stay blank), the way to MLflow."""
    record = ran.record
    facts: dict[str, Any] = {"MLflow run": dg.MetadataValue.url(record.url), "run id": record.run_id}
    if ran.verdict is not None:
        facts |= {"verdict": ran.verdict.answer, "in words": ran.verdict.words}
    facts |= {name: dg.MetadataValue.float(value) for name, value in sorted(record.metrics.items())}
    for name, png in ran.figures.items():
        picture = base64.b64encode(png).decode()
        facts[f"{name} (plot)"] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{picture})")
    tables = sorted({each.table for each in record.inputs})
    facts["read"] = dg.MetadataValue.json({
        table: f"{sum(each.table == table for each in record.inputs)} snapshots" for table in tables
    })  # fmt: skip
    return facts
