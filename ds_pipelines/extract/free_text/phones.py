"""Presidio's phone numbers without searching the text once for each of its eight regions.

What belongs here: `phonenumbers`' own search, its candidates found once and shared by the regions, and early rejects
that never turn a valid number away. What does not: deciding what a valid number is; every number that is reported was
parsed and verified by `phonenumbers` itself. Where the library's code is not the one this was derived from
(`understood`), or a text is so full of digits that the library's limit on attempts could bite, the recogniser's own
search is used.

Derived from phonenumbers' PhoneNumberMatcher (Apache License 2.0, The Libphonenumber Authors).
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberMatcher, phonenumbermatcher
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from presidio_analyzer import EntityRecognizer

    Matcher = tuple[PhoneNumberMatcher, re.Pattern[str]]

library: Any = phonenumbermatcher  # its stubs leave out what is private
metadata_of: Any = PhoneMetadata.metadata_for_region

DERIVED_FROM = "091ad7647c772eac"
"""Digest of the code that this module retells: the matcher's and Presidio's loop over regions."""

LONGEST_CANDIDATES = 4_000
"""Characters of candidates in a text up to which the library's limit of 65,535 attempts cannot be reached."""

PUNCTUATION = (
    "\\-x\u2010-\u2015\u2212\u30fc\uff0d-\uff0f \u00a0\u00ad\u200b\u2060\u3000"
    "()\uff08\uff09\uff3b\uff3d.\\[\\]/~\u2053\u223c\uff5e"
)
BEGINNING = re.compile(
    rf"[\d{library._LEAD_CLASS_CHARS}]"
)  # found faster than the library's pattern, and it is the same
PLAIN = re.compile(r"[0-9 .()/\-]*\Z")
PLAIN_WITH_PLUS = re.compile(r"[+]?[0-9 .()/\-]*\Z")
NOT_DIGITS = re.compile("[^0-9]+")
DIGITS_IN_A_BLOCK = 20  # the limits of the library's pattern: digits in a block, and blocks
TYPES = (
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail", "fixed_line",
    "mobile",
)  # fmt: skip


def understood(recognizer: EntityRecognizer) -> bool:
    """Tell whether `recognizer` is Presidio's phone recogniser, over the library's code that is retold here."""
    return (
        isinstance(recognizer, PhoneRecognizer)
        and type(recognizer).analyze is PhoneRecognizer.analyze
        and recognizer.leniency == library.Leniency.VALID
        and _code() == DERIVED_FROM
    )


@lru_cache(maxsize=1)
def _code() -> str:
    retold = [inspect.getsource(PhoneNumberMatcher), inspect.getsource(PhoneRecognizer.analyze)]
    patterns = [library._PATTERN, library._SECOND_NUMBER_START_PATTERN, *library._INNER_MATCHES, library._LEAD_PATTERN]
    return sha256("\n".join(retold + [pattern.pattern for pattern in patterns]).encode()).hexdigest()[:16]


class PhoneSearch:
    """Search for valid phone numbers as written in, or dialled from, some regions."""

    def __init__(self, regions: tuple[str, ...]) -> None:
        self._possible = [(region, _possible(region)) for region in regions]
        self._fewest = min(_fewest_digits(pattern) for _, pattern in self._possible)
        self.opens = f"[0-9](?:[{PUNCTUATION}]{{0,4}}[0-9]){{{self._fewest - 1}}}"

    def spans(self, text: str) -> list[tuple[int, int]] | None:
        """Return start and end of every number that is valid for some region; None where only the library can tell.

        Spans that lie within another one may be missing: Presidio drops them, because all have one score.
        """
        candidates = _Candidates(text, self._fewest)
        listed = candidates.all()
        if candidates.characters > LONGEST_CANDIDATES:
            return None
        matchers = [
            (PhoneNumberMatcher(text, region, leniency=library.Leniency.VALID), possible)
            for region, possible in self._possible
        ]
        if not all(candidate.closed for candidate in listed):
            return sorted(self._by_region(candidates, matchers, (0, len(text)), None))
        found: set[tuple[int, int]] = set()
        for candidate in listed:
            within = candidate.start, candidate.end
            if not candidate.attempts:
                continue
            if any(_is_number(matcher, possible, candidate.attempts[0]) for matcher, possible in matchers):
                found.add(within)
            elif len(candidate.attempts) > 1:
                found |= self._by_region(candidates, matchers, within, refused=within)
        return sorted(found)

    def _by_region(
        self,
        candidates: _Candidates,
        matchers: Sequence[Matcher],
        within: tuple[int, int],
        refused: tuple[int, int] | None,
    ) -> set[tuple[int, int]]:
        """Return what the library's loop finds between two places: after a match, each region goes its own way.

        `refused` is a place that is known to be no number for any region.
        """
        found = set()
        for matcher, possible in matchers:
            position = within[0]
            while (candidate := candidates.after(position)) is not None and candidate.start < within[1]:
                position = candidate.end
                for attempt in candidate.attempts:
                    span = attempt.start, attempt.end
                    if span != refused and _is_number(matcher, possible, attempt):
                        position = attempt.end
                        found.add(span)
                        break
        return found


def _is_number(matcher: PhoneNumberMatcher, possible: re.Pattern[str], attempt: _Attempt) -> bool:
    if attempt.digits is not None and not possible.match(attempt.digits):
        return False
    return matcher._parse_and_verify(attempt.text, attempt.start) is not None


class _Attempt(NamedTuple):
    """A part of a candidate that may be a number by itself; its digits, where it has nothing but simple punctuation."""

    start: int
    end: int
    text: str
    digits: str | None


@dataclass(frozen=True)
class _Candidate:
    """A part of a text that looks like a number, and the parts of it that the library tries, in its order.

    From inside a closed candidate, no search leads beyond its end: it has no extension, was not trimmed, and is too
    short for the limits of the library's pattern. So when one region takes the whole of it, whatever another region
    finds lies within.
    """

    start: int
    end: int
    attempts: Sequence[_Attempt]
    closed: bool


class _Candidates:
    """What looks like a number from some position on, found once whichever region asks."""

    def __init__(self, text: str, fewest_digits: int) -> None:
        self._text = text
        self._fewest = fewest_digits
        self._found: dict[int, _Candidate | None] = {}
        self.characters = 0

    def all(self) -> list[_Candidate]:
        """Return the candidates from the beginning of the text, none overlapping, as long as they are not too many."""
        listed = []
        candidate = self.after(0)
        while candidate is not None and self.characters <= LONGEST_CANDIDATES:
            listed.append(candidate)
            candidate = self.after(candidate.end)
        return listed

    def after(self, position: int) -> _Candidate | None:
        """Return the next candidate from `position` on."""
        if position not in self._found:
            self._found[position] = self._search(position)
        return self._found[position]

    def _search(self, position: int) -> _Candidate | None:
        match = None
        while match is None:
            beginning = BEGINNING.search(self._text, position)
            if beginning is None:
                return None
            match = library._PATTERN.match(self._text, beginning.start())
            position = beginning.start() + 1
        start, whole = match.start(), match.group()
        text = _trimmed(library._SECOND_NUMBER_START_PATTERN, whole)
        self.characters += len(text)
        end = start + len(text)
        closed = len(whole) <= DIGITS_IN_A_BLOCK and PLAIN_WITH_PLUS.match(whole) is not None
        stamp = library._TIME_STAMPS.search(text) and library._TIME_STAMPS_SUFFIX.match(self._text, end)
        if stamp or library._SLASH_SEPARATED_DATES.search(text):
            return _Candidate(start, end, (), closed)
        return _Candidate(start, end, list(self._attempts(text, start)), closed)

    def _attempts(self, candidate: str, start: int) -> Iterator[_Attempt]:
        for text, offset in ((candidate, 0), *_inner(candidate)):
            digits = NOT_DIGITS.sub("", text) if PLAIN.match(text) else None
            if digits is None or len(digits) >= self._fewest:
                yield _Attempt(start + offset, start + offset + len(text), text, digits)


def _inner(candidate: str) -> Iterator[tuple[str, int]]:
    """Yield the parts of a candidate that may be numbers by themselves, with their offsets, in the library's order."""
    for pattern in library._INNER_MATCHES:
        match = pattern.search(candidate)
        if match:
            yield _trimmed(library._UNWANTED_END_CHAR_PATTERN, candidate[: match.start()]), 0
        while match:
            yield _trimmed(library._UNWANTED_END_CHAR_PATTERN, match.group(1)), match.start(1)
            match = pattern.search(candidate, match.start() + 1)


def _trimmed(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return text[: match.start()] if match else text


@lru_cache(maxsize=64)
def _possible(region: str) -> re.Pattern[str]:
    """Return a pattern over bare digits that every number valid when dialled from `region` matches.

    The library removes an international prefix, or the country's own code, and the national prefix up to twice (once
    when it compares with and without the country code, once afterwards); what remains must have a known type in one of
    the regions that share the calling code.
    """
    here = metadata_of(region)
    types = {
        f"{_of_length(description.possible_length)}(?:{description.national_number_pattern})"
        for code in COUNTRY_CODE_TO_REGION_CODE[here.country_code]
        for description in _types(code)
    }
    ways = [f"(?:{here.country_code})?{_national_prefix(here)}{{0,2}}(?:{'|'.join(sorted(types))})\\Z"]
    if here.international_prefix:
        ways.append(f"(?:{here.international_prefix})[1-9][0-9]{{3}}")
    return re.compile("|".join(ways))


def _of_length(lengths: Sequence[int]) -> str:
    """Return a look-ahead for what the library demands of the digits that remain, where it demands any length."""
    return f"(?=[0-9]{{{min(lengths)},{max(lengths)}}}\\Z)" if lengths else ""


def _types(region: str) -> list[Any]:
    metadata = metadata_of(region)
    described = [getattr(metadata, name) for name in TYPES]
    return [found for found in described if found is not None and found.national_number_pattern]


def _national_prefix(metadata: Any) -> str:
    """Return what may be stripped before a national number; where a transformation is not simple, any few digits."""
    prefix = metadata.national_prefix_for_parsing or "(?!)"
    if metadata.national_prefix_transform_rule:
        kept = re.compile(r"\(\\d\{[0-9,]+\}\)")  # the group of mere digits that the transformation puts back
        return f"(?:{kept.sub('', prefix)})" if len(kept.findall(prefix)) == 1 else "(?:[0-9]{1,5})"
    return f"(?:{prefix})"


def _fewest_digits(possible: re.Pattern[str]) -> int:
    """Return the fewest digits a possible number has; with a plus or an international prefix there are six or more."""
    for digits in range(1, 5):
        if any(possible.match("".join(number)) for number in product("0123456789", repeat=digits)):
            return digits
    return 5
