"""The command `ds-pipelines release accept`: a release before the gates of acceptance.

What belongs here: reading the arguments, and printing what the gates said. What does not: any gate (`release.gates`).
"""

from pathlib import Path
from typing import Annotated

import typer

from ds_pipelines.settings import load_settings


def accept(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A scoring job, for its newest release; or the name of a manifest.")
    ],
    token_file: Annotated[Path | None, typer.Option(help="File with your token; by default DS_RELEASE_TOKEN.")] = None,
) -> None:
    """Take a release through the gates of acceptance; exit 0 only if every one of them lets it through.

    Example: ds-pipelines release accept repurchase
    """
    from ds_pipelines.operate.accept import accept as examine
    from ds_pipelines.production.jobs import find
    from ds_pipelines.release import manifest as manifests
    from ds_pipelines.release.identity import identify

    settings = load_settings()
    manifest = manifests.load(manifests.find(name, settings.releases))
    who = identify("release:propose", settings, token_file)
    found = examine(manifest, find(manifest.name), settings, by=who.user)
    short = manifest.file_name.removesuffix(".yaml")
    for each in found.gates:
        mark, colour = ("✓", "green") if each.passed else ("✗", "red")
        typer.echo(f"{typer.style(mark, fg=colour)} {each.gate:<12} {each.words} ({each.seconds:.1f} s)")
        if not each.passed:
            typer.echo(f"  {'':<12} expected {each.expected}")
    if not found.passed:
        typer.echo(f"{short} is refused. Mend what is named, and propose anew.")
        raise typer.Exit(1)
    typer.echo(f"{short} is accepted. Next, by another person: ds-pipelines release approve {short}")
