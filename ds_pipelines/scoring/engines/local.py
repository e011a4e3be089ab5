"""The engine `local`: one process, a batch at a time.

What belongs here: that loop. What does not: what is done with a batch (`batch`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.scoring.engines import batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings


def scores(features: Path, entity: str, model: Model, _settings: Settings) -> Iterator[pl.DataFrame]:
    """The score of each row of a file of features, a frame a batch, in the file's order.

    Raises:
        UnfitForModelError: the features are not what the model takes.
    """
    for number in range(batch.count(features)):
        yield batch.scored(batch.read(features, number, batch.ROWS), entity, model)
