"""The commands `ds-pipelines job …`: thin, like all commands."""

from pathlib import Path
from typing import Annotated

import typer

from ds_pipelines.settings import load_settings

job = typer.Typer(help="The scoring jobs: what is computed every day and delivered.", no_args_is_help=True)


@job.command("list")
def list_jobs() -> None:
    """Name the scoring jobs, what each delivers, and to whom.

    Example: ds-pipelines job list
    """
    from ds_pipelines.cli_grid import grid, show
    from ds_pipelines.production.jobs import JOBS

    engines = load_settings().engines
    made = grid("job", "kind", "serving table", "engine", "read by")
    for each in JOBS.values():
        made.add_row(each.name, each.kind, each.table, engines.get(each.name, "local"), ", ".join(each.consumers))
    show(made)


@job.command("new")
def new_job(
    name: Annotated[str, typer.Argument(help="Of the job, as churn_risk; also that of its module.")],
    release: Annotated[str, typer.Option("--from", help="The release: a manifest's path, or a job for its newest.")],
) -> None:
    """Start a scoring job from a release: its reviewed module under another name, to be changed and released.

    Example: ds-pipelines job new second_order --from repurchase
    """
    from ds_pipelines.production.new_job import start
    from ds_pipelines.release.manifest import load, newest

    settings = load_settings()
    manifest = load(Path(release)) if release.endswith(".yaml") else load(newest(release, settings.releases))
    for path in start(name, manifest, settings):
        typer.echo(f"Wrote {path}")
    typer.echo(f"Change what differs, test it, then `ds-pipelines release propose --job {name}`.")
