"""The gate over why the release deserves to be used: its evidence is whole, of this very run, and not too old.

What belongs here: holding verdict, review and reproduction to each other and to the manifest. What does not: making or
judging any of them; that happened before the release was offered (`conditions`), and nothing of it is believed here.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from ds_pipelines.evidence import Record, Reproduction, Review, RunInput, Verdict
from ds_pipelines.release.conditions import ENOUGH
from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import INPUTS, REPRODUCTION, REVIEW, VERDICT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case

OLDEST = timedelta(days=365)
"""How far the newest snapshot that a model was judged on may lie behind the business's last day."""

AnyRecord = TypeVar("AnyRecord", bound=Record)


def evidence(case: Case) -> GateResult:
    """A signal, a signed review and a reproduction, of this very run, not stale, and offered by somebody we know."""
    offered = [each.actor for each in Ledger(case.settings).entries(case.job.name, case.manifest.digest)
               if each.action == "proposed"]  # fmt: skip
    lacking = [] if offered else ["nobody offered it by `release propose`: the ledger does not know it"]
    lacking += _of_model(case) if case.manifest.model else _of_computation(case)
    shown = case.manifest.evidence
    return answer(
        "evidence",
        f"a signal, a signed review and a reproduction, of this run and not older than {OLDEST.days} days, or waived",
        "; ".join(lacking) or None,
        "whole, and of this very run",
        offered_by=offered[-1:],
        waived={waiver.gate: f"{waiver.by}: {waiver.because}" for waiver in case.manifest.waivers},
        **({"verdict": shown.answer, "held_out_rows": shown.rows, "p": shown.p} if shown else {}),
    )


def _of_computation(case: Case) -> Iterator[str]:
    if case.manifest.independent is None and not _waived(case, "independent"):
        yield "no independent definition of the computation"


def _of_model(case: Case) -> Iterator[str]:
    verdict = _read(case, VERDICT, Verdict)
    if verdict is None or case.manifest.evidence is None:
        yield "no verdict"
    elif verdict.answer != case.manifest.evidence.answer:
        yield "the verdict is not the one that the manifest tells"
    elif verdict.answer != "signal" and not _waived(case, "verdict"):
        yield f"the verdict is {verdict.answer}"
    if not _waived(case, "review"):
        yield from _of_review(case)
    if not _waived(case, "reproduction"):
        yield from _of_reproduction(case)
    yield from _of_inputs(case)


def _of_review(case: Case) -> Iterator[str]:
    review, told = _read(case, REVIEW, Review), case.manifest.review
    if review is None or told is None or review.signed_by is None or review.unanswered:
        yield "no signed methodology review"
        return
    if (review.signed_by, _sha256(case, REVIEW)) != (told.by, told.sha256) or not _of_run(case, review.run_id):
        yield "the methodology review is not the one that the manifest tells"
    if review.verdict_sha256 != _sha256(case, VERDICT):
        yield "stale: the methodology review is of another verdict"


def _of_reproduction(case: Case) -> Iterator[str]:
    again, told = _read(case, REPRODUCTION, Reproduction), case.manifest.reproduction
    if again is None or told is None:
        yield "no reproduction"
        return
    if (again.answer, _sha256(case, REPRODUCTION)) != (told.answer, told.sha256):
        yield "the reproduction is not the one that the manifest tells"
    if not _of_run(case, again.run_id):
        yield "stale: the reproduction is of another run"
    if again.answer not in ENOUGH:
        yield f"the run was not reproduced: {again.answer}"
    elif again.answer != ENOUGH[0] and (told.tolerance is None or again.tolerance > told.tolerance):
        yield "the reproduction is equal within a wider tolerance than the run declared"


def _of_inputs(case: Case) -> Iterator[str]:
    try:
        inputs = TypeAdapter(list[RunInput]).validate_json((case.candidate.folder / INPUTS).read_bytes())
    except (OSError, ValidationError):
        yield "no list of what the run read"
        return
    if any(each.made_up for each in inputs):
        yield "the run read made-up rows"
    newest = max((each.day for each in inputs), default=None)
    if newest is None or newest < case.settings.last_extractable_day() - OLDEST:
        yield f"stale: the run read nothing of the last {OLDEST.days} days"


def _of_run(case: Case, run_id: str) -> bool:
    return case.manifest.run_id is not None and case.manifest.run_id == run_id


def _waived(case: Case, condition: str) -> bool:
    """Whether somebody else set it aside when the release was offered; the ledger must know it, too."""
    known = {each.digest for each in Ledger(case.settings).entries(case.job.name) if each.action == "waived"}
    return any(waiver.gate == condition and waiver.entry in known for waiver in case.manifest.waivers)


def _read(case: Case, path: str, kind: type[AnyRecord]) -> AnyRecord | None:
    try:
        return kind.model_validate_json((case.candidate.folder / path).read_bytes())
    except (OSError, ValidationError):
        return None


def _sha256(case: Case, path: str) -> str:
    return hashlib.sha256((case.candidate.folder / path).read_bytes()).hexdigest()
