"""How something fails in Dagster's pages: with one sentence that says why, and nothing beside it that misleads.

What belongs here: turning our errors into failures of a step, and ending the messages of a process that cannot do so
itself. What does not: the sentences, which are the errors' own.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster_pipes import PIPES_PROTOCOL_VERSION, PIPES_PROTOCOL_VERSION_FIELD

from ds_pipelines.errors import DsPipelinesError, RunCappedError, RunProcessError

CLOSED = {PIPES_PROTOCOL_VERSION_FIELD: PIPES_PROTOCOL_VERSION, "method": "closed", "params": {}}
"""The last message of a process to Dagster Pipes."""


@contextmanager
def explained() -> Iterator[None]:
    """An error of ours ends a step with its sentence alone, which names the next step."""
    try:
        yield
    except DsPipelinesError as error:
        raise dg.Failure(str(error), allow_retries=False) from None


@contextmanager
def closing(messages: Path) -> Iterator[None]:
    """Closes the messages of a process that was ended: that it did not is no mistake of its own, to be warned of."""
    try:
        yield
    except (RunCappedError, RunProcessError):
        written = messages.read_bytes()
        if written.endswith(b"\n") and b'"closed"' not in written.splitlines()[-1]:
            with messages.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(CLOSED)}\n")
        raise
