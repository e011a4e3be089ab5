"""The conditions of offering a run to production: a signal, a method that somebody answers for, and a repetition.

What belongs here: reading these three pieces of evidence and holding them to the run. What does not: gathering files
and writing the manifest (`propose`), and believing any of it later (`gates`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ds_pipelines.errors import ProposalRefusedError
from ds_pipelines.evidence import ModelCard, Reproduction, Review, RunRecord, Verdict
from ds_pipelines.release.manifest import REPRODUCTION, REVIEW, VERDICT, Reproduced, SignedReview, Waiver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.release.artifacts import Artifacts

ENOUGH = ("identical", "equal within tolerance")


@dataclass
class Conditions:
    """What a run shows for itself, and what was waived of it."""

    run_id: str
    waived: Mapping[str, Waiver]
    """By condition, in force."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Evidence by its path below the release's folder."""
    review: SignedReview | None = None
    reproduction: Reproduced | None = None
    used: list[Waiver] = field(default_factory=list)

    def require(self, condition: str, expected: str | None) -> None:
        """Refuses the run unless nothing more is expected of the condition, or it is waived.

        Raises:
            ProposalRefusedError: it is neither.
        """
        if expected is None:
            return
        if condition not in self.waived:
            raise ProposalRefusedError(self.run_id, expected)
        self.used.append(self.waived[condition])


def gather(
    run: Artifacts, verdict: Verdict, card: ModelCard, ran: RunRecord, *, waived: Mapping[str, Waiver], by: str | None
) -> Conditions:  # fmt: skip
    """Reads a run's evidence, and refuses the run where a condition neither holds nor is waived.

    Args:
        run: Its artifacts.
        verdict: Its verdict.
        card: Its model's card, as the run wrote it.
        ran: Its own record.
        waived: What somebody else set aside.
        by: Who offers it; None: nobody.

    Raises:
        ProposalRefusedError: a condition does not hold.
    """
    if verdict.task == "multiclass":  # nobody can waive that production delivers one score a row
        raise ProposalRefusedError(ran.run_id, "a verdict on one score: of several classes, ask about one of them")
    found = Conditions(ran.run_id, waived)
    found.require("verdict", None if verdict.answer == "signal" else f"the verdict signal, not {verdict.answer}")
    _reviewed(found, run, card, by)
    _reproduced(found, run, ran)
    if mine := [waiver.gate for waiver in found.used if by is not None and waiver.by.casefold() == by.casefold()]:
        raise ProposalRefusedError(ran.run_id, f"the waiver of {mine[0]} by another person than who offers it")
    return found


def _reviewed(found: Conditions, run: Artifacts, card: ModelCard, by: str | None) -> None:
    if not run.has(REVIEW):
        return found.require("review", "a signed methodology review (`ds-pipelines review RUN`)")
    review = run.record(REVIEW, Review, "a methodology review")
    found.require("review", _lacking(review, run, card, by))
    if review.signed_by is not None and review.signed_at is not None:
        content = run.read(REVIEW, "a methodology review")
        found.files[REVIEW] = content
        found.review = SignedReview(
            method=review.method, by=review.signed_by, at=review.signed_at, sha256=hashlib.sha256(content).hexdigest()
        )
    return None


def _lacking(review: Review, run: Artifacts, card: ModelCard, by: str | None) -> str | None:
    """What a methodology review still needs; None: nothing."""
    if review.signed_by is None or review.unanswered:
        return "a methodology review that is signed (`ds-pipelines review RUN`)"
    verdict = hashlib.sha256(run.read(VERDICT, "a verdict")).hexdigest()
    model = hashlib.sha256("".join(sorted(file.sha256 for file in card.files)).encode()).hexdigest()
    if (review.verdict_sha256, review.model_sha256) != (verdict, model):
        return "a methodology review of this verdict and model, which have changed since it was signed"
    if by is not None and review.signed_by.casefold() == by.casefold():
        return "a methodology review that another person signed than who offers the run"
    return None


def _reproduced(found: Conditions, run: Artifacts, ran: RunRecord) -> None:
    if not run.has(REPRODUCTION):
        return found.require("reproduction", "a reproduction (`ds-pipelines reproduce RUN`)")
    again = run.record(REPRODUCTION, Reproduction, "a reproduction")
    found.require("reproduction", _differing(again, ran))
    content = run.read(REPRODUCTION, "a reproduction")
    found.files[REPRODUCTION] = content
    found.reproduction = Reproduced(
        answer=again.answer, tolerance=ran.tolerance, sha256=hashlib.sha256(content).hexdigest()
    )
    return None


def _differing(again: Reproduction, ran: RunRecord) -> str | None:
    """What keeps a reproduction from counting; None: nothing."""
    if again.run_id != ran.run_id or again.today:
        return "a reproduction of this run, restored in every part"
    if again.answer not in ENOUGH:
        return f"a reproduction that is identical or equal within tolerance, not one that {again.answer}"
    if again.answer == "identical":
        return None
    if ran.tolerance is None:
        return "a reproduction that is identical, since the run declared no tolerance (`tolerance` in its header)"
    if again.tolerance > ran.tolerance:
        return f"a reproduction equal within {ran.tolerance:g}, which the run declared, not {again.tolerance:g}"
    return None
