"""Going back: an earlier champion is in use again, with its model, features and settings and, if asked, its scores.

What belongs here: which release a job goes back to, and in which order what is done. What does not: bringing back rows
that were delivered (`scoring.restore`), and scoring (`scoring`).

The ledger's entry comes first and the alias second, as in a deployment; then the scores, for every day that consumers
see with a release that was undone. What the earlier release delivered then is made visible again; days that it never
delivered are scored with it now. An interrupted rollback is finished by asking for the same again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.errors import NothingToRollBackError
from ds_pipelines.release import registry
from ds_pipelines.release.ledger import IN_USE, Ledger, champion_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from ds_pipelines.release.identity import Identity
    from ds_pipelines.release.ledger import Entry
    from ds_pipelines.release.registry import Champion
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did."""

    champion: Champion
    undone: tuple[str, ...]
    """Digests of the releases that were in use since, the newest last."""
    restored: tuple[date, ...] = ()
    """Days that show again what the champion had delivered."""
    scored: tuple[date, ...] = ()
    """Days that the champion was to score first."""


def rollback(
    job: ScoringJob, who: Identity, settings: Settings, *, because: str, to: str | None = None, scores: bool = False
) -> RolledBack:
    """Puts an earlier champion in use again.

    Args:
        job: Production's job.
        who: Whose token allows it.
        settings: Name the registry, the ledger, the serving database.
        because: Why.
        to: Digest of the release, or its beginning; by default the champion before.
        scores: Whether the days that consumers see with a release that is undone are to show this one's scores.

    Raises:
        NothingToRollBackError: there is no such earlier champion, or it was rejected since.
        ReleaseRefusedError: its files are not what was deployed; nothing was changed.
        LedgerBrokenError: the ledger was changed.
        The errors of scoring and delivering: the release is in use by then; asking again finishes the scores.
    """
    ledger = Ledger(settings)
    entries = [each for each in ledger.verify() if each.job == job.name]
    line, used = _line(entries), champion_of(entries)
    target = _target(job.name, line, used, to, entries)
    manifest, folder = registry.kept(target, job, settings)
    again = used is not None and used.release == target
    undone = _undone_before(used) if again else _above(line, target)
    if not again:
        evidence = {"from": list(undone), "scores": scores, "token": who.token}
        ledger.append("rolled back", job=job.name, release=target, actor=who.user, because=because, evidence=evidence)
    champion = registry.put_in_use(manifest, job, folder, settings)
    if not scores:
        return RolledBack(champion, undone)
    restored, scored = _scores(champion, undone, settings)
    return RolledBack(champion, undone, restored, scored)


def _line(entries: Sequence[Entry]) -> list[str]:
    """The champions that lead to the one in use, the newest last; what was undone is not among them."""
    line: list[str] = []
    for entry in entries:
        if entry.action == "rolled back" and entry.release in line:
            del line[line.index(entry.release) + 1 :]
        elif entry.action in IN_USE:
            line.append(entry.release)
    return line


def _target(job: str, line: list[str], used: Entry | None, to: str | None, entries: Sequence[Entry]) -> str:
    """The digest to go back to.

    Raises:
        NothingToRollBackError: there is none.
    """
    earlier = line[:-1] if used is not None else line
    if to is None:
        if not earlier:
            raise NothingToRollBackError(job, "an earlier champion")
        found = {earlier[-1]}
    else:
        found = {each.release for each in entries if each.action in IN_USE and each.release.startswith(to)}
    if len(found) != 1:
        raise NothingToRollBackError(job, f"the digest of one release that was in use, not {to}")
    [target] = found
    decided = [each.action for each in entries if each.release == target and each.action in {*IN_USE, "rejected"}]
    if decided[-1] == "rejected":
        raise NothingToRollBackError(job, "a release that nobody rejected since")
    return target


def _above(line: list[str], target: str) -> tuple[str, ...]:
    """The champions that came after; of one that itself was undone before, all of those in use."""
    return tuple(line[line.index(target) + 1 :] if target in line else line)


def _undone_before(used: Entry | None) -> tuple[str, ...]:
    """What the rollback undid that put this release in use, which is being finished."""
    return tuple(used.evidence.get("from", ())) if used is not None else ()


def _scores(champion: Champion, undone: Sequence[str], settings: Settings) -> tuple[tuple[date, ...], tuple[date, ...]]:
    """Lets every day that shows a release which was undone show the champion's scores: days restored, days scored."""
    from ds_pipelines.scoring import receipt, restore

    job = champion.job
    shown = receipt.delivered(job, settings)
    affected = sorted(day for day, each in shown.items() if each.release in undone)
    kept = restore.restorable(job, affected, to_release=champion.digest, settings=settings)
    restored = restore.restore(job, kept, to_release=champion.digest, settings=settings) if kept else []
    missing = [day for day in affected if day not in kept]
    for day in missing:
        _score_again(champion, day, settings)
    return tuple(each.day for each in restored), tuple(missing)


def _score_again(champion: Champion, day: date, settings: Settings) -> None:
    from ds_pipelines.scoring.deliver import begin, deliver
    from ds_pipelines.scoring.score import score_day
    from ds_pipelines.scoring.sources import noted, sources

    job, began = champion.job, begin(settings)
    source = sources(job, [day], settings)[day]
    with score_day(job, day, settings, release=champion.digest, model=champion.model()) as scored:
        deliver(
            scored.batches(),
            job,
            day,
            release=champion.digest,
            inputs=noted(scored.inputs, source),
            settings=settings,
            began=began,
        )
