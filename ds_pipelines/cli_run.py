"""`ds-pipelines run` and `experiments replay`: experiments as tracked runs from the shell.

What belongs here: reading the arguments of these commands and printing what came of them. What does not: running and
recording, which are the lab's.
"""

from typing import Annotated

import typer

from ds_pipelines.errors import UnusableParameterError
from ds_pipelines.settings import load_settings

Given = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="NAME=VALUE", help="A value for one of its lab.param.")
]


def run(
    script: Annotated[str, typer.Argument(help="A script's path, or an experiment's name.")],
    given: Given = None,
) -> None:
    """Run an experiment as a tracked run: a script's path, or its name.

    Example: ds-pipelines run repurchase --set trees=200
    """
    from ds_pipelines.lab.run import run as run_experiment

    parameters = dict(_parted(each) for each in given or [])
    ran = run_experiment(script, settings=load_settings(), parameters=parameters)
    record = ran.record
    typer.echo(
        f"{record.experiment}: {record.verdict or 'done'} after {record.seconds:.0f} s\n"
        f"run {record.run_id}\n{record.url}"
    )
    if ran.unseeded:
        typer.echo(f"without a seed, so that another run may differ: {', '.join(ran.unseeded)}", err=True)


def replay() -> None:
    """Record the runs that MLflow has not got: it did not answer, or their process was killed.

    Example: ds-pipelines experiments replay
    """
    from ds_pipelines.lab.spool import replay as replay_all

    replayed = replay_all(load_settings())
    for each in replayed:
        if each.record is None:
            typer.secho(f"{each.folder}: {each.problem}", fg="red", err=True)
        else:
            typer.echo(f"{each.record.experiment}: {each.record.status}, recorded as {each.record.url}")
    if not replayed:
        typer.echo("MLflow has every run that has ended.")
    if any(each.record is None for each in replayed):
        raise typer.Exit(1)


def _parted(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals:
        raise UnusableParameterError(given, "a name, an equals sign and a value, as --set trees=200")
    return name.strip(), value
