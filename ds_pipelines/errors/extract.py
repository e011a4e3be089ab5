"""Errors of reading, anonymizing, proving and publishing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date
    from pathlib import Path


class UnreadableValueError(DsPipelinesError):
    """A column holds something that its type allows and the extract cannot represent."""

    def __init__(self, table: str, column: str, expected: str) -> None:
        super().__init__(
            f"Column {table}.{column} holds a value that the extract cannot represent: expected {expected}. "
            "Correct the value in production, or drop the column in the policy."
        )


class SourceRefusedError(DsPipelinesError):
    """The production database did not give what was asked of it."""

    def __init__(self, table: str, role: str, reason: str, next_step: str) -> None:
        super().__init__(f"Role {role!r} could not read table {table!r}: {reason}. {next_step}")


class RowsOfError(DsPipelinesError):
    """A table is extracted in the other way: by day, or whole as of the day."""

    def __init__(self, table: str, *, by_day: bool) -> None:
        how = "by day: give the days" if by_day else "whole, as of the day it is read: give no days"
        super().__init__(f"The privacy policy extracts table {table!r} {how}.")


class AmbiguousKeyError(DsPipelinesError):
    """Two rows have the same key."""

    def __init__(self, table: str, key: Iterable[str]) -> None:
        super().__init__(
            f"Rows of table {table!r} share a key: expected {listing(key)} to identify a row. "
            "Name the columns of the primary key as `key` in the policy."
        )


class CollidingPseudonymsError(DsPipelinesError):
    """Two identifiers have the same pseudonym."""

    def __init__(self, table: str, column: str, treatment: str) -> None:
        super().__init__(
            f"Two identifiers in {table}.{column} have the same pseudonym, and nothing was published: "
            f"expected "
            f"as many as identifiers. 63 bits are too few for {treatment}; write `as: text` for it in the policy."
        )


class DamagedFitError(DsPipelinesError):
    """What was fitted on data cannot be read."""

    def __init__(self, path: Path, table: str) -> None:
        super().__init__(
            f"What was fitted on table {table!r} cannot be read from {path}: expected the file as it was written. "
            "Restore it from a backup, so that bins and categories stay what they were; or remove it, to fit anew."
        )


class UnpublishableError(DsPipelinesError):
    """What was written is not what was read, so it was not published."""

    def __init__(self, table: str, day: date | None, reason: str) -> None:
        when = f" for {day}" if day else ""
        super().__init__(
            f"The extract of {table!r}{when} was not published: {reason}. Nothing became visible. "
            "Extract it again; if it stays, report it with this message."
        )


class ProofFailedError(DsPipelinesError):
    """A proof that an extract gives nobody away failed, so nothing was published."""

    def __init__(self, table: str, last: date, failed: Mapping[str, str], report: Path) -> None:
        what = "; ".join(f"{name}: {found}" for name, found in failed.items())
        super().__init__(
            f"The extract of {table!r} until {last} was not published, because a proof failed. {what}. "
            f"Read {report}, then change the policy of the columns that it names."
        )


class ForeignPseudonymsError(DsPipelinesError):
    """An extract has pseudonyms of another secret than the present one."""

    def __init__(self, table: str, day: date) -> None:
        super().__init__(
            f"The extract of {table!r} for {day} has pseudonyms of another secret than the present one: they lead to "
            "no new ones. Extract the day again, or remove it, then change the key. Nothing was changed."
        )


class UnfinishedRotationError(DsPipelinesError):
    """A change of keys was interrupted, so that a person may stand in files under two pseudonyms."""

    def __init__(self) -> None:
        super().__init__(
            "A change of keys was interrupted: expected all files to have pseudonyms of one secret. "
            "Finish it with `ds-pipelines rotate-key --do-it`, then repeat this."
        )


class EmptyIdentifierError(DsPipelinesError):
    """Nobody is named who could be erased."""

    def __init__(self) -> None:
        super().__init__(
            "No customer is named: expected the identifier that production uses, as `--customer 1234`, or `--known` "
            "to erase again all who were erased before."
        )


class RecognizerError(DsPipelinesError):
    """A custom recogniser of free text cannot be made from its configuration."""

    def __init__(self, number: int, name: str, reason: str) -> None:
        super().__init__(
            f"Custom recogniser {number} ({name!r}) is not usable: {reason}. Give it a supported_entity, and patterns "
            "(name, regex, score) or a deny_list, as in Presidio's own configuration."
        )


class LanguageModelError(DsPipelinesError):
    """A named spaCy model is not there or cannot be loaded."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"Language model {model!r} cannot be loaded ({reason}): expected an installed spaCy model or its folder. "
            "Install it (models are never downloaded on their own), or leave the policy's model out."
        )


class UnencodableTextError(DsPipelinesError):
    """A text holds half a surrogate pair: it is no Unicode text, and no database or file can hold it."""

    def __init__(self, row: int) -> None:
        super().__init__(
            f"Text {row} (counted from 0) holds a lone surrogate: expected Unicode text. "
            "Decode it anew from its bytes, with errors='replace' if they are damaged."
        )


class HeldBackError(DsPipelinesError):
    """Production is not to be read now, and waiting longer would not be of use."""

    def __init__(self, table: str, reason: str, next_step: str) -> None:
        super().__init__(
            f"Reading of table {table!r} stopped: {reason}. What was read is kept for a day: the next extract of the "
            f"same goes on from there. {next_step}"
        )


class UnnamedDaysError(DsPipelinesError):
    """Days are read again that nobody has extracted."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"There is nothing of table {table!r} to reconcile: expected published days. "
            f"Extract it first: `ds-pipelines extract {table} --since …`."
        )


class ConsistencyError(DsPipelinesError):
    """Tables are to be extracted together, and the policy does not ask for one moment."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} does not ask for tables to be read at one moment: expected `consistency: snapshot` beside "
            "`schema`. Add it, or extract each table by itself."
        )
