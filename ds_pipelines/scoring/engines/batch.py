"""One batch of a file of features, scored: what every engine does, wherever it does it.

What belongs here: how a file is cut into batches, and scoring one. What does not: who scores which batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.scoring.model import Model

ROWS = 1 << 17
"""Of a batch: 20 features of so many take 21 MB, and Parquet's row groups are as long."""


def count(features: Path) -> int:
    """How many batches a file has."""
    rows: int = pl.scan_parquet(features).select(pl.len()).collect().item()
    return -(-rows // ROWS)


def read(features: Path, number: int, rows: int) -> pl.DataFrame:
    """A batch of a file that is cut into batches of so many rows, by its number from 0."""
    return pl.scan_parquet(features).slice(number * rows, rows).collect(engine="in-memory")


def scored(features: pl.DataFrame, entity: str, model: Model) -> pl.DataFrame:
    """The entity and `score` of each row of a batch.

    Raises:
        UnfitForModelError: the features are not what the model takes.
    """
    return features.select(entity, pl.Series("score", model.predict(features.drop(entity))))
