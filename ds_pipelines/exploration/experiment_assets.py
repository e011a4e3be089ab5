"""Every script in the experiments folder as an asset: materializing it is a tracked run.

What belongs here: turning a script into an asset, a run's record into metadata, and the session of Dagster Pipes by
which an experiment reports while it runs. What does not: finding scripts and running them, which is the lab's.

What a script prints is in the run's output as it comes; its metrics and its progress are in the event log. Terminating
the run in the pages ends the experiment, which is recorded as killed.
"""

import base64
from collections.abc import Container
from pathlib import Path
from typing import Any

import dagster as dg

from ds_pipelines.exploration.tables import USER, known_tables
from ds_pipelines.lab.scripts import Script, discover
from ds_pipelines.settings import Settings, load_settings


def experiment_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One asset a script: `experiments/<name>`, downstream of the tables that it asks for."""
    tables = known_tables(settings)
    return [_experiment_asset(script, tables) for script in discover(settings.experiments)]


def _experiment_asset(script: Script, tables: Container[str]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["experiments", script.name],
        deps=[dg.AssetDep(["lab", table]) for table in script.tables if table in tables],
        description=script.description if script.problem is None else f"Cannot run: {script.problem}",
        owners=["team:data-science"],
        group_name="experiments",
        kinds={"python", "mlflow"},
        metadata={"script": dg.MetadataValue.path(str(script.path))},
        tags={"dagster/max_runtime": "7200"},
    )
    def experiment(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with dg.open_pipes_session(context, dg.PipesEnvContextInjector(), _Messages()) as session:
            ran = _run(context, script, session)
        return dg.MaterializeResult(metadata=_reported(session) | _metadata(ran))

    return experiment


class _Messages(dg.PipesTempFileMessageReader):
    """Messages of the one process in which an experiment runs."""

    @property
    def expected_writer_count(self) -> int:
        """Stated here, because Dagster asks every reader, and warns that its own answer is a preview."""
        return 1


def _reported(session: dg.PipesSession) -> dict[str, Any]:
    """Metadata that the script itself reported through Pipes."""
    results = session.get_results(implicit_materializations=False)
    found = [each.metadata or {} for each in results if isinstance(each, dg.MaterializeResult)]
    return {name: value for facts in found for name, value in facts.items()}


def _run(context: dg.AssetExecutionContext, script: Script, session: dg.PipesSession) -> Any:
    """The experiment in its own process; it gets none of this one's variables but what any process needs."""
    from ds_pipelines.lab.run import Orchestration, run

    settings = load_settings()
    asked_by = Orchestration(
        run_id=context.run.run_id,
        url=f"{settings.webserver_base}/runs/{context.run.run_id}",
        pipes=session.get_bootstrap_env_vars(),
        folder=Path(session.message_reader_params["path"]).parent,
        opened=lambda url: context.log.info(f"In MLflow: {url}"),
    )
    return run(script.path, settings=settings, dagster_run=asked_by, user=context.run.tags.get(USER))


def _metadata(ran: Any) -> dict[str, Any]:
    """Key numbers as plain metadata, plots as pictures in Markdown (raw HTML images stay blank), the way to MLflow."""
    record = ran.record
    facts: dict[str, Any] = {
        "MLflow run": dg.MetadataValue.url(record.url),
        "run id": record.run_id,
        "seconds": record.seconds,
        "peak memory (MiB)": (record.peak_memory or 0) >> 20,
        "without a seed": ", ".join(ran.unseeded) or "nothing",
    }
    if record.code.commit is not None:
        facts["code"] = record.code.commit[:12] + (" and uncommitted changes" if record.code.dirty else "")
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
