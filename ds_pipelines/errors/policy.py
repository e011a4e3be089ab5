"""Errors of the privacy policy and what it is held against."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class PolicyError(DsPipelinesError):
    """A privacy policy cannot be used as it is written."""

    def __init__(
        self, path: Path, problem: str, *, line: int | None = None, key: str | None = None, more: int = 0
    ) -> None:
        where = str(path) + (f", line {line}" if line else "") + (f", key {key}" if key else "")
        rest = f" ({more} more problem{'s' if more > 1 else ''} after this one)" if more else ""
        super().__init__(f"Privacy policy {where}: {problem}{rest}. Correct the file.")


class UndeclaredTableError(DsPipelinesError):
    """A table is asked for, or exists, without a privacy decision."""

    def __init__(self, tables: Iterable[str], declared: Iterable[str]) -> None:
        super().__init__(
            f"The privacy policy does not name the table {listing(map(repr, tables))}; it names {listing(declared)}. "
            "Ask for one of these; or decide on it in the policy: `ds-pipelines policy propose <table>` drafts what "
            "belongs under `tables`, and under `not_extracted` a table is named that nobody shall have."
        )


class NotExtractedError(DsPipelinesError):
    """A table is asked for that nobody shall have."""

    def __init__(self, table: str, because: str) -> None:
        super().__init__(
            f"The privacy policy names table {table!r} under `not_extracted`: {because.rstrip('.')}. Nobody gets it. "
            "If that is no longer right, decide on its columns under `tables` instead."
        )


class UndeclaredColumnError(DsPipelinesError):
    """A column reached the extract without a privacy decision."""

    def __init__(self, table: str, columns: Mapping[str, str]) -> None:
        draft = "".join(
            f"\n      {json.dumps(name, ensure_ascii=False)}: {{type: {json.dumps(type_, ensure_ascii=False)}, "
            "treatment: drop, because: Nobody has decided yet.}"
            for name, type_ in columns.items()
        )
        super().__init__(
            f"Table {table!r} has columns that the privacy policy does not name: {listing(columns)}. Nothing of the "
            "table is read until the policy decides on each. `ds-pipelines policy check` drafts the decisions, each "
            f"with its reason; under the table's `columns`, this would withhold them:{draft}"
        )


class AbsentTableError(DsPipelinesError):
    """The privacy policy names a table that the database does not have."""

    def __init__(self, table: str, schema: str) -> None:
        super().__init__(
            f"The privacy policy names table {table!r}, and schema {schema!r} of the database has none. "
            "Correct the name in the policy, or check which database the role reads."
        )


class AbsentColumnError(DsPipelinesError):
    """The privacy policy names columns that the table does not have."""

    def __init__(self, table: str, columns: Iterable[str]) -> None:
        super().__init__(
            f"The privacy policy names columns that table {table!r} does not have: {listing(columns)}. Nothing of the "
            "table is read. Remove them under its `columns` if they were dropped; if they were renamed, write the new "
            "names, which `ds-pipelines policy check` tells."
        )


class ChangedTypeError(DsPipelinesError):
    """A column is not of the type for which the privacy policy decided on it."""

    def __init__(self, table: str, column: str, *, stated: str | None, type_: str) -> None:
        super().__init__(
            f"Column {table}.{column} is of type {type_}, and the privacy policy decided on {stated}. Nothing of the "
            f"table is read. Check that the treatment is still right, then write `type: {type_}` there; `ds-pipelines "
            "policy check` drafts the decision anew."
        )


class UnfitTreatmentError(DsPipelinesError):
    """A treatment does not fit the type of its column."""

    def __init__(self, table: str, column: str, *, treatment: str, type_: str, fits: Iterable[str]) -> None:
        super().__init__(
            f"Column {table}.{column} is of type {type_}, and treatment {treatment} needs {listing(fits)}. "
            "Choose a treatment in the policy that fits."
        )


class UnsupportedTypeError(DsPipelinesError):
    """A column would be in the extract, and is of a type that the extract cannot carry exactly."""

    def __init__(self, table: str, column: str, type_: str, reason: str) -> None:
        super().__init__(
            f"Column {table}.{column} is of type {type_}, which the extract cannot carry exactly: {reason}. "
            "Drop the column in the policy, or offer it in a view as another type."
        )


class UnfitDayColumnError(DsPipelinesError):
    """The column that should tell the day of a row cannot."""

    def __init__(self, table: str, column: str, type_: str) -> None:
        super().__init__(
            f"Column {table}.{column} ({type_}) cannot tell the day of a row: expected timestamp with time zone or "
            "date, and NOT NULL, so that no row is lost. Name another column as by_day in the policy."
        )


class NothingToProposeError(DsPipelinesError):
    """A policy is to be drafted for a schema in which nothing can be seen."""

    def __init__(self, schema: str, role: str) -> None:
        super().__init__(
            f"There are no tables in schema {schema!r} to draft a policy for, as role {role!r} sees it. "
            "Name another schema, or check which database the role reads."
        )


class WouldOverwriteError(DsPipelinesError):
    """A file to write exists already."""

    def __init__(self, path: Path, otherwise: str = "move it away") -> None:
        super().__init__(f"{path} exists, and is not overwritten: expected a new file. Name another, or {otherwise}.")


class NotATerminalError(DsPipelinesError):
    """Real rows would be shown elsewhere than to a person."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"`ds-pipelines {command}` shows real rows, and so only on a terminal: expected no pipe and no file. "
            "Run it by itself on production's terminal."
        )
