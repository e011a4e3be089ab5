"""What masking misses is measured: recall by entity, over-masking, and how people's spellings fare."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ds_pipelines.extract.free_text.engine import build_engine
from ds_pipelines.extract.free_text.findings import FINDINGS
from ds_pipelines.extract.free_text.known import KnownPersons, PersonColumns
from ds_pipelines.extract.free_text.mask import masked, merged
from ds_pipelines.extract.free_text.patterns import PatternFinder
from ds_pipelines.extract.free_text.residual import GOLD, SPELLINGS, Residual, measure, probe

DATA = Path(__file__).parents[3] / "shared" / "data" / "text"
CORPUS = DATA / "generated_large.json"
ORDINARY = pl.Series(
    [
        "The rose in the white vase will bloom in May, and the young king may mark the page with a bill.",
        "Grace and hope are good, but a joy shared is a long summer day on the green hill by the lake.",
        "We will bring the black box to the church hall at 10 on Monday; the price is 12.50 for each piece.",
        "Will the parcel come by next week? The stock is low, so please order early and save a penny.",
        "In 2001 the new house had 3 rooms, a brown door and a stone wall; the cook was a fine old man.",
    ]
)


@pytest.fixture(scope="module")
def finder() -> PatternFinder:
    return PatternFinder(build_engine())


def people(names: list[str]) -> KnownPersons:
    frame = pl.DataFrame({"id": range(len(names)), "name": names})
    return KnownPersons.of(frame, PersonColumns("id", names=["name"]))


@pytest.fixture(scope="module")
def corpus(finder: PatternFinder) -> Residual:
    if not CORPUS.exists():
        pytest.skip(f"{CORPUS.name} is not beside this checkout")
    entries = json.loads(CORPUS.read_text())
    texts = pl.Series([entry["full_text"] for entry in entries])
    spans = [
        (row, span["entity_type"], span["start_position"], span["end_position"])
        for row, entry in enumerate(entries)
        for span in entry["spans"]
    ]
    gold = pl.DataFrame(spans, schema=GOLD, orient="row")
    known = people(sorted({texts[row][start:end] for row, entity, start, end in spans if entity == "PERSON"}))
    return measure(texts, gold, merged(known.find(texts), finder.find(texts)))


@pytest.mark.parametrize(
    ("entity", "least"),
    [
        ("PERSON", 0.98),
        ("EMAIL_ADDRESS", 1.0),
        ("IBAN_CODE", 1.0),
        ("US_SSN", 1.0),
        ("IP_ADDRESS", 1.0),
        ("DOMAIN_NAME", 1.0),
        ("CREDIT_CARD", 0.99),
    ],
)
def test_recall_on_the_synthetic_corpus_when_its_persons_are_known(corpus: Residual, entity: str, least: float) -> None:
    assert corpus.recall(entity) >= least


def test_over_masking_on_the_synthetic_corpus(corpus: Residual) -> None:
    assert corpus.tokens > 20_000
    assert corpus.per_thousand <= 1


def test_over_masking_of_ordinary_sentences_whose_words_are_also_names(finder: PatternFinder) -> None:
    known = people(["Rose White", "Will Young", "Mark Page", "Grace King", "May Summer", "Bill Hill", "Joy", "Penny"])
    found = measure(ORDINARY, GOLD.to_frame(), merged(known.find(ORDINARY), finder.find(ORDINARY)))
    assert (found.tokens, found.masked_needlessly) == (105, 0)


def test_the_probe_tells_which_spellings_are_found_of_the_rows_own_person() -> None:
    names = ["Annette Kovalenko", "Björn Östlund", "Carlotta de Vries"]
    texts, gold = probe(names)
    owners = pl.Series([row // len(SPELLINGS) for row in range(len(texts))])
    residual = measure(texts, gold, merged(people(names).find(texts, owners)))
    missed = residual.by_entity.filter(pl.col("recall") < 1)["entity"].to_list()
    assert missed == ["typo"]


def test_a_place_half_masked_is_missed_and_words_beside_it_are_counted() -> None:
    texts = pl.Series(["ask Ann Lee now"])
    gold = pl.DataFrame([(0, "PERSON", 4, 11)], schema=GOLD, orient="row")
    half = pl.DataFrame([(0, "PERSON", 8, 15, 1.0)], schema=FINDINGS, orient="row")
    residual = measure(texts, gold, half)
    assert (residual.recall("PERSON"), residual.tokens, residual.masked_needlessly) == (0.0, 2, 1)
    assert residual.per_thousand == 500


def test_a_named_model_adds_its_entities(tmp_path: Path) -> None:
    import spacy
    from spacy.training import Example

    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner").add_label("PERSON")
    sentences = [("Zorblax called", (0, 7)), ("we met Zorblax", (7, 14)), ("nobody called", None)]
    examples = [
        Example.from_dict(nlp.make_doc(text), {"entities": [(*span, "PERSON")] if span else []})
        for text, span in sentences
    ]
    nlp.initialize(lambda: examples)
    for _ in range(40):
        nlp.update(examples)
    nlp.to_disk(tmp_path / "tiny")

    texts = pl.Series(["we met Zorblax at 10.0.0.1"])
    finder = PatternFinder(build_engine(model=str(tmp_path / "tiny")))
    assert masked(texts, merged(finder.find(texts))).item() == "we met [PERSON] at [IP]"
