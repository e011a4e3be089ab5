"""The demonstration's release: every step that people take, by two persons of its own, who have tokens.

What belongs here: who they are, what they answer, and the order of the steps. What does not: any step's work.

The two are invented, and say so wherever they are named: an author who offers and takes through the gates, and a
colleague who answers for the method, approves and deploys. Their tokens stay in the home, for whoever goes on there.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from ds_pipelines.errors import DsPipelinesError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ds_pipelines.operate.demo import Story
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

MODELS, COMPUTATIONS = ("repurchase",), ("top_sellers",)
AUTHOR, COLLEAGUE = "demo-author", "demo-colleague"
SCOPES = {AUTHOR: ("release:propose",), COLLEAGUE: ("release:approve", "release:deploy")}
ANSWER = "The demonstration answers: accepted for the sample, where nothing hangs on it."
LIFETIME = timedelta(days=30)


class RefusedAtGateError(DsPipelinesError):
    """The gates refused what the demonstration offered."""

    def __init__(self, name: str, gates: list[str]) -> None:
        super().__init__(
            f"Release {name} was refused at {', '.join(gates)}; expected every gate to let it through. "
            f"`ds-pipelines release accept {name}` says what each gate found."
        )


def release_all(story: Story, settings: Settings, runs: Mapping[str, str]) -> None:
    """Releases every job whose champion is not what the experiments gave: reviewed, reproduced, accepted, approved.

    Raises:
        DsPipelinesError: a step was refused.
    """
    from ds_pipelines.production.jobs import JOBS
    from ds_pipelines.release.standing import stands

    names = (*MODELS, *COMPUTATIONS)
    new = [JOBS[name] for name in names if not stands(JOBS[name], runs.get(name), settings)]
    if not new:
        story.lines.append(("Release", "every champion is what the experiments give", "as released before", 0))
        return
    tokens = {user: _token(user, settings) for user in SCOPES}
    for name in (job.name for job in new if job.name in MODELS):
        with story.step(f"Method of {name} answered for, run reproduced") as told:
            told["what"] = f"signed by {COLLEAGUE}; {_reviewed_and_reproduced(runs[name], settings)}"
            told["where"] = f"ds-pipelines review {runs[name][:7]}"
    with story.step("Release: proposed, through the gates of acceptance") as told:
        offered = [_accepted(job, runs.get(job.name), tokens[AUTHOR], settings) for job in new]
        told["what"] = ", ".join(manifest.file_name for manifest in offered)
        told["where"] = f"{settings.releases.name}/, to be reviewed and committed"
    with story.step("Release: approved by a colleague, deployed, signed") as told:
        for manifest, job in zip(offered, new, strict=True):
            _deployed(manifest, job, tokens[COLLEAGUE], settings)
        told["what"] = f"by {COLLEAGUE}, of {AUTHOR}'s"
        told["where"] = "ds-pipelines release history"


def token_file(user: str, settings: Settings) -> Path:
    """Where the token of one of the two lies."""
    return settings.secrets / f"{user}.token"


def _token(user: str, settings: Settings) -> Path:
    """The file with a token that is in force, made where it is missing."""
    from ds_pipelines.errors import MissingSecretError, NotPermittedError, UnknownTokenError
    from ds_pipelines.gateway import grants
    from ds_pipelines.release.identity import identify

    path = token_file(user, settings)
    try:
        for scope in SCOPES[user]:
            identify(scope, settings, path)  # type: ignore[arg-type]
    except (MissingSecretError, NotPermittedError):
        with suppress(UnknownTokenError):
            grants.revoke(user, settings)
        wanted = grants.Wanted(user, "release", None, LIFETIME, scopes=frozenset(SCOPES[user]))
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(f"{grants.create(wanted, settings)}\n", encoding="utf-8")
    return path


def _reviewed_and_reproduced(run_id: str, settings: Settings) -> str:
    from ds_pipelines.lab.reproduce import reproduce
    from ds_pipelines.lab.review import answered, open_review, sign

    opened = open_review(run_id, settings)
    sign(answered(opened, dict.fromkeys(opened.unanswered, ANSWER)), COLLEAGUE, settings)
    return reproduce(run_id, settings).answer


def _accepted(job: ScoringJob, run_id: str | None, token: Path, settings: Settings) -> ReleaseManifest:
    from ds_pipelines.operate.accept import accept
    from ds_pipelines.release import manifest as manifests
    from ds_pipelines.release.identity import identify
    from ds_pipelines.release.propose import propose, propose_computation

    author = identify("release:propose", settings, token).user
    if run_id is None or job.entity is None:
        path = propose_computation(job, settings, by=author)
    else:
        path = propose(run_id, job, settings, by=author)
    manifest = manifests.load(path)
    found = accept(manifest, job, settings, by=author)
    if not found.passed:
        raise RefusedAtGateError(path.stem, [result.gate for result in found.gates if not result.passed])
    return manifest


def _deployed(manifest: ReleaseManifest, job: ScoringJob, token: Path, settings: Settings) -> None:
    from ds_pipelines.release import approval
    from ds_pipelines.release.identity import identify

    colleague = identify("release:approve", settings, token)
    approval.approve(manifest, colleague, settings, because="the demonstration shows the way")
    approval.deploy(manifest, job, identify("release:deploy", settings, token), settings)
