"""The exact search for what identifies people, in every text that is about to be published.

What belongs here: what is sought, where, and finding it. What does not: what follows from a finding (`proofs`).

Sought are, in the texts of one extract:
- of every person: what the policy says that persons are `known_by`; of a table of persons that does not say it, the
  texts that the policy drops or publishes as pseudonyms;
- of every row of the extract: the real values of its pseudonym columns, in the texts of the same batch.

A name that is spread over some columns is sought whole, in either order; a name or an address that is a single word of
letters, as a first name or a town, is not, because anything may be called so; only in masked free text, the words of
the name of the row's own person are. A value of fewer than 4 characters, or a number of fewer than 5 digits, is too
common to point at anybody and is not sought; one of fewer than 8 counts only as a word of its own. Case does not count.
A value that more than 20 persons share identifies none of them and does not count.

Texts are the published text columns except pseudonyms, of which each is 32 hexadecimal digits by its making. Each
distinct text is looked at once. Only what shares its first, its middle and its last 4 characters with some text can be
in one: that filter, which loses nothing, leaves so little for Aho-Corasick that people are read in batches and never
held.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ds_pipelines.errors import SourceRefusedError
from ds_pipelines.extract.patterns import could_hold
from ds_pipelines.extract.treatments import Pseudonym

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ds_pipelines.extract.masking import Masker
    from ds_pipelines.extract.policy import Policy, TablePolicy
    from ds_pipelines.extract.source import Source

GRAM = 4
DIGITS = 5
WHOLE = 8
"""Shorter ones count only as a word of their own."""
LONG = 1_000
"""Characters from which a text is gone through by itself: one of a million would cost as many rounds through all. Of
what identifies, so many are sought."""
MOST_SHARED = 20
"""Persons that may share a value until it identifies nobody."""
HELD_CHARACTERS = 4_000_000
"""Of distinct texts; beyond these they are sought in, and forgotten."""
PATTERNED = 5_000
_PATTERNS_AT_ONCE = 50_000
_TEXTS_AT_ONCE = 2_000
_SLOT_BITS = 22
"""So many slots that runs of characters seldom share one, and few enough to be cleared at once."""
_OWN_NAMES = "\x00own names"
"""No column of PostgreSQL's can have this name."""
_MORE_THAN_A_WORD = r"[^\p{L}\p{M}]"
"""What is in everything but a single word of letters."""


class Search:
    """The search through one extract."""

    def __init__(self, policy: Policy, table: TablePolicy, masker: Masker | None = None) -> None:
        """`masker` is what masked the table's free text, if it has any."""
        self._policy = policy
        self._table = table
        self._masker = masker
        self.own_names_left = 0
        """Masked texts in which a name of the row's own person is left."""
        self._texts: dict[str, set[str]] = {}
        self._cleared: set[str] = set()
        self._characters = 0
        self.sought = 0
        """Values of people that were compared with the texts."""
        self.searched = 0
        """Distinct texts that were looked at."""
        self.unreadable: set[str] = set()
        """Tables whose identifying columns the extract's role may not read."""
        self.patterned: set[str] = set()
        """Some of the texts that could hold what a pattern finds."""
        self._guilty: dict[str, set[str]] = {}
        self._found_before: dict[str, int] = {}

    @property
    def found(self) -> dict[str, int]:
        """How many texts hold what identifies somebody, by column."""
        found = {name: len(texts) for name, texts in self._guilty.items()}
        return found | {name: max(count, found.get(name, 0)) for name, count in self._found_before.items()}

    @property
    def so_far(self) -> dict[str, int]:
        """What `go_on` takes, if this search is interrupted."""
        return self.found | ({_OWN_NAMES: self.own_names_left} if self.own_names_left else {})

    def go_on(self, found: Mapping[str, int]) -> None:
        """Takes over what an interrupted search had found."""
        self._found_before |= {name: count for name, count in found.items() if name != _OWN_NAMES}
        self.own_names_left = max(self.own_names_left, found.get(_OWN_NAMES, 0))

    def add(self, read: pl.DataFrame | None, rows: pl.DataFrame, source: Source | None) -> None:
        """Takes a batch as it was read, unless it was compared with that before, and as it is to be published.

        `source` is where people are looked up when there are many texts; None: later.
        """
        batch: dict[str, set[str]] = {}
        for name, column in self._table.visible.items():
            if rows.schema[name] != pl.String or isinstance(column.treatment, Pseudonym):
                continue
            texts = rows[name]
            if self._masker is not None and name in self._table.masked:
                texts = self._masker.without_labels(texts)
                if self._table.person is not None and read is not None:
                    self.own_names_left += self._masker.naming_their_own(texts, read[self._table.person])
            texts = texts.unique().drop_nulls()
            if len(self.patterned) < PATTERNED:
                self.patterned.update(texts.filter(could_hold(texts)).head(PATTERNED))
            distinct = {text.lower() for text in texts if len(text) >= GRAM}
            batch[name] = distinct
            if new := distinct - self._cleared:
                held = self._texts.setdefault(name, set())
                self._characters += sum(map(len, new - held))
                held |= new
        if read is not None:
            self._own(read, batch)
        if source is not None and self._characters > HELD_CHARACTERS:
            self.flush(source)

    def flush(self, source: Source) -> None:
        """Seeks everybody in the texts that were taken since the last time."""
        if not self._characters:
            return
        every = _every(self._texts)
        self.searched += every.len()
        found = self._shared_by_few(hits(every, self._identifiers(source)), source)
        self._count(self._texts, found)
        self._cleared = self._cleared | set(every) if every.len() < _PATTERNS_AT_ONCE else set()
        self._texts, self._characters = {}, 0

    def _count(self, texts: Mapping[str, set[str]], found: set[tuple[str, str]]) -> None:
        for name, held in texts.items():
            if guilty := held & {text for text, _ in found}:
                self._guilty.setdefault(name, set()).update(guilty)

    def _own(self, read: pl.DataFrame, batch: Mapping[str, set[str]]) -> None:
        """Seeks the real values of the batch's own pseudonym columns."""
        texts = _every(batch)
        if texts.is_empty():
            return
        for name, column in self._table.visible.items():
            if not isinstance(column.treatment, Pseudonym):
                continue
            values = read[name]
            if values.dtype.is_integer() and not texts.str.contains(rf"\d{{{DIGITS}}}").any():
                continue
            self._count(batch, hits(texts, [values]))

    def _identifiers(self, source: Source) -> Iterator[pl.Series]:
        """What everybody is known by, a batch of a column at a time."""
        for home, table in self._policy.tables.items():
            readable = source.identifying(self._policy, home) if table.of_persons else None
            if readable is None:
                continue
            try:
                for batch in source.batches(readable):
                    for values in identifying_values(batch, table):
                        self.sought += values.len() - values.null_count()
                        yield values
            except SourceRefusedError:
                self.unreadable.add(home)

    def _shared_by_few(self, found: set[tuple[str, str]], source: Source) -> set[tuple[str, str]]:
        if not found:
            return found
        values = pl.Series(sorted({value for _, value in found}), dtype=pl.String)
        holders = dict.fromkeys(values, 0)
        sought = self.sought
        for each in self._identifiers(source):
            lower = each.str.strip_chars().str.to_lowercase()
            for value, count in lower.filter(lower.is_in(values.implode())).value_counts().iter_rows():
                holders[value] += count
        self.sought = sought
        return {(text, value) for text, value in found if holders[value] <= MOST_SHARED}


def identifying_values(persons: pl.DataFrame, table: TablePolicy) -> Iterator[pl.Series]:
    """What is sought of some persons: single columns, and names that are spread over some, in either order."""
    known = table.known_by
    for column in persons:
        identifier = (
            column.name in (*known.emails, *known.phones, *known.identifiers)
            if known
            else isinstance(table.columns[column.name].treatment, Pseudonym)
        )
        yield (
            column if identifier or column.dtype != pl.String else column.filter(column.str.contains(_MORE_THAN_A_WORD))
        )
    for parts in known.names if known else ():
        if not isinstance(parts, str) and {*parts} <= {*persons.columns}:
            for order in (parts, parts[::-1]):
                yield persons.select(pl.concat_str(order, separator=" ", ignore_nulls=True).alias("name")).to_series()


def _every(texts: Mapping[str, set[str]]) -> pl.Series:
    return pl.Series("text", sorted(set().union(*texts.values())), dtype=pl.String)


@dataclass(frozen=True)
class Sought:
    """Values to seek, made ready: in lower case, each once, with the slots of some of their characters."""

    values: pl.Series
    slots: tuple[np.ndarray[Any, Any], ...]
    """Of the first, the middle and the last 4 characters of each."""

    @classmethod
    def of(cls, values: pl.Series) -> Sought:
        """Makes texts or integers ready; what is too short is left out."""
        ready = _telling(_ready(values).unique(maintain_order=True))
        return cls(ready, tuple(_slots(part(ready))[::GRAM] for part in _PARTS))


_PARTS: tuple[Callable[[pl.Series], pl.Series], ...] = (
    lambda values: values.str.head(GRAM),
    lambda values: values.to_frame("value").select(
        pl.col("value").str.slice(pl.col("value").str.len_chars() // 2 - GRAM // 2, GRAM)
    )["value"],
    lambda values: values.str.tail(GRAM),
)


def _ready(values: pl.Series, longest: int | None = None) -> pl.Series:
    """Values as they are sought, in lower case, without what is too short, or longer than `longest`."""
    value = pl.col("value")
    length = value.str.len_chars()
    stripped = values.cast(pl.String).alias("value").to_frame().select(value.str.strip_chars())
    fitting = stripped.filter(length.is_between(GRAM, longest) if longest else length >= GRAM)
    return fitting.select(value.str.head(LONG).str.to_lowercase()).to_series()


def _telling(values: pl.Series) -> pl.Series:
    return values.filter(~values.str.contains(rf"^\d{{1,{DIGITS - 1}}}$"))


class Within:
    """Distinct texts in lower case in which values are sought."""

    def __init__(self, texts: pl.Series) -> None:
        longest = texts.str.len_chars().max()
        self.longest = longest if isinstance(longest, int) else 0
        self._texts = texts
        self._marked = np.zeros(1 << _SLOT_BITS, dtype=bool)
        for start in range(0, texts.len(), _TEXTS_AT_ONCE):
            self._marked[_slots(texts.slice(start, _TEXTS_AT_ONCE))] = True

    def hits(self, sought: Sought) -> set[tuple[str, str]]:
        """Pairs of a text and the value in it."""
        return self._found(sought.values.filter(np.logical_and.reduce([self._marked[slots] for slots in sought.slots])))

    def hits_of(self, values: pl.Series) -> set[tuple[str, str]]:
        """As `hits`, of texts or integers that are sought but once."""
        possible = _ready(values, self.longest)
        for part in _PARTS:
            possible = possible.filter(self._marked[_slots(part(possible))[::GRAM]])
        return self._found(_telling(possible.unique()))

    def _found(self, possible: pl.Series) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for start in range(0, possible.len(), _PATTERNS_AT_ONCE):
            found |= _hits(self._texts, possible.slice(start, _PATTERNS_AT_ONCE))
        return found


def hits(texts: pl.Series, identifiers: Iterable[pl.Series]) -> set[tuple[str, str]]:
    """Which texts hold which identifiers.

    Args:
        texts: Distinct texts in lower case, shape (n,).
        identifiers: Texts or integers, in any number of series.

    Returns:
        Pairs of a text and the identifier in it, in lower case.
    """
    within = Within(texts)
    found: set[tuple[str, str]] = set()
    if within.longest >= GRAM:
        for values in identifiers:
            found |= within.hits_of(values)
    return found


def _slots(texts: pl.Series) -> np.ndarray[Any, Any]:
    """A slot for every run of 4 characters of the texts, joined; equal runs have the same one, and few others."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    runs = max(codes.size - GRAM + 1, 0)
    mixed = np.zeros(runs, dtype=np.uint32)
    for place in range(GRAM):
        mixed = mixed * np.uint32(31 * 65_537 + 4) + codes[place : place + runs]
    return (mixed * np.uint32(2_654_435_769)) >> np.uint32(32 - _SLOT_BITS)


def _hits(texts: pl.Series, patterns: pl.Series) -> set[tuple[str, str]]:
    """Aho-Corasick over all texts at once; then, for the few that hold something, what."""
    suspects = texts.filter(texts.str.contains_any(patterns.implode()))
    if suspects.is_empty():
        return set()
    short = suspects.str.len_chars() <= LONG
    holding = pl.DataFrame({"text": suspects.filter(short)}).select(
        "text", value=pl.col("text").str.extract_many(patterns.implode(), overlapping=True)
    )
    pairs = set(holding.explode("value").unique().iter_rows())
    pairs |= {(text, value) for text in suspects.filter(~short) for value in patterns if value in text}
    return {(text, value) for text, value in pairs if len(value) >= WHOLE or any(True for _ in starts(text, value))}


def starts(text: str, value: str) -> Iterator[int]:
    """Where a value begins in a text, both in lower case; a short one only where it is a word of its own."""
    whole = rf"(?<!\w){re.escape(value)}(?!\w)" if len(value) < WHOLE else re.escape(value)
    return (match.start() for match in re.finditer(rf"(?={whole})", text))
