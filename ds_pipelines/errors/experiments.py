"""Errors of finding, comparing, letting go and reproducing what was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class UnknownRunError(DsPipelinesError):
    """MLflow knows no run of this id, and no experiment of this name has one."""

    def __init__(self, wanted: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no run {wanted!r}: expected a run's id or its first digits, or the name of an experiment that "
            f"has runs, which are {listing(known) or 'none yet'}. `ds-pipelines experiments list` lists them."
        )


class AmbiguousRunError(DsPipelinesError):
    """The first digits of a run's id fit several runs."""

    def __init__(self, wanted: str, found: int) -> None:
        super().__init__(f"{found} runs begin with {wanted!r}: expected digits that only one begins with. Give more.")


class UnknownClosingError(DsPipelinesError):
    """An experiment that is not closed cannot be reopened."""

    def __init__(self, name: str, closed: Iterable[str]) -> None:
        super().__init__(
            f"Experiment {name!r} is not closed: expected one that is ({listing(closed) or 'there is none'}). "
            "`ds-pipelines experiments list --closed` lists them."
        )


class NoReasonError(DsPipelinesError):
    """An experiment was to be closed without saying why."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Experiment {name!r} cannot be closed without a reason: expected a sentence that tells the next person "
            'why not to try it again. Give it with --because "…".'
        )


class UnreadableReleaseError(DsPipelinesError):
    """What a release needs cannot be told, so that nothing may be removed."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} cannot be read as a release's manifest: expected YAML with the run that it was made from. Nothing "
            "was removed, because a release may need it; restore the file from git, or remove it."
        )


class UnrecordedRunError(DsPipelinesError):
    """A run left no record by which it could be repeated."""

    def __init__(self, run_id: str, missing: str) -> None:
        super().__init__(
            f"Run {run_id} cannot be read: it left no {missing} that this version understands. Expected the artifacts "
            "that `ds-pipelines run` keeps with each run; run the experiment again to have them."
        )


class NotReproducibleError(DsPipelinesError):
    """A run cannot be repeated, because something that it needs is gone; the answer *cannot* is made from it."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(f"The run cannot be repeated: {words}.")
        self.kind, self.words = kind, words
