"""The engine `ray`: batches scored by Ray Data, on a cluster or on this machine.

What belongs here: spreading the batches over workers, and bringing the scores back in order. What does not: what is
done with a batch (`batch`). Ray is an extra: nothing here is imported unless a job's settings choose it.

Workers read the file of features themselves, so on several machines its folder must be one that all see
(DS_SCORING_FOLDER). The model travels as the bytes of its file, and each worker verifies their hash again.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines.errors import EngineFailedError, EngineMissingError, UnfitForModelError
from ds_pipelines.scoring import model as models
from ds_pipelines.scoring.engines import batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.evidence import ModelCard
    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings


class Scorer:
    """A worker: it loads the model once, and scores the batches that it is given the numbers of."""

    def __init__(self, features: Path, rows: int, entity: str, card: ModelCard, content: bytes) -> None:
        self._features, self._rows, self._entity = features, rows, entity
        self._model = models.restored(card, content)

    def __call__(self, numbers: dict[str, Any]) -> Any:
        """The scores of the batches, with each batch's number, as an Arrow table."""
        frames = [
            batch.scored(batch.read(self._features, number, self._rows), self._entity, self._model).with_columns(
                batch=pl.lit(number, pl.Int64)
            )
            for number in map(int, numbers["id"])
        ]
        return pl.concat(frames, rechunk=True).to_arrow()


def scores(features: Path, entity: str, model: Model, settings: Settings) -> Iterator[pl.DataFrame]:
    """The score of each row of a file of features, a frame a batch, in the file's order.

    Raises:
        EngineMissingError: Ray is not installed.
        EngineFailedError: the cluster does not answer, or a worker failed.
    """
    with _cluster(settings) as ray:
        try:
            count = batch.count(features)
            data = ray.data.range(count, override_num_blocks=max(count, 1)).map_batches(
                Scorer,
                fn_constructor_args=(features, batch.ROWS, entity, model.card, model.content),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(int(ray.cluster_resources()["CPU"]), 1)),
            )
            yield from _in_order(data.iter_batches(batch_size=None, batch_format="pyarrow"))
        except ray.exceptions.RayError as error:
            raise _explained(error, model) from None


def _in_order(tables: Iterator[Any]) -> Iterator[pl.DataFrame]:
    """Batches by their number; those that come early wait, which is the two columns of them alone."""
    early: dict[int, pl.DataFrame] = {}
    wanted = 0
    for table in tables:
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker: a table is no column
        for part in frame.partition_by("batch", maintain_order=True):
            early[part["batch"][0]] = part.drop("batch")
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1


@contextmanager
def _cluster(settings: Settings) -> Iterator[Any]:
    try:
        import ray
        import ray.data
    except ImportError:
        raise EngineMissingError("ray") from None
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # it quotes what user code raised
    own = not ray.is_initialized()
    if own:
        address = settings.ray_address or "local"
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError):
            raise EngineFailedError("ray", "no cluster answers at DS_RAY_ADDRESS") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def _explained(error: Exception, model: Model) -> Exception:
    """What went wrong in a worker, in our words: what Ray says may quote rows, and comes as text alone."""
    if UnfitForModelError.__name__ in str(error):
        return UnfitForModelError(model.card.name, "the features", "finite numbers, those that the card names")
    return EngineFailedError("ray", f"a worker failed ({type(error).__name__})")
