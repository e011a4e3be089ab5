"""What is otherwise today than when a run was made; nothing is executed to tell.

What belongs here: looking at today's code, data and packages beside a run's record. What does not: whether it matters,
which only an execution shows (reproduce.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.gateway.client import connect
from ds_pipelines.lab import causes
from ds_pipelines.lab.capture_environment import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.evidence import Cause, RunInput, RunRecord
    from ds_pipelines.settings import Settings


def changed_since(
    record: RunRecord, settings: Settings, snapshot: Callable[[RunInput], Path | None]
) -> tuple[Cause, ...]:
    """What changed since a run: its files, the days it read, and the packages."""
    files = dict(record.code.files) or {record.script: record.code_digest}
    found = causes.of_code(files, causes.digests(settings.experiments, files), record.script)
    found += causes.of_data(record.inputs, _as_published(record.inputs, settings), snapshot)
    if record.environment is not None:
        found += causes.of_packages(record.environment, describe({}))
    return tuple(found)


def _as_published(inputs: tuple[RunInput, ...], settings: Settings) -> list[RunInput]:
    """The same days as they are published now; as they were, where no gateway tells."""
    try:
        with connect(settings) as gateway:
            now = {
                (table, manifest.day): manifest.digest
                for table in {each.table for each in inputs}
                for manifest in gateway.known_manifests(table)
            }
    except DsPipelinesError:
        return list(inputs)
    return [
        each.model_copy(update={"digest": now[each.table, each.day]})
        for each in inputs
        if (each.table, each.day) in now
    ]
