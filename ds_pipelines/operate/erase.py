"""Erasure of a person: out of every extract, score, cache and artifact that this installation holds, and for good.

What belongs here: finding and removing whatever names an erased person, in every room, and saying what could not be
reached. What does not: the tombstones (`extract.tombstones`), and each room's own way to remove.

First the tombstones are written: from then on nothing brings the person in. Then everything that a tombstone marks is
removed, wherever it is found. So an erasure that was killed is finished by the next one, whoever it is for, and what a
backup brought back goes with `--known`. Erasure prevails over retention: what experiments and releases need goes, too,
and is answered for by a ledger. Published snapshots are replaced day by day, each at once; the other rows keep their
values and their order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import EmptyIdentifierError, UnfinishedRotationError, listing
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, tombstones, unfinished
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.operate import erased_snapshots
from ds_pipelines.release.manifest import PREDICTIONS
from ds_pipelines.release.registry import evidence_ledger
from ds_pipelines.scoring.forget import Forgotten, forget
from ds_pipelines.snapshots import traces
from ds_pipelines.snapshots.locks import alone
from ds_pipelines.snapshots.records import readers
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.extract.tombstones import Tombstones
    from ds_pipelines.operate.erased_snapshots import ErasedSnapshots
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

REASON = "a person in it was erased"
NOTE = "erased.json"
"""Beside a run's evidence: which of its artifacts were changed, and by how many rows or lines."""

UNREACHED = (
    "backups of this installation and of production; after restoring one, keep the folder {erased} and the file "
    "{key}, and run `ds-pipelines erase --known --do-it`",
    "the production database itself, and what other systems copied from the serving tables",
    "files that people exported, caches and notebooks on other machines, pictures and models of past runs",
    "Dagster's and MLflow's databases, which hold names, figures and events but no rows",
    "a scoring that is running now: if one was, erase again when it has ended",
)


@dataclass(frozen=True)
class Erasure:
    """What an erasure found, and removed if it was carried out."""

    snapshots: ErasedSnapshots
    scores: tuple[Forgotten, ...]
    files: tuple[traces.Trace, ...]
    """Artifacts of runs, cached files and logs."""
    evidence: tuple[Path, ...]
    """Held-out predictions of releases."""
    retrain: tuple[str, ...]
    """Releases and runs that were made from snapshots with erased persons."""
    unreached: tuple[str, ...]
    done: bool


def erase(customer: str | None, settings: Settings, jobs: Iterable[ScoringJob], *, do_it: bool) -> Erasure:
    """Erases a person, or again all who were erased before.

    Args:
        customer: The identifier in production; None: nobody new.
        settings: Name everything that is searched.
        jobs: Whose serving tables are searched.
        do_it: Whether to remove what is found; otherwise nothing at all is changed.

    Raises:
        EmptyIdentifierError: the identifier is empty.
        UnfinishedRotationError: a change of keys was interrupted.
        MissingSecretError: a secret is missing by which the person would be recognised.
        DatabaseUnreachableError: the serving database does not answer; extracts and files are done then.
        PolicyError, DamagedManifestError, DamagedRecordError, DiskFullError.
    """
    if customer is not None and not (customer := customer.strip()):
        raise EmptyIdentifierError
    policy = policies.load(settings.policies / policies.SHOP)
    with alone(settings):
        if settings.next_pseudonym_key.exists():
            raise UnfinishedRotationError
        stones = tombstones.load(settings, make=do_it).keyed()
        if customer is not None:
            stones = _marked(customer, stones, policy, settings)
        if do_it:
            stones.save(settings)
            unfinished.discard_all(settings)
        fates = _Fates(stones)
        store = SnapshotStore(settings.snapshots)
        snapshots = erased_snapshots.remove(store, stones, fates, policy, reason=REASON, do_it=do_it)
        evidence = tuple(_evidence(settings, fates, do_it=do_it))
        files = (*_cached(settings, snapshots.digests, fates, do_it=do_it), *_artifacts(settings, fates, do_it=do_it))
        gone = snapshots.digests | {name for name, why in store.withdrawn.entries().items() if why == REASON}
        retrain = tuple(reader.words for reader in readers(settings) if reader.digests & gone)
    scores = tuple(_scores(jobs, stones, policy, settings, do_it=do_it))
    unreached = tuple(each.format(erased=settings.erased, key=settings.tombstone_key) for each in UNREACHED)
    if store.tables() and (foreign := erased_snapshots.under_other_keys(store, pseudonyms.load(settings).key_id)):
        words = f"days of {listing(foreign)} whose pseudonyms another secret made; extract them again"
        unreached = (*unreached, words)
    if settings.tracking_address is not None:
        unreached = (*unreached, "artifacts that the MLflow server of DS_TRACKING_ADDRESS keeps on another machine")
    return Erasure(snapshots, scores, files, evidence, retrain, unreached, do_it)


@dataclass(frozen=True)
class _Fates:
    """Words that a tombstone marks go; all others stay."""

    stones: Tombstones

    def __call__(self, words: pl.Series, *, identifiers: bool) -> pl.Series:  # noqa: ARG002 — marks are enough
        gone = self.stones.has("person", words) | self.stones.has("record", words)
        return pl.select(pl.when(~gone).then(words)).to_series()


def _marked(customer: str, stones: Tombstones, policy: Policy, settings: Settings) -> Tombstones:
    """Tombstones with this person's: the identifier, the pseudonym, and those of the records."""
    stones = stones.adding("identifier", [customer])
    if not settings.pseudonym_key.exists() and not SnapshotStore(settings.snapshots).tables():
        return stones  # nothing was ever published under a pseudonym
    [person] = pseudonyms.load(settings).of(pl.Series([customer]), tombstones.PERSON)
    records = erased_snapshots.records_of(person, SnapshotStore(settings.snapshots), policy)
    return stones.adding("person", [person]).adding("record", records)


def _evidence(settings: Settings, fates: traces.Fates, *, do_it: bool) -> Iterator[Path]:
    """Held-out predictions are removed whole: changed ones would not be what was released."""
    for path in sorted(settings.registry_artifacts.glob(f"*/*/{PREDICTIONS}")):
        if traces.follow(path, fates, do_it=False) is None:
            continue
        if do_it:
            release = path.parent.parent.name
            evidence_ledger(settings).add({f"{release}/{PREDICTIONS}": REASON})
            path.unlink()
        yield path


def _cached(settings: Settings, digests: frozenset[str], fates: traces.Fates, *, do_it: bool) -> Iterator[traces.Trace]:
    """The lab's cache loses files of erased snapshots, unfinished downloads, and listings that name either."""
    stale = False
    for path in sorted(settings.cache.rglob("*")):
        if path.suffix == ".part" and path.is_file():
            found: traces.Trace | None = traces.Trace(path, 0)
        elif path.suffix == ".parquet":
            found = traces.follow(path, fates, do_it=False)
            if found is None and path.stem in digests:
                found = traces.Trace(path, 0)
        else:
            continue
        if found is not None:
            stale = True
            if do_it:
                path.unlink()
            yield found
    for path in settings.cache.glob("listings/*/*.json") if stale and do_it else ():
        path.unlink()


def _artifacts(settings: Settings, fates: traces.Fates, *, do_it: bool) -> Iterator[traces.Trace]:
    """Tables and texts of runs, and logs, lose the rows and lines; a run's evidence says so."""
    for folder in (settings.artifacts, settings.spool, settings.home / "logs", settings.home / "home"):
        for path in traces.find(folder):
            found = traces.follow(path, fates, do_it=do_it)
            if found is None:
                continue
            root = next((above for above in path.parents if (above / "evidence").is_dir()), None)
            if do_it and root is not None and folder in {settings.artifacts, settings.spool}:
                _note(root / "evidence" / NOTE, path.relative_to(root).as_posix(), found.removed)
            yield found


def _note(path: Path, file: str, removed: int) -> None:
    notes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    at = datetime.now(UTC).isoformat(timespec="seconds")
    notes.append({"at": at, "file": file, "removed": removed, "because": REASON})
    path.write_text(json.dumps(notes, indent=1), encoding="utf-8")


def _scores(
    jobs: Iterable[ScoringJob], stones: Tombstones, policy: Policy, settings: Settings, *, do_it: bool
) -> Iterator[Forgotten]:
    """The serving tables name persons by the columns that the policy replaces by a person's pseudonym."""
    names = {
        name
        for table in policy.tables.values()
        for name, column in table.columns.items()
        if isinstance(column.treatment, Pseudonym) and column.treatment.domain == tombstones.PERSON
    }
    for job in jobs:
        for column in job.columns:
            if column.name in names:
                yield from forget(job, column.name, partial(stones.has, "identifier"), settings, do_it=do_it)


def told(erasure: Erasure) -> Iterator[str]:
    """The erasure in lines for a terminal; names nobody."""
    verb = "erased" if erasure.done else "would erase"
    days = erasure.snapshots.days
    for table in sorted({manifest.table for manifest, _ in days}):
        rows = [gone for manifest, gone in days if manifest.table == table]
        yield f"{verb} {sum(rows):,} rows of {len(rows):,} snapshots of {table}"
    if erasure.snapshots.unnamed:
        yield f"{verb} {len(erasure.snapshots.unnamed):,} snapshots that no manifest names any more"
    for job in sorted({each.job for each in erasure.scores}):
        rows = [each.rows for each in erasure.scores if each.job == job]
        yield f"{verb} {sum(rows):,} delivered rows of {job} on {len(rows):,} days; the receipts tell what is left"
    for trace in erasure.files:
        yield f"{verb} {trace.removed:,} rows or lines in {trace.path}"
    for path in erasure.evidence:
        yield f"{verb} {path}; the release stays in use, and cannot be taken over anew"
    if not (days or erasure.snapshots.unnamed or erasure.scores or erasure.files or erasure.evidence):
        yield "nothing is held of whom the tombstones name"
    for words in erasure.retrain:
        yield f"made from what is erased, so train anew: {words}"
    for words in erasure.unreached:
        yield f"not reached: {words}"
    if not erasure.done:
        yield "This was a dry run: nothing was changed. Repeat it with --do-it."
