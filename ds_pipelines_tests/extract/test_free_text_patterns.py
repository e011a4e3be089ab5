"""The findings over a column are Presidio's own: entity, place, exact score and order."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import polars as pl
import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, Pattern, PatternRecognizer
from presidio_analyzer.predefined_recognizers import UrlRecognizer, UsBankRecognizer

from ds_pipelines.errors import LanguageModelError, RecognizerError, UnencodableTextError
from ds_pipelines.extract.free_text import evaluation, gates, phones
from ds_pipelines.extract.free_text.engine import build_engine, custom_recognizers, default_recognizers
from ds_pipelines.extract.free_text.findings import FINDINGS, Finding
from ds_pipelines.extract.free_text.mutations import FRAGMENTS, mutated
from ds_pipelines.extract.free_text.patterns import PatternFinder

DATA = Path(__file__).parents[3] / "shared" / "data"
CORPUS = DATA / "text" / "generated_large.json"
TEMPLATES = DATA / "text" / "templates.txt"
NAUGHTY = DATA / "adversarial" / "naughty_strings.json"
MUTATIONS = 2_000
SENTENCES = [
    "Please call me on my mobile phone, 212-555-5555 or +44 20 7946 0958 ext. 12, before 12/03/2019.",
    "My e-mail is joe.o'neil@ex-ample.co.uk and the website www.example.com/a?b=c",
    "Pay GB82 WEST 1234 5698 7654 32 from credit card 4111 1111 1111 1111; SSN 078-05-1120.",
    "Server 10.0.0.1 (2001:db8::1) answered 00:1A:2b:3c:4d:5e at 2020-02-03T10:11:12Z.",
    "Nothing to be found in here at all, in 2001 or later.",
]


@pytest.fixture(scope="module")
def engine() -> AnalyzerEngine:
    return build_engine()


@pytest.fixture(scope="module")
def finder(engine: AnalyzerEngine) -> PatternFinder:
    return PatternFinder(engine)


def presidio(engine: AnalyzerEngine, texts: list[str]) -> list[list[Finding]]:
    found = BatchAnalyzerEngine(engine).analyze_iterator(texts, language="en", batch_size=256)
    return [[Finding(one.entity_type, one.start, one.end, one.score) for one in results] for results in found]


def differences(finder: PatternFinder, texts: list[str]) -> list[str]:
    expected = presidio(finder.engine, texts)
    return [text for text, ours, theirs in zip(texts, finder.find_in(texts), expected, strict=True) if ours != theirs]


def test_nothing_takes_the_slow_way_with_the_installed_presidio(finder: PatternFinder) -> None:
    assert evaluation.presidio_is_as_retold()
    assert all(gates.gate_of(found) or phones.understood(found) for found in default_recognizers())


def test_findings_of_ordinary_sentences_are_presidios(finder: PatternFinder) -> None:
    assert differences(finder, SENTENCES) == []
    assert [finding.entity for finding in finder.find_in(SENTENCES[4:])[0]] == []


@pytest.mark.skipif(not CORPUS.exists(), reason=f"{CORPUS.name} is not beside this checkout")
def test_findings_of_the_synthetic_corpus_and_its_templates_are_presidios(finder: PatternFinder) -> None:
    texts = [entry["full_text"] for entry in json.loads(CORPUS.read_text())]
    texts += TEMPLATES.read_text(errors="replace").splitlines()
    assert differences(finder, texts) == []


@pytest.mark.skipif(not NAUGHTY.exists(), reason=f"{NAUGHTY.name} is not beside this checkout")
def test_findings_of_naughty_strings_are_presidios(finder: PatternFinder) -> None:
    texts = json.loads(NAUGHTY.read_text())
    assert differences(finder, [*texts, *(f"{text}\0 call +1 212 555 5555\0" for text in texts)]) == []


def test_findings_of_mutated_texts_are_presidios(finder: PatternFinder) -> None:
    assert differences(finder, list(mutated(SENTENCES, MUTATIONS, seed=11))) == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=8)), max_size=6).map("".join))
def test_findings_of_any_text_are_presidios(finder: PatternFinder, text: str) -> None:
    assert differences(finder, [text]) == []


def test_a_megabyte_is_searched_whole(finder: PatternFinder) -> None:
    filler = "quiet words " * 45_000
    text = f"{filler} joe@example.com {filler}"
    assert len(text) > 1_000_000
    assert [finding.entity for finding in finder.find_in([text])[0]] == ["EMAIL_ADDRESS", "URL"]
    assert finder.find_in(["x" * 1_000_000]) == [[]]


def test_a_lone_surrogate_is_refused_by_name(finder: PatternFinder) -> None:
    with pytest.raises(UnencodableTextError, match="Text 1 "):
        finder.find_in(["fine", "half \ud800 a pair"])


def test_null_empty_and_no_texts_hold_nothing(finder: PatternFinder) -> None:
    assert finder.find(pl.Series("body", [None, ""], dtype=pl.String)).equals(FINDINGS.to_frame())
    assert finder.find(pl.Series("body", [], dtype=pl.String)).schema == FINDINGS
    assert finder.find(pl.Series("body", [None, None], dtype=pl.Null)).is_empty()


def test_batch_boundaries_do_not_change_the_findings(finder: PatternFinder) -> None:
    assert finder.find_in(SENTENCES) == [found for text in SENTENCES for found in finder.find_in([text])]


def test_what_presidio_takes_for_ascii_is_called_unusual() -> None:
    beyond = "".join(chr(point) for point in range(0x80, sys.maxunicode + 1) if not 0xD800 <= point < 0xE000)
    like_ascii = {*regex.findall(r"(?i)[a-z]|\d", beyond), *re.findall(r"(?i)[a-z]|\d", beyond)}
    assert set(pl.Series([beyond]).str.extract_all(gates.unusual()).item()) == like_ascii


def test_every_top_level_domain_of_the_url_recogniser_starts_with_two_letters() -> None:
    domains = re.findall(r"\(\?:([^()]*)\)", UrlRecognizer.PATTERNS[1].regex)
    listed = [domain for domain in domains if not domain.startswith("/")]
    assert len(listed) > 400
    assert all(re.match("[a-z]{2}", domain) for domain in listed)


def test_a_recogniser_with_other_patterns_loses_its_gate() -> None:
    changed = UsBankRecognizer(patterns=[Pattern("four digits", r"\b[0-9]{4}\b", 0.4)])
    finder = PatternFinder(build_engine([changed, *default_recognizers()[2:]]))
    assert gates.gate_of(changed) is None
    assert differences(finder, ["account 1234", *SENTENCES]) == []
    assert finder.find_in(["account 1234"]) == [[Finding("US_BANK_NUMBER", 8, 12, 0.75)]]


def test_recognisers_from_configuration_are_applied_with_their_context() -> None:
    ticket = {
        "name": "tickets",
        "supported_entity": "TICKET",
        "patterns": [{"name": "ticket", "regex": r"\bT-\d{3}\b", "score": 0.3}],
        "context": ["ticket", "Ärger"],
    }
    words = {"name": "projects", "supported_entity": "PROJECT", "deny_list": ["Blue Moon"]}
    finder = PatternFinder(build_engine([*default_recognizers(), *custom_recognizers([ticket, words])]))
    texts = ["ticket T-123 about blue moon", "großer Ärger T-999", "T-123", *SENTENCES]
    assert differences(finder, texts) == []
    assert finder.find_in(texts)[0] == [Finding("PROJECT", 19, 28, 1.0), Finding("TICKET", 7, 12, 0.3 + 0.35)]


@pytest.mark.parametrize("entry", [{"name": "empty"}, {"supported_entity": "X", "patterns": [{"regex": "("}]}])
def test_a_recogniser_that_cannot_be_made_is_refused_by_its_number(entry: dict[str, object]) -> None:
    with pytest.raises(RecognizerError, match="Custom recogniser 1 "):
        custom_recognizers([entry])


def test_an_engine_with_thresholds_is_left_to_presidio(engine: AnalyzerEngine) -> None:
    recognizers = default_recognizers()
    recognizers[0].score_thresholds = {"default": 0.9}
    finder = PatternFinder(build_engine(recognizers))
    assert not evaluation.retellable(finder.engine)
    assert differences(finder, SENTENCES) == []


def test_a_recogniser_of_another_kind_is_left_to_presidio() -> None:
    class Whole(PatternRecognizer):
        def enhance_using_context(self, text, raw_recognizer_results, *_, **__):  # type: ignore[no-untyped-def]
            return raw_recognizer_results

    whole = Whole("WHOLE", patterns=[Pattern("all", "^.+$", 0.2)])
    assert differences(PatternFinder(build_engine([whole])), SENTENCES) == []


def test_a_model_that_is_not_installed_is_not_downloaded() -> None:
    with pytest.raises(LanguageModelError, match="en_no_such_model"):
        build_engine(model="en_no_such_model")
