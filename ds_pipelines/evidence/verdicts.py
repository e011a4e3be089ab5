"""What a verdict says about itself."""

from typing import Literal

from pydantic import Field

from ds_pipelines.evidence.base import Record

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
