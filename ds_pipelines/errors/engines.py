"""Errors of the engines that score."""

from __future__ import annotations

from ds_pipelines.errors.base import DsPipelinesError


class EngineMissingError(DsPipelinesError):
    """The settings choose an engine that is not installed."""

    def __init__(self, engine: str) -> None:
        super().__init__(
            f"The settings (DS_ENGINES) choose the engine {engine!r}, which is not installed; expected the extra of "
            f"that name. Install it (`pip install 'ds-pipelines[{engine}]'`), or choose the engine local."
        )


class EngineFailedError(DsPipelinesError):
    """An engine did not score a day to its end."""

    def __init__(self, engine: str, what: str) -> None:
        super().__init__(
            f"The engine {engine!r} did not finish: {what}; expected every batch scored. Nothing was delivered. See "
            "the engine's own logs, then run the day again, or choose the engine local (DS_ENGINES)."
        )


class EngineUnfitError(DsPipelinesError):
    """The settings choose an engine for a job that has nothing for it to do."""

    def __init__(self, engine: str, job: str) -> None:
        super().__init__(
            f"The settings (DS_ENGINES) choose the engine {engine!r} for job {job!r}, which has no model; expected a "
            "job with one, for engines score. Leave the job out of DS_ENGINES: computations run by Polars."
        )
