"""The faithful check: production's features, computed from the experiment's own snapshots, give its own predictions.

What belongs here: that comparison. What does not: judging the model; the verdict did.

The features of a job are written twice, by the data scientist for training and by a reviewer for production. That both
mean the same is not reviewed but shown, on every held-out row: each feature, and the loaded model's score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import UnfaithfulReleaseError
from ds_pipelines.extract import policy as policies
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ds_pipelines.evidence import RunInput
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings

CLOSE = 1e-9
"""Largest difference of a score, and of a feature in relation to its size (or to 1, if that is more)."""


@dataclass(frozen=True)
class Faithful:
    """What the comparison covered."""

    rows: int
    days: int
    difference: float
    """The largest between a score of the experiment and production's."""


def check(
    job: ScoringJob, model: Model, predictions: pl.DataFrame, inputs: Sequence[RunInput], settings: Settings
) -> Faithful:
    """Compares production's features and scores with the experiment's held-out predictions.

    Args:
        job: Whose features are computed.
        model: The released model, loaded.
        predictions: Held-out rows: the entity, `as_of`, every feature, `score`.
        inputs: The snapshots that the experiment read.
        settings: Name the snapshots, the policies and the zone.

    Raises:
        UnfaithfulReleaseError: something differs; the message names it and in how many rows, never a value.
        UnknownSnapshotError: a snapshot is not there any more.
        UnfitForModelError: production's features are not what the model takes.
    """
    entity, names = model.card.entity, [feature.name for feature in model.card.features]
    expected = [entity, "as_of", *names, "score"]
    if predictions.columns != expected or predictions.is_empty():
        raise UnfaithfulReleaseError(job.name, "the held-out predictions", f"rows of {', '.join(expected)}")
    tables = _tables(job, inputs, settings)
    difference = 0.0
    days = predictions["as_of"].unique().sort().to_list()
    for day in days:
        given = predictions.filter(pl.col("as_of") == day).sort(entity)
        computed = job.compute(tables, day, settings.zone).collect()
        if computed.columns != [entity, *names]:
            raise UnfaithfulReleaseError(job.name, "its features", f"{', '.join(names)}, in this order")
        ours = given.select(entity).join(computed, on=entity, how="inner", maintain_order="left")
        if ours.height != given.height or given[entity].is_duplicated().any():
            raise UnfaithfulReleaseError(job.name, f"its population on {day}", f"every held-out {entity}, once")
        for name in names:
            if unlike := _unlike(ours[name], given[name]):
                raise UnfaithfulReleaseError(job.name, f"{name} on {day} in {unlike} of {given.height} rows")
        apart = (pl.Series(model.predict(ours.drop(entity))) - given["score"]).abs()
        if unlike := int((~(apart <= CLOSE)).sum()):
            raise UnfaithfulReleaseError(job.name, f"the score on {day} in {unlike} of {given.height} rows")
        difference = max(difference, float(apart.max()))  # type: ignore[arg-type]
    return Faithful(predictions.height, len(days), difference)


def _tables(job: ScoringJob, inputs: Sequence[RunInput], settings: Settings) -> dict[str, pl.LazyFrame]:
    """The tables that the job reads, from the experiment's snapshots: every day, or the newest state."""
    store = SnapshotStore(settings.snapshots)
    policy = policies.load(settings.policies / policies.SHOP)
    tables: dict[str, pl.LazyFrame] = {}
    for table in job.reads:
        read = sorted((each for each in inputs if each.table == table), key=lambda each: each.day)
        if not read:
            raise UnfaithfulReleaseError(job.name, f"table {table}", "among what the experiment read")
        if policy.table(table).by_day is None:
            read = read[-1:]
        tables[table] = pl.concat([pl.scan_parquet(store.path(each.digest)) for each in read])
    return tables


def _unlike(ours: pl.Series, given: pl.Series) -> int:
    """In how many rows two numeric columns differ by more than rounding, a missing value or NaN included."""
    pair = pl.DataFrame({"ours": ours.cast(pl.Float64), "given": given.cast(pl.Float64)})
    size = pl.max_horizontal(pl.col("given").abs(), pl.lit(1.0))
    close = ((pl.col("ours") - pl.col("given")).abs() <= CLOSE * size).fill_null(value=False)
    return int(pair.select((~close).sum()).item())
