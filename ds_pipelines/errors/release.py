"""Errors of models and releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError

if TYPE_CHECKING:
    from pathlib import Path


class UnsafeModelError(DsPipelinesError):
    """A model's files are not what was released, or are of a kind that is never loaded; nothing was loaded."""

    def __init__(self, model: str, file: str, expected: str) -> None:
        super().__init__(
            f"Model {model!r} was not loaded because of {file!r}: expected {expected}. "
            "Propose the run again, and import the release anew."
        )


class UnfitForModelError(DsPipelinesError):
    """A model would be fed with something else than it was trained on, or answers with something that is no score."""

    def __init__(self, model: str, subject: str, expected: str) -> None:
        super().__init__(
            f"Model {model!r} cannot score: {subject} must be {expected}. "
            "Compare the job's features with those that the release names."
        )


class ProposalRefusedError(DsPipelinesError):
    """A run or a job cannot be offered to production."""

    def __init__(self, run: str, expected: str) -> None:
        super().__init__(
            f"Run {run} cannot be proposed for release: expected {expected}. Propose a run that has it; "
            "MLflow's pages show the verdict and the model of each."
        )


class NothingProposedError(DsPipelinesError):
    """A job has no release manifest."""

    def __init__(self, job: str, folder: Path) -> None:
        super().__init__(
            f"Job {job!r} has no release to take in: expected a manifest {job}-….yaml in {folder}. "
            "Offer one from a run with `ds-pipelines release propose RUN`."
        )


class ManifestError(DsPipelinesError):
    """The manifest of a release cannot be used."""

    def __init__(self, path: Path, key: str, expected: str) -> None:
        super().__init__(
            f"Release manifest {path.name} is not usable: {key}: expected {expected}. "
            "Manifests are not edited: propose the run or the computation again."
        )


class ReleaseRefusedError(DsPipelinesError):
    """A release is not what its manifest says, or not what production runs; nothing of it was loaded."""

    def __init__(self, name: str, culprit: str, expected: str) -> None:
        super().__init__(
            f"Release of {name!r} refused because of {culprit}: expected {expected}. "
            "The release that is in use stays in use. Review the change, then propose and import it anew."
        )


class UnfaithfulReleaseError(DsPipelinesError):
    """Production would not compute what the experiment was judged by."""

    def __init__(self, name: str, subject: str, expected: str = "what the experiment has, within 1e-9") -> None:
        super().__init__(
            f"Release of {name!r} refused: from the experiment's own snapshots production gets other predictions. "
            f"{subject}: expected {expected}. Make production/jobs/{name}.py and the experiment define the same."
        )


class NoChampionError(DsPipelinesError):
    """No release of a job is in use."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"No release of {name!r} is in use: expected one in production's registry. "
            "Import a manifest of production/releases, or propose a run first."
        )


class LedgerBrokenError(DsPipelinesError):
    """The ledger of releases is not what was written into it."""

    def __init__(self, number: int, expected: str) -> None:
        super().__init__(
            f"The ledger of releases is broken at entry {number}: expected {expected}. Nothing is released until it is "
            "clear who changed it: compare it with a backup, and restore the database from one that is whole."
        )


class LedgerRefusedError(DsPipelinesError):
    """The database does not take an entry into the ledger of releases."""

    def __init__(self, action: str, reason: str, expected: str) -> None:
        super().__init__(
            f"The ledger of releases did not take an entry of what was {action}: {reason}. Expected {expected}."
        )


class NotWaivableError(DsPipelinesError):
    """Somebody wants to set aside what nobody can."""

    def __init__(self, gate: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"{gate!r} cannot be waived: expected one of {', '.join(known)}. What proves that a release is what it "
            "says is never waived: mend it, and propose anew."
        )


class NotPermittedError(DsPipelinesError):
    """Somebody wants to do to a release what their token does not allow."""

    def __init__(self, scope: str, culprit: str, expected: str) -> None:
        super().__init__(
            f"{culprit[:1].upper()}{culprit[1:]} does not allow {scope}: expected {expected}. Whoever runs the "
            f"platform makes one: `ds-pipelines token create NAME --release {scope.partition(':')[2]} --to FILE`."
        )


class SelfApprovalError(DsPipelinesError):
    """An author wants to decide on their own release."""

    def __init__(self, name: str, user: str, action: str) -> None:
        super().__init__(
            f"Release {name} is not {action} by {user}, who is an author of it: expected another person. "
            "Ask a colleague whose token allows release:approve."
        )


class NotApprovedError(DsPipelinesError):
    """A release has not been through what comes before this step."""

    def __init__(self, name: str, action: str, expected: str, step: str) -> None:
        super().__init__(f"Release {name} cannot be {action}: expected {expected}. {step}")


class NothingToRollBackError(DsPipelinesError):
    """There is no earlier champion to go back to."""

    def __init__(self, job: str, expected: str) -> None:
        super().__init__(
            f"Job {job!r} cannot be rolled back: expected {expected}. "
            f"`ds-pipelines release history {job}` lists what was in use, and when."
        )
