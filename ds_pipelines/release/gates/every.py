"""All gates in their order, and what comes of asking them about a candidate.

What belongs here: the table of gates, the walk through it, waivers, and the entry in the ledger. What does not: any
gate's question.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ds_pipelines.errors import NotAcceptedError
from ds_pipelines.evidence import Acceptance
from ds_pipelines.release import waivers
from ds_pipelines.release.gates.backtest import backtest
from ds_pipelines.release.gates.case import open_case
from ds_pipelines.release.gates.environment import environment
from ds_pipelines.release.gates.evidence import evidence
from ds_pipelines.release.gates.files import form, hashes
from ds_pipelines.release.gates.independent import independent
from ds_pipelines.release.gates.judgement import faithful
from ds_pipelines.release.gates.names import GATES, WORKING
from ds_pipelines.release.gates.people import owners, tests
from ds_pipelines.release.gates.promise import code, contract
from ds_pipelines.release.gates.skew import no_leak, no_skew
from ds_pipelines.release.gates.trial import budget, delivery
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import package_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case
    from ds_pipelines.release.ledger import Entry
    from ds_pipelines.release.manifest import Waiver
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


CHECKS: Mapping[str, Callable[[Case], GateResult]] = MappingProxyType(
    {
        "evidence": evidence,
        "hashes": hashes,
        "format": form,
        "environment": environment,
        "code": code,
        "contract": contract,
        "tests": tests,
        "owners": owners,
        "no skew": no_skew,
        "no leak": no_leak,
        "independent": independent,
        "budget": budget,
        "delivery": delivery,
        "faithful": faithful,
        "backtest": backtest,
    }
)
"""What answers for each name of `names.GATES`."""


@dataclass
class Hearing:
    """One candidate before the gates."""

    case: Case
    by: str
    """Who asked, for the ledger."""
    answers: list[GateResult] = field(default_factory=list)

    def results(self) -> Iterator[GateResult]:
        """Asks every gate that loads nothing; then, until one refuses, those that work. The ledger gets the answers.

        Raises:
            The errors of reading production, and of the confined process: then nothing is known of the candidate, and
            nothing is written.
        """
        waived = waivers.of_release(self.case.manifest.digest, self.case.job.name, self.case.settings)
        for name in GATES:
            if name in WORKING and not all(each.passed for each in self.answers):
                break
            began = time.monotonic()
            found = CHECKS[name](self.case)
            found = found.model_copy(update={"seconds": round(time.monotonic() - began, 3)})
            self.answers.append(found if found.passed else _waived(found, waived))
            yield self.answers[-1]
        record(self.acceptance, self.case.settings, by=self.by)

    @property
    def acceptance(self) -> Acceptance:
        """What the gates said."""
        return Acceptance(
            job=self.case.job.name,
            release=self.case.manifest.digest,
            gates=tuple(self.answers),
            code=package_digest(),
            at=datetime.now(UTC),
        )

    def require_accepted(self) -> None:
        """Refuses a candidate that a gate refused.

        Raises:
            NotAcceptedError: it names each such gate.
        """
        refusing = [(each.gate, each.words, each.expected) for each in self.answers if not each.passed]
        if refusing:
            raise NotAcceptedError(self.case.job.name, self.case.manifest.digest, refusing)


@contextmanager
def hearing(job: ScoringJob, settings: Settings, *, by: str, wanted: str | None = None) -> Iterator[Hearing]:
    """Brings a release before the gates.

    Args:
        job: As production has it.
        settings: Of acceptance.
        by: Who asked, for the ledger.
        wanted: The name of a manifest; None: the newest that was offered of the job.

    Raises:
        NothingProposedError, ManifestError: there is no release to look at.
        LedgerBrokenError: the ledger was changed; nothing is looked at.
        DatabaseUnreachableError: the ledger or the registry does not answer.
    """
    Ledger(settings).verify()
    settings.acceptance.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=settings.acceptance, prefix="case-") as work:
        yield Hearing(open_case(job, settings, Path(work), wanted), by)


def accept(job: ScoringJob, settings: Settings, *, by: str) -> Acceptance:
    """Takes the newest release that was offered of a job through the gates, outside of Dagster; as `hearing`."""
    with hearing(job, settings, by=by) as heard:
        for _ in heard.results():
            pass
        return heard.acceptance


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
