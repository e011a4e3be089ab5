"""Letting go of old runs: which of them may go, why the others stay, and removing them for good.

What belongs here: the rule and carrying it out in MLflow. What does not: published days, whose rule is their own
(`snapshots.retention`), and erasure.

The rule. A run older than `experiment_retention_days` goes, and so does what was deleted in MLflow's pages, which keeps
such runs and their artifacts for ever. But a run stays that a release was made from, that is marked `ds.kept`, or that
is the newest of an open experiment. What stays although the days it read are no longer published is named: models,
notebooks and printed rows remember people longer than their snapshots did.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import DsPipelinesError, UnknownExtractError, UnreadableReleaseError
from ds_pipelines.gateway.client import connect
from ds_pipelines.lab.closing import closings
from ds_pipelines.lab.history import History, PastRun, newest_by_experiment, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ds_pipelines.gateway.client import Gateway
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class PrunedRuns:
    """What goes, and what stays although it is old."""

    going: tuple[PastRun, ...]
    bytes: int | None
    """Of the artifacts that go; None where MLflow keeps some elsewhere."""
    kept: Mapping[str, int]
    """How many old runs stay, by the reason."""
    outlived: Mapping[str, str]
    """Runs that stay, by id, and which of the tables they read have lost days since."""
    marked: int
    """Of those that went: how many are only marked as deleted, because MLflow's database is not ours."""
    done: bool


def prune(settings: Settings, *, store: str | None, do_it: bool) -> PrunedRuns:
    """Lets go what the rule lets go.

    Args:
        settings: Name MLflow, `experiment_retention_days` and the folders of releases.
        store: URL of MLflow's database, where it is ours; without it runs are only marked as deleted.
        do_it: Whether to remove anything; otherwise it is only told.

    Raises:
        UnreadableReleaseError: what releases need cannot be told; nothing is removed.
        TrackingUnreachableError: MLflow does not answer.
    """
    released = runs_of_releases(settings)
    with opened(settings) as history:
        runs, deleted = history.runs(), history.runs(deleted=True)
        kept: dict[str, int] = {}
        reasons = _reasons(runs + deleted, released, settings)
        going, staying = [], []
        for run in [*deleted, *runs]:
            old = run.deleted or _is_old(run, settings)
            if old and run.run_id not in reasons:
                going.append(run)
                continue
            staying.append(run)
            if old:
                kept[reasons[run.run_id]] = kept.get(reasons[run.run_id], 0) + 1
        sizes = [history.bytes_of(run) for run in going]
        outlived = _outlived(staying, settings)
        marked = sum(not _remove(run, history, store) for run in going) if do_it else 0
    known = None if None in sizes else sum(size or 0 for size in sizes)
    return PrunedRuns(tuple(going), known, kept, outlived, marked, do_it)


def runs_of_releases(settings: Settings) -> dict[str, str]:
    """The runs that releases, offered or accepted, were made from; by id, which release.

    Raises:
        UnreadableReleaseError: a manifest cannot be read.
    """
    import yaml

    found = {}
    paths = [*settings.releases.glob("*.yaml"), *settings.registry_artifacts.rglob("release.yaml")]
    for path in sorted(paths):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            run_id, name = content.get("run_id"), content["name"]
        except (OSError, yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError):
            raise UnreadableReleaseError(path) from None
        if run_id is not None:
            found[str(run_id)] = f"a release of {name}"
    return found


def told(pruned: PrunedRuns) -> Iterator[str]:
    """What goes and what stays, in lines for a terminal."""
    verb = "removed" if pruned.done else "would remove"
    for experiment, runs in newest_by_experiment(pruned.going).items():
        yield f"{verb} {len(runs):,} runs of {experiment}, the newest of {runs[0].started_at:%Y-%m-%d}"
    if pruned.going:
        size = "an unknown number of bytes" if pruned.bytes is None else f"{pruned.bytes:,} bytes"
        yield f"{verb} {size} of artifacts"
    if pruned.marked:
        yield f"{pruned.marked:,} of them are marked as deleted; `mlflow gc`, where MLflow runs, ends them for good"
    for reason, runs_kept in sorted(pruned.kept.items()):
        yield f"kept {runs_kept:,} older runs: {reason}"
    for run_id, tables in pruned.outlived.items():
        yield f"run {run_id[:12]} outlives its data, which is no longer published: {tables}"
    if not pruned.going:
        yield "nothing is to be removed"
    if not pruned.done:
        yield "This was a dry run: nothing was changed. Repeat it with --do-it."


def _reasons(runs: list[PastRun], released: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Why runs stay, by id."""
    closed = closings(settings)
    reasons = {}
    for experiment, group in newest_by_experiment([run for run in runs if not run.deleted]).items():
        if experiment not in closed:
            reasons[group[0].run_id] = "the newest of an open experiment"
    reasons |= {run.run_id: "marked as kept" for run in runs if run.kept}
    return reasons | {run_id: f"{release} needs it" for run_id, release in released.items()}


def _is_old(run: PastRun, settings: Settings) -> bool:
    if settings.experiment_retention_days is None:
        return False
    # A run is made by the machine's clock, whatever day the business is at.
    return datetime.now(UTC) - run.started_at > timedelta(days=settings.experiment_retention_days)


def _outlived(runs: list[PastRun], settings: Settings) -> dict[str, str]:
    """Runs whose first days are no longer published, with the tables; nothing where no gateway can tell."""
    first: dict[str, date | None] = {}
    try:
        with connect(settings) as gateway:
            for table in sorted({read.table for run in runs for read in run.reads}):
                first[table] = _first_day(gateway, table)
    except DsPipelinesError:
        return {}
    found = {}
    for run in runs:
        lost = [read.words for read in run.reads if read.first and str(first[read.table] or date.max) > read.first]
        if lost:
            found[run.run_id] = ", ".join(lost)
    return found


def _first_day(gateway: Gateway, table: str) -> date | None:
    """The first day that is published of a table; None if it is no longer."""
    try:
        listing = gateway.known_manifests(table)
    except UnknownExtractError:
        return None
    return listing[0].day if listing else None


def _remove(run: PastRun, history: History, store: str | None) -> bool:
    """Removes one run, first from MLflow's lists, then its artifacts, then for good; whether it is gone for good."""
    if not run.deleted:
        history.client.delete_run(run.run_id)
    folder = history.folder(run)
    if folder is not None:
        shutil.rmtree(folder.parent if folder.name == "artifacts" else folder, ignore_errors=True)
    if store is None or folder is None:
        return False
    _backend(store)._hard_delete_run(run.run_id)
    return True


@lru_cache(maxsize=1)
def _backend(store: str) -> Any:
    """MLflow's own store, whose hard deletion `mlflow gc` uses, too; its database is connected to once."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore(store, "mlflow-artifacts:/")
