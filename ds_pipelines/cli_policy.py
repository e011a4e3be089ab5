"""The commands `ds-pipelines policy …`: thin, like all commands."""

from pathlib import Path
from typing import Annotated

import typer

from ds_pipelines.settings import load_settings

policy = typer.Typer(help="Write the privacy policy, and hold it against the database.", no_args_is_help=True)


@policy.command("propose")
def propose_policy(
    tables: Annotated[list[str] | None, typer.Argument(help="Only these, views included; by default all.")] = None,
    schema: Annotated[str, typer.Option(help="The database schema.")] = "public",
    url_role: Annotated[str, typer.Option(help="The role that looks at the database.")] = "extract",
    to: Annotated[Path | None, typer.Option(help="Write it to this new file.")] = None,
) -> None:
    """Draft a privacy policy for a database that has none; when in doubt, it withholds.

    Example: ds-pipelines policy propose --to policies/shop.yaml
    """
    from ds_pipelines.errors import WouldOverwriteError
    from ds_pipelines.extract.propose.draft import propose as draft_of
    from ds_pipelines.postgres import require_role

    role = require_role(url_role)
    if to is not None and to.exists():
        raise WouldOverwriteError(to)
    draft = draft_of(load_settings(), schema=schema, role=role, tables=tables or ())
    if to is None:
        typer.echo(draft.yaml, nl=False)
    else:
        to.write_text(draft.yaml, encoding="utf-8")
    drafted = draft.policy.tables.values()
    visible, withheld = sum(len(table.visible) for table in drafted), sum(len(table.withheld) for table in drafted)
    nobodys = f", and {len(hidden)} tables that nobody gets" if (hidden := draft.policy.not_extracted) else ""
    said = f"{len(drafted)} tables: {visible} columns visible, {withheld} withheld{nobodys}. Review each."
    typer.echo(said, err=True)


@policy.command("check")
def check_policy(
    file: Annotated[Path | None, typer.Argument(help="The policy; by default the one in use.")] = None,
) -> None:
    """Hold a policy against the live database, and draft what is missing; exit 1 if anything does not fit.

    Example: ds-pipelines policy check
    """
    from ds_pipelines.extract.inspection import inspect
    from ds_pipelines.extract.policy import SHOP, load

    settings = load_settings()
    found = inspect(load(file or settings.policies / SHOP), settings)
    for misfit in found.misfits:
        typer.echo(f"{misfit.error}\n")
    if found.draft:
        typer.echo(f"# To put under `tables`, after review:\n{found.draft}", nl=False)
    if found.misfits:
        raise typer.Exit(1)
    typer.echo("The policy fits the database.")


@policy.command("preview")
def preview_policy(
    table: str, rows: Annotated[int, typer.Option(min=1, max=1000, help="How many rows to show.")] = 20
) -> None:
    """Show rows of a table before and after the policy, on the terminal alone.

    Example: ds-pipelines policy preview orders
    """
    from rich.console import Console

    from ds_pipelines.extract import preview
    from ds_pipelines.extract.policy import SHOP, load

    console, settings = Console(), load_settings()
    preview.require_terminal(console, "policy preview")
    preview.show(preview.preview(load(settings.policies / SHOP), table, settings, rows=rows), console)


@policy.command("diff")
def diff_policy(old: Path, new: Path) -> None:
    """Say what a change of a policy makes visible, withholds, treats otherwise, and which joins it breaks.

    Example: ds-pipelines policy diff before.yaml ds_pipelines/production/policies/shop.yaml
    """
    from ds_pipelines.extract.difference import difference
    from ds_pipelines.extract.policy import load

    changes = difference(load(old), load(new))
    for change in changes:
        typer.echo(str(change))
    typer.echo(f"{len(changes)} changes" if changes else "The policies say the same.")
