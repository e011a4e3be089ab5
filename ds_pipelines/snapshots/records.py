"""Who read which snapshots: the records of runs and releases that lie beside the store.

What belongs here: finding those records. What does not: what follows from them.

A run's record is `evidence/run.json` among MLflow's artifacts, or in the spool until it is there; a release's inputs
are `evidence/inputs.json` in its folder of the registry. A record that cannot be read is an error: to skip it would let
go of what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from ds_pipelines.errors import DamagedRecordError
from ds_pipelines.evidence import RunInput, RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from ds_pipelines.settings import Settings

_INPUTS = TypeAdapter(list[RunInput])


@dataclass(frozen=True)
class Reader:
    """A run or a release, and the snapshots that it was made from."""

    words: str
    """How people call it."""
    experiment: str | None
    """Of a run; None for a release."""
    started_at: datetime | None
    digests: frozenset[str]


def readers(settings: Settings) -> list[Reader]:
    """Every release that was offered or accepted, and every run whose record is among the artifacts.

    Raises:
        DamagedRecordError: a record cannot be read.
    """
    return [*_releases(settings), *_runs(settings)]


def _releases(settings: Settings) -> Iterator[Reader]:
    found: dict[str, frozenset[str]] = {}
    for path in sorted(settings.registry_artifacts.glob("*/*/evidence/inputs.json")):
        try:
            inputs = _INPUTS.validate_json(path.read_bytes())
        except ValidationError:
            raise DamagedRecordError(path) from None
        release = path.parent.parent.name
        found[release] = found.get(release, frozenset()) | {each.digest for each in inputs}
    for release, digests in found.items():
        yield Reader(f"release {release[:12]}", None, None, digests)


def _runs(settings: Settings) -> Iterator[Reader]:
    recorded = sorted(settings.artifacts.rglob("evidence/run.json"))
    for path in (*recorded, *sorted(settings.spool.glob("*/artifacts/evidence/run.json"))):
        record = _record(path)
        digests = frozenset(each.digest for each in record.inputs)
        yield Reader(f"run {record.run_id} of {record.experiment}", record.experiment, record.started_at, digests)


def _record(path: Path) -> RunRecord:
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except ValidationError:
        raise DamagedRecordError(path) from None
