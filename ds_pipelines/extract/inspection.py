"""A policy held against the live database: everything that does not fit, and what to write so that it does.

What belongs here: gathering all of it, with drafts. What does not: the rules themselves (`catalogue`), which stop at
the first misfit because an extract may not go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.errors import (
    AbsentColumnError,
    AbsentTableError,
    ChangedTypeError,
    DsPipelinesError,
    UndeclaredColumnError,
    UndeclaredTableError,
)
from ds_pipelines.extract import catalogue, source
from ds_pipelines.extract.propose.draft import propose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.extract.catalogue import LiveTables
    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.postgres import Role
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Misfit:
    """One thing in which a policy and the live database do not fit."""

    table: str
    columns: tuple[str, ...]
    """Empty: the table itself."""
    error: DsPipelinesError
    """What an extract of the table would say."""
    missing: bool
    """Whether an entry is to be written or written anew, so that it can be drafted."""


@dataclass(frozen=True)
class Inspection:
    """Everything that does not fit."""

    misfits: tuple[Misfit, ...]
    draft: str
    """YAML to put under `tables`, table by table, after review; empty if nothing is missing."""


def inspect(policy: Policy, settings: Settings, *, role: Role = "extract") -> Inspection:
    """Holds a policy against the live database; reads values only to draft what is missing.

    Raises:
        DatabaseUnreachableError, SourceRefusedError: the database cannot be read.
    """
    with source.connect(role, settings) as session:
        live = session.live_tables(policy.database_schema)
    found = tuple(misfits(policy, live))
    missing = [misfit for misfit in found if misfit.missing]
    if not missing:
        return Inspection(found, "")
    tables = list(dict.fromkeys(misfit.table for misfit in missing))
    draft = propose(settings, schema=policy.database_schema, role=role, tables=tables)
    parts = []
    for table in tables:
        columns = [column for misfit in missing if misfit.table == table for column in misfit.columns]
        parts.append(draft.entries(table, columns or None))
    return Inspection(found, "".join(parts))


def misfits(policy: Policy, live: LiveTables) -> Iterator[Misfit]:
    """Everything in which a policy and the live schema do not fit, table by table."""
    for name in live:
        if name not in policy.tables and not catalogue.decided(name, policy, live):
            yield Misfit(name, (), UndeclaredTableError([name], policy.tables), missing=True)
    for name, table in policy.tables.items():
        if name not in live:
            yield Misfit(name, (), AbsentTableError(name, policy.database_schema), missing=False)
        else:
            yield from _columns(table, live)
    for name in policy.not_extracted:
        if name not in live:
            yield Misfit(name, (), AbsentTableError(name, policy.database_schema), missing=False)


def _columns(table: TablePolicy, live: LiveTables) -> Iterator[Misfit]:
    columns = live[table.name].columns
    if undeclared := {name: column.type for name, column in columns.items() if name not in table.columns}:
        yield Misfit(table.name, tuple(undeclared), UndeclaredColumnError(table.name, undeclared), missing=True)
    if absent := [name for name in table.columns if name not in columns]:
        yield Misfit(table.name, tuple(absent), AbsentColumnError(table.name, absent), missing=False)
    for name, decision in table.columns.items():
        if name not in columns:
            continue
        by_day = name if table.by_day == name else None
        alone = table.model_copy(update={"columns": {name: decision}, "by_day": by_day, "key": ()})
        try:
            catalogue.check_table(alone, {name: columns[name]})
        except DsPipelinesError as error:
            yield Misfit(table.name, (name,), error, missing=isinstance(error, ChangedTypeError))
