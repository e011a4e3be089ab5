"""Which texts and tokens a Presidio recogniser can find something in at all: a pattern that is wider than its own.

What belongs here: one gate for each recogniser, and the fingerprint of the patterns it was derived from. What does not:
running them (`patterns`, `phones`). A gate may let too much through, never too little; it is written in the dialect
that Rust's and Python's regular expressions share, in ASCII, so that texts with other digits, or with letters that
fold to ASCII ones (`unusual`), go Presidio's own way. A recogniser whose fingerprint is not in the table has no gate
and goes that way too.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from presidio_analyzer import EntityRecognizer, PatternRecognizer
from presidio_analyzer.predefined_recognizers import IbanRecognizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

BLANKS = r" \n\t\r"  # no pattern of a recogniser with scope "token" matches one of these
MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
DIGIT_RUN = r"[0-9](?:[ .\-]?[0-9]){8,}"
"""Where card, ITIN, SSN and NHS numbers lie: they have nine digits or more and at most one separator between two."""


@dataclass(frozen=True)
class Gate:
    """Where a recogniser is to be run: on each blank-delimited token, on each run of digits, or on the whole text.

    `opens` is a pattern that every finding's surroundings (the token, the run, the text) match; `column` a wider one,
    free of anchors, where `opens` has some; `parts` narrows single patterns of the recogniser, by their position.
    """

    scope: Literal["token", "digits", "text"]
    opens: str
    column: str = ""
    parts: Mapping[int, str] | None = None

    @property
    def anywhere(self) -> str:
        """The pattern by which a whole column is searched."""
        return self.column or self.opens


GATES: Mapping[str, Gate] = {
    "CreditCardRecognizer": Gate("digits", DIGIT_RUN),
    "UsItinRecognizer": Gate("digits", DIGIT_RUN),
    "UsSsnRecognizer": Gate("digits", DIGIT_RUN),
    "NhsRecognizer": Gate("digits", DIGIT_RUN),
    "UsBankRecognizer": Gate("token", "[0-9]{8}"),
    "UsLicenseRecognizer": Gate(
        "token",
        r"(?:^|[^A-Za-z0-9_])[A-Za-z]{1,2}[0-9]|[0-9]{2}[A-Za-z]{2,3}[0-9]{4}|\]\][0-9]{2}|[0-9]{6}",
        column=r"[A-Za-z\]][0-9]|[0-9]{6}",
    ),
    "UsPassportRecognizer": Gate("token", "[0-9]{8}"),
    "CryptoRecognizer": Gate("token", "[A-Za-z0-9]{26}"),
    "DateRecognizer": Gate(
        "token",
        r"[0-9]/[0-9]|[0-9]-[0-9]{1,2}-[0-9]|[0-9]\.[0-9]{1,2}\.[0-9]{2}"
        rf"|[0-9]-(?i:{MONTHS})|(?i:{MONTHS})-[0-9]{{2}}",
    ),
    "EmailRecognizer": Gate("token", rf"@[^{BLANKS}@.]+\."),
    "IbanRecognizer": Gate("text", r"[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]{4}){2}"),
    "IpRecognizer": Gate("token", r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|::|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]"),
    "MedicalLicenseRecognizer": Gate("token", "[A-Za-z][0-9]{7}"),
    "MacAddressRecognizer": Gate("token", r"(?:[0-9A-Fa-f]{2}[:\-]){3}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"),
    "UuidRecognizer": Gate("token", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-"),
    "UrlRecognizer": Gate(
        "token", r"[A-Za-z0-9.\-]\.[A-Za-z]{2}", parts={0: "://", 2: "[\"']https?://|[\"']HTTPS?://", 3: "[\"']"}
    ),
}

FINGERPRINTS: Mapping[str, str] = {
    "CreditCardRecognizer": "98495289122e785b",
    "UsBankRecognizer": "f9e54fa8878f6a91",
    "UsLicenseRecognizer": "640dd940ce1baaa2",
    "UsItinRecognizer": "fb64e8986a44b3e8",
    "UsPassportRecognizer": "72eef37b11638268",
    "UsSsnRecognizer": "a360879c91c0b445",
    "NhsRecognizer": "98c2e588557fd084",
    "CryptoRecognizer": "4c34846f3801c521",
    "DateRecognizer": "238e5ed9c9d032db",
    "EmailRecognizer": "e42d89c6f40c8381",
    "IbanRecognizer": "482d7c6ff833fb67",
    "IpRecognizer": "5cff4bdf48002cb1",
    "MedicalLicenseRecognizer": "b4203f39be5c29f2",
    "MacAddressRecognizer": "c76b9d82c128abf8",
    "UuidRecognizer": "3c02c01d3d2e3595",
    "UrlRecognizer": "7c6a290a206a6c78",
}
"""Recogniser by name: the digest of the patterns, flags and analysis that its gate was derived from."""


def fingerprint(recognizer: EntityRecognizer) -> str:
    """Return a digest of what decides where `recognizer` matches: its patterns, their flags, and whose analysis it is.

    Scores, validators and context words are left out: they are always read from the recogniser itself.
    """
    patterns = [pattern.regex for pattern in recognizer.patterns]
    analysis = type(recognizer).analyze.__qualname__
    facts = repr((patterns, int(recognizer.global_regex_flags), analysis))
    return sha256(facts.encode()).hexdigest()[:16]


def gate_of(recognizer: EntityRecognizer) -> Gate | None:
    """Return the gate of a pattern recogniser, or None where there is none that is known to be wide enough."""
    if not isinstance(recognizer, PatternRecognizer):
        return None
    if type(recognizer).analyze is not PatternRecognizer.analyze and not isinstance(recognizer, IbanRecognizer):
        return None
    known = next((base.__name__ for base in type(recognizer).__mro__ if base.__name__ in GATES), None)
    if known is None or FINGERPRINTS.get(known) != fingerprint(recognizer):
        return None
    return GATES[known]


@lru_cache(maxsize=1)
def unusual() -> str:
    """Return a character class of what Presidio's patterns take for an ASCII letter or a digit though it is none."""
    import regex

    beyond_ascii = "".join(map(chr, (*range(0x80, 0xD800), *range(0xE000, sys.maxunicode + 1))))
    found = {*regex.findall(r"(?i)[a-z]|\d", beyond_ascii), *re.findall(r"(?i)[a-z]|\d", beyond_ascii)}
    return f"[{''.join(map(_span, _ranges(sorted(map(ord, found)))))}]"


def _ranges(points: list[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1] = (spans[-1][0], point)
        else:
            spans.append((point, point))
    return spans


def _span(span: tuple[int, int]) -> str:
    return rf"\x{{{span[0]:X}}}-\x{{{span[1]:X}}}"
