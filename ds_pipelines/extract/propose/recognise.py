"""Presidio's pattern recognisers over a column's values: offline, with no language model.

What belongs here: which share of some values holds something that identifies. What does not: finding it in free text
in order to mask it.
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
    from ds_pipelines.extract.free_text.engine import build_engine

    return build_engine()
