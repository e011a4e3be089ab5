"""`ds-pipelines table` and `requests`: extracts for whoever works with R, DuckDB, Excel or anything else.

What belongs here: reading the arguments of these commands and printing what came of them. What does not: choosing,
fetching, writing and asking, which are the lab's and the gateway's client's.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ds_pipelines.cli_grid import grid, show
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.gateway.client import Gateway
    from ds_pipelines.gateway.wire import RequestStatus
    from ds_pipelines.lab.export import Written
    from ds_pipelines.lab.selection import Selection

requests = typer.Typer(
    help="Ask production for what is not published yet, and see how it stands.", no_args_is_help=True
)

Since = Annotated[str | None, typer.Option(help="First day, as 2025-03-01; for tables by day.")]


def table(
    name: Annotated[str | None, typer.Argument(help="Which table; without one, all are listed.")] = None,
    *,
    since: Since = None,
    until: Annotated[str | None, typer.Option(help="Last day, for tables by day.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="What was known at the end of this day: the days up to it, or the newest state.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Only these, in this order, with commas between.")] = None,
    to: Annotated[Path | None, typer.Option(help="Write it to this file, .parquet or .csv.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="CSV for programs: no mark for Excel, and formulas as they are.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    manifest: Annotated[
        Path | None, typer.Option(help="Write beside it, as JSON, which snapshots it holds and what their columns are.")
    ] = None,
) -> None:
    """Write an extract to a file, or say what there is of it; without a name, list the tables.

    Example: ds-pipelines table orders --since 2025-03-01 --until 2025-03-31 --columns order_id,placed_at --to march.csv
    """
    from ds_pipelines.gateway.client import connect
    from ds_pipelines.lab.export import require_writable, write
    from ds_pipelines.lab.selection import asking
    from ds_pipelines.lab.table import obtain, scan, select

    if to is not None:
        require_writable(to, force=force)
    names = None if columns is None else [each.strip() for each in columns.split(",")]
    question = asking(name or "", since=since, until=until, as_of=as_of, columns=names)
    settings = load_settings()
    with connect(settings) as gateway:
        if name is None:
            _list_tables(gateway)
            return
        if to is None:
            _describe(select(gateway, name, question), gateway)
            return
        selection, files = obtain(gateway, name, question)
    _tell(write(name, scan(files, selection, settings.table_share), to, exact=exact, force=force))
    _record(selection, manifest, settings.table_log)


@requests.command("list")
def list_requests() -> None:
    """List what was asked for, the newest first, and how it stands.

    Example: ds-pipelines requests list
    """
    from ds_pipelines.gateway.client import connect
    from ds_pipelines.gateway.waiting import asked_for, standing

    with connect(load_settings()) as gateway:
        asked = sorted(gateway.requests(), key=lambda each: each.asked_at, reverse=True)
    if not asked:
        typer.echo("Nothing was asked for yet.")
        return
    rows = grid("id", "table", "asked for", "by", "at", "how it stands")
    for each in asked:
        days = asked_for(each.since, each.until)
        rows.add_row(each.id, each.table, days, each.asker, f"{each.asked_at:%Y-%m-%d %H:%M %Z}", standing(each))
    show(rows)


@requests.command("show")
def show_request(id_: Annotated[str, typer.Argument(metavar="ID", help="The request's id.")]) -> None:
    """Say how a request stands.

    Example: ds-pipelines requests show 6d0c0a0e-58a3-4a63-9d43-0a1f6d2b9f11
    """
    from ds_pipelines.gateway.client import connect

    with connect(load_settings()) as gateway:
        _show(gateway.request(id_))


@requests.command("ask")
def ask_for(
    table: Annotated[str, typer.Argument(help="The table.")],
    *,
    because: Annotated[str, typer.Option(help="What it is needed for, in 5 to 500 characters.")],
    since: Since = None,
    until: Annotated[str | None, typer.Option(help="Last day; by default the first.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return only when it is published.")] = False,
    minutes: Annotated[int, typer.Option(min=1, help="For how long to wait at most.")] = 60,
) -> None:
    """Ask production to extract a table, or days of it.

    Example: ds-pipelines requests ask orders --since 2025-03-01 --because "repurchase in spring" --wait
    """
    from ds_pipelines import lab

    asked = lab.request(
        table, since=since, until=until, because=because, wait=wait, patience=timedelta(minutes=minutes)
    )
    _show(asked)


def _list_tables(gateway: "Gateway") -> None:
    rows = grid("table", "rows are those", "from", "to", "days", "rows")
    for each in gateway.known_tables():
        kind = "of each day" if each.rows_of == "day" else "of a state"
        counts = (str(each.first_day), str(each.last_day), f"{each.days:,}", f"{each.rows:,}")
        rows.add_row(each.table, kind, *counts)
    show(rows)
    typer.echo("`ds-pipelines table <name>` says more of one; with --to it is written to a file.")


def _describe(selection: "Selection", gateway: "Gateway") -> None:
    from rich.filesize import decimal

    from ds_pipelines.gateway.ages import moment

    newest, first = selection.newest, selection.manifests[0]
    rows = sum(each.rows for each in selection.manifests)
    size = sum(each.bytes for each in selection.manifests)
    cached = len(selection.manifests) - len(gateway.cache.missing(selection.manifests))
    days = f"the state of {newest.day}" if newest.rows_of == "state" else f"{first.day} to {newest.day}"
    typer.echo(f"{newest.table}: {days}, {rows:,} rows, {decimal(size)} as Parquet")
    typer.echo(
        f"The newest was published {moment(newest.published_at)}, read from production {moment(newest.read_at)}."
    )
    typer.echo(f"{cached} of {len(selection.manifests)} files are in the cache.\n")
    columns = grid("column", "type", "treatment", "why")
    explained = {each.name: each for each in newest.columns}
    for name in selection.columns:
        columns.add_row(name, explained[name].dtype, explained[name].treatment, explained[name].explanation)
    for withheld in newest.withheld:
        columns.add_row(withheld.name, "", "withheld", withheld.explanation)
    show(columns)


def _show(request: "RequestStatus") -> None:
    from ds_pipelines.gateway.waiting import asked_for, standing

    typer.echo(f"{request.id}\n{request.table}, {asked_for(request.since, request.until)}: {standing(request)}")
    typer.echo(f"asked by {request.asker} at {request.asked_at:%Y-%m-%d %H:%M %Z}: {request.reason}")
    for word, at in (("started", request.started_at), ("ended", request.finished_at)):
        if at is not None:
            typer.echo(f"{word} at {at:%Y-%m-%d %H:%M %Z}")


def _record(selection: "Selection", manifest: Path | None, log: Path | None) -> None:
    """What was read, for who asked for its manifest and for the run in which this command was called."""
    from pydantic import TypeAdapter

    from ds_pipelines.evidence import RunInput, SnapshotManifest

    if manifest is not None:
        manifest.write_bytes(TypeAdapter(tuple[SnapshotManifest, ...]).dump_json(selection.manifests))
    if log is not None:
        read = [RunInput(table=each.table, day=each.day, digest=each.digest) for each in selection.manifests]
        with log.open("a") as file:
            file.writelines(f"{each.model_dump_json()}\n" for each in read)


def _tell(written: "Written") -> None:
    from rich.filesize import decimal

    from ds_pipelines.lab.export import SHEET_ROWS

    typer.echo(f"{written.path}: {written.rows:,} rows, {decimal(written.bytes)}")
    if written.guarded:
        typer.echo(
            f"{written.guarded:,} cells begin like a formula and got an apostrophe in front, so that Excel does not "
            "run them; --exact leaves them as they are.", err=True,
        )  # fmt: skip
    if written.beyond_a_sheet:
        typer.echo(f"Excel shows no more than {SHEET_ROWS - 1:,} rows of a file: ask for fewer days.", err=True)
