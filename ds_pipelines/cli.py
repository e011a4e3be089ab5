"""The command `ds-pipelines`: thin. Each command reads its arguments, calls one room and prints what came of it."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ds_pipelines import cli_accept, cli_review, cli_run, cli_table
from ds_pipelines.cli_experiments import experiments, reproduce
from ds_pipelines.cli_extract import extract
from ds_pipelines.cli_job import job
from ds_pipelines.cli_policy import policy
from ds_pipelines.cli_release import release
from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.operate.tokens import token
from ds_pipelines.settings import environment, load_settings, quiet_libraries

app = typer.Typer(
    name="ds-pipelines",
    help="Data-science infrastructure: anonymized extracts, experiments with verdicts, releases, daily scores.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(release, name="release")
release.command("accept")(cli_accept.accept)
app.command("run")(cli_run.run)
experiments.command("replay")(cli_run.replay)
app.command("reproduce")(reproduce)
app.command("table")(cli_table.table)
app.add_typer(cli_table.requests, name="requests")
app.command("review")(cli_review.review)
app.add_typer(extract, name="extract")
app.add_typer(policy, name="policy")
app.add_typer(job, name="job")
app.add_typer(experiments, name="experiments")
snapshots = typer.Typer(help="What is published, and how long it is kept.", no_args_is_help=True)
app.add_typer(snapshots, name="snapshots")
app.add_typer(token, name="token")

Transactions = Annotated[
    Path | None, typer.Option(help="Build the shop from real transactions: a CSV in the layout of UCI's Online Retail.")
]
Customers = Annotated[int, typer.Option(min=50, help="How many customers to invent.")]
DoIt = Annotated[bool, typer.Option("--do-it", help="Carry it out; without this, nothing is changed.")]
Seed = Annotated[int, typer.Option(help="The same seed makes the same shop.")]


@app.command()
def demo(transactions: Transactions = None, customers: Customers = 20_000, seed: Seed = 7) -> None:
    """One day's work, end to end: shop, extract, experiments, release, scores.

    Example: ds-pipelines demo --transactions online_retail.csv.gz
    """
    from ds_pipelines.operate.demo import run_demo
    from ds_pipelines.operate.sampling import Sample

    run_demo(Sample(transactions, customers, seed))


@app.command()
def up(
    environment: Annotated[
        str | None, typer.Option(help="development, acceptance or production; by default DS_ENVIRONMENT.")
    ] = None,
) -> None:
    """Serve Dagster, MLflow and the gateway until Ctrl-C; of acceptance Dagster alone, beside what runs.

    Example: DS_WEBSERVER_PORT=3200 ds-pipelines up ; ds-pipelines up --environment acceptance
    """
    from ds_pipelines.operate.up import up as serve_all

    beside = environment == "acceptance"
    settings = load_settings() if environment is None or beside else load_settings(environment=environment)
    serve_all(settings.in_acceptance() if beside else settings, tell=typer.echo)


@app.command()
def doctor() -> None:
    """Say what is wrong and what to do; exit 0 only when all is well.

    Example: ds-pipelines doctor
    """
    from ds_pipelines.operate.doctor import examine, show

    findings = examine(load_settings())
    show(findings)
    if any(finding.problem for finding in findings):
        raise typer.Exit(1)


@app.command()
def sample(transactions: Transactions = None, customers: Customers = 20_000, seed: Seed = 7) -> None:
    """Make the sample business and load it into the shop database, replacing the sample that is there.

    Example: ds-pipelines sample --customers 300000
    """
    from ds_pipelines.operate.sampling import Sample, load_sample

    loaded = load_sample(load_settings(), Sample(transactions, customers, seed))
    for table, rows in loaded.rows.items():
        typer.echo(f"{rows:>12,} {table}")
    for rule, rows, fate in loaded.accounting:
        typer.echo(f"{rows:>12,} {fate}: {rule}")


@snapshots.command()
def prune(do_it: DoIt = False) -> None:
    """Remove days that are older than DS_RETENTION_DAYS, unless a release or an experiment needs them.

    Example: DS_RETENTION_DAYS=400 ds-pipelines snapshots prune --do-it
    """
    from ds_pipelines.snapshots import retention

    for line in retention.told(retention.prune(load_settings(), do_it=do_it)):
        typer.echo(line)


@app.command()
def erase(
    customer: Annotated[str | None, typer.Option(help="The customer's identifier in production.")] = None,
    known: Annotated[
        bool, typer.Option("--known", help="Erase again all who were erased, as after a restore.")
    ] = False,
    do_it: DoIt = False,
) -> None:
    """Erase a person from extracts, scores, caches and artifacts, and keep the person out for good.

    Example: ds-pipelines erase --customer 1234 --do-it
    """
    from ds_pipelines.operate import erase as room
    from ds_pipelines.production.jobs import JOBS

    erasure = room.erase(None if known else customer or "", load_settings(), JOBS.values(), do_it=do_it)
    for line in room.told(erasure):
        typer.echo(line)


@app.command("rotate-key")
def rotate_key(do_it: DoIt = False) -> None:
    """Replace the secret of the pseudonyms, and every published pseudonym; run it again if it was interrupted.

    Example: ds-pipelines rotate-key --do-it
    """
    from ds_pipelines.extract import rotation

    for line in rotation.told(rotation.rotate(load_settings(), do_it=do_it)):
        typer.echo(line)


@app.command()
def gateway() -> None:
    """Serve published extracts and scores to those who hold a token; `ds-pipelines up` starts it too.

    Example: ds-pipelines gateway
    """
    from ds_pipelines.gateway.server import Offer, serve
    from ds_pipelines.production.jobs import JOBS

    serve(load_settings(), [Offer(job.table, job.name, job.description) for job in JOBS.values()])


@app.command(hidden=True)
def serve(name: str) -> None:
    """Become one service; supervisord calls this."""
    from ds_pipelines.operate.services import become

    become(name, load_settings())


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(command: list[str]) -> None:
    """Run a command with the databases up and Dagster's variables set.

    Example: ds-pipelines exec dagster dev
    """
    from ds_pipelines import postgres
    from ds_pipelines.operate.services import prepare_instance

    settings = load_settings()
    for name in postgres.embedded_clusters(settings):
        postgres.cluster(name, settings)
    variables = environment(**prepare_instance(settings), PATH=_path_with_our_programs())
    raise typer.Exit(_foreground(command, variables))


@app.command()
def psql(
    role: Annotated[
        str,
        typer.Argument(
            help="consumer, serving, extract, scoring, owner, dagster, mlflow, registry, gateway_database, "
            "gateway_owner, ledger or ledger_owner"
        ),
    ] = "consumer",
    command: Annotated[str | None, typer.Option("--command", "-c", help="Run this and return.")] = None,
) -> None:
    """Open psql as a role; by default as other systems read the scores.

    Example: ds-pipelines psql consumer -c "SELECT * FROM latest_top_sellers LIMIT 5"
    """
    from ds_pipelines import postgres

    settings, known = load_settings(), postgres.require_role(role)
    postgres.connect(known, settings).close()  # psql would quote a malformed URL, and with it the password
    url = postgres.libpq_url(postgres.url(known, settings))
    extra = ["-c", command] if command else []
    raise typer.Exit(_foreground([str(postgres.binaries() / "psql"), url, *extra], environment()))


class NoSuchProgramError(DsPipelinesError):
    """A program to run does not exist."""

    def __init__(self, program: str) -> None:
        super().__init__(f"There is no program {program!r}; expected one on the PATH or in the virtual environment.")


class UnusablePathError(DsPipelinesError):
    """The system refuses a file or folder: it is full, or not ours to write, or something else stands in its place."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be used: {reason}. Expected a folder of yours with some room: "
            "make room there, correct its rights, or name another with DS_HOME."
        )


REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR,
    errno.ENAMETOOLONG,
}  # fmt: skip
"""What a system says of a folder that is no good, and not of a mistake of ours."""


def _foreground(command: list[str], variables: dict[str, str]) -> int:
    """Runs a program to its end and returns its status; Ctrl-C is the program's to act on, and not ours."""
    try:
        process = subprocess.Popen(command, env=variables)
    except FileNotFoundError:
        raise NoSuchProgramError(command[0]) from None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _path_with_our_programs() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), environment().get("PATH", os.defpath)])


def main() -> None:
    """The entry point: an error of ours is one sentence and exit status 1, never a traceback."""
    quiet_libraries()
    try:
        app()
    except DsPipelinesError as error:
        _end(error)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        _end(UnusablePathError(error.filename or str(load_settings().home), (error.strerror or "refused").lower()))


def _end(error: DsPipelinesError) -> NoReturn:
    typer.secho(f"error: {error}", fg="red", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
