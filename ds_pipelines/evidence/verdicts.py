"""What a verdict says about itself."""

from typing import Literal

from pydantic import Field

from ds_pipelines.evidence.base import Record

Answer = Literal["signal", "no signal", "undecided", "invalid"]
Task = Literal["classification", "multiclass", "regression", "ranking"]
"""`multiclass` is a classification of more than two classes, each judged against the rest."""
Standing = Literal["holds", "fails", "warns", "unknown"]


class DummyBaseline(Record):
    """What predicting the same for every held-out row achieves: the training prevalence, or the mean of its block."""

    prevalence: float = Field(
        description="Share of positives among the training rows; of a regression, the mean; of more than two classes, "
        "the share of the commonest"
    )
    auc: float = 0.5
    log_loss: float | None = None
    brier: float = Field(description="Brier score; of a regression, the mean squared error")
    accuracy: float | None = Field(None, description="Of always naming the commonest class; of more than two classes")


class FamilyResult(Record):
    """How one model family did on the held-out rows."""

    name: str
    auc: float = Field(
        description="Share of pairs of a block ranked rightly: the ROC AUC of a classification; of others, pairs weigh "
        "as much as their targets differ; of more than two classes, the mean of each one's against the rest"
    )
    low: float = Field(description="Lower end of the AUC's interval; the intervals of all families hold jointly")
    high: float
    log_loss: float | None = None
    brier: float | None = Field(None, description="Brier score; of a regression, the mean squared error")
    skill: float | None = Field(
        None,
        description="1 − Brier score / the baseline's; at most 0 when no better than the baseline; R² if regression",
    )
    rank_correlation: float | None = Field(None, description="Within blocks: twice the AUC less 1; of a regression")
    ndcg: float | None = Field(None, description="Mean over queries of the NDCG; of a ranking")
    accuracy: float | None = Field(None, description="Share of rows whose likeliest class is the true one; of several")


class ClassResult(Record):
    """How the best family tells one of more than two classes from the rest."""

    name: str
    rows: int = Field(description="Held-out rows of the class")
    auc: float
    low: float = Field(description="Lower end of the AUC's interval, of this class by itself")
    high: float


class Check(Record):
    """One thing that was looked at before the verdict, and what was seen."""

    name: str
    standing: Standing = Field(description="fails: the verdict is invalid; unknown: it could not be looked at")
    words: str


class SimpleBaseline(Record):
    """What a simple rule, learnt from the training rows, achieves on the held-out ones."""

    name: str
    auc: float


class LearningPoint(Record):
    """How a family does after learning from so many rows."""

    family: str
    rows: int
    auc: float


class Subgroup(Record):
    """How the best family does on some of the rows; absent figures are hidden, because a cell is too small."""

    column: str
    value: str
    rows: int | None = Field(
        None, description="Hidden where fewer than 10, and where they would follow from the others"
    )
    auc: float | None = None
    low: float | None = None
    high: float | None = None


class CalibrationBin(Record):
    """What the best family said of a tenth of the rows, and what came true."""

    rows: int
    said: float
    observed: float
    label: str = Field("", description="Of which class, where there are more than two")


class Verdict(Record):
    """Whether a target can be predicted at all, with the evidence; figures are absent when it is invalid."""

    answer: Answer
    question: str
    words: str = Field(description="The answer and its figures, for a colleague")
    task: Task = "classification"
    classes: tuple[str, ...] = Field((), description="Where there are more than two, as the predictions' columns")
    statistic: str
    p: float | None = Field(None, description="Of the best family, against the best of each permutation")
    level: float = Field(description="Largest p that counts, after the looks taken")
    resolution: float = Field(description="Smallest p that so many permutations can show")
    permutations: int
    best: str | None = Field(None, description="The family with the highest AUC")
    effect: float | None = Field(None, description="The best family's AUC − 0.5")
    families: tuple[FamilyResult, ...] = ()
    by_class: tuple[ClassResult, ...] = Field((), description="Of the best family, where there are more than two")
    confidence: float = Field(description="Of the families' intervals, jointly")
    baseline: DummyBaseline | None = None
    baselines: tuple[SimpleBaseline, ...] = ()
    smallest_effect: float = Field(description="AUC − 0.5 that a signal must show")
    material_effect: float = Field(description="AUC − 0.5 that must be excluded for no signal")
    rows: int = Field(description="Held-out rows judged")
    rows_given: int = Field(description="Held-out rows before one was drawn for each entity")
    positives: int = Field(description="Of the rows judged; 0 unless there are two classes")
    blocks: int = Field(description="Groups of exchangeable rows, as as-of days")
    more_rows: int | None = Field(None, description="About how many more would decide; only when undecided")
    seed: int
    checks: tuple[Check, ...] = Field((), description="Of split and leakage, in the order in which they were made")
    learning: tuple[LearningPoint, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    calibration: tuple[CalibrationBin, ...] = Field((), description="Of the best family; each bin hides no small cell")
    holdout: str | None = Field(None, description="Digest of the held-out labels and entities")
    look: int | None = Field(
        None, description="Which look at this holdout it was, the first being 1; None: not counted"
    )
    assumptions: tuple[str, ...] = Field(description="What the answer rests on, and whether it was checked")
    limits: tuple[str, ...] = Field((), description="What the verdict cannot show, and what looks odd")
