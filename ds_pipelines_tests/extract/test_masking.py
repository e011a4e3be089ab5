"""Free text that the policy opts in is masked in the extract, in the scoring and on the screen, and proved."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import hypothesis
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ds_pipelines import postgres
from ds_pipelines.errors import (
    AbsentColumnError,
    LanguageModelError,
    PolicyError,
    ProofFailedError,
    SourceRefusedError,
    UnfitTreatmentError,
)
from ds_pipelines.extract import production, publish, source
from ds_pipelines.extract.free_text.known import KnownPersons, PersonColumns
from ds_pipelines.extract.free_text.patterns import PatternFinder
from ds_pipelines.extract.masking import Home, Masker
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.preview import preview
from ds_pipelines.extract.publish import extract_day, extract_days, extract_state
from ds_pipelines.extract.rotation import rotate
from ds_pipelines.extract.search import Sought, hits
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.extract.proofs import Proof, Proofs
    from ds_pipelines.settings import Settings

    Install = Callable[..., Settings]

POLICY = """
version: 1
schema: {schema}
{free_text}
tables:
  people:
    description: People.
    rows: all
    key: [id]
    person: id
    known_by: {known_by}
    columns:
      id: {{treatment: {{pseudonym: person}}, description: Who., because: It stands for somebody.}}
      first: {{treatment: drop, because: It says who it is.}}
      last: {{treatment: drop, because: It says who it is.}}
      email: {{treatment: drop, because: It says who it is.}}
      phone: {{treatment: drop, because: It says who it is.}}
      street: {{treatment: drop, because: It says who it is.}}
      login: {{treatment: drop, because: It says who it is.}}
  notes:
    description: Notes.
    rows: {rows}
    key: [note]
    {person}
    columns:
      note: {{treatment: {{pseudonym: note}}, description: The note., because: Its number is on a slip.}}
      id: {{treatment: {{pseudonym: {domain}}}, description: Whose., because: It stands for somebody.}}
      at: {{treatment: keep, description: When., because: Many share it.}}
      body: {{treatment: {{free_text: masked}}, description: What was said., because: It is needed and masked.}}
"""
KNOWN_BY = "{names: [[first, last]], emails: [email], phones: [phone], addresses: [street], identifiers: [login]}"
ADA, GRACE, WILL = 700_001, 700_002, 700_003


@pytest.fixture
def install(place: Settings, sql: Any, tmp_path: Path) -> Install:
    """Some people, notes about them (pairs of whose and what), and a policy that masks these."""
    sql("""
        CREATE TABLE people
            (id int PRIMARY KEY, first text, last text, email text, phone text, street text, login text);
        INSERT INTO people VALUES
            (700001, 'Ada', 'Lovelace', 'ada@engine.example', '+44 20 7946 0958', '12 St James''s Square',
                'enchantress'),
            (700002, 'Grace', 'Hopper', 'amazing@navy.example', NULL, NULL, 'cobol-60'),
            (700003, 'Will', 'Young', NULL, NULL, NULL, NULL);
        CREATE TABLE notes (note int PRIMARY KEY, id int, at date NOT NULL, body text);
    """)

    def install(*notes: tuple[int | None, str | None], **said: str) -> Settings:
        for number, (owner, body) in enumerate(notes, start=500_001):
            sql("INSERT INTO notes VALUES (%s, %s, %s, %s)", (number, owner, place.first_day, body))
        words = {"schema": sql.schema, "free_text": "", "known_by": KNOWN_BY, "rows": "all", "person": "person: id"}
        words |= {"domain": "person"} | said
        folder = tmp_path / "policies"
        folder.mkdir(exist_ok=True)
        (folder / "shop.yaml").write_text(POLICY.format(**words))
        return place.model_copy(update={"policies": folder})

    return install


def bodies(settings: Settings) -> list[str | None]:
    """The published texts, in the order in which they were written."""
    store = SnapshotStore(settings.snapshots)
    [manifest] = store.manifests("notes")
    published = pl.read_parquet(store.path(manifest.digest))
    real = production.transformed("notes", settings)  # in the order of the real key
    assert sorted(published["body"].fill_null("")) == sorted(real["body"].fill_null(""))
    return real["body"].to_list()


def masked(settings: Settings) -> list[str | None]:
    extract_state("notes", settings)
    return bodies(settings)


def masker(settings: Settings) -> Masker:
    policy = load(settings.policies / "shop.yaml")
    with source.connect("extract", settings) as session:
        made = Masker.of(policy, session.readable(policy, "notes"), session)
    assert made is not None
    return made


def test_what_identifies_somebody_is_replaced_by_what_it_is(install: Install) -> None:
    assert masked(
        install(
            (ADA, "Ada called. LOVELACE, Ada wrote from ada@engine.example or 020 7946 0958."),
            (ADA, "Sent to 12 St James's Square; her IBAN is GB82 WEST 1234 5698 7654 32."),
            (GRACE, "Ada came, and Ada Lovelace left; Grace Hopper, Hopper's ship"),
            (None, "ask Grace Hopper or somebody.else@example.com"),
            (None, "nothing to hide"),
            (None, None),
        )
    ) == [
        "[PERSON] called. [PERSON] wrote from [EMAIL] or [PHONE].",
        "Sent to [ADDRESS]; her IBAN is [IBAN].",
        "Ada came, and [PERSON] left; [PERSON], [PERSON]'s ship",
        "ask [PERSON] or [EMAIL]",
        "nothing to hide",
        None,
    ]


def test_what_the_exact_search_would_find_is_masked_too(install: Install) -> None:
    assert masked(
        install(
            (None, "login ENCHANTRESS, note 500003, customer 700002, not 7000021"),
            (None, "İ will young people xenchantressx"),
            (None, "quiet"),
        )
    ) == [
        "login [IDENTIFIER], note [IDENTIFIER], customer [IDENTIFIER], not 7000021",
        "İ [IDENTIFIER] people [IDENTIFIER]",
        "quiet",
    ]


def test_nothing_is_left_of_a_word_of_which_a_part_was_found(install: Install) -> None:
    notes = [(ADA, "Adawill young, Will Young's, d'Will Young'x and joe@example.com'Ada")]
    assert masked(install(*notes)) == ["[IDENTIFIER], [PERSON]'s, [IDENTIFIER] and [EMAIL]"]


def test_the_words_of_a_mask_are_not_taken_for_somebody_who_is_called_so(install: Install, sql: Any) -> None:
    settings = install((WILL, "write to joe@example.com, Iban said"))
    sql("UPDATE people SET login = 'email', first = 'Iban' WHERE id = 700003")
    assert masked(settings) == ["write to [EMAIL], [PERSON] said"]


def test_rows_of_nobody_have_no_owner(install: Install) -> None:
    assert masked(install((ADA, "Ada came"), person="", domain="guest")) == ["Ada came"]


def test_the_policy_adds_recognisers_context_and_words_that_are_no_names(install: Install) -> None:
    free_text = r"""
free_text:
  not_names: [ada]
  recognisers:
    - name: TICKET
      patterns: [{regex: 'T-\d{3}', score: 0.1}]
      context: [ticket]
    - name: PROJECT
      words: [Blue Moon]
"""
    notes = [(ADA, "Ada of ticket T-123, blue moon"), (None, "T-123 alone is a guess")]
    assert masked(install(*notes, free_text=free_text)) == [
        "Ada of ticket [TICKET], [PROJECT]",
        "T-123 alone is a guess",
    ]


def test_a_score_below_the_least_leaves_what_is_found_by_pattern_and_masks_who_is_known(install: Install) -> None:
    free_text = "free_text: {least_score: 1.0}"
    notes = [(None, "Ada Lovelace on 212-555-5555, joe@example.com")]
    assert masked(install(*notes, free_text=free_text)) == ["[PERSON] on 212-555-5555, [EMAIL]"]


def told(extract: Callable[..., object], *arguments: object) -> dict[str, Proof]:
    proofs: list[Proofs] = []
    extract(*arguments, on_proofs=proofs.append)
    return {proof.name: proof for proof in proofs[0].proofs}


def test_the_residual_risk_is_measured_published_and_shown(install: Install) -> None:
    settings = install((ADA, "Ada came"))
    proof = told(extract_state, "notes", settings)["free_text"]
    [manifest] = SnapshotStore(settings.snapshots).manifests("notes")
    [body] = [column for column in manifest.columns if column.name == "body"]
    assert body.residual is not None
    recall = {each.written_as: each for each in body.residual.recall}
    assert body.residual.persons == 3
    assert recall["full name"].own == recall["full name"].others == 1
    assert recall["First"].others == 0
    assert recall["First"].own == pytest.approx(1 / 3)  # Grace and Will are ordinary words
    assert body.residual.ordinary_words > 5_000
    assert body.residual.masked_per_thousand <= 1
    assert proof.figures["recall of full name"] == 1
    assert proof.figures["own names left"] == 0
    page = (settings.home / "reports" / "notes" / f"{settings.now().date()}.html").read_text()
    assert "Masked in their own row" in page
    assert "Lovelace" not in page
    assert [column.residual for column in manifest.columns if column.name != "body"] == [None] * 3


def test_an_extract_without_free_text_says_so(install: Install) -> None:
    assert told(extract_state, "people", install())["free_text"].found == "The extract has no free text"


def test_a_name_of_the_rows_own_person_that_is_left_stops_the_publication(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = install((ADA, "call Ada back"), (GRACE, "call Ada back"))
    monkeypatch.setattr(Masker, "masked", lambda self, texts, owners: texts)
    with pytest.raises(ProofFailedError, match=r"free_text: .*left in 1 texts"):
        extract_state("notes", settings)
    assert SnapshotStore(settings.snapshots).tables() == []


def test_batches_and_neighbours_change_nothing(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = [
        (ADA, "Ada"), (GRACE, "Ada"), (None, "Ada"), (None, None), (ADA, "Ada"), (WILL, "Young, note 500001 of Ada"),
        (GRACE, "joe@example.com"), (ADA, "joe@example.com"), (None, ""),
    ]  # fmt: skip
    settings = install(*notes)
    mask = masker(settings)
    texts = pl.Series("body", [body for _, body in notes])
    owners = pl.Series([owner for owner, _ in notes])
    whole = mask.masked(texts, owners)
    apart = [mask.masked(texts[row : row + 1], owners[row : row + 1]).item() for row in range(len(notes))]
    assert whole.to_list() == apart
    assert apart[:3] == ["[PERSON]", "Ada", "Ada"]
    assert mask.masked(texts.reverse(), owners.reverse()).reverse().equals(whole)


def test_two_extracts_give_the_same_bytes_however_they_are_read(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = install(*[(ADA, f"Ada and number {number}") for number in range(50)], rows="{by_day: at}")
    day = settings.first_day
    once = extract_day("notes", day, settings)
    monkeypatch.setattr(publish, "HELD_ROWS", 10)
    monkeypatch.setattr(source, "BATCH_BYTES", 100)
    [again] = extract_days("notes", day, day, settings)
    assert (again.digest, again.rows) == (once.digest, 50)


def test_the_screen_shows_what_the_extract_would(install: Install) -> None:
    settings = install((ADA, "Ada came"))
    shown = preview(load(settings.policies / "shop.yaml"), "notes", settings)
    assert (shown.before["body"].item(), shown.after["body"].item()) == ("Ada came", "[PERSON] came")


@pytest.mark.parametrize(
    ("said", "problem", "line"),
    [
        ({"free_text": "free_text: {modell: x}"}, "no such key", 4),
        ({"free_text": "free_text:\n  least_score: 2"}, "less than or equal to 1", 5),
        ({"free_text": "free_text:\n  recognisers:\n    - {name: a ticket, words: [x]}"}, "match pattern", 6),
        ({"free_text": "free_text:\n  recognisers:\n    - {name: A}"}, "expected patterns or words", 6),
        ({"free_text": "free_text:\n  recognisers: [{name: A, patterns: [{regex: '(', score: 1}]}]"}, "no regular", 5),
        ({"free_text": "free_text:\n  recognisers: [{name: A, patterns: [{regex: 'a*', score: 1}]}]"}, "nothing", 5),
        ({"free_text": "free_text:\n  recognisers: [{name: A, words: [x]}, {name: A, words: [y]}]"}, "twice", 4),
        ({"known_by": "{emails: [email]}"}, "nothing tells names", 2),
        ({"person": "person: id\n    quasi_identifiers: [body]\n    k: 2"}, "nor free text", 20),
    ],
)
def test_a_policy_that_cannot_mask_is_refused_with_its_line(
    install: Install, said: dict[str, str], problem: str, line: int
) -> None:
    with pytest.raises(PolicyError, match=problem) as refusal:
        extract_state("notes", install(**said))
    assert f"line {line}" in str(refusal.value)


def test_nobody_is_masked_by_what_is_not_there(install: Install, sql: Any) -> None:
    settings = install((ADA, "Ada came"))
    sql("ALTER TABLE people DROP login")
    with pytest.raises(AbsentColumnError, match="login"):
        extract_state("notes", settings)
    sql("ALTER TABLE people ADD login date")
    with pytest.raises(UnfitTreatmentError, match="login"):
        extract_state("notes", settings)


def test_a_role_that_may_not_read_who_is_known_masks_nothing(install: Install, sql: Any) -> None:
    settings = install((ADA, "Ada came"))
    sql("REVOKE SELECT ON people FROM extract")
    with pytest.raises(SourceRefusedError, match="people"):
        extract_state("notes", settings)


def test_a_model_that_is_not_there_is_refused_by_name(install: Install) -> None:
    with pytest.raises(LanguageModelError, match="en_absent"):
        extract_state("notes", install(free_text="free_text: {model: en_absent}"))


def test_a_model_by_name_finds_whom_nobody_knows(install: Install, tmp_path: Path) -> None:
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
    made = masker(install(free_text=f"free_text: {{model: {tmp_path / 'tiny'}}}"))
    assert made.masked(pl.Series(["we met Zorblax at 10.0.0.1"])).item() == "we met [PERSON] at [IP]"


def test_an_empty_table_and_a_column_of_nulls_are_published(install: Install, sql: Any) -> None:
    settings = install()
    assert masked(settings) == []
    sql("INSERT INTO notes VALUES (500009, 700001, '2025-01-01', NULL)")
    assert masked(settings) == [None]


def test_naughty_strings_and_a_megabyte_are_masked(install: Install, shared_data: Path) -> None:
    strings = json.loads((shared_data / "adversarial" / "naughty_strings.json").read_text())
    naughty = [text.replace("\0", "") for text in strings]  # PostgreSQL itself refuses NUL
    long = "quiet words " * 50_000 + "Ada Lovelace " + "quiet words " * 50_000
    settings = install(*((ADA, f"{text} Ada\u200b {text}") for text in naughty), (ADA, long))
    made = masked(settings)
    assert len(made) == len(naughty) + 1
    assert made[-1] == long.replace("Ada Lovelace", "[PERSON]")
    assert [text for text in made if text and "Ada" in text] == []


def test_a_change_of_keys_leaves_masked_texts_as_they_are(install: Install) -> None:
    settings = install((ADA, "Ada came"), (GRACE, "quiet"))
    extract_state("people", settings)
    extract_state("notes", settings)
    store = SnapshotStore(settings.snapshots)
    [before] = store.manifests("notes")
    rotate(settings, do_it=True)
    store = SnapshotStore(settings.snapshots)
    [after] = store.manifests("notes")
    assert before.key_id != after.key_id
    assert before.columns == after.columns
    assert sorted(pl.read_parquet(store.path(after.digest))["body"]) == ["[PERSON] came", "quiet"]


@pytest.fixture(scope="module")
def without_a_database() -> Masker:
    persons = pl.DataFrame(
        {"id": ["1", "2"], "name": ["Ada Lovelace", "Will Young"], "mail": ["ada@engine.example", None]}
    )
    known = KnownPersons.of(persons, PersonColumns("id", names=["name"], emails=["mail"]))
    sought = [Sought.of(persons["name"]), Sought.of(pl.Series([123456, 98765]))]
    return Masker(PatternFinder(), [Home(known, owns=True)], sought, least_score=0.3)


PIECES = [
    "Ada",
    "will young",
    "LOVELACE",
    " ",
    ", ",
    "İ",
    "ß",
    "“",
    "\u200b",
    "123456",
    "joe@example.com",
    "[PERSON]",
    "é.",
    "no",
]
ROWS = st.lists(
    st.tuples(
        st.none() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=5).map("".join),
        st.sampled_from(["1", "2", "3", None]),
    ),
    max_size=8,
)


@hypothesis.settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, cut=st.integers(0, 8))
def test_where_batches_end_changes_no_masked_text(
    without_a_database: Masker, rows: list[tuple[str | None, str | None]], cut: int
) -> None:
    texts = pl.Series("body", [text for text, _ in rows], pl.String)
    owners = pl.Series("owner", [owner for _, owner in rows], pl.String)
    whole = without_a_database.masked(texts, owners)
    parts = [without_a_database.masked(texts[part], owners[part]) for part in (slice(None, cut), slice(cut, None))]
    assert pl.concat(parts).equals(whole)
    left = without_a_database.without_labels(whole)
    lower = pl.Series(sorted({text.lower() for text in left.drop_nulls()}), dtype=pl.String)
    assert hits(lower, [pl.Series(["Ada Lovelace", "Will Young"]), pl.Series([123456, 98765])]) == set()
    assert without_a_database.naming_their_own(left, owners) == 0


def test_the_shops_tickets_can_be_masked(published: Settings, tmp_path: Path) -> None:
    written = (published.policies / "shop.yaml").read_text()
    before, after = written.split("      body:\n")
    withheld = "treatment: {free_text: withheld}"
    assert withheld in after
    opened = after.replace(withheld, "treatment: {free_text: masked}\n        description: The text.", 1)
    (tmp_path / "shop.yaml").write_text(f"{before}      body:\n{opened}")
    settings = published.model_copy(update={"policies": tmp_path, "home": tmp_path / "home"})
    manifests = extract_days("tickets", settings.first_day, settings.last_extractable_day(), settings)
    texts = pl.concat([pl.read_parquet(SnapshotStore(settings.snapshots).path(each.digest)) for each in manifests])
    with closing(postgres.connect("extract", settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT full_name, email, body FROM tickets JOIN customers USING (customer_id)")
        real = cursor.fetchall()
    assert texts.height == len(real)
    assert sum(name.lower() in body.lower() for name, _, body in real) > 0
    whole = "\n".join(texts["body"]).lower()
    assert not [name for name, email, _ in real if name.lower() in whole or (email and email.lower() in whole)]
