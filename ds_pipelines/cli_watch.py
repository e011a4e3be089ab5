"""The commands that watch production: `ds-pipelines alerts …`, and `ds-pipelines release shadow`.

What belongs here: reading the arguments, and printing what came of them. What does not: seeing, telling and comparing
(`watch`, `release`, `production`).
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ds_pipelines.errors import ChannelRefusedError, NoChannelError, UnknownProblemError
from ds_pipelines.settings import load_settings

alerts = typer.Typer(help="What is wrong in production, and who is told.", no_args_is_help=True)


@alerts.command("list")
def list_() -> None:
    """Show the problems that are not over, and the channels that are told, without their addresses.

    Example: ds-pipelines alerts list
    """
    from ds_pipelines.watch import channels
    from ds_pipelines.watch.problems import still_open
    from ds_pipelines.watch.state import remembered

    settings = load_settings()
    with remembered(settings) as cursor:
        found = still_open(cursor)
    for each in found:
        typer.echo(f"{each.id:>4}  since {each.since:%Y-%m-%d %H:%M} UTC  {each.title}")
        typer.echo("".join(f"      {line}\n" for line in each.body.splitlines()), nl=False)
    if not found:
        typer.echo("Nothing is wrong that the watch knows of.")
    named = ", ".join(each.name for each in channels.load(settings))
    typer.echo(f"Told: {named or f'nobody; name channels in {settings.alert_channels}'}")


@alerts.command("try")
def try_() -> None:
    """Send a message to every channel, to see whether it arrives.

    Example: ds-pipelines alerts try
    """
    from ds_pipelines.watch import channels

    settings = load_settings()
    named = channels.load(settings)
    if not named:
        raise NoChannelError(settings.alert_channels)
    title = f"[{settings.environment}] A trial of ds-pipelines' alerts"
    body = f"Nothing is wrong. Problems look like this one, with their page.\n{settings.pages_base}"
    taken = {each.name: each.send(title, body, good=True) for each in named}
    for name, arrived in taken.items():
        typer.echo(f"{name}: {'taken' if arrived else 'NOT taken'}")
    if refused := [name for name, arrived in taken.items() if not arrived]:
        raise ChannelRefusedError(refused, settings.alert_channels)


@alerts.command()
def close(number: Annotated[int, typer.Argument(help="The problem's number, as `alerts list` shows it.")]) -> None:
    """Say that a problem is over which nothing else will end, such as a run that nobody wants to repeat.

    Example: ds-pipelines alerts close 12
    """
    from ds_pipelines.watch.problems import Well, recover, still_open
    from ds_pipelines.watch.state import remembered

    settings = load_settings()
    with remembered(settings) as cursor:
        found = next((each for each in still_open(cursor) if each.id == number), None)
        if found is None:
            raise UnknownProblemError(number)
        well = Well(found.kind, found.subject, "Somebody closed it by hand.", settings.pages_base)
        recover(cursor, well, settings.environment)
    typer.echo(f"Closed: {found.title}")


def shadow(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A scoring job, for its newest release; or a manifest.")],
    days: Annotated[int, typer.Option(min=1, max=90, help="How many days the candidate shall score.")] = 7,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first day; by default the newest delivered.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with your token; by default DS_RELEASE_TOKEN.")] = None,
) -> None:
    """Let a candidate that acceptance let through score real days beside the champion, undelivered.

    Example: ds-pipelines release shadow repurchase --days 14
    """
    from ds_pipelines.production.jobs import find
    from ds_pipelines.release import manifest as manifests
    from ds_pipelines.release import shadow as room
    from ds_pipelines.release.identity import identify

    settings = load_settings()
    who = identify("release:propose", settings, token_file)
    manifest = manifests.load(manifests.find(name, settings.releases))
    job = find(manifest.name)
    first = None if since is None else since.date()
    begun = room.begin(name, job, settings, days=days, actor=who.user, since=first)
    typer.echo(
        f"{manifest.file_name.removesuffix('.yaml')} scores {days} days from {begun.evidence['since']} on beside the "
        f"champion. Production does so by itself; the reports are at shadow/{job.name} in its pages."
    )
