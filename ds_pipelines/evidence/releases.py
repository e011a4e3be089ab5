"""What the gates of acceptance, and the watch over a model in use, say about themselves."""

from typing import Any

from pydantic import AwareDatetime, Field

from ds_pipelines.evidence.base import Record


class GateResult(Record):
    """What one gate found of a candidate."""

    gate: str
    passed: bool
    words: str = Field(description="What was found, for a colleague; no value of a row")
    expected: str = Field(description="What was asked for")
    evidence: dict[str, Any] = Field(default_factory=dict, description="The figures behind it; aggregates only")
    seconds: float = Field(0.0, description="That it took")


class Acceptance(Record):
    """What all gates found of a candidate, and with which code."""

    job: str
    release: str = Field(description="Digest of the release's manifest")
    gates: tuple[GateResult, ...]
    code: str = Field(description="Digest of the package's code with which the gates were run")
    at: AwareDatetime

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return bool(self.gates) and all(each.passed for each in self.gates)


class ColumnProfile(Record):
    """How one numeric column was distributed; enough to compare with, and no row of it."""

    name: str
    missing: float = Field(description="Share of missing values, 0 … 1")
    quantiles: tuple[float, ...] = Field(description="At equal steps from the first to the last kept, ascending")
    edges: tuple[float, ...] = Field(description="Inner edges of the bins, ascending; the outer ones are open")
    shares: tuple[float, ...] = Field(description="Of each bin among the values that are there; one more than edges")


class Profile(Record):
    """How the features and the score of a model were distributed where it was judged."""

    rows: int
    columns: tuple[ColumnProfile, ...]
    score: ColumnProfile | None = None


class Drift(Record):
    """How far one column has moved from its profile."""

    column: str
    psi: float = Field(description="Population stability index over the profile's bins")
    ks: float = Field(description="Kolmogorov-Smirnov distance, 0 … 1")
    moved: bool = Field(description="Whether it passed what is declared as too far")
