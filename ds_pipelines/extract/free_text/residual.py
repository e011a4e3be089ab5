"""What masking misses, and what it masks without need: measured, not promised.

What belongs here: recall by entity and over-masking over texts whose identifying places are known, and such texts made
from a database's own persons in the spellings that people use (`probe`). What does not: a judgement; how much risk is
acceptable is the policy's to say.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TOKEN = re.compile(r"\w+(?:['\u2019]\w+)*")
BLANK = re.compile(r"[\s\W]")
GOLD = pl.Schema({"text": pl.UInt32, "entity": pl.String, "start": pl.UInt32, "end": pl.UInt32})
"""One row a place that is known to identify: the text's position, what it is, where it starts and ends."""

SENTENCES = (
    "{} asked for a refund of the order, and we agreed at once.",
    "The parcel was handed to {} on the second attempt.",
    "please tell {} that the invoice is wrong",
    "I spoke to {}, who will come back next week.",
    "Complaint by {}: the kettle leaks.",
)


@dataclass(frozen=True)
class Residual:
    """How much of what identifies was masked, and how much else."""

    by_entity: pl.DataFrame
    """entity, places, masked (places masked entirely), recall; by entity."""

    tokens: int
    """Words outside of every place that identifies."""

    masked_needlessly: int
    """Such words that were masked."""

    @property
    def per_thousand(self) -> float:
        """Words masked without need, of a thousand."""
        return 1_000 * self.masked_needlessly / self.tokens if self.tokens else 0.0

    def recall(self, entity: str) -> float:
        """Return the share of places of `entity` that were masked entirely; 1 where there were none."""
        found = self.by_entity.filter(pl.col("entity") == entity)
        return float(found["recall"].item()) if len(found) else 1.0


def measure(texts: pl.Series, gold: pl.DataFrame, places: pl.DataFrame) -> Residual:
    """Hold what was masked against what identifies.

    A place counts as masked if every letter and digit of it is, whatever the mask is called.

    Args:
        texts: a string column.
        gold: what identifies, as described by `GOLD`.
        places: what is masked, as `mask.merged` returns it.
    """
    hidden, known = _spans(places), _spans(gold)
    masked = [
        _covered(texts[text], start, end, hidden.get(text, ()))
        for text, start, end in gold["text", "start", "end"].rows()
    ]
    by_entity = (
        gold.select("entity", masked=pl.Series(masked, dtype=pl.Boolean))
        .group_by("entity")
        .agg(places=pl.len(), masked=pl.col("masked").sum())
        .with_columns(recall=pl.col("masked") / pl.col("places"))
        .sort("entity")
    )
    tokens = needless = 0
    for row, text in enumerate(texts):
        for match in TOKEN.finditer(text or ""):
            if not _touches(match.span(), known.get(row, ())):
                tokens += 1
                needless += _touches(match.span(), hidden.get(row, ()))
    return Residual(by_entity, tokens, needless)


def probe(names: Sequence[str], seed: int = 7) -> tuple[pl.Series, pl.DataFrame]:
    """Return sentences that mention each of `names` in every spelling, and where; the entity is the spelling.

    The sentence at position i mentions the person at position `i // len(SPELLINGS)` of `names`. Names of fewer than
    two words have no spelling but one.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    texts: list[str] = []
    rows = []
    for name in names:
        for spelling, write in SPELLINGS.items():
            mention = write(name, chance)
            before, after = chance.choice(SENTENCES).split("{}")
            rows.append((len(texts), spelling, len(before), len(before) + len(mention.removesuffix("'s"))))
            texts.append(before + mention + after)
    return pl.Series("probe", texts, dtype=pl.String), pl.DataFrame(rows, schema=GOLD, orient="row")


def _ends(name: str) -> tuple[str, str]:
    words = name.split()
    return words[0], words[-1]


def _mistyped(name: str, chance: random.Random) -> str:
    """Return the name with two neighbouring letters of its last word exchanged."""
    first, last = _ends(name)
    place = chance.randrange(max(len(last) - 1, 1))
    return f"{first} {last[:place]}{last[place + 1 : place + 2]}{last[place : place + 1]}{last[place + 2 :]}"


SPELLINGS: Mapping[str, Callable[[str, random.Random], str]] = {
    "full name": lambda name, _: name,
    "lower case": lambda name, _: name.lower(),
    "upper case": lambda name, _: name.upper(),
    "Last, First": lambda name, _: f"{_ends(name)[1]}, {_ends(name)[0]}",
    "first.last": lambda name, _: ".".join(_ends(name)).lower(),
    "F. Last": lambda name, _: f"{name[0]}. {_ends(name)[1]}",
    "F.L.": lambda name, _: f"{name[0]}.{_ends(name)[1][0]}.",
    "possessive": lambda name, _: f"{name}'s",
    "First": lambda name, _: _ends(name)[0],
    "first (lower case)": lambda name, _: _ends(name)[0].lower(),
    "Last": lambda name, _: _ends(name)[1],
    "Lasts (plural)": lambda name, _: f"{_ends(name)[1]}s",
    "typo": _mistyped,
}
"""How people write a name, from the most to the least recognisable."""


SENTENCE = re.compile(r"(?<=[.] )[A-Z][A-Za-z,' -]{30,160}[.](?= )")


def ordinary_sentences() -> list[str]:
    """Return sentences of English prose that identify nobody: those of Python's own documentation."""
    from pydoc_data.topics import topics

    return sorted({found for text in topics.values() for found in SENTENCE.findall(" ".join(text.split()))})


def _spans(frame: pl.DataFrame) -> dict[int, list[tuple[int, int]]]:
    spans: dict[int, list[tuple[int, int]]] = {}
    for text, start, end in frame["text", "start", "end"].iter_rows():
        spans.setdefault(text, []).append((start, end))
    return spans


def _covered(text: str, start: int, end: int, hidden: Sequence[tuple[int, int]]) -> bool:
    telling = (place for place in range(start, end) if not BLANK.match(text[place]))
    return all(any(begin <= place < stop for begin, stop in hidden) for place in telling)


def _touches(span: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in spans)
