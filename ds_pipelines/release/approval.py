"""The decisions on a release: approved, rejected, waived, deployed. Each by somebody, each once, each in the ledger.

What belongs here: what must have happened before each decision, and by whom. What does not: who presents which token
(`identity`), the gates themselves (`gates`), and taking files over (`registry`).

An author never decides: whoever offered a release, in any of the times it was offered, or started the run it comes
from. An approval is of one acceptance of one digest, and is used up by one deployment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import NotApprovedError, NothingToRollBackError, SelfApprovalError
from ds_pipelines.evidence import Acceptance
from ds_pipelines.release import registered, registry, signing, waivers
from ds_pipelines.release.gates.names import GATES
from ds_pipelines.release.ledger import Ledger, champion_of
from ds_pipelines.release.manifest import package_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.release.identity import Identity
    from ds_pipelines.release.ledger import Action, Entry
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.release.registry import Champion
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Standing:
    """What the ledger, verified, says of one release."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def authors(self) -> set[str]:
        """Who offered it, and who started the run that it comes from."""
        offered = [each for each in self.entries if each.action == "proposed"]
        return {each.actor for each in offered} | {
            str(author) for each in offered for author in each.evidence.get("authors", ())
        }

    @property
    def examined(self) -> Entry | None:
        """What the gates said last."""
        return self._last("accepted", "refused")

    @property
    def accepted(self) -> Entry | None:
        """The acceptance in force: the gates' last word, and nobody rejected it since."""
        decided = self._last("accepted", "refused", "rejected")
        return decided if decided is not None and decided.action == "accepted" else None

    @property
    def approved(self) -> Entry | None:
        """The approval of the acceptance in force that no deployment has used; None: there is none."""
        used = {each.evidence.get("approval") for each in self.entries if each.action == "deployed"}
        approval = self._last("approved")
        if approval is None or self.accepted is None or approval.digest in used:
            return None
        return approval if approval.evidence.get("acceptance") == self.accepted.digest else None

    def _last(self, *actions: str) -> Entry | None:
        return next((each for each in reversed(self.entries) if each.action in actions), None)


def standing(manifest: ReleaseManifest, settings: Settings) -> Standing:
    """What the ledger says of a release.

    Raises:
        LedgerBrokenError: the ledger is not what was written into it.
    """
    entries = [each for each in Ledger(settings).verify() if each.release == manifest.digest]
    return Standing(manifest.file_name.removesuffix(".yaml"), tuple(entries))


def approve(manifest: ReleaseManifest, who: Identity, settings: Settings, *, because: str = "") -> Entry:
    """Approves a release that the gates let through, with today's code.

    Raises:
        SelfApprovalError: an author wants to.
        NotApprovedError: it was not offered, or the gates have not let it through as it is now.
        LedgerBrokenError: the ledger was changed.
    """
    now = standing(manifest, settings)
    _require_offered(now, "approved")
    _require_other(now, who, "approved")
    accepted = _require_accepted(now, manifest, "approved")
    evidence = {"acceptance": accepted.digest, "token": who.token}
    return _add("approved", manifest, who, because, evidence, settings)


def reject(manifest: ReleaseManifest, who: Identity, settings: Settings, *, because: str) -> Entry:
    """Rejects a release, for a reason; it can be accepted and approved again, and neither stands until then.

    Raises:
        NotApprovedError: it was not offered, or is in use.
        LedgerBrokenError: the ledger was changed.
    """
    now = standing(manifest, settings)
    _require_offered(now, "rejected")
    used = champion_of(Ledger(settings).entries(manifest.name))
    if used is not None and used.release == manifest.digest:
        step = f"Go back to the one before: `ds-pipelines release rollback {manifest.name} --because …`."
        raise NotApprovedError(now.name, "rejected", "a release that is not in use", step)
    return _add("rejected", manifest, who, because, {"token": who.token}, settings)


def waive(manifest: ReleaseManifest, gate: str, who: Identity, settings: Settings, *, because: str) -> Entry:
    """Sets a gate of acceptance aside for one release, for a reason.

    Raises:
        NotWaivableError: nobody can.
        SelfApprovalError: an author wants to.
        NotApprovedError: it was not offered.
        LedgerBrokenError: the ledger was changed.
    """
    waivers.require_waivable(gate, waivers.GATES)
    now = standing(manifest, settings)
    _require_offered(now, "waived")
    _require_other(now, who, "waived")
    return _add("waived", manifest, who, because, {"gate": gate, "token": who.token}, settings)


def waive_condition(subject: str, job: str, gate: str, who: Identity, settings: Settings, *, because: str) -> Entry:
    """Sets a condition of offering a run aside, for a reason; who offers the run must be somebody else.

    Args:
        subject: The run's id; of a computation, the job's name.
        job: The scoring job.
        gate: The condition.
        who: Who sets it aside.
        settings: Name the ledger.
        because: Why.

    Raises:
        NotWaivableError: nobody can.
        LedgerBrokenError: the ledger was changed.
    """
    waivers.require_waivable(gate, waivers.CONDITIONS)
    ledger = Ledger(settings)
    ledger.verify()
    evidence = {"gate": gate, "subject": subject, "token": who.token}
    return ledger.append("waived", job=job, release="", actor=who.user, because=because, evidence=evidence)


def deploy(manifest: ReleaseManifest, job: ScoringJob, who: Identity, settings: Settings) -> Champion:
    """Takes an approved release into production's registry, signed, and makes it the champion.

    A deployment that was interrupted after its entry in the ledger is finished by doing it again.

    Args:
        manifest: The release.
        job: Production's job of that name.
        who: Whose token allows it.
        settings: Name the registry, the ledger and the key.

    Raises:
        NotApprovedError: it is not approved, or its approval was used.
        SelfApprovalError: the approval is an author's.
        ReleaseRefusedError and the errors of `registry.take_in`: it is not what was approved.
        LedgerRefusedError: somebody deployed it at the same time.
        LedgerBrokenError: the ledger was changed.
    """
    now = standing(manifest, settings)
    ledger = Ledger(settings)
    used = champion_of(ledger.entries(manifest.name))
    if used is not None and used.release == manifest.digest:
        return registry.put_in_use(manifest, job, registry.take_in(manifest, job, settings).folder, settings)
    accepted = _require_accepted(now, manifest, "deployed")
    approval = now.approved
    if approval is None:
        step = f"Another person does so: `ds-pipelines release approve {now.name}`."
        raise NotApprovedError(now.name, "deployed", "an approval of what the gates let through, not used yet", step)
    if approval.actor.casefold() in {author.casefold() for author in now.authors}:
        raise SelfApprovalError(now.name, approval.actor, "deployed on the approval given")
    taken = registry.take_in(manifest, job, settings)
    evidence = {
        "approval": approval.digest,
        "acceptance": accepted.digest,
        "before": used.release if used else None,
        "files": {path: file.sha256 for path, file in manifest.files.items()},
        "signature": registry.sha256_of(signing.signature_of(taken.folder)),
        "token": who.token,
    }
    # The entry first: what the ledger does not know is never in use.
    _add("deployed", manifest, who, approval.because, evidence, settings)
    return registry.put_in_use(manifest, job, taken.folder, settings)


def retire(job: ScoringJob, who: Identity, settings: Settings, *, because: str) -> Entry:
    """Takes a job's release out of use; nothing is scored until another is deployed or rolled back to.

    Raises:
        NothingToRollBackError: none is in use.
        LedgerBrokenError: the ledger was changed.
    """
    ledger = Ledger(settings)
    used = champion_of([each for each in ledger.verify() if each.job == job.name])
    if used is None:
        raise NothingToRollBackError(job.name, "a release that is in use")
    entry = ledger.append(
        "retired", job=job.name, release=used.release, actor=who.user, because=because, evidence={"token": who.token}
    )
    registered.take_out_of_use(job.name, settings)
    return entry


def _add(  # noqa: PLR0917 - the entry's own fields
    action: Action,
    manifest: ReleaseManifest,
    who: Identity,
    because: str,
    evidence: Mapping[str, Any],
    settings: Settings,
) -> Entry:
    return Ledger(settings).append(
        action, job=manifest.name, release=manifest.digest, actor=who.user, because=because, evidence=evidence
    )


def _require_offered(now: Standing, action: str) -> None:
    if not now.authors:
        step = "Offer it: `ds-pipelines release propose RUN` (of a computation with --job)."
        raise NotApprovedError(now.name, action, "a release that somebody offered by their token", step)


def _require_other(now: Standing, who: Identity, action: str) -> None:
    if who.is_one_of(now.authors):
        raise SelfApprovalError(now.name, who.user, action)


def _require_accepted(now: Standing, manifest: ReleaseManifest, action: str) -> Entry:
    """The acceptance in force, if it is of all gates and of today's code."""
    step = f"Take it through them: `ds-pipelines release accept {manifest.name}`."
    if now.accepted is None:
        refused = now.examined is not None and now.examined.action == "refused"
        words = f"; the last time it was {now.examined.because}" if refused and now.examined else ""
        raise NotApprovedError(now.name, action, f"one that the gates let through{words}", step)
    found = Acceptance.model_validate(now.accepted.evidence)
    if missing := GATES.keys() - {result.gate for result in found.gates}:
        raise NotApprovedError(now.name, action, f"an answer of every gate, also of {', '.join(sorted(missing))}", step)
    if not found.passed or found.release != manifest.digest:
        raise NotApprovedError(now.name, action, "an acceptance of this release by every gate", step)
    if found.code != package_digest():
        words = "an acceptance by the code that runs now, which changed since"
        raise NotApprovedError(now.name, action, words, step)
    return now.accepted
