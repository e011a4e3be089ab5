"""The commands `ds-pipelines token …`: who may have what through the gateway.

What belongs here: reading the arguments, and printing what came of them. What does not: what a token is (`grants`).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TextIO

import typer

from ds_pipelines.errors import TokenFileExistsError, TokenScopeError, UnknownScopeError
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from ds_pipelines.gateway.grants import Grant, Kind

token = typer.Typer(help="Who may have what through the gateway, and who had what.", no_args_is_help=True)


class Scope(NamedTuple):
    """What a token is to open."""

    kind: "Kind"
    tables: frozenset[str] | None
    scopes: frozenset[str] = frozenset()


class Asked(NamedTuple):
    """What somebody wants a token for."""

    extracts: list[str]
    scores: list[str]
    release: list[str]
    everything: bool
    metrics: bool


@token.command()
def create(  # noqa: PLR0917 - typer passes them by name
    name: Annotated[str, typer.Argument(help="Whose it is, or what for; the audit names it.")],
    extracts: Annotated[list[str] | None, typer.Option(help="A table whose extracts it opens; once for each.")] = None,
    all_extracts: Annotated[bool, typer.Option("--all-extracts", help="The extracts of all tables.")] = False,
    scores: Annotated[
        list[str] | None, typer.Option(help="A scoring job, or its table, whose scores it opens; once for each.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="The gateway's figures for Prometheus.")] = False,
    release: Annotated[
        list[str] | None,
        typer.Option(help="What it may do with releases: propose, approve or deploy; once for each."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose it is, if the token's name does not say so.")] = None,
    days: Annotated[int, typer.Option(min=1, help="So many days it is in force.")] = 90,
    requests_per_minute: Annotated[int, typer.Option(min=1, help="So many requests a minute it may send.")] = 1_200,
    gigabytes_per_day: Annotated[float, typer.Option(min=0.001, help="So much a day (UTC) it may have.")] = 100.0,
    to: Annotated[Path | None, typer.Option(help="Write it to this new file, which only you can read.")] = None,
) -> None:
    """Make a token and print it, this once; or write it to a file.

    Example: ds-pipelines token create ana --extracts orders --extracts customers --days 30 --to ana.token
    """
    from ds_pipelines.gateway import grants

    settings = load_settings()
    asked = Asked(extracts or [], scores or [], release or [], everything=all_extracts, metrics=metrics)
    scope = _scope(asked, settings)
    volume = int(gigabytes_per_day * 10**9)
    wanted = grants.Wanted(
        name, scope.kind, scope.tables, timedelta(days=days), requests_per_minute, volume, scope.scopes, user
    )
    if to is None:
        typer.echo(grants.create(wanted, settings))
    else:
        with _new_file(to) as file:
            file.write(f"{grants.create(wanted, settings)}\n")
    typer.echo(f"Token {name!r} is in force for {days} days; it is not stored, and not shown again.", err=True)


@token.command("list")
def show() -> None:
    """List every token that was made, and what it may do.

    Example: ds-pipelines token list
    """
    from ds_pipelines.gateway import grants

    now = datetime.now(UTC)
    for grant in grants.listed(load_settings()):
        until = f"until {grant.expires_at:%Y-%m-%d}" if grant.expires_at else "without end"
        limits = f"{grant.requests_per_minute:,} requests a minute, {grant.bytes_per_day / 10**9:,.3g} GB a day"
        typer.echo(f"{grant.name}: {_opens(grant)}; {grant.state(now)}, {until}; {limits}")


@token.command()
def revoke(name: Annotated[str, typer.Argument(help="The token's name.")]) -> None:
    """End a token; a gateway that runs refuses it within three seconds.

    Example: ds-pipelines token revoke ana
    """
    from ds_pipelines.gateway import grants

    grants.revoke(name, load_settings())
    typer.echo(f"Token {name!r} is revoked.")


@token.command()
def audit(
    of: Annotated[str | None, typer.Option("--token", help="Only of this token.")] = None,
    table: Annotated[str | None, typer.Option(help="Only what is of this table.")] = None,
    last: Annotated[int, typer.Option(min=1, help="So many lines, the newest.")] = 100,
) -> None:
    """Print who got what through the gateway, tab-separated, the newest last.

    Example: ds-pipelines token audit --table customers --last 20
    """
    from ds_pipelines.gateway import audit as room
    from ds_pipelines.gateway.database import Database, ensure
    from ds_pipelines.gateway.users import words

    settings = load_settings()
    ensure(settings)
    lines = Database(settings).run(lambda cursor: room.read(cursor, named=of, table=table, last=last))
    for at, line in lines:
        what = (
            line.token_name,
            words(line.user, line.asserted_by),
            f"{line.method} {line.route}",
            line.table or "-",
            (line.digest or "-")[:12],
        )
        typer.echo("\t".join((f"{at:%Y-%m-%d %H:%M:%S}", *what, f"{line.bytes}", f"{line.status}")))


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A file that only its owner can read, made before what goes into it; gone again if that fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise TokenFileExistsError(path) from None
    try:
        with os.fdopen(descriptor, "w") as file:
            yield file
    except BaseException:
        path.unlink()
        raise


def _opens(grant: "Grant") -> str:
    if grant.kind == "metrics":
        return "metrics"
    if grant.kind == "release":
        return f"{', '.join(sorted(grant.scopes))} as {grant.user}"
    return f"{grant.kind} of {', '.join(sorted(grant.tables)) if grant.tables is not None else 'all tables'}"


def _scope(wanted: Asked, settings: Settings) -> Scope:
    """One kind, and tables that exist.

    Raises:
        TokenScopeError: no kind, or more than one.
        UnknownScopeError: there is no such table or job.
    """
    asked = {
        "extracts": bool(wanted.extracts) or wanted.everything,
        "scores": bool(wanted.scores),
        "metrics": wanted.metrics,
        "release": bool(wanted.release),
    }
    kinds = [kind for kind, wanted in asked.items() if wanted]
    if len(kinds) != 1:
        raise TokenScopeError(kinds)
    if wanted.metrics:
        return Scope("metrics", None)
    if wanted.release:
        return Scope("release", None, _release_scopes(wanted.release))
    if wanted.scores:
        return Scope("scores", _serving_tables(wanted.scores))
    if wanted.everything:
        return Scope("extracts", None)
    return Scope("extracts", _known("extracts", wanted.extracts, _extracted_tables(settings)))


def _release_scopes(asked: list[str]) -> frozenset[str]:
    from ds_pipelines.gateway.grants import SCOPES

    full = [each if each.startswith("release:") else f"release:{each}" for each in asked]
    return _known("actions", full, SCOPES)


def _extracted_tables(settings: Settings) -> set[str]:
    from ds_pipelines.extract.policy import SHOP, load
    from ds_pipelines.snapshots.store import SnapshotStore

    return {*load(settings.policies / SHOP).tables, *SnapshotStore(settings.snapshots).tables()}


def _serving_tables(names: list[str]) -> frozenset[str]:
    from ds_pipelines.production.jobs import JOBS

    tables = {job.name: job.table for job in JOBS.values()} | {job.table: job.table for job in JOBS.values()}
    return frozenset(tables[name] for name in _known("scores", names, tables))


def _known(kind: str, names: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    known = set(known)
    if unknown := set(names) - known:
        raise UnknownScopeError(kind, unknown, known)
    return frozenset(names)
