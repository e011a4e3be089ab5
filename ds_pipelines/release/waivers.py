"""Waivers: what somebody else than the author sets aside, for a reason that stays in the ledger.

What belongs here: which conditions and gates can be waived at all, and reading the waivers of a run or a release. What
does not: recording one (`approval`), and what a condition demands (`conditions`, `gates`).

What proves that the release is what it says (hashes, format, faithfulness, contract) is never waived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors import NotWaivableError
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import Waiver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.release.ledger import Entry
    from ds_pipelines.settings import Settings

CONDITIONS = ("verdict", "review", "reproduction", "independent")
"""Of offering a run, or a computation, at all."""
GATES = ("backtest", "budget")
"""Of acceptance."""


def require_waivable(gate: str, known: tuple[str, ...]) -> None:
    """Refuses what nobody can set aside.

    Raises:
        NotWaivableError: it is not on the short list.
    """
    if gate not in known:
        raise NotWaivableError(gate, known)


def of_subject(subject: str, job: str, settings: Settings) -> Mapping[str, Waiver]:
    """What is waived of a run (its id) or of a computation (its job's name): by condition, the last word of each."""
    found = Ledger(settings).entries(job)
    return {
        str(each.evidence["gate"]): _waiver(each)
        for each in found
        if each.action == "waived" and each.evidence.get("subject") == subject
    }


def of_release(digest: str, job: str, settings: Settings) -> Mapping[str, Waiver]:
    """What is waived of a release at acceptance: by gate, the last word of each."""
    found = Ledger(settings).entries(job, digest)
    return {str(each.evidence["gate"]): _waiver(each) for each in found if each.action == "waived"}


def _waiver(entry: Entry) -> Waiver:
    return Waiver(gate=str(entry.evidence["gate"]), by=entry.actor, because=entry.because, entry=entry.digest)
