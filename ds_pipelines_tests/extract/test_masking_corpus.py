"""Masking measured on a labelled corpus and on invented persons, in a real database, and on what is published.

The figures in docs/reference/free-text.md are held against what is measured here.
"""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines.extract import source
from ds_pipelines.extract.free_text.findings import FINDINGS
from ds_pipelines.extract.free_text.residual import GOLD, Residual, measure, ordinary_sentences
from ds_pipelines.extract.masking import Masker
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.publish import extract_state
from ds_pipelines.settings import PROJECT
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings

PAGE = PROJECT / "docs" / "reference" / "free-text.md"
POLICY = """
version: 1
schema: {schema}
tables:
  customers:
    description: Persons.
    rows: all
    key: [id]
    person: id
    known_by: {{names: [name]}}
    columns:
      id: {{treatment: {{pseudonym: customer}}, description: Who., because: It stands for somebody.}}
      name: {{treatment: drop, because: It says who it is.}}
  messages:
    description: What was written.
    rows: all
    key: [number]
    {person}
    columns:
      number: {{treatment: keep, description: Its number., because: A number is no person.}}
      {whose}
      body: {{treatment: {{free_text: masked}}, description: The text., because: It is needed and masked.}}
"""
LABEL = re.compile(r"\[[A-Z_]+\]")


def install(place: Settings, sql: Any, folder: Path, names: list[str], texts: list[str], *, owned: bool) -> Settings:
    sql("CREATE TABLE customers (id int PRIMARY KEY, name text)")
    sql("CREATE TABLE messages (number int PRIMARY KEY, id int, body text)")
    sql("INSERT INTO customers SELECT * FROM unnest(%s::int[], %s::text[])", (list(range(len(names))), names))
    sql(
        "INSERT INTO messages SELECT n, NULL, t FROM unnest(%s::int[], %s::text[]) AS m (n, t)",
        (list(range(len(texts))), texts),
    )
    column = "{treatment: {pseudonym: customer}, description: Whose., because: It stands for somebody.}"
    words = {"person": "person: id", "whose": f"id: {column}"}
    if not owned:
        words = {"person": "", "whose": "id: {treatment: drop, because: Always empty.}"}
    folder.mkdir(exist_ok=True)
    (folder / "shop.yaml").write_text(POLICY.format(schema=sql.schema, **words))
    return place.model_copy(update={"policies": folder})


def spans(texts: pl.Series, masked: pl.Series) -> pl.DataFrame:
    """What was masked, told from a text before and after."""
    rows = []
    for row, (before, after) in enumerate(zip(texts, masked, strict=True)):
        if before != after:
            pieces = map(re.escape, LABEL.split(after))
            match = re.fullmatch("(.+?)".join(pieces), before, re.DOTALL)
            assert match is not None
            rows += [(row, "MASKED", *match.span(group), 1.0) for group in range(1, match.re.groups + 1)]
    return pl.DataFrame(rows, schema=FINDINGS, orient="row")


def published(settings: Settings) -> pl.Series:
    store = SnapshotStore(settings.snapshots)
    [manifest] = store.manifests("messages")
    return pl.read_parquet(store.path(manifest.digest)).sort("number")["body"]


@pytest.fixture(scope="module")
def measured() -> dict[str, Residual]:
    return {}


@pytest.fixture
def corpus(
    place: Settings, sql: Any, tmp_path: Path, shared_data: Path, measured: dict[str, Residual]
) -> dict[str, Residual]:
    """The corpus and ordinary sentences as they were published, its persons being customers; extracted once."""
    if not measured:
        entries = json.loads((shared_data / "text" / "generated_large.json").read_text())
        gold = pl.DataFrame(
            [
                (row, span["entity_type"], span["start_position"], span["end_position"])
                for row, entry in enumerate(entries)
                for span in entry["spans"]
            ],
            schema=GOLD,
            orient="row",
        )
        persons = {
            span["entity_value"] for each in entries for span in each["spans"] if span["entity_type"] == "PERSON"
        }
        labelled, ordinary = [entry["full_text"] for entry in entries], ordinary_sentences()
        settings = install(place, sql, tmp_path / "policies", sorted(persons), labelled + ordinary, owned=False)
        extract_state("messages", settings)
        after = published(settings)
        for name, texts, known in (("labelled", labelled, gold), ("ordinary", ordinary, GOLD.to_frame())):
            before = pl.Series(texts)
            part = after.head(len(labelled)) if name == "labelled" else after.tail(len(ordinary))
            measured[name] = measure(before, known, spans(before, part))
    return measured


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
def test_what_identifies_is_not_in_the_published_texts(corpus: dict[str, Residual], entity: str, least: float) -> None:
    found = corpus["labelled"].by_entity.filter(pl.col("entity") == entity)
    assert found["places"].item() > 10
    assert found["recall"].item() >= least


@pytest.mark.parametrize("texts", ["labelled", "ordinary"])
def test_hardly_an_ordinary_word_is_masked_in_the_published_texts(corpus: dict[str, Residual], texts: str) -> None:
    assert corpus[texts].tokens > 5_000
    assert corpus[texts].per_thousand <= 1


def test_the_docs_tell_the_recall_on_the_corpus(corpus: dict[str, Residual]) -> None:
    told = {entity: (places, recall) for entity, places, recall in table("entity")}
    assert len(told) > 10
    measured = {
        entity: (f"{places:,}", f"{recall:.3f}") for entity, places, _, recall in corpus["labelled"].by_entity.rows()
    }
    assert told.items() <= measured.items()


def test_the_docs_tell_how_spellings_fare(place: Settings, sql: Any, tmp_path: Path, shared_data: Path) -> None:
    with (shared_data / "text" / "FakeNameGenerator.com_3000.csv").open(encoding="utf-8-sig") as file:
        names = [f"{row['GivenName']} {row['Surname']}" for row in csv.DictReader(file)]
    settings = install(place, sql, tmp_path / "policies", names, [], owned=True)
    policy = load(settings.policies / "shop.yaml")
    with source.connect("extract", settings) as session:
        masker = Masker.of(policy, session.readable(policy, "messages"), session)
    assert masker is not None
    residual = masker.residual(len(names))
    assert residual.persons == len(names)
    assert residual.masked_per_thousand <= 1
    lines = "\n".join(f"| {each.written_as} | {each.own:.3f} | {each.others:.3f} |" for each in residual.recall)
    assert f"| written as | own | others |\n| --- | --- | --- |\n{lines}\n\n" in PAGE.read_text(), f"it is:\n{lines}"


def table(first: str) -> list[list[str]]:
    """The rows of the page's table whose first heading is this."""
    _, _, after = PAGE.read_text().partition(f"| {first} |")
    rows = after.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("| ").split("|")] for row in rows]
