"""Errors of runs, of their processes and of what is left of them."""

from __future__ import annotations

from ds_pipelines.errors.base import DsPipelinesError


class RunCappedError(DsPipelinesError):
    """A run met a limit and was ended."""

    def __init__(self, script: str, capped: str, where: str) -> None:
        super().__init__(
            f"Experiment {script} was ended by a limit: {capped}. What it had noted until then is kept: {where}. "
            "Make it need less, or ask for more in its header as far as the environment allows."
        )


class RunProcessError(DsPipelinesError):
    """A run's process ended without a word of its script."""

    def __init__(self, script: str, how: str, where: str) -> None:
        super().__init__(
            f"Experiment {script} did not come to its end: its process {how}. What it had noted and printed until then "
            f"is kept: {where}. Expected an exception or an end; a library that crashes, or a lack of memory, ends so."
        )


class SpooledRunError(DsPipelinesError):
    """A run that MLflow has not got cannot be read from its folder."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(
            f"The run in {folder} cannot be recorded: {reason}. Expected the files that a run leaves there. "
            "Look what is in it, and move the folder away."
        )
