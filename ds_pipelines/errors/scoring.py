"""Errors of scoring and delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from typing import Any


class ContractBrokenError(DsPipelinesError):
    """What a scoring job computed is not what it promises to deliver; nothing was delivered."""

    def __init__(self, job: str, broken: Iterable[tuple[str, str]]) -> None:
        cases = listing({f"{column} ({check})" for column, check in broken})
        super().__init__(
            f"The rows of job {job!r} break its contract: {cases}. Nothing was delivered, and consumers keep what they "
            f"have. Correct the job or its inputs, or change the contract in production/jobs/{job}.py."
        )


class ServingTableDiffersError(DsPipelinesError):
    """A serving table exists and has other columns than the job's contract."""

    def __init__(self, table: str, expected: Iterable[str], found: Iterable[str]) -> None:
        expected, found = list(expected), list(found)
        different = listing(set(expected) ^ set(found)) or "their order"
        super().__init__(
            f"Serving table {table!r} does not match the job's contract: {different}. "
            "Agree with its consumers, then alter or drop the table; the next delivery makes it anew."
        )


class DeliveryFailedError(DsPipelinesError):
    """The serving database refused a delivery, or went away; its message may quote rows, so only its kind is told."""

    def __init__(self, job: str, day: date, kind: str) -> None:
        super().__init__(
            f"The delivery of job {job!r} for {day} failed in the serving database ({kind}). Nothing of it is visible, "
            "and consumers keep what they have. Look at the database's log, then run the day again."
        )


class LateDeliveryError(DsPipelinesError):
    """A run wanted to deliver a day that a run which began later has delivered."""

    def __init__(self, job: str, day: date) -> None:
        super().__init__(
            f"The delivery of job {job!r} for {day} comes late: a run that began after this one has delivered the day, "
            "and its rows stay. There is nothing to do; to replace them, start a new run."
        )


class DeliveryRefusedError(DsPipelinesError):
    """A check stopped a delivery before anything of it was visible."""

    def __init__(self, job: str, day: date, stopped: Iterable[tuple[str, str]], checks: Iterable[Any] = ()) -> None:
        self.checks = tuple(checks)
        """All checks that were made, the passed ones among them."""
        cases = "; ".join(f"{name} ({words})" for name, words in stopped)
        super().__init__(
            f"The delivery of job {job!r} for {day} was stopped by a check: {cases}. Nothing of it is visible, and "
            "consumers keep what they have. Look at the job's inputs; if they are right, the model has to be released "
            "anew on data of today."
        )


class NothingDeliveredError(DsPipelinesError):
    """A delivered day was asked for that is not there."""

    def __init__(self, job: str, day: date | None) -> None:
        wanted = f"for {day}" if day else "yet"
        super().__init__(
            f"Job {job!r} has delivered nothing {wanted}. `ds-pipelines scores list {job}` shows the newest days that "
            "there are."
        )


class NothingToRestoreError(DsPipelinesError):
    """Days were to be restored of which the release's rows are not kept."""

    def __init__(self, job: str, release: str, days: Iterable[date]) -> None:
        missing = sorted(days)
        named = listing([str(day) for day in missing[:5]]) + (" …" if len(missing) > 5 else "")
        super().__init__(
            f"No rows that release {release[:12]} of job {job!r} delivered are kept for {named}; nothing was restored. "
            "Score these days again with the release in use, or restore only the others."
        )


class UnknownJobError(DsPipelinesError):
    """A scoring job that does not exist was named."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no scoring job {name!r}; expected one of {listing(known)}. "
            "A job is a module in production/jobs; `ds-pipelines job new` starts one."
        )
