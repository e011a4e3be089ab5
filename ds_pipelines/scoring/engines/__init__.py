"""Engines: what scores a file of features with a model, on this machine or on several.

What belongs here: an engine a module, and choosing one by the settings. What does not: features, deciles and delivery,
which are the same whatever the engine.

An engine gives the same bytes as any other: all score the same batches of the same file by `batch.scored`, and differ
in where that happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from ds_pipelines.scoring.model import Model
from ds_pipelines.settings import Settings

if TYPE_CHECKING:
    from ds_pipelines.scoring.job import ScoringJob

Engine: TypeAlias = Callable[[Path, str, Model, Settings], Iterator[pl.DataFrame]]
"""From a file of features, the column that names what is scored, a model and the settings: that column and `score`, a
frame a batch, in the order of the file."""


def of(job: ScoringJob, settings: Settings) -> Engine:
    """The engine that the settings choose for a job; `local` unless they name another."""
    if settings.engines.get(job.name, "local") == "ray":
        from ds_pipelines.scoring.engines import ray

        return ray.scores
    from ds_pipelines.scoring.engines import local

    return local.scores
