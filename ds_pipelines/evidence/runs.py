"""What a run of an experiment says about itself."""

from datetime import date
from typing import Literal

from pydantic import AwareDatetime, Field

from ds_pipelines.evidence.base import Record

DUMMY = "dummy"
"""In place of a snapshot's digest: the rows were made up."""


class RunInput(Record):
    """One snapshot that a run read, or a dummy of a table."""

    table: str
    day: date
    digest: str = Field(description="The snapshot's; `dummy` if the rows were made up")

    @property
    def made_up(self) -> bool:
        """Whether nothing can be learned from it."""
        return self.digest == DUMMY


class Feature(Record):
    """One input of a model, in the order in which the model takes it."""

    name: str
    dtype: str = Field(description="Polars type")


class ModelFile(Record):
    """A file of a model and what it must hash to."""

    path: str = Field(description="Relative to the model's folder")
    sha256: str
    bytes: int


class ModelCard(Record):
    """What a run says about a model it saved: enough to load it safely and to feed it rightly."""

    name: str
    format: Literal["lightgbm", "onnx", "skops"] = Field(
        description="How the model is stored; nothing else may be loaded"
    )
    artifact: str = Field(description="The model's folder among the run's artifacts")
    files: tuple[ModelFile, ...]
    features: tuple[Feature, ...]
    target: str = Field(description="What the model predicts, in words")
    entity: str = Field(description="The column that names what is predicted for, as customer_id")
    predictions: str = Field(
        description="Artifact with held-out predictions: entity, as_of, one column a feature, score"
    )


class Code(Record):
    """The code of a run, as it was when the run began."""

    commit: str | None = Field(None, description="Of the git repository that holds the script, if one does")
    dirty: bool = Field(
        False, description="Whether files differed from that commit; then `code/uncommitted.diff` says how"
    )
    files: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 by path below `code/`: the script, and every helper it imported"
    )


class RunEnvironment(Record):
    """What a run ran on, as far as it may change a result."""

    python: str
    platform: str
    processors: int = Field(description="That the run was allowed to use")
    memory: int = Field(description="Of the machine, in bytes")
    packages: dict[str, str] = Field(description="Version by name, of everything that is installed")
    lock_sha256: str | None = Field(None, description="Of the lock, which is kept as `environment/requirements.lock`")
    threads: dict[str, int] = Field(default_factory=dict, description="By library, as polars, openmp, blas")
    variables: dict[str, str] = Field(
        default_factory=dict, description="Of the process, without those of the platform and those that may be secret"
    )
    seeds: dict[str, str] = Field(
        default_factory=dict,
        description="By generator (python, numpy, an estimator …) the number it was seeded with, or `unseeded`",
    )


class Output(Record):
    """Something that a run made."""

    artifact: str = Field(description="Path among the run's artifacts")
    kind: Literal["table", "model", "predictions", "figure", "file", "text", "notebook"]
    sha256: str
    bytes: int


class Limits(Record):
    """What a run may take at most; None: as much as the environment allows."""

    seconds: float | None = None
    memory: int | None = Field(None, description="Of all its processes together, in bytes")
    disk: int | None = Field(None, description="Bytes it may write")
    cores: int | None = None


class RunRecord(Record):
    """One execution of an experiment."""

    run_id: str = Field(description="MLflow's id of the run")
    experiment: str
    kind: Literal["python", "notebook", "r"] = "python"
    script: str = Field(description="Path below the experiments folder")
    code_digest: str = Field(description="SHA-256 of the script")
    code: Code = Code()
    environment: RunEnvironment | None = None
    limits: Limits = Limits()
    inputs: tuple[RunInput, ...]
    outputs: tuple[Output, ...] = Field((), description="In the order in which they were made")
    parameters: dict[str, str]
    metrics: dict[str, float] = Field(description="In the order in which they were noted")
    tolerance: float | None = Field(
        None, description="Relative difference of numbers that a reproduction may show, declared before the run"
    )
    verdict: str | None = Field(None, description="The verdict's answer, if the run asked for one")
    question: str | None = Field(None, description="What the verdict was asked")
    status: Literal["finished", "failed", "capped", "killed"] = "finished"
    failure: str | None = Field(None, description="Why it is not finished, in words without data")
    owner: str | None = Field(None, description="Of the experiment, as its header says")
    user: str | None = Field(None, description="Who started it, where that is known")
    dagster_run: str | None = None
    started_at: AwareDatetime
    seconds: float
    peak_memory: int | None = Field(None, description="Of all its processes together, in bytes")
    written: int | None = Field(None, description="Bytes it wrote to its folder")
    url: str = Field(description="The run in MLflow's pages")
