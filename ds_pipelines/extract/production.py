"""Production's tables for the scoring: by the same policy and the same transformation as the extract, with real keys.

What belongs here: that one reading. What does not: publishing; nothing of it may be stored where data scientists read.

The tables are read as the extract reads them: in chunks along a key, at production's pace, settled at one moment at the
end. Chunks are kept in a folder of the caller's as they come, so that memory does not grow with a table.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, tombstones
from ds_pipelines.extract.chunks import walk
from ds_pipelines.extract.fitting import fitted
from ds_pipelines.extract.masking import Masker
from ds_pipelines.extract.reading import Treated, opened, read_whole
from ds_pipelines.extract.transform import transform
from ds_pipelines.extract.unfinished import Reading

if TYPE_CHECKING:
    from datetime import date, datetime

    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.postgres import Role
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class KeptTable:
    """A transformed table in files, with real keys."""

    policy: TablePolicy
    files: tuple[Path, ...]
    schema: pl.Schema
    rows: int
    read_at: datetime
    """The moment as of which it was settled."""

    def scan(self) -> pl.LazyFrame:
        """Its rows, in the order in which they were read."""
        return pl.scan_ipc(list(self.files)) if self.files else pl.LazyFrame(schema=self.schema)


def kept(
    table: str,
    settings: Settings,
    folder: Path,
    role: Role = "scoring",
    *,
    until: date | None = None,
    since: date | None = None,
) -> KeptTable:
    """Reads a table as the extract has it, except that identifiers are the real ones, into files of a folder.

    Rows of erased persons are left out.

    Args:
        table: A table of the policy.
        settings: Where production and the policy are.
        folder: Where the files go, below the table's name; only its owner may enter it.
        role: Who reads.
        until: For a table by day, the last business day, included; None: to the end. A table of current state has no
            history: it comes whole and as it is now.
        since: For a table by day, the first business day; None: from the beginning.

    Raises:
        PolicyError: the policy cannot be used.
        MissingSecretError: the policy moves dates or adds noise, or somebody was erased, and the secret for it cannot
            be used.
        HeldBackError: production is not to be read now.
        DiskFullError: there is no room for the files.
        The errors of `source`, `fitting` and `transform`.
    """
    policy = policies.load(settings.policies / policies.SHOP)
    with opened(role, settings, policy, table, first=since, last=until) as production:
        readable = production.session.readable(policy, table)
        decisions = fitted(policy, readable, production.session, settings)
        masker = Masker.of(policy, readable, production.session)
        keys = pseudonyms.load(settings) if decisions.keyed else None
        erased = tombstones.load(settings)

        def made(rows: pl.DataFrame) -> pl.DataFrame:
            return transform(rows, decisions, keys, zone=settings.zone, keep_keys=True, masker=masker)

        def treat(read: pl.DataFrame, _brief: bool) -> Treated:
            rows, _ = erased.without_erased(read, readable.policy, None)
            return Treated(made(rows))

        reading = Reading(folder / table)
        way = walk(production.session, policy, readable)
        whole = read_whole(way, readable, production, reading, treat, since=since, until=until)
        if whole is None:
            raise AssertionError("a reading without a bound is never given up")
        schema = made(pl.DataFrame(schema=readable.dtypes)).schema
    files = tuple(folder / table / name for name in whole.files)
    return KeptTable(decisions, files, schema, whole.rows, whole.read_at)


def transformed(
    table: str, settings: Settings, role: Role = "scoring", *, until: date | None = None, since: date | None = None
) -> pl.DataFrame:
    """As `kept`, in memory; rows in the order of their key."""
    with tempfile.TemporaryDirectory(prefix="ds-read-") as folder:
        read = kept(table, settings, Path(folder), role, until=until, since=since)
        frames = [pl.DataFrame(schema=read.schema), *(pl.read_ipc(file) for file in read.files)]
        return pl.concat(frames, rechunk=True).sort(read.policy.order)
