"""Every script in the experiments folder as an asset: materializing it is a tracked run.

What belongs here: turning a script into an asset, a run's record into metadata, and the session of Dagster Pipes by
which an experiment reports while it runs. What does not: finding scripts and running them, which is the lab's.

What a script prints is in the run's output as it comes; its metrics and its progress are in the event log. Terminating
the run in the pages ends the experiment, which is recorded as killed.
"""

import base64
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from ds_pipelines.exploration.failing import closing, explained
from ds_pipelines.exploration.tables import USER, known_tables
from ds_pipelines.exploration.verdict_checks import verdict_check_results, verdict_check_specs
from ds_pipelines.gateway.users import SHARED
from ds_pipelines.lab.scripts import Script, discover, find
from ds_pipelines.lab.sources import clean
from ds_pipelines.settings import Settings, load_settings

KINDS = {"python": {"python"}, "notebook": {"python", "jupyter"}, "r": {"r"}}
"""What Dagster's pages show of a kind of script."""
GRACE_SECONDS = 600
"""After its time, until Dagster ends a run: for its record, and for waiting until memory is free."""


def experiment_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One asset a script: `experiments/<name>`, downstream of the tables that it asks for."""
    tables = known_tables(settings)
    return [_experiment_asset(script, tables, settings) for script in discover(settings.experiments, settings)]


def _experiment_asset(script: Script, tables: Container[str], settings: Settings) -> dg.AssetsDefinition:
    checks = verdict_check_specs(["experiments", script.name], script.path)
    # Its own cap ends it first, with a sentence and what it noted.
    most_seconds = str(round(settings.experiment_minutes * 60) + GRACE_SECONDS)

    @dg.asset(
        key=["experiments", script.name],
        check_specs=checks,
        deps=[dg.AssetDep(["lab", table]) for table in script.tables if table in tables],
        description=script.description if script.problem is None else f"Cannot run: {script.problem}",
        owners=[script.header.owner or "team:data-science"],
        group_name="experiments",
        kinds={*KINDS[script.kind], "mlflow"},
        metadata={"script": dg.MetadataValue.path(clean(str(script.path)))},
        tags={"dagster/max_runtime": most_seconds},
    )
    def experiment(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        with explained():
            find(script.path, settings.experiments, settings).require_sound()
            with dg.open_pipes_session(context, dg.PipesEnvContextInjector(), _Messages()) as session:
                ran = _run(context, script, session)
        found = verdict_check_results(ran.verdict, checks)
        yield dg.MaterializeResult(metadata=_reported(session) | _metadata(ran), check_results=found)

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

    settings, messages = load_settings(), Path(session.message_reader_params["path"])
    asked_by = Orchestration(
        run_id=context.run.run_id,
        url=f"{settings.webserver_base}/runs/{context.run.run_id}",
        pipes=session.get_bootstrap_env_vars(),
        folder=messages.parent,
        opened=lambda url: context.log.info(f"In MLflow: {url}"),
    )
    with closing(messages):
        return run(script.path, settings=settings, dagster_run=asked_by, user=context.run.tags.get(USER, SHARED))


def _metadata(ran: Any) -> dict[str, Any]:
    """Key numbers as plain metadata, plots as pictures in Markdown (raw HTML images stay blank), the way to MLflow."""
    record = ran.record
    facts: dict[str, Any] = {}
    if ran.verdict is not None:
        facts |= {"verdict": ran.verdict.answer, "in words": ran.verdict.words}
    facts |= {
        "MLflow run": dg.MetadataValue.url(record.url),
        "run id": record.run_id,
        "seconds": record.seconds,
        "peak memory (MiB)": (record.peak_memory or 0) >> 20,
        "without a seed": ", ".join(ran.unseeded) or "nothing",
    }
    if record.code.commit is not None:
        facts["code"] = record.code.commit[:12] + (" and uncommitted changes" if record.code.dirty else "")
    facts |= {name: dg.MetadataValue.float(value) for name, value in sorted(record.metrics.items())}
    for name, png in ran.figures.items():
        picture = base64.b64encode(png).decode()
        facts[f"{name} (plot)"] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{picture})")
    snapshots = Counter(each.table for each in record.inputs)
    facts["snapshots read"] = dg.MetadataValue.json(dict(sorted(snapshots.items())))
    return facts
