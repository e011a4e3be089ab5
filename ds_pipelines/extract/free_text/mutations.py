"""Texts that nobody would write: fragments of identifiers, torn, joined and strewn with odd characters.

What belongs here: making them, the same for the same seed, for the tests and the benchmark that hold the fast search
against Presidio. What does not: judging anything.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FRAGMENTS = (
    "(212) 555-5555 ext. 12",
    "+44 20 7946 0958",
    "+1 212 555 5555 x123",
    "0049 30 901820",
    "030 901820/21",
    "GB82 WEST 1234 5698 7654 32",
    "gb82west12345698765432",
    "4111 1111 1111 1111",
    "378282246310005",
    "078-05-1121",
    "912-70-1234",
    "943 476 5919",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "2020-02-03T10:11:12.123Z",
    "12/03/2019",
    "3-JAN-2020",
    "jan-20",
    "a.b-c@ex-ample.co.uk",
    "jo@x.museum",
    '"https://www.foo.com/x?y"',
    "'foo.de'",
    "http://x.co/a(b)",
    "1.2.3.4/24",
    "::ffff:1.2.3.4",
    "2001:db8::1%eth0/64",
    "fe80::1",
    "::",
    "AB1234563",
    "00:1A:2b:3c:4d:5e",
    "aaaa.bbbb.cccc",
    "123e4567-e89b-42d3-a456-426614174000",
    "A1234567",
    "H12345678",
    "]]12 A-Z]]123",
    "my phone number is",
    "credit card visa",
    "iban bank",
    "ssn",
    "driver license",
    "website link:",
    "email:",
    "ip:",
    "mac address",
    "passport# us",
    "call 555-1234",
    "1-800-555-0199 x 9",
    "tel:+1-201-555-0123;ext=55",
    "12 34/ x 55",
    "(020) 7946-0958 (030) 901820",
    "2012-01-02 08:00",
    "12(3): 211-227 (2003)",
    "0 90 11 2345 6789",
    "55 11 91234-5678",
    "01115512345678",
    "000800 1234567",
    "9 1800 123 4567",
    "972-50-123-4567",
    "+972 0 50 1234567",
    "18002345678 18002345679",
    "0012125551234#12",
)
"""Identifiers, near-identifiers and context words, valid and not."""

ODD = (
    "\u00a0\u2009\u200b\u2010\u2013\u2014\uff0d\uff08\uff09\uff0b\uff0f\u00ad\u3000\u2060\u0130\u017f\u212a\u0131"
    "\u0660\u0967\uff11\u00e9\u0301\u00df\u03a3\u20ac\u0000\u0001\u000b\u000c\u0085\u2028\U0001f600\u4e2d\u0627"
)
CHARACTERS = "0123456789-. ()/+:@'\"\n\t[]abzAZxX#,;~_%$" + ODD
LONGEST = 500


def mutated(texts: Sequence[str], count: int, seed: int) -> Iterator[str]:
    """Yield `count` texts made of pieces of `texts` and of fragments, each with one to eight changes."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(count):
        if chance.random() < 0.5:
            text = chance.choice(texts)[:LONGEST]
        else:
            text = " ".join(chance.choices(FRAGMENTS, k=chance.randint(1, 5)))
        for _ in range(chance.randint(1, 8)):
            text = _changed(text, chance)
        yield text


def _changed(text: str, chance: random.Random) -> str:
    place = chance.randint(0, len(text))
    before, after = text[:place], text[place:]
    changes = (
        lambda: before + chance.choice(CHARACTERS) + after,
        lambda: before + after[chance.randint(1, 3) :],
        lambda: before + chance.choice(FRAGMENTS) + after,
        lambda: f"{before} {chance.choice(FRAGMENTS)} {after}",
        lambda: before + chance.choice(CHARACTERS) + after[1:],
        lambda: text.upper() if chance.random() < 0.5 else text.lower(),
        lambda: before + str(chance.randint(0, 10 ** chance.randint(1, 16))) + after,
        lambda: before + text[: chance.randint(0, 30)] + after,
    )
    return chance.choice(changes)()
