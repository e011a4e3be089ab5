"""What a methodology review says about itself."""

from typing import Literal

from pydantic import AwareDatetime, Field

from ds_pipelines.evidence.base import Record


class Assumption(Record):
    """One thing that a method takes for granted."""

    key: str
    sentence: str = Field(description="What must hold, in words")
    standing: Literal["holds", "violated", "open"] = Field(description="open: only a person can say")
    evidence: str = Field(description="What was measured, or why nothing could be")


class Review(Record):
    """What a person answered for: the assumptions of a run's method."""

    run_id: str
    method: str = Field(description="The method family whose assumptions these are")
    assumptions: tuple[Assumption, ...]
    answers: dict[str, str] = Field(default_factory=dict, description="By an assumption's key, what the person said")
    signed_by: str | None = None
    signed_at: AwareDatetime | None = None
    verdict_sha256: str | None = Field(None, description="Of the verdict's file that was reviewed")
    model_sha256: str | None = Field(None, description="Over the hashes of the model's files that were reviewed")

    @property
    def unanswered(self) -> tuple[str, ...]:
        """Keys of what needs a person's word and has none."""
        return tuple(
            each.key for each in self.assumptions if each.standing != "holds" and not self.answers.get(each.key)
        )
