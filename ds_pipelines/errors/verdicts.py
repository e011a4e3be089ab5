"""Errors of methodology reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnreviewableRunError(DsPipelinesError):
    """A run cannot be reviewed: there is none of this id, or it left nothing to review."""

    def __init__(self, run_id: str, expected: str) -> None:
        super().__init__(
            f"Run {run_id!r} cannot be reviewed: expected {expected}. Take the id from `ds-pipelines run` or MLflow; "
            "a run that calls lab.verdict and lab.save leaves what a review needs."
        )


class UnsignedReviewError(DsPipelinesError):
    """A review cannot be signed yet."""

    def __init__(self, run_id: str, missing: Iterable[str]) -> None:
        super().__init__(
            f"The review of run {run_id!r} cannot be signed: {listing(missing)} need a person's answer. "
            'Give one by `--answer key="…"`, or answer when asked; `ds-pipelines review` lists them.'
        )


class UnknownAssumptionError(DsPipelinesError):
    """An answer is for something that the review does not ask."""

    def __init__(self, keys: Iterable[str], known: Iterable[str]) -> None:
        super().__init__(
            f"A review does not ask for {listing(keys)}: expected answers to {listing(known)}, as key=text. "
            "`ds-pipelines review` with the run alone lists what is asked."
        )


class UnnamedReviewerError(DsPipelinesError):
    """Nobody's name is given for a signature."""

    def __init__(self) -> None:
        super().__init__("A review is signed by a person: expected a name. Give it with --name.")
