"""Presidio's pattern recognisers over a column's values: offline, with no language model.

What belongs here: which share of some values holds something that identifies. What does not: finding it in free text
in order to mask it.

Presidio's e-mail recogniser would download the public-suffix list; here it uses the one that tldextract brings.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from presidio_analyzer import AnalyzerEngine

LANGUAGE = "en"
LIKELY = 0.4
"""Score from which a finding counts: below are digits that could be anything."""
MOST_VALUES = 200


def recognised(values: Iterable[str]) -> Mapping[str, float]:
    """The share of values in which each kind of entity is found, of at most `MOST_VALUES` of them; most first."""
    looked_at = list(values)[:MOST_VALUES]
    found: Counter[str] = Counter()
    for value in looked_at:
        findings = _engine().analyze(value, language=LANGUAGE, score_threshold=LIKELY)
        found.update({finding.entity_type for finding in findings} - {"DATE_TIME"})
    # An e-mail address holds what is a URL, too: the more telling kind first.
    order = sorted(found, key=lambda entity: (-found[entity], entity == "URL", entity))
    return {entity: found[entity] / len(looked_at) for entity in order}


@lru_cache(maxsize=1)
def _engine() -> AnalyzerEngine:
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import EmailRecognizer, SpacyRecognizer

    suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text).fqdn)

    class BlankEngine(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": LANGUAGE, "model_name": "blank"}])
            self.nlp = {LANGUAGE: spacy.blank(LANGUAGE)}  # type: ignore[assignment]  # so declared by Presidio

    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=[LANGUAGE])
    chosen = [
        OfflineEmailRecognizer() if type(recogniser) is EmailRecognizer else recogniser
        for recogniser in registry.recognizers
        if not isinstance(recogniser, SpacyRecognizer)
    ]
    return AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=chosen, supported_languages=[LANGUAGE]),
        nlp_engine=BlankEngine(),
        supported_languages=[LANGUAGE],
    )
