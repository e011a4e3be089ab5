"""The same rows of production, as the extract would publish them and as the scoring has them.

What belongs here: reading the last weeks once, by the paced role, and transforming them both ways. What does not:
comparing what comes of it (`skew`).

Rows of both kinds lie side by side here, which undoes the pseudonyms: the folder is the examination's own, and goes
with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, tombstones
from ds_pipelines.extract.fitting import fitted
from ds_pipelines.extract.masking import Masker
from ds_pipelines.extract.order import columns_of_order
from ds_pipelines.extract.reading import opened
from ds_pipelines.extract.transform import transform
from ds_pipelines.extract.treatments import Pseudonym

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.job import Tables as ScoredTables
    from ds_pipelines.settings import Settings

WINDOW = timedelta(days=60)
"""How many days are read, unless the job looks further back."""


@dataclass(frozen=True)
class Tables:
    """The last weeks of the tables that a job reads."""

    first: date
    last: date
    scored: ScoredTables
    """With real keys, as the scoring has them."""
    extracted: ScoredTables
    """With pseudonyms, in the extract's order, as they come back from Parquet."""
    by_day: Mapping[str, str | None]
    """By table the column of its days; None: a table of current state."""
    policy: policies.Policy

    def until(self, day: date, settings: Settings) -> ScoredTables:
        """What the scoring would have had at the end of a day; tables of current state are as they are now."""
        end = settings.bounds(day)[1]
        return {
            name: table if (column := self.by_day[name]) is None else table.filter(_before(table, column, day, end))
            for name, table in self.scored.items()
        }

    def pseudonymised(self, entities: pl.Series, settings: Settings) -> pl.Series | None:
        """The entities as the extract names them; None if no table has them as a pseudonym."""
        for name in self.scored:
            column = self.policy.table(name).columns.get(entities.name)
            if column is not None and isinstance(column.treatment, Pseudonym):
                keys = pseudonyms.load(settings)
                return keys.of(entities, column.treatment.domain, column.treatment.shape)
        return None


def read(job: ScoringJob, settings: Settings, folder: Path) -> Tables:
    """Reads the last weeks of what a job reads, at production's pace.

    Raises:
        PolicyError, MissingSecretError, HeldBackError: as `extract.production`.
        The errors of `source`, `fitting` and `transform`.
    """
    policy = policies.load(settings.policies / policies.SHOP)
    last = settings.last_extractable_day()
    first = max(settings.first_day, last - max(WINDOW, 2 * (job.history or WINDOW)))
    folder.mkdir(parents=True, mode=0o700)
    scored, extracted = {}, {}
    for name in job.reads:
        scored[name], extracted[name] = _both(name, policy, settings, folder, first=first, last=last)
    by_day = {name: policy.table(name).by_day for name in job.reads}
    return Tables(first, last, scored, extracted, by_day, policy)


def _both(
    name: str, policy: policies.Policy, settings: Settings, folder: Path, *, first: date, last: date
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    with opened("scoring", settings, policy, name, first=first, last=last) as production:
        readable = production.session.readable(policy, name)
        decisions = fitted(policy, readable, production.session, settings)
        masker = Masker.of(policy, readable, production.session)
        rows = production.session.read(readable, since=first, until=last)
    rows, _ = tombstones.load(settings).without_erased(rows, readable.policy, None)
    keys = pseudonyms.load(settings)
    kept = transform(rows, decisions, keys, zone=settings.zone, keep_keys=True, masker=masker).sort(decisions.order)
    named = transform(rows, decisions, keys, zone=settings.zone, masker=masker).sort(columns_of_order(decisions))
    kept.write_parquet(folder / f"{name}.scored.parquet")
    named.write_parquet(folder / f"{name}.extracted.parquet")
    return pl.scan_parquet(folder / f"{name}.scored.parquet"), pl.scan_parquet(folder / f"{name}.extracted.parquet")


def _before(table: pl.LazyFrame, column: str, day: date, end: object) -> pl.Expr:
    if table.collect_schema()[column] == pl.Date:
        return pl.col(column) <= day
    return pl.col(column) < pl.lit(end)
