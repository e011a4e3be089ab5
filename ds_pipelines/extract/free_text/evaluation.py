"""A recogniser's own patterns and validators on a piece of text, and Presidio's de-duplication, over plain tuples.

What belongs here: PatternRecognizer's loop over its patterns and EntityRecognizer.remove_duplicates, retold without
the explanations, logs and clocks that cost Presidio most of its time; whether the installed Presidio still is the one
retold. What does not: where to look (`gates`, `patterns`).
"""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Any

import regex
from presidio_analyzer import AnalyzerEngine, EntityRecognizer, PatternRecognizer
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ds_pipelines.extract.free_text.context import Scored
    from ds_pipelines.extract.free_text.gates import Gate

RETOLD = (
    AnalyzerEngine.analyze,
    AnalyzerEngine._enhance_using_context,
    EntityRecognizer.remove_duplicates,
    EntityRecognizer.enhance_using_context,
    PatternRecognizer,
    LemmaContextAwareEnhancer,
    NlpArtifacts,
)
LEAST: float = EntityRecognizer.MIN_SCORE
MOST: float = EntityRecognizer.MAX_SCORE
DERIVED_FROM = "cdee461243b42a8a"
"""Digest of the source of what is retold here and in `context`."""


@lru_cache(maxsize=1)
def presidio_is_as_retold() -> bool:
    """Tell whether the installed Presidio has the code that this package retells."""
    return code_digest() == DERIVED_FROM


def code_digest() -> str:
    """Return a digest of Presidio's code that this package retells."""
    return sha256("\n".join(map(inspect.getsource, RETOLD)).encode()).hexdigest()[:16]


def retellable(engine: AnalyzerEngine) -> bool:
    """Tell whether the engine does nothing but what is retold: no thresholds, no enhancers of a recogniser's own."""
    plain = all(
        type(recognizer).enhance_using_context is EntityRecognizer.enhance_using_context
        and not recognizer.score_thresholds
        for recognizer in engine.registry.recognizers
    )
    enhancer = type(engine.context_aware_enhancer) is LemmaContextAwareEnhancer
    return plain and enhancer and not engine.default_score_threshold and presidio_is_as_retold()


class Evaluation:
    """One pattern recogniser, to be run on pieces of text that no finding of it reaches beyond."""

    def __init__(self, recognizer: PatternRecognizer, gate: Gate) -> None:
        parts = gate.parts or {}
        self.opens = re.compile(gate.opens)
        self.context = [word.lower() for word in recognizer.context or ()]
        self._entity: str = recognizer.supported_entities[0]
        self._validate = recognizer.validate_result
        self._invalidate = recognizer.invalidate_result
        flags = recognizer.global_regex_flags
        self._patterns: list[tuple[Any, float, re.Pattern[str] | None]] = [
            (regex.compile(pattern.regex, flags), pattern.score, re.compile(parts[place]) if place in parts else None)
            for place, pattern in enumerate(recognizer.patterns)
        ]

    def run(self, piece: str) -> list[Scored]:
        """Return what the recogniser finds in `piece`, without duplicates, in no order that matters."""
        found: set[Scored] = set()
        for pattern, score, opens in self._patterns:
            if opens is None or opens.search(piece):
                for match in pattern.finditer(piece):
                    start, end = match.span()
                    if start < end:
                        found.add((self._entity, start, end, self._score(match.group(), score)))
        return without_duplicates(found) if len(found) > 1 else [one for one in found if one[3] > 0]

    def _score(self, matched: str, score: float) -> float:
        valid = self._validate(matched)
        if self._invalidate(matched):
            return LEAST
        if valid is None:
            return score
        return MOST if valid else LEAST


def without_duplicates(found: Iterable[Scored]) -> list[Scored]:
    """Return the findings as EntityRecognizer.remove_duplicates does: none within an equally sure one of its entity.

    Ordered by falling score, then by place.
    """
    by_entity = sorted(set(found), key=lambda one: (one[0], one[1], -one[2], -one[3]))
    kept = []
    for _, same_entity in groupby(by_entity, key=lambda one: one[0]):
        reaching: list[Scored] = []
        for one in same_entity:
            _, start, end, score = one
            if score == 0:
                continue
            reaching = [other for other in reaching if other[2] >= start]
            if not any(other[1] <= start and end <= other[2] and score <= other[3] for other in reaching):
                kept.append(one)
                reaching.append(one)
    return sorted(kept, key=lambda one: (-one[3], one[1], one[1] - one[2]))
