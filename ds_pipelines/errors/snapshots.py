"""Errors of stored extracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, how_to_ask, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path


class UnknownExtractError(DsPipelinesError):
    """No extract of this table is published."""

    def __init__(self, table: str, published: Iterable[str]) -> None:
        known = listing(published)
        step = f"Published are: {known}." if known else f"Nothing is published yet. {how_to_ask(table)}"
        super().__init__(f"There is no extract of a table {table!r}. {step}")


class UnpublishedDayError(DsPipelinesError):
    """An extract exists, but not for what was asked."""

    def __init__(
        self, table: str, asked: str, first: date, last: date, *, since: date | None = None, until: date | None = None
    ) -> None:
        super().__init__(
            f"Nothing of {table!r} is published for {asked}: expected days from {first} to {last}. "
            f"Use one of these. {how_to_ask(table, since, until)}"
        )


class UnknownSnapshotError(DsPipelinesError):
    """The gateway publishes no such file, or no longer."""

    def __init__(self, snapshot: str = "this digest") -> None:
        super().__init__(
            f"There is no file of {snapshot}: expected one that a published extract names now. "
            "List the extract again; the day may have been published anew since."
        )


class ErasedSnapshotError(UnknownSnapshotError):
    """A snapshot was removed on purpose, and cannot be had again."""

    def __init__(self, digest: str, reason: str) -> None:
        DsPipelinesError.__init__(
            self,
            f"The snapshot {digest[:12]}… cannot be had again: {reason}. Nothing that was made from it can be "
            "reproduced; run the experiment again on what is published now.",
        )


class MalformedDigestError(DsPipelinesError):
    """A snapshot's name is none."""

    def __init__(self) -> None:
        super().__init__(
            "This is no snapshot's digest: expected 64 hexadecimal digits in lower case, as in a manifest."
        )


class UnusableTableNameError(DsPipelinesError):
    """A table's name cannot be the name of a folder."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"Table {table!r} cannot be published under this name: expected 1 to 63 bytes of UTF-8. "
            "Offer it in a view of another name, and name that in the policy."
        )


class DamagedManifestError(DsPipelinesError):
    """A published manifest cannot be read."""

    def __init__(self, table: str, day: str) -> None:
        super().__init__(
            f"The manifest of {table!r} for {day} is damaged, or of another version of the project. "
            f"Extract the day again: `ds-pipelines extract {table}`."
        )


class DamagedRecordError(DsPipelinesError):
    """The record of a run or of a release cannot be read, so what it needs cannot be told."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The record {path} cannot be read: expected one as this version of the project writes it. "
            "Nothing was removed. Restore it from a backup, or remove the run or the release that it belongs to."
        )
