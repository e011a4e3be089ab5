"""`ds-pipelines scores`: what was delivered, and as a file, for people and for systems that read files.

What belongs here: reading the arguments of these commands and printing what came of them. What does not: delivering and
reading, which are the scoring's.
"""

from pathlib import Path
from typing import Annotated

import typer

from ds_pipelines.cli_grid import grid, show
from ds_pipelines.settings import load_settings

scores = typer.Typer(help="What was delivered to the serving tables, and as a file.", no_args_is_help=True)

SHOWN = 7
"""Days of a job that are listed."""
Job = Annotated[str, typer.Argument(help="The scoring job.")]


@scores.command("list")
def list_deliveries(
    job: Annotated[str | None, typer.Argument(help="One scoring job; without it, all.")] = None,
) -> None:
    """List the newest deliveries, how they were checked, and what each corrected.

    Example: ds-pipelines scores list repurchase
    """
    from ds_pipelines.production.jobs import JOBS, find
    from ds_pipelines.scoring.receipt import delivered

    settings = load_settings()
    shown = grid("job", "day", "rows", "release", "delivered", "checks", "differs from what it replaced")
    for each in JOBS.values() if job is None else [find(job)]:
        for given in sorted(delivered(each, settings).values(), key=lambda receipt: receipt.day)[-SHOWN:]:
            failed = [check.name for check in given.checks if not check.passed]
            shown.add_row(
                each.name,
                str(given.day),
                f"{given.rows:,}",
                given.release[:12],
                f"{given.delivered_at:%Y-%m-%d %H:%M}",
                ", ".join(failed) or "passed",
                f"{given.differing:,} rows" if given.replaces else "",
            )
    show(shown)


@scores.command()
def export(
    job: Job,
    *,
    to: Annotated[Path, typer.Option(help="Folder; the file is <table>/<day>.parquet in it.")],
    day: Annotated[str | None, typer.Option(help="Which day, as 2025-03-01; without it, the newest.")] = None,
) -> None:
    """Write a delivered day to a Parquet file, with its receipt inside.

    Example: ds-pipelines scores export repurchase --to exports
    """
    from ds_pipelines.production.jobs import find
    from ds_pipelines.scoring.export import export as write

    settings = load_settings()
    wanted = None if day is None else settings.require_day(day)
    typer.echo(str(write(find(job), wanted, to, settings)))
