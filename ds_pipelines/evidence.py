"""The records by which the rooms speak to each other: files with a schema, so that no room imports another for them.

What belongs here: what a published extract, a run, a verdict or a release says about itself. What does not: making,
judging or storing any of it.
"""

from datetime import date
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Record(BaseModel):
    """A frozen record that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SpellingRecall(Record):
    """How many of some known persons were masked, where they were written in one way."""

    written_as: str = Field(description="A full name, its first name alone, with a typing error…")
    own: float | None = Field(None, description="Share masked in a row of their own; None if rows are nobody's")
    others: float = Field(description="Share masked in a row of somebody else")


class ResidualRisk(Record):
    """What masking a column of free text misses, and masks without need: measured on the source's own persons."""

    persons: int = Field(description="Persons of the source who were mentioned, for the measure, in each spelling")
    recall: tuple[SpellingRecall, ...]
    ordinary_words: int = Field(description="Words of ordinary sentences that were looked at")
    masked_per_thousand: float = Field(description="Of a thousand of these, how many were masked")


class Column(Record):
    """One column of a published extract and what the privacy policy made of it."""

    name: str
    dtype: str = Field(description="Polars type")
    treatment: str = Field(description="What the policy does with it, as keep, pseudonym(customer), truncate(2)")
    explanation: str = Field("", description="Why, for the people who use the column")
    residual: ResidualRisk | None = Field(None, description="Of masked free text: what is left in it")


class Withheld(Record):
    """One column of the source that the privacy policy keeps out of the extract."""

    name: str
    explanation: str = Field("", description="Why, for the people who look for the column")


class SnapshotManifest(Record):
    """What is published of one table for one day."""

    table: str
    rows_of: Literal["day", "state"] = Field(description="Rows that fell on the day, or the whole table as it was then")
    day: date = Field(description="The business day: of the rows, or on which a table of current state was read")
    rows: int
    bytes: int
    digest: str = Field(description="SHA-256 of the Parquet file, in hex: the snapshot's name")
    logical_digest: str = Field(description="Digest of the rows and their order, whatever the file's encoding")
    columns: tuple[Column, ...]
    withheld: tuple[Withheld, ...] = Field((), description="Columns of the source that the policy withholds")
    erased_rows: int = Field(0, description="Rows left out, or removed later, because the person was erased")
    policy_digest: str
    key_id: str = Field(description="Which secret made the pseudonyms; says nothing about it")
    watermark: str | None = Field(
        None, description="What the database had seen (pg_snapshot) at the moment as of which the rows are exact"
    )
    read_at: AwareDatetime
    published_at: AwareDatetime


class RunInput(Record):
    """One snapshot that a run read."""

    table: str
    day: date
    digest: str


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
    format: Literal["lightgbm", "skops"] = Field(description="How the model is stored; nothing else may be loaded")
    artifact: str = Field(description="The model's folder among the run's artifacts")
    files: tuple[ModelFile, ...]
    features: tuple[Feature, ...]
    target: str = Field(description="What the model predicts, in words")
    entity: str = Field(description="The column that names what is predicted for, as customer_id")
    predictions: str = Field(
        description="Artifact with held-out predictions: entity, as_of, one column a feature, score"
    )


class RunRecord(Record):
    """One execution of an experiment."""

    run_id: str = Field(description="MLflow's id of the run")
    experiment: str
    script: str = Field(description="Path below the experiments folder")
    code_digest: str = Field(description="SHA-256 of the script")
    inputs: tuple[RunInput, ...]
    parameters: dict[str, str]
    metrics: dict[str, float]
    verdict: str | None = Field(None, description="The verdict's answer, if the run asked for one")
    started_at: AwareDatetime
    seconds: float
    url: str = Field(description="The run in MLflow's pages")


Answer = Literal["signal", "no signal", "undecided", "invalid"]


class DummyBaseline(Record):
    """What predicting the training prevalence for every held-out row achieves."""

    prevalence: float = Field(description="Share of positives among the training rows")
    auc: float = 0.5
    log_loss: float
    brier: float


class FamilyResult(Record):
    """How one model family did on the held-out rows."""

    name: str
    auc: float = Field(description="ROC AUC, within blocks where there are several")
    low: float = Field(description="Lower end of the AUC's interval; the intervals of all families hold jointly")
    high: float
    log_loss: float
    brier: float
    skill: float = Field(description="1 − Brier score / the baseline's; at most 0 when no better than the baseline")


class Verdict(Record):
    """Whether a binary target can be predicted at all, with the evidence; figures are absent when it is invalid."""

    answer: Answer
    question: str
    words: str = Field(description="The answer and its figures, for a colleague")
    statistic: str
    p: float | None = Field(None, description="Of the best family, against the best of each permutation")
    level: float = Field(description="Largest p that counts")
    resolution: float = Field(description="Smallest p that so many permutations can show")
    permutations: int
    best: str | None = Field(None, description="The family with the highest AUC")
    effect: float | None = Field(None, description="The best family's AUC − 0.5")
    families: tuple[FamilyResult, ...] = ()
    confidence: float = Field(description="Of the families' intervals, jointly")
    baseline: DummyBaseline | None = None
    smallest_effect: float = Field(description="AUC − 0.5 that a signal must show")
    material_effect: float = Field(description="AUC − 0.5 that must be excluded for no signal")
    rows: int = Field(description="Held-out rows judged")
    rows_given: int = Field(description="Held-out rows before one was drawn for each entity")
    positives: int = Field(description="Of the rows judged")
    blocks: int = Field(description="Groups of exchangeable rows, as as-of days")
    more_rows: int | None = Field(None, description="About how many more would decide; only when undecided")
    seed: int
    assumptions: tuple[str, ...] = Field(description="What the answer rests on, and whether it was checked")
    limits: tuple[str, ...] = Field((), description="What the verdict cannot show, and what looks odd")
