"""Errors of the engines that score, and of starting a job."""

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


class JobNameError(DsPipelinesError):
    """A name for a new job cannot be that of a module and a table."""

    def __init__(self, name: str, longest: int) -> None:
        super().__init__(
            f"{name!r} cannot be the name of a scoring job; expected up to {longest} lower-case letters, digits and "
            "underscores, a letter first, and no word of Python's. Choose another name."
        )


class JobExistsError(DsPipelinesError):
    """There is a job of that name already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a scoring job {name!r} already, in production/jobs/{name}.py; expected a new name. "
            "Choose another, or change that module."
        )


class ReleasedCodeMissingError(DsPipelinesError):
    """The code of a release is nowhere as it was released."""

    def __init__(self, release: str, file: str) -> None:
        super().__init__(
            f"The release of {release!r} names {file}, and no copy of it has the hash that was released; expected "
            "it in the package or in the release's folder. Check out the commit of the release, or name a newer one."
        )
