"""A day of a scoring job: production's tables through the privacy policy's transformation, computed, and scored.

What belongs here: the way from the tables to rows that can be delivered. What does not: what a job computes
(`production/jobs`), which model is in use (`release`), where batches are scored (`engines`), and making rows visible
(`deliver`).

The transformation is the extract's own, with real keys kept: a model sees in production what it saw in training, and
consumers find their customers again. Tables, features and scores lie in files while they are worked on, and pass
through memory in batches: a day of twenty million customers takes hardly more of it than one of five.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import EngineUnfitError
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import production
from ds_pipelines.scoring import deciles, engines
from ds_pipelines.scoring.engines import batch
from ds_pipelines.scoring.folder import Folder
from ds_pipelines.scoring.receipt import Input
from ds_pipelines.scoring.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from ds_pipelines.scoring.job import ScoringJob, Tables
    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Scored:
    """What a job has for a day: the rows that its contract describes, and what they were made from.

    The rows lie in files, which go with this object, or at the end of a `with` block.
    """

    job: ScoringJob
    day: date
    release: str
    inputs: tuple[Input, ...]
    features: Path | None
    """Parquet file of what the model was given, a row an entity; None for a computation."""
    least: tuple[float, ...] = field(repr=False)
    """The smallest score of each decile from the second on."""
    _spill: Spill = field(repr=False)
    _folder: Folder = field(repr=False)
    population: int | None = None
    """How many rows there are to be, by the job's own count of its source; None: it has none."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return self._spill.rows

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows in the order of the key, in batches of bounded size; one without rows if there are none."""
        pieces = self._spill.pieces() if self.rows else iter([self._nothing()])
        return map(self._complete, pieces)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All rows, in memory."""
        return pl.concat(self.batches(), rechunk=True)

    def __enter__(self) -> Scored:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.remove()

    def _complete(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = list(self.job.schema)
        known = {"day": pl.lit(self.day, pl.Date), "release": pl.lit(self.release)}
        if self.features is not None:
            known["decile"] = deciles.decile("score", self.least)
        rows = rows.with_columns(**{name: value for name, value in known.items() if name in names})
        # What is not in the contract goes on to its check as it is, to be named there.
        strange = [name for name in rows.columns if name not in names]
        return rows.select(*(name for name in names if name in rows.columns), *strange)

    def _nothing(self) -> pl.DataFrame:
        known = {"day", "release", "decile"} if self.features is not None else {"day", "release"}
        return pl.DataFrame(schema={name: kind for name, kind in self.job.schema.items() if name not in known})


def score_day(job: ScoringJob, day: date, settings: Settings, *, release: str, model: Model | None = None) -> Scored:
    """Computes a job for the end of a business day, from production data.

    Tables by day are read until the end of the day; tables of current state as they are now.

    Args:
        job: What to compute.
        day: The business day.
        settings: Name the production database, the policies, the zone and the engine.
        release: Digest of the release in use, for rows that carry it.
        model: The released model; None for a computation.

    Raises:
        UnknownDayError: the day is not over, or not the business's.
        PolicyError and the errors of `extract.production`: production cannot be read as the policy demands.
        UnfitForModelError: the features are not what the model takes.
        EngineUnfitError, EngineMissingError, EngineFailedError: the engine cannot score it.
    """
    settings.require_day(day)
    if (model is None) != (job.entity is None):
        raise ValueError(f"job {job.name} needs {'no model' if job.entity is None else 'a model'}")
    if model is None and (engine := settings.engines.get(job.name, "local")) != "local":
        raise EngineUnfitError(engine, job.name)
    folder = Folder(settings)
    tables, inputs = _read(job, day, settings, folder.path)
    count = None if job.population is None else job.population(tables, day, settings.zone).collect().item()
    rows = job.compute(tables, day, settings.zone)
    if model is None:
        return Scored(job, day, release, inputs, None, (), _computed(rows, job, folder.path), folder, count)
    features = folder.path / "features.parquet"
    rows.sink_parquet(features, compression="lz4", row_group_size=batch.ROWS, engine="streaming")
    spill, least = scores_of(features, job, model, settings, folder.path)
    return Scored(job, day, release, inputs, features, least, spill, folder, count)


def scores_of(
    features: Path, job: ScoringJob, model: Model, settings: Settings, folder: Path
) -> tuple[Spill, tuple[float, ...]]:
    """The scores of a file of features in the order of their entity, and the smallest of each decile from the second.

    Args:
        features: Parquet; the job's entity and the model's features, a row an entity.
        job: Names the entity, and by the settings the engine.
        model: What scores.
        settings: Name the engine.
        folder: Where the scores go.

    Raises:
        UnfitForModelError, EngineMissingError, EngineFailedError: as `score_day`.
    """
    entity = model.card.entity
    spill = Spill(folder / "scores", [entity])
    for scored in engines.of(job, settings)(features, entity, model, settings):
        spill.add(scored)
    spill.settle()
    if not spill.rows or "decile" not in job.schema:
        return spill, ()
    return spill, tuple(deciles.thresholds(lambda: (rows["score"].to_numpy() for rows in spill.pieces()), spill.rows))


def _computed(rows: pl.LazyFrame, job: ScoringJob, folder: Path) -> Spill:
    """The rows of a computation, in the order of the key."""
    names = rows.collect_schema().names()
    spill = Spill(folder / "rows", [name for name in job.key if name in names] or names[:1])
    for piece in rows.collect_batches(chunk_size=batch.ROWS, engine="streaming"):
        for part in piece.iter_slices(batch.ROWS):
            spill.add(part)
    spill.settle()
    return spill


def _read(job: ScoringJob, day: date, settings: Settings, folder: Path) -> tuple[Tables, tuple[Input, ...]]:
    policy = policies.load(settings.policies / policies.SHOP)
    since = None if job.history is None else day - job.history + timedelta(days=1)
    tables: dict[str, pl.LazyFrame] = {}
    inputs: list[Input] = []
    for name in job.reads:
        by_day = policy.table(name).by_day is not None
        read = production.kept(name, settings, folder, since=since, until=day)
        tables[name] = read.scan()
        inputs.append(
            Input(
                table=name,
                rows=read.rows,
                since=since if by_day else None,
                until=day if by_day else None,
                policy_digest=policy.digest,
                read_at=read.read_at,
            )
        )
    return tables, tuple(inputs)
