"""A day of a scoring job: production's tables through the privacy policy's transformation, computed, and scored.

What belongs here: the way from the tables to rows that can be delivered. What does not: what a job computes
(`production/jobs`), which model is in use (`release`), and making rows visible (`deliver`).

The transformation is the extract's own, with real keys kept: a model sees in production what it saw in training, and
consumers find their customers again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import production
from ds_pipelines.scoring.receipt import Input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Scored:
    """What a job has for a day: the rows that its contract describes, and what they were made from."""

    frame: pl.DataFrame
    inputs: tuple[Input, ...]


def score_day(
    job: ScoringJob,
    day: date,
    settings: Settings,
    *,
    release: str,
    model: Model | None = None,
    source: Mapping[str, str] = MappingProxyType({}),
) -> Scored:
    """Computes a job for the end of a business day, from production data.

    Tables by day are read until the end of the day; tables of current state as they are now.

    Args:
        job: What to compute.
        day: The business day.
        settings: Name the production database, the policies and the zone.
        release: Digest of the release in use, for rows that carry it.
        model: The released model; None for a computation.
        source: Fingerprints of the tables' days in production from before this call, for the receipt.

    Raises:
        UnknownDayError: the day is not over, or not the business's.
        PolicyError and the errors of `extract.production`: production cannot be read as the policy demands.
        UnfitForModelError: the features are not what the model takes.
    """
    settings.require_day(day)
    if (model is None) != (job.entity is None):
        raise ValueError(f"job {job.name} needs {'no model' if job.entity is None else 'a model'}")
    tables, inputs = _read(job, day, settings, source)
    rows = job.compute({name: table.lazy() for name, table in tables.items()}, day, settings.zone).collect()
    if job.entity is not None and model is not None:
        rows = scored(rows.sort(job.entity), job.entity, model)
    known = {"day": pl.lit(day, pl.Date), "release": pl.lit(release)}
    names = list(job.schema)
    frame = rows.with_columns(**{name: value for name, value in known.items() if name in names})
    # What is not in the contract goes on to its check as it is, to be named there.
    ordered = [name for name in names if name in frame.columns] + [name for name in frame.columns if name not in names]
    return Scored(frame.select(ordered).sort(job.key), inputs)


def scored(features: pl.DataFrame, entity: str, model: Model) -> pl.DataFrame:
    """A score and a decile for each entity, shape (entities, 3): entity, score, decile.

    Deciles run from 1 to 10, the highest scores in 10; equal scores are in the same one.
    """
    scores = pl.Series("score", model.predict(features.drop(entity)))
    # In whole numbers: the share of rows up to and including this score, in tenths, rounded up.
    decile = (10 * pl.col("score").rank("max").cast(pl.Int64) + pl.len() - 1) // pl.len()
    return features.select(entity, scores).with_columns(decile=decile.cast(pl.Int16))


def _read(
    job: ScoringJob, day: date, settings: Settings, source: Mapping[str, str]
) -> tuple[dict[str, pl.DataFrame], tuple[Input, ...]]:
    policy = policies.load(settings.policies / policies.SHOP)
    since = None if job.history is None else day - job.history + timedelta(days=1)
    tables: dict[str, pl.DataFrame] = {}
    inputs: list[Input] = []
    for name in job.reads:
        by_day = policy.table(name).by_day is not None
        read_at = datetime.now(UTC)
        tables[name] = production.transformed(name, settings, since=since, until=day)
        inputs.append(
            Input(
                table=name,
                rows=tables[name].height,
                since=since if by_day else None,
                until=day if by_day else None,
                policy_digest=policy.digest,
                read_at=read_at,
                source=source.get(name, ""),
            )
        )
    return tables, tuple(inputs)
