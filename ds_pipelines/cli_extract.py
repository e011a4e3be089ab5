"""The commands `ds-pipelines extract …`: thin, like all commands."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ds_pipelines.settings import load_settings


class _TableOrCommand(TyperGroup):
    """`extract TABLE`, and commands beside it; a table that is called like one of them is `extract table TABLE`."""

    default = "table"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


extract = typer.Typer(
    cls=_TableOrCommand, help="Extract a table; hold all extracts, read days again.", no_args_is_help=True
)


@extract.command("table")
def extract_table(
    table: Annotated[str, typer.Argument(help="A table that the privacy policy names.")],
    since: Annotated[
        str | None, typer.Option(help="First day, as 2025-03-01; for tables that are extracted by day.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last day; by default the first.")] = None,
) -> None:
    """Extract a table, or days of it, by the privacy policy and publish them.

    Example: ds-pipelines extract orders --since 2025-03-01 --until 2025-03-07
    """
    from ds_pipelines.extract.pace import polite
    from ds_pipelines.extract.publish import extract_days, extract_state

    settings, harms = load_settings(), list[Any]()
    polite()
    if since is None:
        manifests = [extract_state(table, settings, on_harm=harms.append)]
    else:
        first, last = settings.require_day(since), settings.require_day(until or since)
        manifests = extract_days(table, first, last, settings, on_harm=harms.append)
    for manifest in manifests:
        typer.echo(f"{manifest.table} {manifest.day}: {manifest.rows:,} rows, {manifest.digest[:12]}")
    for harm in harms:
        typer.echo("\n".join([harm.words, *harm.notes]), err=True)


@extract.command()
def together(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables of the policy; by default all.")] = None,
    since: Annotated[str | None, typer.Option(help="First day of tables by day; by default the newest.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day; by default the first.")] = None,
) -> None:
    """Extract tables as they all were at one moment, where the policy says `consistency: snapshot`.

    Example: ds-pipelines extract together orders customers --since 2025-03-01
    """
    from ds_pipelines.extract.pace import polite
    from ds_pipelines.extract.together import extract_together

    settings = load_settings()
    polite()
    first = settings.require_day(since) if since else None
    last = settings.require_day(until) if until else None
    done = extract_together(tables or [], settings, first=first, last=last)
    for manifest in done.manifests:
        typer.echo(f"{manifest.table} {manifest.day}: {manifest.rows:,} rows, {manifest.digest[:12]}")
    if done.warning:
        typer.echo(done.warning, err=True)


@extract.command()
def pause() -> None:
    """Stop all reading of production at the next chunk, until `extract resume`.

    Example: ds-pipelines extract pause
    """
    from ds_pipelines.extract.status import pause as hold

    typer.echo(hold(load_settings()))


@extract.command()
def resume() -> None:
    """Let extracts go on after `extract pause`.

    Example: ds-pipelines extract resume
    """
    from ds_pipelines.extract.status import resume as let_go

    typer.echo(let_go(load_settings()))


@extract.command()
def status() -> None:
    """Say whether production may be read, what was read today, what was interrupted, and the last harm of each table.

    Example: ds-pipelines extract status
    """
    from ds_pipelines.extract.status import status as told

    for line in told(load_settings()):
        typer.echo(line)


@extract.command()
def reconcile(
    table: Annotated[str, typer.Argument(help="A table that is extracted by day.")],
    days: Annotated[int, typer.Option(min=1, help="How many days, up to the newest that can be extracted.")] = 7,
) -> None:
    """Read published days again, and publish those that were changed since.

    Example: ds-pipelines extract reconcile orders --days 30
    """
    from datetime import timedelta

    from ds_pipelines.extract.pace import polite
    from ds_pipelines.extract.reconcile import reconcile as read_again

    settings = load_settings()
    polite()
    before = settings.last_extractable_day() + timedelta(days=1)
    done = read_again(table, settings, before=before, days=days)
    for manifest in done.changed:
        typer.echo(f"{manifest.table} {manifest.day}: {manifest.rows:,} rows, {manifest.digest[:12]}")
    typer.echo(f"{len(done.read)} days were read again, {len(done.changed)} had changed.")
