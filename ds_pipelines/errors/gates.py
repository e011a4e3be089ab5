"""Errors of the gates of acceptance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError

if TYPE_CHECKING:
    from collections.abc import Iterable


class NotAcceptedError(DsPipelinesError):
    """A release was stopped at a gate of acceptance."""

    def __init__(self, job: str, release: str, refused: Iterable[tuple[str, str, str]]) -> None:
        told = " ".join(f"Gate {gate!r}: {words}; expected {expected}." for gate, words, expected in refused)
        super().__init__(
            f"Release {release[:12]} of {job!r} was not accepted. {told} Nobody can approve it, and the release in use "
            "stays in use. Mend what is named and propose anew; `ds-pipelines release history` keeps the evidence."
        )


class ConfinedProcessError(DsPipelinesError):
    """The process in which acceptance loads a model ended by itself, and said nothing that a gate could judge."""

    def __init__(self, job: str, task: str, said: str) -> None:
        lines = said.strip().splitlines()
        # The last line of a traceback quotes a message of any library's, and perhaps a value: its kind is enough.
        reason = lines[-1].partition(":")[0] if lines else "without a word"
        super().__init__(
            f"The confined process that tries {task!r} of {job!r} ended without an answer ({reason}); expected one. "
            "The release is neither accepted nor refused. `ds-pipelines doctor` tells what this machine can confine."
        )


class NotExaminedError(DsPipelinesError):
    """The gates of acceptance could not be asked."""

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(
            f"The release of {job!r} is neither accepted nor refused, because the gates could not be asked: {reason} "
            "Mend that, and take it through the gates again; `ds-pipelines up --environment acceptance` shows the run."
        )
