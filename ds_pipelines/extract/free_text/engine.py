"""Presidio as it is run here: its pattern recognisers for English, offline, with no language model unless one is named.

What belongs here: which recognisers there are, custom ones from configuration, and the engine that serves as the
reference and as the path for everything that `patterns` does not understand. What does not: any faster evaluation.
Two things differ from Presidio as shipped. The e-mail recogniser never downloads the public-suffix list: it uses the
one that tldextract brings. And a blank pipeline has no lemmas, with which context words could never fire: lower-cased
tokens stand in for them.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from presidio_analyzer import AnalyzerEngine, EntityRecognizer, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import EmailRecognizer, SpacyRecognizer

from ds_pipelines.errors import LanguageModelError, RecognizerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spacy.language import Language
    from spacy.tokens import Doc

LANGUAGE = "en"
LONGEST_TEXT = 2**31 - 1  # spaCy's own limit of a million characters guards models that a blank pipeline has not
LEMMA_STAND_IN = "ds_lower_case_lemmas"


class OfflineEmailRecognizer(EmailRecognizer):  # type: ignore[misc]  # not followed by the type checker
    """Presidio's e-mail recogniser with the public-suffix list that is installed, never a downloaded one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"name": EmailRecognizer.__name__, **options})

    def validate_result(self, pattern_text: str) -> bool:
        """Tell whether the domain of `pattern_text` ends in a public suffix."""
        return bool(_suffixes()(pattern_text).fqdn)


@lru_cache(maxsize=1)
def _suffixes() -> Any:
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def default_recognizers() -> list[EntityRecognizer]:
    """Return Presidio's default recognisers for English that need no language model, in Presidio's order."""
    registry = RecognizerRegistry()
    with _quiet():
        registry.load_predefined_recognizers(languages=[LANGUAGE])
    return [
        OfflineEmailRecognizer(context=found.context) if type(found) is EmailRecognizer else found
        for found in registry.recognizers
        if not isinstance(found, SpacyRecognizer)
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Presidio from warning about each recogniser of another language that it leaves out."""
    logger = logging.getLogger("presidio-analyzer")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def custom_recognizers(configuration: Iterable[Mapping[str, Any]]) -> list[EntityRecognizer]:
    """Return pattern recognisers from configuration, in the form of Presidio's own YAML.

    Args:
        configuration: one mapping a recogniser: `name`, `supported_entity`, and `patterns` (each with `name`, `regex`
            and `score`) or a `deny_list`; optionally `context`, `deny_list_score`.

    Raises:
        RecognizerError: an entry cannot be made into a recogniser; names the entry and the reason.
    """
    recognizers = []
    for number, entry in enumerate(configuration, start=1):
        try:
            recognizers.append(PatternRecognizer.from_dict({"supported_language": LANGUAGE, **entry}))
        except (KeyError, TypeError, ValueError, AttributeError) as reason:
            raise RecognizerError(number, str(entry.get("name", "unnamed")), str(reason)) from reason
    return recognizers


def build_engine(recognizers: Sequence[EntityRecognizer] | None = None, model: str | None = None) -> AnalyzerEngine:
    """Build Presidio's engine with the given recognisers (default: Presidio's own for English).

    Args:
        recognizers: what to look for; shared, not copied.
        model: a spaCy model's package name or folder, whose named entities are added to the findings.

    Raises:
        LanguageModelError: the model is not installed or cannot be loaded. It is never downloaded.
    """
    chosen = list(default_recognizers() if recognizers is None else recognizers)
    nlp = _blank() if model is None else _load(model)
    if model is not None:
        chosen.append(SpacyRecognizer(supported_language=LANGUAGE))
    return AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=chosen, supported_languages=[LANGUAGE]),
        nlp_engine=_Pipeline(nlp),
        supported_languages=[LANGUAGE],
    )


class _Pipeline(SpacyNlpEngine):  # type: ignore[misc]  # not followed by the type checker
    """A spaCy pipeline that is already in memory."""

    def __init__(self, nlp: Language) -> None:
        super().__init__(
            models=[{"lang_code": LANGUAGE, "model_name": nlp.meta["name"]}],
            ner_model_configuration=NerModelConfiguration(labels_to_ignore=["CARDINAL", "ORDINAL", "QUANTITY"]),
        )
        self.nlp = {LANGUAGE: nlp}


def _blank() -> Language:
    import spacy

    nlp = spacy.blank(LANGUAGE)
    return _with_lemmas(nlp)


def _load(model: str) -> Language:
    import spacy

    try:
        nlp = spacy.load(model)
    except (OSError, ValueError, ImportError) as reason:
        raise LanguageModelError(model, type(reason).__name__) from reason
    return nlp if "lemmatizer" in nlp.pipe_names else _with_lemmas(nlp)


def _with_lemmas(nlp: Language) -> Language:
    from spacy.language import Language as Registry

    if not Registry.has_factory(LEMMA_STAND_IN):
        Registry.component(LEMMA_STAND_IN, func=_lower_case_lemmas)
    nlp.add_pipe(LEMMA_STAND_IN)
    nlp.max_length = LONGEST_TEXT
    return nlp


def _lower_case_lemmas(doc: Doc) -> Doc:
    for token in doc:
        token.lemma_ = token.lower_
    return doc
