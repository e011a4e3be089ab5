"""Tombstones: who was erased, remembered so that nobody can read it, and nobody comes back.

What belongs here: the keyed marks of erased identifiers, their file, and leaving marked rows out of what is read. What
does not: erasing (`operate.erase`).

A mark is BLAKE3(key ‖ what it marks), 256 bits in hex, by a secret of its own in `secrets/tombstone.key`: a change of
the pseudonyms' secret leaves it as it is. For each person the identifier is marked (whom production must not bring
back), the pseudonym of that time (whom a restored snapshot must not), and the pseudonyms of the person's records, as of
their orders (rows that name no person themselves, as in a table that knows the order alone).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import polars as pl
import polars_hash as plh

from ds_pipelines.errors import MissingSecretError
from ds_pipelines.extract.pseudonyms import SECRET_BYTES, load_key, new_secret
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.snapshots.ledger import append

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.settings import Settings

Kind: TypeAlias = Literal["identifier", "person", "record"]

PERSON = "customer"
"""The identity domain of the persons that can be erased."""
FILE = "tombstones"


@dataclass(frozen=True)
class Tombstones:
    """The marks, by what they mark; shows neither them nor the secret, however it is printed."""

    _key: pl.Series | None = field(repr=False)
    _marks: Mapping[Kind, frozenset[str]] = field(repr=False)

    def __bool__(self) -> bool:
        """Whether anybody was erased."""
        return any(self._marks.values())

    @property
    def digest(self) -> str:
        """Tells these from others."""
        return hashlib.sha256(
            repr(sorted((kind, sorted(marks)) for kind, marks in self._marks.items())).encode()
        ).hexdigest()

    def has(self, kind: Kind, values: pl.Series) -> pl.Series:
        """Which values are marked, shape (n,); null is not."""
        marks = self._marks[kind]
        if not marks or self._key is None:
            return pl.repeat(value=False, n=len(values), dtype=pl.Boolean, eager=True)
        distinct = values.cast(pl.String).unique().drop_nulls()
        known = distinct.filter(self._marked(distinct).is_in(list(marks)))
        return values.cast(pl.String).is_in(known.implode()).fill_null(value=False)

    def adding(self, kind: Kind, values: Iterable[str]) -> Tombstones:
        """These, and marks of more; on no disk yet."""
        new = self._marked(pl.Series(sorted(set(values)), dtype=pl.String)).to_list()
        return Tombstones(self._key, {**self._marks, kind: self._marks[kind] | frozenset(new)})

    def _marked(self, values: pl.Series) -> pl.Series:
        if self._key is None:
            raise ValueError("tombstones without a key mark nothing")
        return pl.select(plh.concat_str([pl.lit(self._key), pl.lit(values)]).chash.blake3()).to_series()

    def keyed(self) -> Tombstones:
        """These, able to mark for as long as this process lives, if they have no secret yet."""
        return self if self._key is not None else Tombstones(_key(secrets.token_bytes(SECRET_BYTES)), self._marks)

    def save(self, settings: Settings) -> None:
        """Appends what the file does not have yet, and waits until it is on the disk."""
        known = _read(settings)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        lines = [
            json.dumps({"at": now, "kind": kind, "mark": mark}) + "\n"
            for kind, marks in self._marks.items()
            for mark in sorted(marks - known[kind])
        ]
        if lines:
            append(settings.erased / FILE, lines)

    def without_erased(
        self, frame: pl.DataFrame, table: TablePolicy, pseudonyms: Pseudonyms | None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows of production that may be used, and those of erased persons; both in their order.

        Args:
            frame: Rows as production has them, with real identifiers.
            table: The decisions about them: which columns identify what.
            pseudonyms: By which records are recognised in tables that do not name the person; None: they are not.
        """
        if not self:
            return frame, frame.clear()
        domains = {
            name: column.treatment.domain
            for name, column in table.visible.items()
            if isinstance(column.treatment, Pseudonym)
        }
        person = [self.has("identifier", frame[name]) for name, domain in domains.items() if domain == PERSON]
        records = {
            name: self.has("record", pseudonyms.of(frame[name], domain))
            for name, domain in domains.items()
            if domain != PERSON and pseudonyms is not None
        }
        kept, gone = split(frame, person=person, records=records, domains=domains, key=table.key)
        return kept, gone


def split(
    frame: pl.DataFrame,
    *,
    person: Iterable[pl.Series],
    records: Mapping[str, pl.Series],
    domains: Mapping[str, str],
    key: tuple[str, ...],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that stay, and those that go.

    A row goes that names an erased person; and one that names an erased person's record, unless it is another person's:
    that one stays, and no longer names the record.

    Args:
        frame: A table.
        person: For each column of persons, which rows name an erased one.
        records: For other columns with identifiers by name, which rows name a record of an erased person.
        domains: The identity domain of each column with identifiers.
        key: The columns that identify a row: it cannot stay without them.
    """
    gone = pl.repeat(value=False, n=frame.height, dtype=pl.Boolean, eager=True)
    for hit in person:
        gone = gone | hit
    others = gone.clone()
    for name, domain in domains.items():
        if domain == PERSON:
            others = others | frame[name].is_not_null()
    kept = frame
    for name, hit in records.items():
        if not hit.any():
            continue
        gone = gone | (hit if name in key else hit & ~others)
        kept = kept.with_columns(pl.when(pl.lit(hit)).then(None).otherwise(pl.col(name)).alias(name))
    return kept.filter(~gone), frame.filter(gone)


def load(settings: Settings, *, make: bool = False) -> Tombstones:
    """The tombstones of this installation.

    Args:
        settings: Name their file and their secret.
        make: Whether to make the secret if nobody was erased yet.

    Raises:
        MissingSecretError: the secret is not usable although there are tombstones: nothing may be extracted or scored,
            because who was erased could not be told.
    """
    marks = _read(settings)
    path = settings.tombstone_key
    if not path.exists() and not any(marks.values()):
        if not make:
            return Tombstones(None, marks)
        new_secret(path)
    try:
        secret = load_key(path)
    except MissingSecretError:
        raise MissingSecretError(
            path,
            "it cannot be used, and without it nobody can tell who was erased",
            f"Restore it from a backup, with mode 600. Its tombstones are in {settings.erased}.",
        ) from None
    return Tombstones(_key(secret), marks)


def _key(secret: bytes) -> pl.Series:
    """The key as the value of a series, never as a literal: expressions print themselves in plans and errors."""
    return pl.Series("key", [hashlib.blake2b(key=secret, person=b"ds tombstone", digest_size=32).hexdigest()])


def _read(settings: Settings) -> dict[Kind, frozenset[str]]:
    found: dict[Kind, set[str]] = {"identifier": set(), "person": set(), "record": set()}
    try:
        lines = (settings.erased / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        with suppress(ValueError, KeyError):  # a line that a crash cut off; what it marked is marked again
            entry = json.loads(line)
            found[entry["kind"]].add(entry["mark"])
    return {kind: frozenset(marks) for kind, marks in found.items()}
