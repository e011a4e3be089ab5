"""Errors of what an experiment may take, and of forecasts."""

from __future__ import annotations

from ds_pipelines.errors.base import DsPipelinesError

GIB = 1 << 30


class ExperimentTooLargeError(DsPipelinesError):
    """An experiment asks for more memory than experiments may have on this machine."""

    def __init__(self, asked: int, most: int) -> None:
        super().__init__(
            f"The experiment asks for {asked / GIB:.1f} GiB of memory, and experiments may have {most / GIB:.1f} GiB "
            "here. Ask for less in its header, run it on a larger machine, or raise DS_EXPERIMENT_MEMORY."
        )


class WardenLostError(DsPipelinesError):
    """The process that watches an experiment ended without a report."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The process that holds the experiment ended without a report ({reason}); what was left of the experiment "
            "has been ended. Run it again; `ds-pipelines doctor` says how experiments are held on this machine."
        )


class UnfitForForecastError(DsPipelinesError):
    """A forecast was asked of something that cannot be tried on samples."""

    def __init__(self, expected: str) -> None:
        super().__init__(f"lab.forecast cannot try this: expected {expected}.")


class PilotFailedError(DsPipelinesError):
    """The function failed on a sample."""

    def __init__(self, rows: int, kind: str) -> None:
        super().__init__(
            f"The function failed on a sample of {rows:,} rows ({kind}). Call it on a small part of the table yourself "
            "to see why; it must also work on few rows."
        )


class ForecastTooLargeError(DsPipelinesError):
    """What is foretold does not fit the machine or its limits, and the caller wanted it refused."""

    def __init__(self, words: str) -> None:
        super().__init__(f"{words} Use fewer rows or columns, a lighter method, or a larger machine.")
