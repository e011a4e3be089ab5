"""Persons that the database itself knows, found in its texts: names, e-mail addresses, phone numbers, addresses.

What belongs here: what is known, the spellings that are looked for, and their places. What does not: persons nobody
knows of (that takes a language model), or what else identifies (`patterns`).

Looked for: full names in either order (`Ann Lee`, `LEE, Ann`, `ann.lee`), with a middle initial or without the middle
names; an initial and the last name (`A. Lee`). Of the row's own person, also the first or last name alone, in the
plural, and `A.L.`. A word of ordinary English counts only within a full name, and if the full name consists of such
words alone, only written with capitals. Case, accents, apostrophes and the width of white space do not matter.

Words are looked up in hash tables rather than by Aho-Corasick: names end where words do, nothing is rebuilt for the
next batch, and one look at a text's words tells whether any known name can be in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract.free_text.findings import FINDINGS
from ds_pipelines.extract.free_text.folding import Word, fold, quick_words, words_of
from ds_pipelines.extract.free_text.ordinary_words import ordinary_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Place = tuple[str, int, int]

OWN, OTHERS = 1.0, 0.9  # scores: what the row's own person is known by, what anybody is
E_MAIL = re.compile(r"[^\s<>()\[\],;:\"]+@[^\s<>()\[\],;:\"']*[^\s<>()\[\],;:\"'.!?]")
DIGIT_GROUPS = re.compile(r"\d+(?:[ \u00a0./()\-]{1,3}\d+)*")
GROUP = re.compile(r"\d+")
FEWEST_DIGITS, TELLING_DIGITS = 7, 9
MOST_GROUPS = 7
LONGEST_NAME = 6  # words
FIRST_LAST = re.compile(r"[\s\u200b\ufeff]{1,3}|[._\-]")
LAST_FIRST = re.compile(r"\s?,\s{0,2}|[\s\u200b\ufeff]{1,3}|[._\-]")
TITLES = frozenset({"mr", "mrs", "ms", "mx", "miss", "dr", "prof", "professor", "sir", "madam"})
AFTER_TITLE = re.compile(r"\.?\s{1,2}|\.")
AFTER_INITIAL = re.compile(r"\.?\s{0,2}")
SHORTEST_ALONE = 3


@dataclass(frozen=True)
class PersonColumns:
    """Which columns of a table hold what of a person; a name may be spread over some: `("first_name", "last_name")`."""

    key: str
    names: Sequence[str | tuple[str, ...]] = ()
    emails: Sequence[str] = ()
    phones: Sequence[str] = ()
    addresses: Sequence[str] = ()


@dataclass
class KnownPersons:
    """What a table knows of its persons, ready to be looked for. Holds personal data: keep it in memory only."""

    columns: PersonColumns
    _frame: pl.DataFrame
    _ordinary: frozenset[str]
    _pairs: set[str] = field(default_factory=set)
    _long: set[str] = field(default_factory=set)
    _single: set[str] = field(default_factory=set)
    _initials: dict[str, str] = field(default_factory=dict)
    _anchors: set[str] = field(default_factory=set)
    _street_anchors: set[str] = field(default_factory=set)
    _emails: set[str] = field(default_factory=set)
    _phones: set[str] = field(default_factory=set)
    _addresses: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, persons: pl.DataFrame, columns: PersonColumns, not_names: Iterable[str] = ()) -> KnownPersons:
        """Learn from a table of persons, one row each; null values are nothing known.

        Args:
            persons: the table.
            columns: what its columns hold.
            not_names: words that name nobody by themselves, besides those of ordinary English.
        """
        named = [_joined(name) for name in columns.names]
        frame = persons.select(
            pl.col(columns.key).alias("key"),
            pl.concat_list(named or [pl.lit(None, dtype=pl.String)]).alias("names"),
            pl.concat_list([pl.col(name).cast(pl.String) for name in columns.addresses] or [pl.lit("")]).alias(
                "places"
            ),
        )
        known = cls(
            columns,
            frame.unique("key", keep="first", maintain_order=True),
            ordinary_words() | {fold(word) for word in not_names},
        )
        for name in _values(frame, "names"):
            known._learn_name(name)
        for place in _values(frame, "places"):
            known._learn_address(place)
        for column in columns.emails:
            known._emails.update(fold(value.strip()) for value in _strings(persons, column) if "@" in value)
        for column in columns.phones:
            known._phones.update(_telling(value) for value in _strings(persons, column))
        known._phones.discard("")
        return known

    def find(self, texts: pl.Series, owners: pl.Series | None = None) -> pl.DataFrame:
        """Return where the texts mention known persons, as a frame described by `findings.FINDINGS`.

        Args:
            texts: a string column.
            owners: the key of each text's own person, aligned with `texts`; null or unknown for nobody.

        Returns:
            Entities PERSON, EMAIL_ADDRESS, PHONE_NUMBER and ADDRESS, by text and place, none within another.
        """
        columns: tuple[list[int], list[str], list[int], list[int], list[float]] = ([], [], [], [], [])
        for row, (text, names, places) in enumerate(self._with_own(texts, owners)):
            if text:
                for entity, start, end, score in _outermost(self._mentions(text, names, places)):
                    for column, value in zip(columns, (row, entity, start, end, score), strict=True):
                        column.append(value)  # type: ignore[attr-defined]
        return pl.DataFrame(dict(zip(FINDINGS.names(), columns, strict=True)), schema=FINDINGS)

    @property
    def persons(self) -> pl.DataFrame:
        """The persons' `key` and `names`, one row each."""
        return self._frame.select("key", "names")

    def names_of(self, owners: pl.Series) -> list[list[str]]:
        """Return, for each key, the folded words of that person's names that are no ordinary words; [] for nobody."""
        keys = pl.DataFrame({"key": owners})
        own = keys.join(self._frame, on="key", how="left", maintain_order="left")
        every = own["names"].to_list()
        return [sorted({word for name in names or () for word in self._telling_words(name or "")}) for names in every]

    def _telling_words(self, name: str) -> set[str]:
        return {word.folded for word in words_of(name) if len(word.folded) >= SHORTEST_ALONE} - self._ordinary

    def _with_own(
        self, texts: pl.Series, owners: pl.Series | None
    ) -> Iterator[tuple[str | None, list[str], list[str]]]:
        if owners is None:
            return ((text, [], []) for text in texts)
        rows = pl.DataFrame({"text": texts, "key": owners})
        own = rows.join(self._frame, on="key", how="left", maintain_order="left")
        return ((text, names or [], places or []) for text, _, names, places in own.iter_rows())

    def _mentions(self, text: str, names: list[str], places: list[str]) -> Iterator[tuple[str, int, int, float]]:
        quick = quick_words(text)
        if not self._anchors.isdisjoint(quick) and self._promising(quick):
            yield from (("PERSON", *span, OTHERS) for span in self._full_names(text, words_of(text)))
        if not self._street_anchors.isdisjoint(quick):
            yield from (("ADDRESS", *span, OTHERS) for span in self._streets(words_of(text)))
        if names or places:
            yield from _own_mentions(text, quick, names, places, self._ordinary)
        if self._emails and "@" in text:
            for match in E_MAIL.finditer(text):
                if fold(match.group()) in self._emails:
                    yield "EMAIL_ADDRESS", *match.span(), OTHERS
        if self._phones:
            yield from (("PHONE_NUMBER", *span, OTHERS) for span in self._numbers(text))

    def _promising(self, quick: list[str]) -> bool:
        """Tell whether a name's other word is near, before any places are worked out."""
        reach = self._reach()
        for place in (place for place, word in enumerate(quick) if word in self._anchors):
            word = quick[place]
            for other in quick[max(place - reach, 0) : place + reach + 1]:
                if len(other) == 1 or f"{word} {other}" in self._pairs or f"{other} {word}" in self._pairs:
                    return True
            if word in self._single:
                return True
        return False

    def _reach(self) -> int:
        """Return how many words a name may extend beyond its first one."""
        return LONGEST_NAME - 1 if self._long else 2

    def _full_names(self, text: str, words: list[Word]) -> Iterator[tuple[int, int]]:
        reach = self._reach()
        anchored = [place for place, word in enumerate(words) if word.folded in self._anchors]
        for place in sorted({start for end in anchored for start in range(max(end - reach, 0), end + 1)}):
            word, following = words[place], words[place + 1 : place + 3]
            begin = _begin(text, words, place)
            if word.folded in self._single and (
                word.folded not in self._ordinary or begin < word.start or _stands_out(text, word)
            ):
                yield begin, word.end
            if following and self._is_pair(text, word, following[0]):
                yield begin, following[0].end
            if len(following) == 2:
                middle, last = following
                if len(middle.folded) == 1 and f"{word.folded} {last.folded}" in self._pairs:
                    yield begin, last.end
                yield from ((begin, end) for end in self._long_names(words, place))

    def _is_pair(self, text: str, one: Word, two: Word) -> bool:
        between = text[one.end : two.start]
        if f"{one.folded} {two.folded}" in self._pairs:
            return FIRST_LAST.fullmatch(between) is not None and self._plausible(one, two)
        if f"{two.folded} {one.folded}" in self._pairs:
            return LAST_FIRST.fullmatch(between) is not None and self._plausible(one, two)
        if len(one.folded) == 1 and one.capital and two.capital:
            return one.folded in self._initials.get(two.folded, "") and AFTER_INITIAL.fullmatch(between) is not None
        if len(two.folded) == 1 and one.capital and two.capital and "," in between:
            return two.folded in self._initials.get(one.folded, "")
        return False

    def _plausible(self, one: Word, two: Word) -> bool:
        return (one.capital and two.capital) or not self._ordinary.issuperset({one.folded, two.folded})

    def _long_names(self, words: list[Word], place: int) -> Iterator[int]:
        if not self._long:
            return
        for count in range(3, LONGEST_NAME + 1):
            some = words[place : place + count]
            if len(some) == count and " ".join(word.folded for word in some) in self._long:
                yield some[-1].end

    def _streets(self, words: list[Word]) -> Iterator[tuple[int, int]]:
        for place in range(len(words) - 1):
            for rest in self._addresses.get(f"{words[place].folded} {words[place + 1].folded}", ()):
                last = place + 1 + len(rest)
                if last < len(words) and all(
                    word.folded == known for word, known in zip(words[place + 2 : last + 1], rest, strict=True)
                ):
                    yield words[place].start, words[last].end

    def _numbers(self, text: str) -> Iterator[tuple[int, int]]:
        for run in DIGIT_GROUPS.finditer(text):
            if run.end() - run.start() < FEWEST_DIGITS:
                continue
            groups = [match.span() for match in GROUP.finditer(text, run.start(), run.end())]
            for first, (start, _) in enumerate(groups):
                for _, end in reversed(groups[first : first + MOST_GROUPS]):
                    if _telling(text[start:end]) in self._phones:
                        yield start, end
                        break

    def _learn_name(self, name: str) -> None:
        words = [word.folded for word in words_of(name) if word.folded]
        if len(words) == 1 and len(words[0]) >= SHORTEST_ALONE:
            self._single.add(words[0])
            self._anchors.add(words[0])
        if len(words) < 2:
            return
        first, last = words[0], words[-1]
        self._pairs.add(f"{first} {last}")
        if last not in self._ordinary and first[0] not in self._initials.setdefault(last, ""):
            self._initials[last] += first[0]
        self._anchors.add(first if last in self._ordinary else last)
        if len(words) > 2:
            self._long.add(" ".join(words))
            self._long.add(" ".join([*words[1:], first]))

    def _learn_address(self, address: str) -> None:
        words = [word.folded for word in words_of(address)]
        letters = max((word for word in words if word.isalpha()), key=len, default="")
        if len(words) >= 2 and letters:
            self._street_anchors.add(letters)
            self._addresses.setdefault(f"{words[0]} {words[1]}", []).append(tuple(words[2:]))


def _own_mentions(
    text: str, quick: list[str], names: list[str], places: list[str], ordinary: frozenset[str]
) -> Iterator[tuple[str, int, int, float]]:
    parts: set[str] = set()
    for name in filter(None, names):
        spelt = words_of(name)
        parts.update(word.folded for word in spelt if len(word.folded) >= SHORTEST_ALONE)
        if len(spelt) > 1:
            first, last = (_initial(name, word) for word in (spelt[0], spelt[-1]))
            yield from (("PERSON", *match.span(), OWN) for match in re.finditer(rf"\b{first}\.\s?{last}\.", text))
    plural = {f"{part}{ending}" for part in parts - ordinary for ending in ("s", "es")}
    if not (parts | plural).isdisjoint(quick):
        words = words_of(text)
        for place, word in enumerate(words):
            begin = _begin(text, words, place)
            alone = word.folded in parts and (word.folded not in ordinary or begin < word.start)
            if alone or (word.capital and word.folded in plural):
                yield "PERSON", begin, word.end, OWN
    for known in filter(None, places):
        address = [word.folded for word in words_of(known)]
        if len(address) == 1 and any(map(str.isdigit, address[0])):
            yield from (("ADDRESS", word.start, word.end, OWN) for word in words_of(text) if word.folded == address[0])


def _initial(name: str, word: Word) -> str:
    """Return a pattern of the capital that a word of a name begins with, as written and without its accent."""
    return "[" + "".join(map(re.escape, {name[word.start].upper(), word.folded[:1].upper()})) + "]"


def _begin(text: str, words: list[Word], place: int) -> int:
    """Return where the mention of the name at `place` begins: at the title before it, if there is one."""
    word = words[place]
    if place and words[place - 1].folded in TITLES:
        title = words[place - 1]
        if AFTER_TITLE.fullmatch(text, title.end, word.start):
            return title.start
    return word.start


def _stands_out(text: str, word: Word) -> bool:
    """Tell whether a word is written with a capital where a sentence does not begin."""
    before = text[: word.start].rstrip()
    return word.capital and bool(before) and before[-1] not in ".!?:\"'(\n"


def _outermost(found: Iterable[tuple[str, int, int, float]]) -> list[tuple[str, int, int, float]]:
    """Return the findings by place, without those that lie within another one."""
    kept: list[tuple[str, int, int, float]] = []
    for one in sorted(set(found), key=lambda one: (one[1], -one[2], -one[3])):
        if not kept or one[2] > kept[-1][2]:
            kept.append(one)
    return kept


def _telling(number: str) -> str:
    """Return the last digits of a phone number, by which it is told from others however its prefix is written."""
    digits = "".join(filter(str.isdecimal, number))
    return digits[-TELLING_DIGITS:] if len(digits) >= FEWEST_DIGITS else ""


def _joined(name: str | tuple[str, ...]) -> pl.Expr:
    if isinstance(name, str):
        return pl.col(name).cast(pl.String)
    return pl.concat_str([pl.col(part) for part in name], separator=" ", ignore_nulls=True)


def _values(frame: pl.DataFrame, column: str) -> Iterator[str]:
    return (value for value in frame[column].explode().drop_nulls().unique() if value)


def _strings(frame: pl.DataFrame, column: str) -> Iterator[str]:
    return iter(frame[column].cast(pl.String).drop_nulls().unique())
