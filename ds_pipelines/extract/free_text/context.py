"""Context words: a finding near a word such as "phone" or "iban" scores higher, exactly as Presidio has it.

What belongs here: Presidio's LemmaContextAwareEnhancer and its keywords, retold over spaCy's tokens with lower-cased
tokens as lemmas, reached only by texts in which one of the words occurs at all. What does not: finding.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
    from spacy.tokens import Doc

COLON = re.compile(":")
Scored = tuple[str, int, int, float]
"""A finding: its entity, where it starts and ends (in characters), its score."""


class ContextWords:
    """Raises a score where one of a recogniser's context words stands before the finding."""

    def __init__(self, engine: AnalyzerEngine, language: str) -> None:
        self._enhancer: LemmaContextAwareEnhancer = engine.context_aware_enhancer
        self._tokenize: Callable[[str], Doc] = engine.nlp_engine.get_nlp(language).tokenizer

        @lru_cache(maxsize=100_000)
        def is_keyword(lemma: str) -> bool:
            nlp = engine.nlp_engine
            function_word = nlp.is_stopword(lemma, language) or nlp.is_punct(lemma, language)
            return not function_word and lemma not in {"-PRON-", "be"}

        self._is_keyword = is_keyword

    def enhance(self, text: str, found: Iterable[tuple[str, int, int, float, Sequence[str]]]) -> list[Scored]:
        """Return the findings as (entity, start, end, score), scored in the light of the words before them.

        Args:
            text: the whole text.
            found: entity, start, end, score and its recogniser's context words, in lower case.
        """
        lowered = text.lower()
        surroundings: _Surroundings | None = None
        scored = []
        for entity, start, end, score, words in found:
            present = [word for word in words if word in lowered or not word.isascii()]
            if present and surroundings is None:
                surroundings = _Surroundings(text, self._tokenize(text), self._is_keyword)
            if present and surroundings is not None and self._supported(surroundings, start, present):
                scored.append((entity, start, end, self._raised(score)))
            else:
                scored.append((entity, start, end, score))
        return scored

    def _supported(self, surroundings: _Surroundings, start: int, words: Sequence[str]) -> bool:
        enhancer = self._enhancer
        near = surroundings.before(start, enhancer.context_prefix_count + 1)
        near += surroundings.after(start, enhancer.context_suffix_count + 1)
        if enhancer.context_matching_mode == "whole_word":
            return any(word in near for word in words)
        return any(word in keyword for word in words for keyword in near)

    def _raised(self, score: float) -> float:
        raised: float = score + self._enhancer.context_similarity_factor
        least: float = self._enhancer.min_score_with_context_similarity
        most: float = self._enhancer.MAX_SCORE
        return min(max(raised, least), most)


class _Surroundings:
    """The keywords of one text, by place. A token that holds a colon counts by its parts, wherever these occur."""

    def __init__(self, text: str, tokens: Doc, is_keyword: Callable[[str], bool]) -> None:
        self._tokens = tokens
        self._ends: list[int] = tokens.to_array(["IDX", "LENGTH"]).sum(axis=1).tolist()
        self._is_keyword = is_keyword
        self._parts: set[str] = set()
        for colon in COLON.finditer(text):
            lemma = tokens[self._token_at(colon.start())].lower_
            if is_keyword(lemma):
                self._parts.update(lemma.split(":"))

    def before(self, start: int, count: int) -> list[str]:
        """Return up to `count` keywords from the token at `start` backwards, that token's own included."""
        return self._walk(range(self._token_at(start), -1, -1), count)

    def after(self, start: int, count: int) -> list[str]:
        """Return up to `count` keywords from the token at `start` onwards, that token's own included."""
        return self._walk(range(self._token_at(start), len(self._ends)), count)

    def _token_at(self, place: int) -> int:
        return bisect_right(self._ends, place)

    def _walk(self, places: range, count: int) -> list[str]:
        found: list[str] = []
        for place in places:
            if len(found) == count:
                break
            lemma = self._tokens[place].lower_
            if (":" not in lemma and self._is_keyword(lemma)) or lemma in self._parts:
                found.append(lemma)
        return found
