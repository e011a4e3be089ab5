"""What was tried: the runs that MLflow keeps, and what each of them left.

What belongs here: reading runs and their artifacts. What does not: writing them (tracking.py), comparing two of them
(compare.py), or removing any (pruning.py).

A run says what the version that recorded it knew; what it does not say is None, and shown as unknown. Artifacts are
read from the disk where MLflow keeps them on this machine, else through MLflow.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ds_pipelines.errors import AmbiguousRunError, UnknownRunError, UnrecordedRunError
from ds_pipelines.evidence import RunRecord
from ds_pipelines.lab.layout import OWN_NAME
from ds_pipelines.lab.mlflow_client import connected, pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow import MlflowClient

    from ds_pipelines.settings import Settings

PAGE = 1_000
"""Runs that are asked for at once."""
FEWEST_DIGITS = 4
"""Of a run's id, to name it by."""
RECORD = "evidence/run.json"
KEPT = "ds.kept"


@dataclass(frozen=True, slots=True)
class Read:
    """What a run read of one table."""

    table: str
    digest: str
    """Of its one snapshot, or over all of them."""
    first: str | None = None
    last: str | None = None
    snapshots: int | None = None

    @property
    def words(self) -> str:
        """The table and its days."""
        if self.first is None:
            return self.table
        return f"{self.table} {self.first}" + (f" to {self.last}" if self.last != self.first else "")


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run as MLflow lists it."""

    run_id: str
    own_name: str | None
    experiment: str
    status: str
    started_at: datetime
    seconds: float | None
    verdict: str | None
    question: str | None
    kind: str | None
    code_digest: str | None
    owner: str | None
    user: str | None
    dagster_run: str | None
    reproduction: str | None
    kept: bool
    deleted: bool
    reads: tuple[Read, ...]
    parameters: dict[str, str] = field(compare=False)
    metrics: dict[str, float] = field(compare=False)
    artifact_uri: str
    url: str

    @property
    def data(self) -> str:
        """What it read, in words."""
        return ", ".join(read.words for read in self.reads)

    @property
    def by(self) -> str | None:
        """Who ran it, or whose experiment it is."""
        return self.user or self.owner


class History:
    """The runs of one MLflow; made by `opened`."""

    def __init__(self, client: MlflowClient, settings: Settings) -> None:
        self.client, self.settings = client, settings

    def runs(self, experiment: str | None = None, *, deleted: bool = False) -> list[PastRun]:
        """The runs of experiments of ours, the newest first.

        Args:
            experiment: Only this one's.
            deleted: Those that were deleted in MLflow, instead of the others.
        """
        from mlflow.entities import ViewType

        every = self.client.search_experiments(view_type=ViewType.ALL, max_results=PAGE)
        names = {each.experiment_id: each.name for each in every if experiment is None or each.name == experiment}
        found: list[PastRun] = []
        token: str | None = None
        while names:
            page = self.client.search_runs(
                list(names),
                run_view_type=ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY,
                max_results=PAGE,
                page_token=token,
            )
            found += [self._past(run, names[run.info.experiment_id]) for run in page if _is_ours(run)]
            token = page.token
            if not token:
                break
        return sorted(found, key=lambda run: run.started_at, reverse=True)

    def run(self, wanted: str) -> PastRun:
        """The run of this id or of an id that begins like this, or the newest of the experiment of this name.

        The name that a run had while it waited to be recorded does as well as its id.

        Raises:
            UnknownRunError, AmbiguousRunError: there is none, or there are several.
        """
        known = self.runs()
        for run in known:
            if wanted in (run.run_id, run.own_name, run.experiment):
                return run
        names = ((run, name) for run in known for name in (run.run_id, run.own_name) if name is not None)
        begins = [run for run, name in names if len(wanted) >= FEWEST_DIGITS and name.startswith(wanted)]
        if len(begins) == 1:
            return begins[0]
        if begins:
            raise AmbiguousRunError(wanted, len(begins))
        raise UnknownRunError(wanted, {run.experiment for run in known})

    def folder(self, run: PastRun) -> Path | None:
        """Where a run's artifacts lie on this machine; None if MLflow keeps them elsewhere."""
        scheme, _, rest = run.artifact_uri.partition(":")
        if scheme == "file":
            return Path("/" + rest.lstrip("/"))
        if scheme == "mlflow-artifacts" and self.settings.tracking_address is None:
            return self.settings.artifacts / rest.lstrip("/")
        return None

    def bytes_of(self, run: PastRun) -> int | None:
        """What a run's artifacts take; None if they lie elsewhere."""
        folder = self.folder(run)
        if folder is None:
            return None
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    @contextmanager
    def artifacts(self, run: PastRun, *parts: str) -> Iterator[Path]:
        """A folder with a run's artifacts, or those of the parts named, while the block lasts; not to be written to."""
        folder = self.folder(run)
        if folder is not None:
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="ds-artifacts-") as place:
            listed = {each.path for each in self.client.list_artifacts(run.run_id)}
            for part in parts or ("",):
                if not part or part in listed:
                    self.client.download_artifacts(run.run_id, part, place)
            yield Path(place)

    def record(self, run: PastRun) -> RunRecord:
        """What a run said of itself.

        Raises:
            UnrecordedRunError: it left no record, or none that is understood.
        """
        with self.artifacts(run, "evidence") as folder:
            return read_record(folder, run.run_id)

    def keep(self, run: PastRun, *, kept: bool) -> None:
        """Marks a run as kept on purpose, or takes that back."""
        self.client.set_tag(run.run_id, KEPT, "yes" if kept else "no")

    def _past(self, run: Any, experiment: str) -> PastRun:
        tags, info = run.data.tags, run.info
        ended = info.end_time
        return PastRun(
            run_id=info.run_id,
            own_name=tags.get(OWN_NAME),
            experiment=tags.get("ds.experiment", experiment),
            status=tags.get("ds.status") or str(info.status).lower(),
            started_at=datetime.fromtimestamp(info.start_time / 1_000, UTC),
            seconds=None if not ended else (ended - info.start_time) / 1_000,
            verdict=tags.get("ds.verdict"),
            question=tags.get("ds.question"),
            kind=tags.get("ds.kind"),
            code_digest=tags.get("ds.code_digest"),
            owner=tags.get("ds.owner"),
            user=tags.get("ds.user"),
            dagster_run=tags.get("ds.dagster_run"),
            reproduction=tags.get("ds.reproduction"),
            kept=tags.get(KEPT) == "yes",
            deleted=info.lifecycle_stage == "deleted",
            reads=tuple(_read(each.dataset) for each in run.inputs.dataset_inputs) if run.inputs else (),
            parameters=dict(run.data.params),
            metrics=dict(run.data.metrics),
            artifact_uri=info.artifact_uri,
            url=f"{pages(self.settings)}/#/experiments/{info.experiment_id}/runs/{info.run_id}",
        )


@contextmanager
def opened(settings: Settings) -> Iterator[History]:
    """The history of the settings' MLflow.

    Raises:
        TrackingUnreachableError: it does not answer within seconds, or refuses.
    """
    with connected(settings) as client:
        yield History(client, settings)


def read_record(folder: Path, run_id: str) -> RunRecord:
    """The record among the artifacts in a folder.

    Raises:
        UnrecordedRunError: there is none, or none that is understood.
    """
    try:
        return RunRecord.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        raise UnrecordedRunError(run_id, RECORD) from None


def newest_by_experiment(runs: Sequence[PastRun]) -> dict[str, list[PastRun]]:
    """The runs of each experiment, the newest first; experiments by their newest run."""
    grouped: dict[str, list[PastRun]] = {}
    for run in runs:
        grouped.setdefault(run.experiment, []).append(run)
    return grouped


def _is_ours(run: Any) -> bool:
    return "ds.experiment" in run.data.tags


def _read(dataset: Any) -> Read:
    try:
        source = json.loads(dataset.source)
        return Read(
            dataset.name, source["digest"], source.get("first_day"), source.get("last_day"), source.get("snapshots")
        )
    except (KeyError, TypeError, ValueError):
        return Read(dataset.name, dataset.digest)
