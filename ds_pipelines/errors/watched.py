"""Errors of the watch over production."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


class UnusableChannelError(DsPipelinesError):
    """A line of the file of channels is no address to which alerts can be sent; it holds secrets and is not quoted."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(
            f"Line {line} of {path} is no channel for alerts: expected an address as apprise knows them, such as "
            "mailtos://user:password@host?to=team@example.com or slack://…. Correct it, then try it with "
            "`ds-pipelines alerts try`."
        )


class NoChannelError(DsPipelinesError):
    """There is nobody to tell."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"No channel for alerts is named: expected {path} with an address a line. Write one there, readable by its "
            "owner only (chmod 600); the page on watching production shows some for mail, Slack, Teams and webhooks."
        )


class UnknownProblemError(DsPipelinesError):
    """A problem is to be closed that is not open."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Problem {number} is not open; expected one that `ds-pipelines alerts list` shows.")


class ShadowRefusedError(DsPipelinesError):
    """A release cannot score beside the champion."""

    def __init__(self, job: str, expected: str) -> None:
        super().__init__(
            f"A release of {job} cannot score in the champion's shadow: expected {expected}. Nothing was scored."
        )


class NoShadowError(DsPipelinesError):
    """A day is to be scored by a candidate, and there is none, or nothing to compare it with."""

    def __init__(self, job: str, day: date) -> None:
        super().__init__(
            f"Nothing of {job} is compared for {day}: expected a candidate in the champion's shadow, and that day "
            f"delivered. `ds-pipelines release shadow {job}` begins one."
        )


class NoPseudonymError(DsPipelinesError):
    """Scores are to be published whose key the privacy policy does not replace."""

    def __init__(self, job: str, entity: str | None) -> None:
        super().__init__(
            f"The scores of {job} cannot be published for development: expected a job that scores persons under a "
            f"column which the privacy policy replaces by a pseudonym, and {entity or 'it scores nobody'} is none."
        )


class NothingServedError(DsPipelinesError):
    """Scores of a day are to be published that is not delivered."""

    def __init__(self, job: str, day: date) -> None:
        super().__init__(f"Scores of {job} for {day} cannot be published: expected a delivered day. Score it first.")
