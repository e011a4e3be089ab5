"""Presidio's pattern recognisers over a sample of the texts that are about to be published.

What belongs here: that one look. What does not: the exact search for known people (`search`), and free text.

No name is found so; what is found is what has the form of an e-mail, a payment card, an account, an address of a
network, a phone. Only a text of at least 6 characters with a digit or an @ can hold one: where there is none, Presidio
is not even loaded. Nothing is downloaded: the list of public suffixes is the one that comes with `tldextract`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

SAMPLE = 200
"""Texts of one extract that are looked at."""
SHORTEST = 6
"""Characters of what is looked for: of a@b.cd, the shortest."""
CERTAIN = 1.0
"""The score of what a checksum or the list of public suffixes confirms."""


def findings(texts: Iterable[str], *, sample: int = SAMPLE) -> tuple[int, dict[str, int], dict[str, int]]:
    """How many texts were looked at, and how many findings of each kind are certain, and are not.

    Args:
        texts: Distinct texts that could hold something.
        sample: How many to look at; which, depends on the texts alone.
    """
    possible = sorted(texts)
    step = max(len(possible) // sample, 1) if sample else 1
    chosen = possible[::step][:sample]
    certain: dict[str, int] = {}
    uncertain: dict[str, int] = {}
    for text in chosen:
        for recogniser in _recognisers():
            for result in recogniser.analyze(text, recogniser.supported_entities, None):
                kinds = certain if result.score >= CERTAIN else uncertain
                kinds[result.entity_type] = kinds.get(result.entity_type, 0) + 1
    return len(chosen), certain, uncertain


def could_hold(texts: pl.Series) -> pl.Series:
    """Whether each text could hold what a pattern finds."""
    return (texts.str.len_chars() >= SHORTEST) & texts.str.contains(r"[\d@]")


@cache
def _recognisers() -> list[Any]:
    import tldextract.tldextract
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IbanRecognizer,
        IpRecognizer,
        PhoneRecognizer,
        UsSsnRecognizer,
    )

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    kinds = (CreditCardRecognizer, EmailRecognizer, IbanRecognizer, IpRecognizer, PhoneRecognizer, UsSsnRecognizer)
    return [kind() for kind in kinds]
