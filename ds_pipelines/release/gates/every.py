"""All gates in their order, and what comes of asking them about a candidate.

What belongs here: the table of gates, the walk through it, waivers, and the entry in the ledger. What does not: any
gate's question.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.evidence import Acceptance
from ds_pipelines.release import waivers
from ds_pipelines.release.gates.backtest import backtest
from ds_pipelines.release.gates.case import open_case
from ds_pipelines.release.gates.environment import environment
from ds_pipelines.release.gates.evidence import evidence
from ds_pipelines.release.gates.faithfulness import faithful
from ds_pipelines.release.gates.files import form, hashes
from ds_pipelines.release.gates.independent import independent
from ds_pipelines.release.gates.people import owners, tests
from ds_pipelines.release.gates.promise import code, contract
from ds_pipelines.release.gates.skew import no_leak, no_skew
from ds_pipelines.release.gates.trial import budget, delivery
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import package_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case
    from ds_pipelines.release.ledger import Entry
    from ds_pipelines.release.manifest import Waiver
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Gate:
    """One question to a candidate."""

    name: str
    check: Callable[[Case], GateResult]
    works: bool = False
    """Whether it reads production or loads the model; asked only if no gate before it refuses."""

    @property
    def description(self) -> str:
        """What it asks, in a sentence."""
        return (self.check.__doc__ or "").strip()

    @property
    def check_name(self) -> str:
        """As Dagster names the asset check."""
        return self.name.replace(" ", "_")


GATES = (
    Gate("evidence", evidence),
    Gate("hashes", hashes),
    Gate("format", form),
    Gate("environment", environment),
    Gate("code", code),
    Gate("contract", contract),
    Gate("tests", tests),
    Gate("owners", owners),
    Gate("no skew", no_skew, works=True),
    Gate("no leak", no_leak, works=True),
    Gate("independent", independent, works=True),
    Gate("budget", budget, works=True),
    Gate("delivery", delivery, works=True),
    Gate("faithful", faithful, works=True),
    Gate("backtest", backtest, works=True),
)
"""Up to `independent` nothing of the model is loaded."""


def examine(case: Case) -> Iterator[GateResult]:
    """Asks every gate that loads nothing; then, as long as none refuses, those that work.

    Raises:
        The errors of reading production, and of the confined process: then nothing is known of the candidate.
    """
    waived = waivers.of_release(case.manifest.digest, case.job.name, case.settings)
    refused = False
    for gate in GATES:
        if gate.works and refused:
            return
        began = time.monotonic()
        result = gate.check(case).model_copy(update={"seconds": round(time.monotonic() - began, 3)})
        if not result.passed:
            result = _waived(result, waived)
        refused |= not result.passed
        yield result


def accept(
    job: ScoringJob, settings: Settings, *, by: str, on_result: Callable[[GateResult], None] | None = None
) -> Acceptance:
    """Takes the newest release that was offered of a job through the gates, and writes what they said into the ledger.

    Args:
        job: As production has it.
        settings: Of acceptance.
        by: Who asked, for the ledger.
        on_result: Called with each gate's answer as it comes.

    Raises:
        NothingProposedError, ManifestError: there is no release to look at.
        LedgerBrokenError: the ledger was changed.
        The errors of `examine`: nothing was written.
    """
    Ledger(settings).verify()
    settings.acceptance.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=settings.acceptance, prefix="case-") as work:
        case = open_case(job, settings, Path(work))
        results = []
        for result in examine(case):
            results.append(result)
            if on_result is not None:
                on_result(result)
        found = Acceptance(
            job=job.name, release=case.manifest.digest, gates=tuple(results), code=package_digest(),
            at=datetime.now(UTC),
        )  # fmt: skip
    record(found, settings, by=by)
    return found


def record(found: Acceptance, settings: Settings, *, by: str) -> Entry:
    """Writes what the gates said into the ledger."""
    refusing = [result.gate for result in found.gates if not result.passed]
    return Ledger(settings).append(
        "accepted" if found.passed else "refused",
        job=found.job,
        release=found.release,
        actor=by,
        because=f"refused at {', '.join(refusing)}" if refusing else "every gate lets it through",
        evidence=found.model_dump(mode="json"),
    )


def _waived(result: GateResult, waived: Mapping[str, Waiver]) -> GateResult:
    """A refusal that somebody else set aside, for a reason that stays in the ledger."""
    waiver = waived.get(result.gate)
    if waiver is None or result.gate not in waivers.GATES:
        return result
    words = f"waived by {waiver.by}, because {waiver.because}; found: {result.words}"
    return result.model_copy(update={"passed": True, "words": words, "evidence": result.evidence | {"waived": True}})
