"""`ds-pipelines experiments …` and `reproduce`: what was tried, what changed, and whether it can be repeated.

What belongs here: reading the arguments of these commands and printing what came of them. What does not: finding,
comparing, removing and repeating, which are the lab's.
"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds_pipelines.cli_grid import grid, show
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from ds_pipelines.evidence import Closing, Reproduction
    from ds_pipelines.lab.history import History, PastRun

experiments = typer.Typer(help="Find, compare and close what was tried.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON instead of a table.")]
Run = Annotated[str, typer.Argument(help="A run's id, its first digits, or an experiment for its newest run.")]


@experiments.command("list")
def list_experiments(
    *,
    question: Annotated[str | None, typer.Option(help="Only those whose question or name holds this text.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only those with a run of this verdict, as 'no signal'.")] = None,
    table: Annotated[str | None, typer.Option(help="Only those that read this table.")] = None,
    closed: Annotated[
        bool | None, typer.Option("--closed/--open", help="Only those that are closed, or are not.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what was tried: with what verdict, on which data, when, by whom, and what it takes to keep.

    Example: ds-pipelines experiments list --question repurchase --verdict "no signal"
    """
    from ds_pipelines.lab.closing import closings
    from ds_pipelines.lab.finding import Wanted, tried
    from ds_pipelines.lab.history import opened

    settings = load_settings()
    with opened(settings) as history:
        found = tried(history, closings(settings), Wanted(question, verdict, table, closed))
    if as_json:
        _print_json([each.as_json() for each in found])
        return
    if not found:
        typer.echo("Nothing of this kind was tried yet.")
        return
    rows = grid("experiment", "question", "verdict", "data", "last run", "by", "runs", "bytes", "closed because")
    for each in found:
        rows.add_row(
            each.name, each.question or "unknown", each.verdict or "none", each.data or "none",
            f"{each.last_run:%Y-%m-%d %H:%M}" if each.last_run else "never", each.by or "unknown", str(each.runs),
            _size(each.bytes), each.closed or "",
        )  # fmt: skip
    show(rows)


@experiments.command("show")
def show_experiment(
    name: Annotated[str, typer.Argument(help="An experiment's name, a run's id, or its first digits.")],
    as_json: AsJson = False,
) -> None:
    """Show the runs of an experiment, or all that is known of one run.

    Example: ds-pipelines experiments show repurchase
    """
    from ds_pipelines.lab.closing import closings
    from ds_pipelines.lab.finding import facts
    from ds_pipelines.lab.history import opened

    settings = load_settings()
    with opened(settings) as history:
        runs = history.runs(name)
        closing = closings(settings).get(name)
        if not runs and closing is None:
            details = facts(history, history.run(name))
            _print_json(details) if as_json else _print_facts(details)
            return
        if as_json:
            _print_json({"closed": closing and closing.model_dump(mode="json"), "runs": [_plain(run) for run in runs]})
            return
        _print_runs(history, runs, closing)


@experiments.command("compare")
def compare_runs(a: Run, b: Run, as_json: AsJson = False) -> None:
    """Say what changed between two runs: code, data, parameters, metrics, packages, environment.

    Example: ds-pipelines experiments compare 8f2c01d9 1b77aa02
    """
    from ds_pipelines.lab.compare import compare, told

    comparison = compare(a, b, load_settings())
    if as_json:
        _print_json(comparison.as_json())
        return
    for line in told(comparison):
        typer.echo(line)


@experiments.command("close")
def close_experiment(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    because: Annotated[str, typer.Option(help="Why nobody needs to try it again.")] = "",
) -> None:
    """Close an idea: it stays findable, with its reason.

    Example: ds-pipelines experiments close ticket_mood --because "the ticket's mood says nothing about churn"
    """
    from ds_pipelines.lab.closing import close

    closing = close(name, because, load_settings())
    typer.echo(f"{closing.experiment} is closed: {closing.because} ({closing.by}, {closing.at:%Y-%m-%d})")


@experiments.command("reopen")
def reopen_experiment(name: Annotated[str, typer.Argument(help="The experiment.")]) -> None:
    """Take a closing back.

    Example: ds-pipelines experiments reopen ticket_mood
    """
    from ds_pipelines.lab.closing import reopen

    closing = reopen(name, load_settings())
    typer.echo(f"{name} is open again; {closing.by} had closed it: {closing.because}")


@experiments.command("keep")
def keep_run(
    run: Run,
    no_longer: Annotated[bool, typer.Option("--no-longer", help="Let it go with the others again.")] = False,
) -> None:
    """Keep a run on purpose: `prune` leaves it, and `reproduce_kept` in Dagster repeats it.

    Example: ds-pipelines experiments keep 8f2c01d9
    """
    from ds_pipelines.lab.history import opened

    with opened(load_settings()) as history:
        found = history.run(run)
        history.keep(found, kept=not no_longer)
    typer.echo(f"{found.experiment} {found.run_id} is {'kept no longer' if no_longer else 'kept'}")


@experiments.command("prune")
def prune_runs(
    do_it: Annotated[bool, typer.Option("--do-it", help="Carry it out; without this, nothing is changed.")] = False,
) -> None:
    """Remove runs older than DS_EXPERIMENT_RETENTION_DAYS with their artifacts, unless something needs them.

    Example: DS_EXPERIMENT_RETENTION_DAYS=400 ds-pipelines experiments prune --do-it
    """
    from ds_pipelines import postgres
    from ds_pipelines.lab import pruning

    settings = load_settings()
    ours = settings.tracking_address is None or not settings.tracking_address.startswith("http")
    store = postgres.sqlalchemy_url(postgres.url("mlflow", settings)) if ours else None
    for line in pruning.told(pruning.prune(settings, store=store, do_it=do_it)):
        typer.echo(line)


def reproduce(
    run: Run,
    *,
    today: Annotated[
        list[str] | None,
        typer.Option(help="Take this as it is today instead: code, data, environment, variables, threads or all."),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Relative difference of numbers that counts as equal.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat a run from what it recorded, compare every output, and say why it differs if it does; exit 0 if equal.

    Example: ds-pipelines reproduce 8f2c01d9 --today data
    """
    from typing import get_args

    from ds_pipelines.evidence import Part
    from ds_pipelines.lab.reproduce import reproduce as repeat

    known = get_args(Part)
    if wrong := set(today or []) - {*known, "all"}:
        raise typer.BadParameter(f"expected {', '.join(known)} or all, not {', '.join(sorted(wrong))}")
    parts: tuple[Part, ...] = tuple(part for part in known if "all" in (today or []) or part in (today or []))
    found = repeat(run, load_settings(), today=parts, tolerance=tolerance)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print_reproduction(found)
    if found.answer in ("differs", "cannot"):
        raise typer.Exit(1)


def _print_reproduction(found: "Reproduction") -> None:
    typer.echo(found.words)
    differing = [each for each in found.outputs if each.likeness != "identical"]
    if differing:
        typer.echo("")
        rows = grid("output", "kind", "likeness", "difference")
        for each in differing:
            rows.add_row(each.artifact, each.kind, each.likeness, each.difference)
        show(rows)
    for cause in found.causes:
        shown = "an experiment shows it" if cause.proven else "as the records say"
        typer.echo(f"cause: {cause.kind}: {cause.words} ({shown})")
    for change in found.changed_since:
        typer.echo(f"today otherwise, and restored for this: {change.words}")
    typer.echo(f"{found.executions} executions, {found.seconds:.0f} s")


def _print_runs(history: "History", runs: "list[PastRun]", closing: "Closing | None") -> None:
    if closing is not None:
        typer.echo(f"Closed on {closing.at:%Y-%m-%d} by {closing.by}: {closing.because}\n")
    rows = grid("run", "started", "ended", "verdict", "data", "by", "seconds", "bytes", "kept", "reproduction")
    for run in runs:
        rows.add_row(
            run.run_id, f"{run.started_at:%Y-%m-%d %H:%M}", run.status, run.verdict or "none", run.data or "none",
            run.by or "unknown", "unknown" if run.seconds is None else f"{run.seconds:.1f}",
            _size(history.bytes_of(run)), "yes" if run.kept else "", run.reproduction or "",
        )  # fmt: skip
    show(rows)


def _print_facts(details: dict[str, Any]) -> None:
    rows = grid("what", "of this run")
    for name, value in details.items():
        text = "\n".join(f"{key} = {each}" for key, each in value.items()) if isinstance(value, dict) else value
        rows.add_row(name, "unknown" if text is None else str(text))
    show(rows)


def _plain(run: "PastRun") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(run)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def _size(size: int | None) -> str:
    from rich.filesize import decimal

    return "unknown" if size is None else decimal(size)
