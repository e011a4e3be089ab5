"""One day's work from end to end, on real parts, told while it happens.

What belongs here: the order of the steps and the telling. What does not: any step's work. Each step materializes the
assets that people would materialize in the pages, so that Dagster and MLflow show afterwards what happened here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ds_pipelines import postgres
from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.gateway.users import of_this_account
from ds_pipelines.operate.demo_release import release_all
from ds_pipelines.operate.health import probe_service
from ds_pipelines.operate.sampling import Loaded, Sample, load_sample
from ds_pipelines.operate.services import SERVICES, prepare_instance, require_free_port
from ds_pipelines.operate.up import is_up
from ds_pipelines.settings import Settings, adopt_environment, environment, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import dagster as dg
    from rich.console import Console

BACKGROUND = ("mlflow", "gateway")
"""The services that the steps need; taken as they are if `ds-pipelines up` runs."""
PATIENCE_SECONDS = 120
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The pages have the whole log; here the story is told."""


class StepFailedError(DsPipelinesError):
    """A step of the demonstration ended in a failed run."""

    def __init__(self, job: str, run_id: str, reason: str) -> None:
        super().__init__(
            f"Job {job!r} failed in run {run_id}: {reason} "
            "Look at the run with `ds-pipelines up`; running the demonstration again goes on from what stands."
        )


class ServiceSilentError(DsPipelinesError):
    """A service that a step needs did not answer in time."""

    def __init__(self, title: str, log: str) -> None:
        super().__init__(
            f"{title} did not answer within {PATIENCE_SECONDS} s; expected it to. Its log is {log}; "
            "`ds-pipelines doctor` says more."
        )


@dataclass
class Story:
    """What happened, for the table at the end."""

    console: Console
    log: TextIO
    """Where everything goes that libraries and experiments print."""
    lines: list[tuple[str, str, str, float]] = field(default_factory=list)
    """Step, what happened, where it lies, seconds."""

    @contextmanager
    def step(self, title: str) -> Iterator[dict[str, str]]:
        """A step that is shown while it works; what it puts under `what` and `where` goes into the table."""
        told: dict[str, str] = {}
        began = time.monotonic()
        with self.console.status(f"{title} …"), redirect_stdout(self.log), redirect_stderr(self.log):
            yield told
        seconds = time.monotonic() - began
        self.console.print(f"[green]✓[/green] {title} [dim]{seconds:.1f} s[/dim]", highlight=False)
        self.lines.append((title, told.get("what", ""), told.get("where", ""), seconds))


def run_demo(sample: Sample) -> None:
    """Runs every step; a second time it goes on from what stands.

    Raises:
        DsPipelinesError: a step failed; what earlier steps made stays.
    """
    began = time.monotonic()
    settings = load_settings()
    (settings.home / "logs").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context((settings.home / "logs" / "demo.log").open("w", encoding="utf-8"))
        story = Story(_console(), log)
        with story.step("Databases and services") as told:
            silent = _start_services(settings, stack)
            told["what"] = "PostgreSQL " + " and ".join(postgres.embedded_clusters(settings) or ["of your own"])
            told["where"] = _short(settings.home)
        with story.step("The shop: a production database") as told:
            loaded = load_sample(settings, sample)
            told["what"] = f"{sum(loaded.rows.values()):,} rows in {len(loaded.rows)} tables" + (
                "" if loaded.anew else ", as loaded before"
            )
            told["where"] = "ds-pipelines psql owner"
        _tell_accounting(story.console, loaded)
        settings = load_settings()
        with story.step("Loading the code locations"):
            instance = _instance(settings)
        _extract(story, settings, instance)
        _await_services(silent, settings)
        runs = _experiment(story, settings, instance)
        release_all(story, settings, runs)
        _run("production", "verify_champions", instance)
        _score(story, settings, instance)
    _tell(story, time.monotonic() - began)


def _start_services(settings: Settings, stack: ExitStack) -> list[str]:
    """Starts the services that the steps need, unless `ds-pipelines up` runs; returns those to wait for."""
    postgres.require_reachable(settings)
    for cluster in postgres.embedded_clusters(settings):
        postgres.cluster(cluster, settings)
    if is_up(settings):
        return []
    for name in BACKGROUND:
        require_free_port(SERVICES[name], settings)
        log = stack.enter_context((settings.home / "logs" / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", "ds_pipelines.cli", "serve", name],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**settings.as_environment()),
        )  # fmt: skip
        stack.callback(_stop, process)
    return list(BACKGROUND)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_services(names: list[str], settings: Settings) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    for name in names:
        while probe_service(name, settings) is not None:
            if time.monotonic() > deadline:
                raise ServiceSilentError(SERVICES[name].title, str(settings.home / "logs" / f"{name}.log"))
            time.sleep(0.2)


def _instance(settings: Settings) -> dg.DagsterInstance:
    variables = prepare_instance(settings)
    # Thousands of events, each a commit of its own: not worth a disk's full attention, since the demonstration can be
    # run again. Only this process's connections; what other processes write stays durable.
    url = variables["DS_DAGSTER_STORAGE"]
    variables["DS_DAGSTER_STORAGE"] = f"{url}{'&' if '?' in url else '?'}options=-c%20synchronous_commit%3Doff"
    adopt_environment(**variables)
    import dagster as dg

    from ds_pipelines.exploration import definitions as exploration
    from ds_pipelines.production import definitions as production

    _LOCATIONS.update(exploration=exploration.defs, production=production.defs)
    instance = dg.DagsterInstance.get()
    # One connection for all events, as the webserver has it, instead of two for each event: thousands of days are
    # planned and materialized here in one go.
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3_600, max_overflow=4)
    return instance


_LOCATIONS: dict[str, Any] = {}


def _run(location: str, job: str, instance: dg.DagsterInstance, *, days: tuple[date, date] | None = None) -> list[Any]:
    """Runs a job of a location in this process; returns its materializations."""
    from ds_pipelines.exploration.tables import USER

    tags = {USER: of_this_account()}
    if days is not None:
        tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"] = map(str, days)
    result = _LOCATIONS[location].resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags, raise_on_error=False, run_config=QUIET
    )  # fmt: skip
    if not result.success:
        failed = next((event for event in result.all_events if event.is_step_failure), None)
        error = failed.step_failure_data.error if failed else None
        cause = error.cause or error if error else None
        raise StepFailedError(job, result.run_id, (cause.message if cause else "see its log").strip().splitlines()[0])
    return [event.materialization for event in result.all_events if event.is_step_materialization]


def _extract(story: Story, settings: Settings, instance: dg.DagsterInstance) -> None:
    from ds_pipelines.extract import policy
    from ds_pipelines.snapshots.store import SnapshotStore

    decisions = policy.load(settings.policies / policy.SHOP)
    store = SnapshotStore(settings.snapshots)
    last = settings.last_extractable_day()
    published = [
        {manifest.day for manifest in store.manifests(name)} if name in store.tables() else set()
        for name, table in decisions.tables.items() if table.by_day
    ]  # fmt: skip
    every = [settings.first_day + timedelta(days=number) for number in range((last - settings.first_day).days + 1)]
    missing = [day for day in every if not all(day in days for days in published)]
    with story.step("Anonymized extract of every day and table") as told:
        _run("production", "daily_extract", instance, days=(min([*missing, last]), last))
        rows, withheld, pseudonyms = 0, 0, 0
        for name, table in decisions.tables.items():
            read = sum(manifest.rows for manifest in store.manifests(name))
            rows += read
            withheld += read * len(table.withheld)
            pseudonyms += read * sum(column.treatment.kind == "pseudonym" for column in table.visible.values())
        told["what"] = f"{rows:,} rows read; {withheld:,} values withheld, {pseudonyms:,} identifiers pseudonymised"
        told["where"] = _short(settings.snapshots)
    with story.step("Tables fetched through the gateway") as told:
        _await_services(["gateway"], settings)
        _run("exploration", "fetch_tables", instance, days=(min([*missing, last]), last))
        told["what"] = f"{len(every):,} days, verified by digest"
        told["where"] = _short(settings.cache)


def _experiment(story: Story, settings: Settings, instance: dg.DagsterInstance) -> Mapping[str, str]:
    """Runs every experiment; returns MLflow's run by experiment."""
    with story.step("Experiments, tracked, with a verdict each") as told:
        done = _run("exploration", "all_experiments", instance)
        facts = {each.asset_key.path[-1]: {name: value.value for name, value in each.metadata.items()} for each in done}
        verdicts = [f"{name}: [bold]{fact['verdict']}[/bold]" for name, fact in facts.items() if "verdict" in fact]
        told["what"] = ", ".join(verdicts)
        told["where"] = settings.tracking_base
    return {name: str(fact["run id"]) for name, fact in facts.items()}


def _score(story: Story, settings: Settings, instance: dg.DagsterInstance) -> None:
    day = settings.last_extractable_day()
    with story.step(f"Scores of {day} for other systems") as told:
        _run("production", "daily_scoring", instance, days=(day, day))
        told["where"] = "ds-pipelines psql consumer"
    with closing(postgres.connect("consumer", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), round(avg(score)::numeric, 3) FROM latest_repurchase_scores")
        customers, mean = cursor.fetchone() or (0, 0)
        story.lines.append(
            ("  repurchase", f"{customers:,} customers scored, {mean} on average", "latest_repurchase_scores", 0)
        )
        cursor.execute(
            "SELECT category, product FROM latest_top_sellers WHERE segment = 'all' AND rank = 1 "
            "ORDER BY revenue DESC LIMIT 3"
        )
        best = "; ".join(f"{category}: {product}" for category, product in cursor.fetchall())
        story.lines.append(("  top sellers", best, "latest_top_sellers", 0))


def _console() -> Console:
    """The terminal; into a file or pipe, wide enough that no line of the table breaks."""
    from rich.console import Console

    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=200)


def _short(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _tell_accounting(console: Console, loaded: Loaded) -> None:
    if not loaded.accounting:
        return
    from rich.table import Table

    table = Table("rows", "what became of them", "rule", box=None, pad_edge=False, header_style="bold")
    for rule, rows, fate in loaded.accounting:
        table.add_row(f"{rows:>9,}", fate, rule)
    console.print(table)


def _tell(story: Story, seconds: float) -> None:
    from rich.table import Table

    story.console.print()
    table = Table("step", "what happened", "where it lies", "s", box=None, pad_edge=False, header_style="bold")
    for step, what, where, took in story.lines:
        table.add_row(step, what, where, f"{took:.1f}" if took else "")
    story.console.print(table)
    story.console.print(
        f"\nDone in {seconds:.0f} s. Next: [bold]make up[/bold] shows all of it in the pages it names; or read the "
        'scores as other systems do: [bold].venv/bin/ds-pipelines psql -c "TABLE latest_top_sellers"[/bold].'
    )
