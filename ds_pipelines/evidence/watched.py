"""What the watch over production says of models in use, and of candidates beside them: aggregates only."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from ds_pipelines.evidence.base import Record


class Performance(Record):
    """How the scores of one delivered day did, once it was known what came true."""

    job: str
    day: date
    release: str = Field(description="Digest of the release that gave the scores")
    delivery: UUID
    rows: int
    came_true: float = Field(description="Mean outcome")
    said: float = Field(description="Mean score")
    statistic: Literal["ROC AUC", "rank agreement"] = Field(description="The second: (1 + Spearman's correlation) / 2")
    value: float
    low: float = Field(description="Of its interval of 95 %")
    high: float
    squared_error: float = Field(description="Mean square of score − outcome; of a probability, the Brier score")
    promised: float | None = Field(None, description="The statistic on the release's held-out rows")
    promised_low: float | None = Field(None, description="Of the interval in the release's evidence")
    promised_high: float | None = None
    at: AwareDatetime

    @property
    def kept(self) -> bool:
        """Whether the promise is not shown to be broken: even the best that is likely must not lie below it."""
        return self.promised_low is None or self.high >= self.promised_low

    @property
    def words(self) -> str:
        """For a colleague."""
        live = f"{self.statistic} {self.value:.3f} ({self.low:.3f} to {self.high:.3f}) on {self.rows:,} rows"
        if self.promised is None:
            return f"{live}; the release promised nothing"
        promise = f"{self.promised:.3f} ({self.promised_low:.3f} to {self.promised_high:.3f})"
        return f"{live}, where the release promised {promise}"


class Segment(Record):
    """How two releases score a part of the population that is large enough to be told of."""

    feature: str
    part: str = Field(description="A value of a feature with few, or a quarter of one with many")
    rows: int
    champion: float = Field(description="Mean score")
    candidate: float
    decile_changed: float = Field(description="Share of the rows whose decile is another")


class Disagreement(Record):
    """How a candidate's scores of a day differ from those that were delivered; no row, and no small group."""

    job: str
    day: date
    champion: str = Field(description="Digest of the release that was delivered")
    candidate: str = Field(description="Digest of the release beside it")
    rows: int = Field(description="That both scored")
    only_champion: int
    only_candidate: int
    same_inputs: bool = Field(description="Whether both read as many rows of each table")
    mean_difference: float = Field(description="Of candidate − champion")
    mean_distance: float = Field(description="Of its absolute value")
    rank_agreement: float = Field(description="Spearman's correlation of the scores")
    top_kept: float = Field(description="Share of the champion's tenth decile that is in the candidate's")
    rank_changes: tuple[float, ...] = Field(
        description="Share of the rows by change of rank, from −100 % to +100 % in steps of 10 %"
    )
    deciles: tuple[tuple[int | None, ...], ...] = Field(
        description="Rows by decile of the champion (down) and of the candidate; None: too few to be told"
    )
    segments: tuple[Segment, ...]
    seconds: float
