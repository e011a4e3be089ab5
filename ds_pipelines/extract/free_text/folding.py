"""Text folded so that spellings of one name meet: case, accents, ligatures, apostrophes.

What belongs here: folding and splitting into words, with the places of the words in the text as written. What does
not: names.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

WORD = re.compile(r"[^\W_]+(?:['\u2019\u02bc][^\W\d_]+)*")
POSSESSIVE = re.compile(r"(?<=\w)['\u2019\u02bc]s\b")
SPECIAL = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h"}
    | dict.fromkeys("'\u2019\u02bc")  # an apostrophe vanishes: O'Neil, O’Neil and ONeil are one
)
NO_LETTERS = str.maketrans({chr(point): " " for point in range(128) if not chr(point).isalpha()} | {"'": None})

NO_LETTER = re.compile(r"[\W\d_]+")


class Word(NamedTuple):
    """A word of a text: folded, its place in characters, and whether it is written with a capital."""

    folded: str
    start: int
    end: int
    capital: bool


def fold(text: str) -> str:
    """Return `text` in lower case, without accents and apostrophes; compatible forms become plain ones."""
    lowered = text.lower()
    if lowered.isascii():
        return lowered.replace("'", "")
    decomposed = unicodedata.normalize("NFKD", lowered.translate(SPECIAL))
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold().translate(SPECIAL)


folded_word = lru_cache(maxsize=100_000)(fold)


def quick_words(text: str) -> list[str]:
    """Return the folded words of `text` in order, letters only, without their places: made fast, for a first look."""
    lowered = text.lower()
    if "'" in text or "\u2019" in text or "\u02bc" in text:
        lowered = POSSESSIVE.sub("", lowered)
    if lowered.isascii():
        return lowered.translate(NO_LETTERS).split()
    return NO_LETTER.sub(" ", fold(lowered)).split()


def words_of(text: str) -> list[Word]:
    """Return the words of `text` with their places; a possessive ending is no part of the word."""
    words = []
    for match in WORD.finditer(text):
        start, end = match.span()
        written = match.group()
        if len(written) > 2 and written[-2] in "'\u2019\u02bc" and written[-1] in "sS":
            end -= 2
            written = written[:-2]
        words.append(Word(folded_word(written), start, end, written[0].isupper()))
    return words
