"""One run in MLflow: opened when the experiment starts, completed in a few calls when it has ended.

What belongs here: what a run is in MLflow, and which way leads there. What does not: the calls themselves
(tracking_server.py, tracking_database.py), and what is recorded (record.py).

A server is spoken to over HTTP, without MLflow's library, whose import takes seconds of every run. A bare database, as
tests and the demo have it, needs the library. Doing the last step again after it was interrupted completes it.

Inputs are written as one MLflow dataset a table, because a run may read hundreds of days; each snapshot by itself is in
`evidence/run.json`.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from ds_pipelines.evidence import RunInput
    from ds_pipelines.settings import Settings

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""So that MLflow's pages show runs as those of models; else they guess, and may show pages for language models."""
MOST_PARAMETERS = 100
MOST_METRICS = 800
"""In one call; MLflow takes 100 parameters and 1,000 entries in all."""
LONGEST_PARAMETER, LONGEST_TAG = 6_000, 5_000
"""Characters that MLflow takes; the whole text is in `evidence/run.json`."""
DIGEST_LENGTH = 32
"""Hexadecimal digits of a dataset's digest; MLflow keeps 36 characters."""


@dataclass(frozen=True)
class Opened:
    """An open run of MLflow's."""

    run_id: str
    artifact_uri: str
    url: str
    """The run in MLflow's pages."""

    def as_dict(self) -> dict[str, str]:
        """For a file."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """What is known of a run when it has ended."""

    status: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    inputs: Sequence[RunInput]
    ended_at: datetime


@dataclass(frozen=True)
class Batch:
    """What goes into MLflow in one call."""

    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Dataset:
    """What a run read of one table, as MLflow names it."""

    name: str
    digest: str
    source: str
    source_type: str = "ds_pipelines"


class Tracking(Protocol):
    """Where runs are recorded."""

    def open(self, experiment: str, *, name: str, tags: Mapping[str, str], started_at: datetime) -> Opened:
        """Opens a run, making its experiment if there is none, and bringing it back if it was deleted.

        Raises:
            TrackingUnreachableError: no answer within seconds, or MLflow refuses.
        """

    def finish(self, run: Opened, result: Result, artifacts: Path) -> None:
        """Writes everything a run left, and closes it; `artifacts` is a folder whose content is uploaded.

        Raises:
            TrackingUnreachableError: no answer within seconds, or MLflow refuses.
        """

    def close(self) -> None:
        """Ends the connection."""


@contextmanager
def tracking(settings: Settings) -> Iterator[Tracking]:
    """Where the settings say that runs are recorded.

    Raises:
        TrackingUnreachableError: nobody answers there within seconds, or somebody else does.
    """
    where: Tracking
    if is_http(settings.tracking_base):
        from ds_pipelines.lab.tracking_server import Server

        where = Server(settings)
    else:
        from ds_pipelines.lab.tracking_database import Database

        where = Database(settings)
    try:
        yield where
    finally:
        where.close()


def batches(result: Result) -> Iterator[Batch]:
    """A result in calls that MLflow takes; at least one."""
    parameters = [(name, value[:LONGEST_PARAMETER]) for name, value in result.parameters.items()]
    metrics = list(result.metrics.items())
    tags = {name: value[:LONGEST_TAG] for name, value in result.tags.items()}
    calls = max(1, -(-len(parameters) // MOST_PARAMETERS), -(-len(metrics) // MOST_METRICS))
    for call in range(calls):
        yield Batch(
            dict(parameters[call * MOST_PARAMETERS : (call + 1) * MOST_PARAMETERS]),
            dict(metrics[call * MOST_METRICS : (call + 1) * MOST_METRICS]),
            tags if call == 0 else {},
        )


def datasets(inputs: Sequence[RunInput]) -> list[Dataset]:
    """One dataset a table."""
    found = []
    ordered = sorted(inputs, key=lambda item: (item.table, item.day))
    for table, group in groupby(ordered, key=lambda item: item.table):
        snapshots = list(group)
        source = {
            "table": table,
            "first_day": str(snapshots[0].day),
            "last_day": str(snapshots[-1].day),
            "digest": _digest(snapshots),
            "snapshots": len(snapshots),
            "each": "evidence/run.json",
        }
        found.append(Dataset(table, _digest(snapshots)[:DIGEST_LENGTH], json.dumps(source)))
    return found


def _digest(snapshots: Sequence[RunInput]) -> str:
    """The snapshot's own digest, or one over the days and digests of several."""
    if len(snapshots) == 1:
        return snapshots[0].digest
    lines = "".join(f"{snapshot.day} {snapshot.digest}\n" for snapshot in snapshots)
    return hashlib.sha256(lines.encode()).hexdigest()


def is_http(address: str) -> bool:
    """Whether it is a server's address."""
    return address.startswith(("http://", "https://"))


def shown(address: str) -> str:
    """The address without anything secret: of a database its kind, of a server all but user and password."""
    scheme, _, rest = address.partition("://")
    if not is_http(address):
        return f"its database ({scheme})"
    host, separator, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{separator}{path}"


def milliseconds(moment: datetime) -> int:
    """As MLflow counts time."""
    return int(moment.timestamp() * 1_000)
