"""What was tried, for people who work in Dagster's pages: jobs that show, compare and close, and closed assets.

What belongs here: turning what the lab finds into Markdown, as the metadata of a run and of an asset. What does not:
finding, comparing and closing, which are the lab's, and the same by command (`cli_experiments`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from ds_pipelines.exploration.failing import explained
from ds_pipelines.exploration.tables import USER
from ds_pipelines.gateway.users import SHARED
from ds_pipelines.lab.closing import closings
from ds_pipelines.settings import Settings, load_settings

CLOSED = "closed"
"""The tag of an experiment's asset that was closed."""
MOST_RUNS = 50
RUNTIME = {"dagster/max_runtime": "900"}


class Named(dg.Config):
    """Which experiment."""

    experiment: str = Field(description="An experiment's name; empty for all experiments")


class Two(dg.Config):
    """Which runs are compared."""

    a: str = Field(description="A run's MLflow id, its first digits, or an experiment for its newest run")
    b: str = Field(description="The other run")


class Close(dg.Config):
    """Which experiment is closed, and why."""

    experiment: str = Field(description="The experiment's name")
    because: str = Field("", description="Why nobody needs to try it again; empty takes a closing back")


def marked_closed(assets: Iterable[dg.AssetsDefinition], settings: Settings) -> list[dg.AssetsDefinition]:
    """The experiments' assets, those that were closed with the reason in front of their description."""
    closed = closings(settings)

    def marked(spec: dg.AssetSpec) -> dg.AssetSpec:
        closing = closed.get(spec.key.path[-1])
        if closing is None:
            return spec
        words = f"**Closed** by {closing.by} on {closing.at:%Y-%m-%d}: {closing.because}"
        return spec.replace_attributes(
            description=f"{words}\n\n{spec.description or ''}".strip(), tags={**spec.tags, CLOSED: "yes"}
        )

    return [asset.map_asset_specs(marked) for asset in assets]


def history_jobs() -> Sequence[dg.JobDefinition]:
    """The jobs by which a person sees, compares and closes what was tried."""
    return [experiment_history, compare_two_runs, close_or_reopen]


@dg.op(out=dg.Out(dg.Nothing))
def show_history(context: dg.OpExecutionContext, config: Named) -> None:
    """The runs of an experiment, or every experiment, as a table."""
    from ds_pipelines.lab.closing import closings as read_closings
    from ds_pipelines.lab.finding import tried
    from ds_pipelines.lab.history import opened

    settings = load_settings()
    with explained(), opened(settings) as history:
        if config.experiment:
            runs = history.runs(config.experiment)
            table = _runs_table(runs[:MOST_RUNS])
            context.log_event(dg.AssetObservation(
                ["experiments", config.experiment], metadata={"history": dg.MetadataValue.md(table)}
            ))  # fmt: skip
            count = len(runs)
        else:
            found = tried(history, read_closings(settings))
            table, count = _experiments_table(found), len(found)
    context.add_output_metadata({"history": dg.MetadataValue.md(table), "found": count})


@dg.op(out=dg.Out(dg.Nothing))
def show_comparison(context: dg.OpExecutionContext, config: Two) -> None:
    """What changed between two runs: code, data, parameters, metrics, packages, environment."""
    from ds_pipelines.lab.compare import compare, markdown

    with explained():
        comparison = compare(config.a, config.b, load_settings())
    context.add_output_metadata({
        "comparison": dg.MetadataValue.md(markdown(comparison)),
        "a": dg.MetadataValue.url(comparison.a.url),
        "b": dg.MetadataValue.url(comparison.b.url),
    })  # fmt: skip


@dg.op(out=dg.Out(dg.Nothing))
def close_idea(context: dg.OpExecutionContext, config: Close) -> None:
    """Closes an experiment with its reason, or opens it again."""
    from ds_pipelines.lab.closing import close, reopen

    settings, user = load_settings(), context.run.tags.get(USER, SHARED)
    with explained():
        if config.because.strip():
            closing = close(config.experiment, config.because, settings, user=None if user == SHARED else user)
            words = f"{closing.experiment} is closed: {closing.because}"
        else:
            closing = reopen(config.experiment, settings)
            words = f"{config.experiment} is open again; {closing.by} had closed it: {closing.because}"
    asset = ["experiments", config.experiment]
    context.log_event(dg.AssetObservation(asset, metadata={"idea": words}))
    context.log.info(f"{words}. The asset says so once the code location is reloaded.")
    context.add_output_metadata({"idea": words})


@dg.job(name="experiment_history", description="Shows what was tried, as a table in the run's log.", tags=RUNTIME)
def experiment_history() -> None:
    """The history of one experiment, or of all."""
    show_history()


@dg.job(name="compare_runs", description="Shows what changed between two runs of experiments.", tags=RUNTIME)
def compare_two_runs() -> None:
    """Two runs side by side."""
    show_comparison()


@dg.job(
    name="close_experiment",
    description="Closes an idea with its reason; without a reason, opens it again.",
    tags=RUNTIME,
)
def close_or_reopen() -> None:
    """One idea closed."""
    close_idea()


def _runs_table(runs: Iterable[Any]) -> str:
    head = ["run", "started", "ended", "verdict", "data", "digests", "by", "reproduction"]
    return _markdown(head, [
        [
            f"[{run.run_id[:8]}]({run.url})", f"{run.started_at:%Y-%m-%d %H:%M}", run.status, run.verdict or "none",
            run.data or "none", ", ".join(read.digest[:12] for read in run.reads), run.by or "unknown",
            run.reproduction or "",
        ]
        for run in runs
    ])  # fmt: skip


def _experiments_table(found: Iterable[Any]) -> str:
    head = ["experiment", "question", "verdict", "data", "last run", "by", "runs", "bytes", "closed because"]
    return _markdown(head, [
        [
            each.name, each.question or "unknown", each.verdict or "none", each.data or "none",
            f"{each.last_run:%Y-%m-%d %H:%M}" if each.last_run else "never", each.by or "unknown", str(each.runs),
            "unknown" if each.bytes is None else f"{each.bytes:,}", each.closed or "",
        ]
        for each in found
    ])  # fmt: skip


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
