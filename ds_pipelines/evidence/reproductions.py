"""What a reproduction of a run says about itself, and what a closed experiment says."""

from typing import Literal

from pydantic import AwareDatetime, Field

from ds_pipelines.evidence.base import Record

ReproductionAnswer = Literal["identical", "equal within tolerance", "differs", "cannot"]
Likeness = Literal["identical", "same content", "within tolerance", "reordered", "differs", "missing", "new"]
CauseKind = Literal[
    "edited script",
    "edited helper",
    "changed data",
    "reordered rows",
    "erased data",
    "data gone",
    "package version",
    "package gone",
    "missing seed",
    "threads",
    "environment variable",
    "clock",
    "machine",
    "parameter",
    "failure",
    "unrecorded",
    "unknown",
]
Part = Literal["code", "data", "environment", "variables", "threads"]
"""What a reproduction restores, or takes as it is today."""


class OutputComparison(Record):
    """One output of a run beside that of its repetition."""

    artifact: str
    kind: str
    likeness: Likeness
    difference: str = Field("", description="In words without data")
    largest: float | None = Field(None, description="Largest relative difference of its numbers")


class Cause(Record):
    """Why something differs, or would."""

    kind: CauseKind
    words: str
    proven: bool = Field(False, description="Whether an experiment showed it, and not the records alone")


class Reproduction(Record):
    """What came of repeating a run."""

    run_id: str
    experiment: str
    answer: ReproductionAnswer
    words: str = Field(description="The answer and why, for a colleague")
    tolerance: float = Field(description="Relative difference of numbers that counts as equal")
    first_difference: str | None = Field(None, description="The first output, in the order made, that diverged")
    causes: tuple[Cause, ...] = ()
    outputs: tuple[OutputComparison, ...] = Field((), description="In the order in which the run made them")
    today: tuple[Part, ...] = Field((), description="What was taken as it is today instead of restored")
    changed_since: tuple[Cause, ...] = Field((), description="What is otherwise today than when the run was made")
    executions: int = Field(0, description="How often it was run to find this out")
    python: str | None = Field(None, description="The environment it ran in: this one's, or one of its own")
    at: AwareDatetime
    seconds: float


class Closing(Record):
    """An experiment that nobody needs to try again, and why."""

    experiment: str
    because: str
    by: str
    at: AwareDatetime
