"""A release before the gates: the candidate, what it would replace, and what is read or computed once for all of them.

What belongs here: finding the candidate's files and the champion's, and the way in which a gate answers. What does not:
any gate's question.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ds_pipelines.evidence import GateResult
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.registry import in_use

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.release.gates.confined import Answer
    from ds_pipelines.release.gates.reading import Tables
    from ds_pipelines.release.gates.trial import Trial
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class Offered:
    """A release and the folder of its files; nothing of them has been believed yet."""

    manifest: ReleaseManifest
    folder: Path

    @property
    def module(self) -> Path:
        """The job's module, as it was when the release was offered."""
        return self.folder / "code" / self.manifest.code.file


@dataclass(frozen=True)
class Case:
    """What the gates look at."""

    candidate: Offered
    champion: Offered | None
    """The release in use; None if there is none, or it is the candidate itself."""
    job: ScoringJob
    """As production has it now."""
    settings: Settings
    """Of acceptance."""
    work: Path
    """A folder for this examination alone, removed afterwards: it holds rows of production."""

    @property
    def manifest(self) -> ReleaseManifest:
        """The candidate's."""
        return self.candidate.manifest

    @cached_property
    def tables(self) -> Tables:
        """Production's tables, read once for all gates."""
        from ds_pipelines.release.gates.reading import read

        return read(self.job, self.settings, self.work / "tables")

    @cached_property
    def trial(self) -> Trial:
        """The newest day, scored and delivered once."""
        from ds_pipelines.release.gates.trial import hold

        return hold(self)

    @cached_property
    def judged(self) -> Answer:
        """What the model says of held-out rows and of past days, asked once."""
        from ds_pipelines.release.gates.judgement import ask

        return ask(self)


def open_case(job: ScoringJob, settings: Settings, work: Path, wanted: str | None = None) -> Case:
    """The release that somebody named, or the newest that was offered of a job.

    Raises:
        NothingProposedError: none was.
        ManifestError: its manifest was edited, or is none.
        DatabaseUnreachableError: the registry does not answer.
    """
    manifest = manifests.load(manifests.find(wanted or job.name, settings.releases))
    offered = Offered(manifest, settings.registry_artifacts / "offered" / manifest.digest)
    used = in_use(job.name, settings)
    champion = None if used is None or used[0].digest == manifest.digest else Offered(*used)
    return Case(offered, champion, job, settings, work)


def answer(gate: str, expected: str, refused: str | None, fine: str, **evidence: Any) -> GateResult:
    """What a gate says: `refused` is why it does not let the candidate through; None if it does."""
    words = fine if refused is None else refused
    return GateResult(gate=gate, passed=refused is None, words=words, expected=expected, evidence=evidence)
