"""What is wrong with this installation, and what to do about each thing.

Each examination asks one part the way it is used. Nothing here changes anything beyond starting an embedded database
on demand.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.caps import holding
from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.lab import admission
from ds_pipelines.operate.health import probe_all
from ds_pipelines.settings import DATABASE_SETTINGS, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMFORTABLE_MIB = 2_000


@dataclass(frozen=True)
class Finding:
    """One thing examined; `problem` says what is wrong and what to do, None when it is well.

    A `caution` is what the machine does not offer: it is said, but nothing has to be done for the platform to work.
    """

    subject: str
    fact: str
    problem: str | None = None
    caution: str | None = None


def examine(settings: Settings) -> list[Finding]:
    """Everything that can be asked on this machine, in the order in which a newcomer would need it."""
    examinations: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _machine, _settings, _experiments, _secrets, _databases, _policy, _services,
    )  # fmt: skip
    return [finding for examination in examinations for finding in examination(settings)]


def show(findings: list[Finding]) -> None:
    """Prints a table of the findings, and how many are problems."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        sound = "[yellow]![/yellow]" if finding.caution else "[green]✓[/green]"
        mark = "[red]✗[/red]" if finding.problem else sound
        table.add_row(mark, finding.subject, finding.problem or finding.caution or finding.fact)
    console = Console()
    console.print(table)
    wrong = sum(finding.problem is not None for finding in findings)
    console.print("All is well." if not wrong else f"{wrong} of {len(findings)} need attention.")


def _machine(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fit = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("Python", version, None if fit else f"{version}; expected 3.11 to 3.13: make a new .venv with one")
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free // 2**20
    tight = f"{free} MiB free at {settings.home}; free some space, or set DS_HOME to a folder on another disk"
    yield Finding("disk", f"{free:,} MiB free", tight if free < COMFORTABLE_MIB else None)
    if not os.access(settings.home, os.W_OK):
        yield Finding("home", "", f"{settings.home} cannot be written; give this user the right to, or set DS_HOME")


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("environment", settings.environment)
    yield Finding("home", str(settings.home))
    own = [name.upper() for name in DATABASE_SETTINGS if getattr(settings, name) is not None]
    yield Finding("databases", f"your own by {', '.join('DS_' + name for name in own)}" if own else "embedded")
    days = f"{settings.first_day} to {settings.last_extractable_day()} in {settings.zone}"
    unordered = f"{days}: the first day is after the last; correct DS_FIRST_DAY or DS_TODAY"
    yield Finding("days", days, unordered if settings.first_day > settings.last_extractable_day() else None)


def _experiments(settings: Settings) -> Iterator[Finding]:
    held = holding.examine()
    yield Finding("experiments' caps", held.caps_in_words(admission.memory_of_all(settings)))
    walls = held.walls_in_words()
    caution = f"{walls}. Here an experiment can still {', '.join(held.gaps)}. {holding.ADVICE}."
    yield Finding("experiments' walls", walls, caution=caution if held.gaps else None)


def _secrets(settings: Settings) -> Iterator[Finding]:
    if not settings.secrets.exists():
        return
    open_files = [path for path in settings.secrets.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    named = ", ".join(str(path) for path in open_files)
    problem = f"others can read {named}; run `chmod 600` on it and make a new secret" if open_files else None
    yield Finding("secrets", "readable by their owner only", problem)


def _databases(settings: Settings) -> Iterator[Finding]:
    for role in postgres.ROLES:
        try:
            postgres.connect(role, settings).close()
        except DsPipelinesError as error:
            yield Finding(f"database role {role}", "", str(error))
        else:
            yield Finding(f"database role {role}", "connects")


def _policy(settings: Settings) -> Iterator[Finding]:
    from ds_pipelines.extract import catalogue, policy, source

    try:
        shop = policy.load(settings.policies / "shop.yaml")
        live = source.live_tables(settings, shop.database_schema)
        if not live:
            sample = "" if settings.extract_url else "; make the sample with `ds-pipelines sample`"
            empty = f"the production database has no tables in its schema {shop.database_schema}{sample}"
            yield Finding("production database", "", empty)
            return
        catalogue.check(shop, live)
    except DsPipelinesError as error:
        yield Finding("privacy policy", "", str(error))
    else:
        yield Finding("privacy policy", "names every table and column of the production database")


def _services(settings: Settings) -> Iterator[Finding]:
    for health in probe_all(settings):
        problem = f"{health.problem}; start everything with `ds-pipelines up`" if health.problem else None
        yield Finding(health.service.title, health.address or "healthy", problem)
