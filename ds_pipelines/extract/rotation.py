"""A change of keys: every pseudonym that is published is replaced by one of a new secret, and the old secret destroyed.

What belongs here: the order of the steps, and what each does to the extracts. What does not: making pseudonyms
(`pseudonyms`), and erasing persons (`operate.erase`).

Pseudonyms cannot be turned back, so the identifiers that production still holds are read, and their old pseudonym leads
to the new one. Rows with an identifier that production no longer holds are dropped and counted.

    1  the new secret is written beside the old one
    2  every published day is written anew, into a folder of manifests that nobody reads
    3  one rename makes that folder the published one: all tables at once
    4  artifacts of runs get the new pseudonyms; released predictions, the cache and the old snapshots are removed
    5  the old secret is overwritten, and the new one takes its name

Killed before the third step, the old extracts are published as before, and the next call begins anew with the same new
secret; killed after it, the new ones are, extracts go on with the new secret, and the next call does the rest. Nobody
extracts, erases or prunes meanwhile.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import ForeignPseudonymsError
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import source, tombstones, unfinished
from ds_pipelines.extract.order import columns_of_order
from ds_pipelines.extract.pseudonyms import CHARACTERS, SECRET_BYTES, Pseudonyms, load_key, new_secret
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.snapshots import traces
from ds_pipelines.snapshots.ledger import Ledger
from ds_pipelines.snapshots.locks import alone
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ds_pipelines.evidence import SnapshotManifest
    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.settings import Settings
    from ds_pipelines.snapshots.parquet import Written
    from ds_pipelines.snapshots.store import Stage

REASON = "its pseudonyms were made with a secret that was replaced"
ROWS_AT_ONCE = 1_000_000
_PSEUDONYM = re.compile(r"pseudonym\((\w+)")
_ROW = "\x00day"
"""No column of PostgreSQL's can have this name."""


@dataclass
class Rotation:
    """What a change of keys did, or would do."""

    old_key: str
    new_key: str | None
    """Id of the new secret; None in a dry run."""
    snapshots: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Rows that have new pseudonyms, by table."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows with an identifier that production no longer holds, by table."""
    files: list[Path] = field(default_factory=list)
    """Artifacts with new pseudonyms, and removed files of the cache and of releases."""


@dataclass(frozen=True)
class _Mapping:
    """From old pseudonyms to new ones, of what production holds."""

    domains: Mapping[str, pl.DataFrame]
    """A frame of `old` and `new` each."""

    def rekeyed(self, frame: pl.DataFrame, domains: Mapping[str, str]) -> pl.DataFrame:
        """The rows whose every identifier is known, under new pseudonyms; the rest is missing."""
        for name, domain in domains.items():
            known = self.domains.get(domain, pl.DataFrame(schema={"old": pl.String, "new": pl.String}))
            frame = (
                frame.join(known, left_on=name, right_on="old", how="left", maintain_order="left")
                .filter(pl.col("new").is_not_null() | pl.col(name).is_null())
                .with_columns(pl.col("new").alias(name))
                .drop("new")
            )
        return frame

    def fates(self, lost: set[str]) -> traces.Fates:
        """For files beside the store; `lost` are pseudonyms of which production no longer has the identifier."""
        known = pl.concat([*self.domains.values(), pl.DataFrame(schema={"old": pl.String, "new": pl.String})])
        return _Fates(known, frozenset(lost))


@dataclass(frozen=True)
class _Fates:
    known: pl.DataFrame
    lost: frozenset[str]

    def __call__(self, words: pl.Series, *, identifiers: bool) -> pl.Series:
        """The new pseudonym; null where there is none, in a column that holds pseudonyms alone for any unknown word."""
        asked = pl.DataFrame({"old": words}).join(self.known, on="old", how="left", maintain_order="left")
        lost = words.is_in(list(self.lost))
        old = lost | asked["new"].is_not_null()
        gone = ~old if identifiers and old.any() else lost
        return asked.select(pl.when(pl.lit(~(lost | gone))).then(pl.coalesce("new", "old"))).to_series()


def rotate(settings: Settings, *, do_it: bool) -> Rotation:
    """Replaces the secret of the pseudonyms, and with it every pseudonym that is published.

    Args:
        settings: Name the secret, the store, the policy and production.
        do_it: Whether to do it; otherwise it is only counted, and nothing is changed.

    Raises:
        MissingSecretError: there is no usable secret to replace.
        ForeignPseudonymsError: an extract has pseudonyms of another secret than the present one.
        PolicyError, DamagedManifestError, DiskFullError, and the errors of `source`: the next call goes on.
    """
    with alone(settings):
        old = Pseudonyms(load_key(settings.pseudonym_key))
        policy = policies.load(settings.policies / policies.SHOP)
        store = SnapshotStore(settings.snapshots)
        manifests = [each for table in store.tables() for each in store.manifests(table)]
        switched = _is_switched(store, settings)
        for manifest in manifests if not switched else ():
            if domains_of(manifest) and manifest.key_id != old.key_id:
                raise ForeignPseudonymsError(manifest.table, manifest.day)
        identifiers = _identifiers(policy, settings)
        if not do_it:
            new = Pseudonyms(secrets.token_bytes(SECRET_BYTES))
            rotation, mapping = Rotation(old.key_id, None), _mapping(identifiers, old, new)
            for group in _groups(manifests if not switched else ()):
                _count(group, _together(store, group, mapping), rotation)
            return rotation
        unfinished.discard_all(settings)
        if not settings.next_pseudonym_key.exists():
            new_secret(settings.next_pseudonym_key)
        new = Pseudonyms(load_key(settings.next_pseudonym_key))
        rotation = Rotation(old.key_id, new.key_id)
        mapping = _mapping(identifiers, old, new)
        _carry_tombstones(mapping, settings)
        if not switched:
            rekeyed = SnapshotStore(store.root, generation=new.generation)
            shutil.rmtree(store.root / new.generation, ignore_errors=True)
            with rekeyed.stage() as stage:
                for group in _groups(manifests):
                    frame = _together(store, group, mapping)
                    _count(group, frame, rotation)
                    stage.publish(_written(stage, group, frame, policy, new))
            store.switch(new.generation)
        _finish(store, mapping, new, settings, rotation)
    return rotation


def _is_switched(store: SnapshotStore, settings: Settings) -> bool:
    """Whether an interrupted call came as far as to publish the new pseudonyms."""
    path = settings.next_pseudonym_key
    return path.exists() and store.generation == Pseudonyms(load_key(path)).generation


def domains_of(manifest: SnapshotManifest) -> dict[str, str]:
    """The identity domain of each column of pseudonyms, as the policy was when the extract was made."""
    matches = {column.name: _PSEUDONYM.match(column.treatment) for column in manifest.columns}
    return {name: match.group(1) for name, match in matches.items() if match}


def written_anew(stage: Stage, rows: pl.DataFrame, manifest: SnapshotManifest, policy: Policy) -> Written:
    """Writes rows in place of a published day's as an extract would: in the order of what is in them now."""
    decided, domains = policy.tables.get(manifest.table), domains_of(manifest)
    order = [name for name in (columns_of_order(decided) if decided else domains) if name in rows.columns]
    rows = rows.sort(order) if domains and order else rows
    return stage.write_batches(rows.schema, [rows], unlike=domains)


def _identifiers(policy: Policy, settings: Settings) -> dict[str, pl.Series]:
    """Reads every identifier that production holds, of each domain from all the columns that it stands in."""
    found: dict[str, list[pl.Series]] = {}
    with source.connect("extract", settings) as session:
        for name, table in policy.tables.items():
            domains = {
                column: decision.treatment.domain
                for column, decision in table.visible.items()
                if isinstance(decision.treatment, Pseudonym)
            }
            if not domains:
                continue
            readable = session.readable(policy, name)
            needed = [*domains, *([] if table.by_day is None else [table.by_day])]
            narrow = replace(readable, columns={column: readable.columns[column] for column in needed})
            for batch in session.batches(narrow):
                for column, domain in domains.items():
                    found.setdefault(domain, []).append(batch[column].drop_nulls().cast(pl.String).unique())
    return {domain: pl.concat(parts).unique() for domain, parts in found.items()}


def _mapping(identifiers: Mapping[str, pl.Series], old: Pseudonyms, new: Pseudonyms) -> _Mapping:
    return _Mapping(
        {
            domain: pl.DataFrame({"old": old.of(values, domain), "new": new.of(values, domain)})
            for domain, values in identifiers.items()
        }
    )


def _carry_tombstones(mapping: _Mapping, settings: Settings) -> None:
    """Marks the new pseudonyms of whom and what was erased under the old ones."""
    stones = tombstones.load(settings)
    if not stones:
        return
    for frame in mapping.domains.values():
        for kind in ("person", "record"):
            stones = stones.adding(kind, frame.filter(stones.has(kind, frame["old"]))["new"])
    stones.save(settings)


def _groups(manifests: Sequence[SnapshotManifest]) -> Iterator[list[SnapshotManifest]]:
    """Days of a table that have the same columns, as many as fit in memory: the mapping is applied once to each."""
    for _, alike in groupby(manifests, key=lambda each: (each.table, each.columns)):
        group: list[SnapshotManifest] = []
        for manifest in alike:
            if group and sum(each.rows for each in group) + manifest.rows > ROWS_AT_ONCE:
                yield group
                group = []
            group.append(manifest)
        yield group


def _together(store: SnapshotStore, group: Sequence[SnapshotManifest], mapping: _Mapping) -> pl.DataFrame:
    """The rows of some days under new pseudonyms, each with the number of its day in the group."""
    frames = [
        pl.read_parquet(store.path(manifest.digest), glob=False, hive_partitioning=False).with_columns(
            pl.lit(number, pl.UInt32).alias(_ROW)
        )
        for number, manifest in enumerate(group)
    ]
    return mapping.rekeyed(pl.concat(frames), domains_of(group[0]))


def _count(group: Sequence[SnapshotManifest], frame: pl.DataFrame, rotation: Rotation) -> None:
    table, before = group[0].table, sum(manifest.rows for manifest in group)
    rotation.snapshots += len(group)
    rotation.rows[table] = rotation.rows.get(table, 0) + frame.height
    rotation.dropped[table] = rotation.dropped.get(table, 0) + before - frame.height


def _written(
    stage: Stage, group: Sequence[SnapshotManifest], frame: pl.DataFrame, policy: Policy, new: Pseudonyms
) -> list[SnapshotManifest]:
    """Writes each day in the order of an extract, which tells nothing about the order under the old pseudonyms."""
    days = frame.partition_by(_ROW, as_dict=True, include_key=False)
    empty = frame.drop(_ROW).clear()
    manifests = []
    for number, manifest in enumerate(group):
        rows = days.get((number,), empty)
        written = written_anew(stage, rows, manifest, policy)
        changes = {
            "rows": written.rows,
            "bytes": written.bytes,
            "digest": written.digest,
            "logical_digest": written.logical_digest,
            "key_id": new.key_id,
            "published_at": datetime.now(UTC),
        }
        manifests.append(manifest.model_copy(update=changes))
    return manifests


def _finish(store: SnapshotStore, mapping: _Mapping, new: Pseudonyms, settings: Settings, rotation: Rotation) -> None:
    """Steps 4 and 5; each can be done again."""
    former = [path for path in store.root.glob("published*") if path.name != new.generation]
    fates = mapping.fates(_lost(store, former, mapping))
    evidence = Ledger(settings.registry_artifacts / "withdrawn")
    for path in sorted(settings.registry_artifacts.glob("*/*/evidence/predictions.parquet")):
        if traces.follow(path, fates, do_it=False) is not None:
            evidence.add({path.relative_to(path.parents[2]).as_posix(): REASON})
            path.unlink()
            rotation.files.append(path)
    for folder in (settings.artifacts, settings.spool, settings.home / "logs", settings.home / "home"):
        for path in traces.find(folder):
            if traces.follow(path, fates, do_it=True) is not None:
                rotation.files.append(path)
    for path in [each for each in settings.cache.rglob("*") if each.is_file()]:
        path.unlink()
        rotation.files.append(path)
    named = {manifest.digest for table in store.tables() for manifest in store.manifests(table)}
    store.withdraw(store.digests() - named, REASON)
    for folder in former:
        shutil.rmtree(folder)
    with settings.pseudonym_key.open("r+b") as file:  # what a disk keeps of it elsewhere is beyond reach
        file.write(b"0" * settings.pseudonym_key.stat().st_size)
        file.flush()
        os.fsync(file.fileno())
    settings.next_pseudonym_key.replace(settings.pseudonym_key)


def _lost(store: SnapshotStore, former: Sequence[Path], mapping: _Mapping) -> set[str]:
    """Pseudonyms in the former extracts of which production no longer has the identifier."""
    lost: set[str] = set()
    stored = store.digests()
    for folder in former:
        before = SnapshotStore(store.root, generation=folder.name)
        for manifest in (each for table in before.tables() for each in before.manifests(table)):
            domains = domains_of(manifest)
            if manifest.digest not in stored or not domains:
                continue
            frame = pl.read_parquet(store.path(manifest.digest), columns=list(domains), glob=False)
            for name, domain in domains.items():
                known = mapping.domains[domain]["old"] if domain in mapping.domains else pl.Series([], dtype=pl.String)
                words = frame[name].drop_nulls().unique()
                words = words.filter((words.str.len_bytes() == CHARACTERS) & ~words.is_in(known.implode()))
                lost |= set(words)
    return lost


def told(rotation: Rotation) -> Iterator[str]:
    """The change of keys in lines for a terminal."""
    done = rotation.new_key is not None
    verb = "re-keyed" if done else "would re-key"
    for table, rows in rotation.rows.items():
        dropped = rotation.dropped[table]
        yield f"{verb} {rows:,} rows of {table}" + (
            f"; {dropped:,} rows whose identifier production no longer holds are dropped" if dropped else ""
        )
    if not done:
        yield f"The present key is {rotation.old_key}. This was a dry run: repeat it with --do-it."
        return
    if rotation.files:
        yield f"{len(rotation.files):,} artifacts, cached files and released predictions were re-keyed or removed"
    yield f"Key {rotation.new_key} is in use, and the secret of {rotation.old_key} is destroyed here."
    yield "Backups of it, and files that people exported, keep the old pseudonyms: they were not reached."
    yield "What was made from the former extracts cannot be reproduced any more: run experiments again."
