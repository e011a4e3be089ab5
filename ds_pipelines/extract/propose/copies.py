"""Copies: columns whose harmless names hide the values of identifying ones elsewhere, as a shipping address does.

What belongs here: the values known to identify, in memory, and how many of a column's are among them. What does not:
which columns identify.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ds_pipelines.extract.propose.structure import Place

SHORTEST = 3
TELLING = 6
"""Characters from which a value with a digit, a blank or an @ is no coincidence."""
COINCIDENCE = 0.2
"""A share of values up to which single words may be names by coincidence."""


@dataclass
class Known:
    """Values of the columns that identify. Holds personal data: it lives in memory, and is told to nobody."""

    _where: dict[str, Place] = field(default_factory=dict)
    _words: set[str] = field(default_factory=set)

    def learn(self, values: Iterable[str], place: Place, *, names: bool) -> None:
        """Adds the values of a column; of names also each of their words."""
        for value in values:
            folded = _folded(value)
            if len(folded) >= SHORTEST:
                self._where.setdefault(folded, place)
                if names:
                    self._words.update(word for word in folded.split() if len(word) >= SHORTEST)

    def copied(self, values: Iterable[str], *, besides: Place) -> tuple[float, Place] | None:
        """Which share of values occurs in another column, and where most do; None: so few that it means nothing."""
        found: Counter[Place] = Counter()
        total, telling = 0, False
        for value in values:
            total += 1
            folded = _folded(value)
            place = self._where.get(folded)
            if place is not None and place != besides:
                found[place] += 1
                telling |= len(folded) >= TELLING and any(char.isdigit() or char in " @" for char in folded)
        if not found or not (telling or found.total() > COINCIDENCE * total):
            return None
        return found.total() / total, found.most_common(1)[0][0]

    def composed(self, values: Iterable[str]) -> bool:
        """Whether one of the values is two or more words that are all known from names, as `Nancy Davolio`."""
        return any(len(words := _folded(value).split()) > 1 and self._words.issuperset(words) for value in values)


def _folded(value: str) -> str:
    decomposed = unicodedata.normalize("NFKD", value.casefold())
    letters = "".join(
        char if char.isalnum() or char == "@" else " " for char in decomposed if not unicodedata.combining(char)
    )
    return " ".join(letters.split())
