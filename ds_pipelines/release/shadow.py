"""Shadow: a candidate scores production's real days beside the champion, and nothing of it is delivered.

What belongs here: beginning a shadow, which days it still needs, comparing a day, and concluding with a report that is
evidence. What does not: how scores differ (`disagreement`), plots, and when days are compared (`production`).

The candidate was accepted by the gates before. It reads the day as the scoring does, scores it in this process, and is
held against what consumers were given. Both columns of scores are dropped then: what is kept is an aggregate a day,
below `registry/shadows/<release>`, in which no row stands and no group of few. The ledger says when a shadow began and
what its report says, by hash.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import NoShadowError, ShadowRefusedError
from ds_pipelines.evidence import Disagreement
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.disagreement import disagreement
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import code_of
from ds_pipelines.scoring import model as models
from ds_pipelines.scoring import receipt as receipts
from ds_pipelines.scoring.score import score_day
from ds_pipelines.scoring.served import SCORE, served

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from ds_pipelines.release.ledger import Entry
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

BEGUN, CONCLUDED = "begun", "concluded"
ENDS = ("deployed", "rejected", "rolled back", "retired")
"""After these, a release is no candidate any more."""
WATCH = "production"
"""Who concludes a shadow: nobody did it by hand."""
REPORT, PLOT = "report.json", "report.png"


@dataclass(frozen=True)
class Shadow:
    """A candidate beside the champion."""

    manifest: ReleaseManifest
    since: date
    """The first day that counts."""
    days: int
    """How many it shall score."""
    folder: Path
    """Where its comparisons lie."""

    @property
    def compared(self) -> list[Disagreement]:
        """The days that are done, the oldest first."""
        files = sorted(path for path in self.folder.glob("*.json") if path.name != REPORT)
        return [Disagreement.model_validate_json(path.read_bytes()) for path in files]


def begin(name: str, job: ScoringJob, settings: Settings, *, days: int, actor: str, since: date | None = None) -> Entry:
    """Lets a candidate score beside the champion for some days, from the newest delivered day on.

    Args:
        name: The manifest, or the job for its newest.
        job: Whose candidate it is.
        settings: Name manifests, ledger and receipts.
        days: How many days.
        actor: Who wants it.
        since: The first day that counts; None: the newest that is delivered.

    Raises:
        ShadowRefusedError: it is no candidate that the gates accepted, or nothing is delivered to compare it with.
        ManifestError, NothingProposedError, DatabaseUnreachableError.
    """
    manifest = manifests.load(manifests.find(name, settings.releases))
    if manifest.model is None or job.entity is None:
        raise ShadowRefusedError(job.name, "a release with a model; a computation is compared by its independent one")
    ledger = Ledger(settings)
    actions = [entry.action for entry in ledger.entries(job.name, manifest.digest)]
    judged = [action for action in actions if action in {"accepted", "refused"}]
    if not judged or judged[-1] != "accepted":
        raise ShadowRefusedError(job.name, "a candidate that acceptance let through (`ds-pipelines release accept`)")
    if actions[-1] in ENDS:
        raise ShadowRefusedError(job.name, f"a candidate, and {manifest.digest[:12]} was {actions[-1]}")
    delivered = receipts.delivered(job, settings)
    if not delivered:
        raise ShadowRefusedError(job.name, "a day that is delivered, by the champion beside which it scores")
    first = since or max(delivered)
    evidence = {"state": BEGUN, "days": days, "since": str(first)}
    return ledger.append("shadowed", job=job.name, release=manifest.digest, actor=actor, evidence=evidence)


def going_on(job: ScoringJob, settings: Settings) -> Shadow | None:
    """The job's shadow that was begun last, unless it is concluded or its release is no candidate any more."""
    begun: Entry | None = None
    for entry in Ledger(settings).entries(job.name):
        if entry.action == "shadowed" and entry.evidence["state"] == BEGUN:
            begun = entry
        elif begun is not None and entry.release == begun.release and (entry.action in {*ENDS, "shadowed"}):
            begun = None
    return None if begun is None else _shadow(begun, settings)


def wanted(job: ScoringJob, settings: Settings) -> list[date]:
    """The delivered days that a shadow has still to score, oldest first; none if there is no shadow."""
    shadow = going_on(job, settings)
    if shadow is None:
        return []
    done = {each.day for each in shadow.compared}
    ready = [
        day
        for day, receipt in receipts.delivered(job, settings).items()
        if day >= shadow.since and day not in done and receipt.release != shadow.manifest.digest
    ]
    return ready[: max(shadow.days - len(done), 0)]


def compare(job: ScoringJob, day: date, settings: Settings) -> Disagreement:
    """Scores a day with the candidate, and keeps how it differs from what was delivered; concludes after the last.

    Raises:
        NoShadowError: no candidate scores beside the champion, or the day is not delivered.
        ShadowRefusedError: production does not run the candidate's code.
        UnsafeModelError: the model's file is not what was offered, or must not be loaded; nothing was loaded.
        The errors of `score_day`.
    """
    shadow, receipt = going_on(job, settings), receipts.find(job, day, settings)
    if shadow is None or receipt is None:
        raise NoShadowError(job.name, day)
    card = shadow.manifest.model
    if card is None or shadow.manifest.code.sha256 != code_of(job).sha256:
        raise ShadowRefusedError(job.name, f"production to run {shadow.manifest.code.file} as the candidate offers it")
    began = time.monotonic()
    model = models.load(card, settings.registry_artifacts / "offered" / shadow.manifest.digest / "model")
    entity = job.entity or ""
    with score_day(job, day, settings, release=shadow.manifest.digest, model=model) as scored:
        features = pl.read_parquet(scored.features) if scored.features is not None else pl.DataFrame()
        candidate = scored.frame.select(entity, candidate=SCORE).join(features, on=entity, how="left")
        inputs = scored.inputs
    champion = served(job, day, [entity, SCORE], settings).rename({SCORE: "champion"})
    both = candidate.join(champion, on=entity, how="inner")
    found = Disagreement(
        job=job.name,
        day=day,
        champion=receipt.release,
        candidate=shadow.manifest.digest,
        only_champion=champion.height - both.height,
        only_candidate=candidate.height - both.height,
        same_inputs={each.table: each.rows for each in inputs} == {each.table: each.rows for each in receipt.inputs},
        seconds=time.monotonic() - began,
        **disagreement(both.select("champion", "candidate"), both.select(feature.name for feature in card.features)),
    )
    _keep(shadow.folder / f"{day}.json", found.model_dump_json(indent=1).encode())
    if len(shadow.compared) >= shadow.days:
        _conclude(job, shadow, settings)
    return found


def _shadow(begun: Entry, settings: Settings) -> Shadow:
    from datetime import date

    offered = map(manifests.load, settings.releases.glob(f"{begun.job}-*.yaml"))
    manifest = next((each for each in offered if each.digest == begun.release), None)
    if manifest is None:
        raise ShadowRefusedError(begun.job, f"the manifest of {begun.release[:12]} in {settings.releases}")
    folder = settings.registry_artifacts / "shadows" / begun.release
    return Shadow(manifest, date.fromisoformat(begun.evidence["since"]), int(begun.evidence["days"]), folder)


def _conclude(job: ScoringJob, shadow: Shadow, settings: Settings) -> None:
    from ds_pipelines.release.shadow_plot import plot

    compared = shadow.compared
    content = ("[" + ",\n".join(each.model_dump_json() for each in compared) + "]").encode()
    _keep(shadow.folder / REPORT, content)
    _keep(shadow.folder / PLOT, plot(compared))
    evidence = {
        "state": CONCLUDED,
        "report": hashlib.sha256(content).hexdigest(),
        "days": [str(each.day) for each in compared],
        "least_rank_agreement": min(each.rank_agreement for each in compared),
        "least_top_kept": min(each.top_kept for each in compared),
    }
    Ledger(settings).append("shadowed", job=job.name, release=shadow.manifest.digest, actor=WATCH, evidence=evidence)


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)
