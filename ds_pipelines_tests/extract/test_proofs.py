"""What is proved before publication: each proof fails when it should, and then nothing is published."""

from __future__ import annotations

import socket
from datetime import timedelta
from functools import partialmethod
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines.errors import ProofFailedError
from ds_pipelines.extract import publish, references
from ds_pipelines.extract.patterns import findings
from ds_pipelines.extract.proofs import PROOFS
from ds_pipelines.extract.publish import extract_day, extract_days, extract_state
from ds_pipelines.extract.search import MOST_SHARED, hits
from ds_pipelines.extract.source import Source
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import kept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.extract.proofs import Proof, Proofs
    from ds_pipelines.settings import Settings

    Sql = Callable[[str], list[tuple[object, ...]]]
    Write = Callable[..., Settings]

PERSON = "{treatment: {pseudonym: person}, description: Who., because: It stands for somebody.}"
DROPPED = "{treatment: drop, because: It says who it is.}"
PEOPLE = """
  people:
    description: People.
    rows: all
    key: [id]
    person: id
    {more}
    columns:
      id: {person}
      name: {dropped}
      town: {kept}
      born: {born}
"""
VISITS = """
  visits:
    description: Visits.
    rows: {{by_day: at}}
    key: [visit]
    person: id
    columns:
      visit: {visit}
      id: {id}
      at: {kept}
      note: {kept}
"""


@pytest.fixture
def write(place: Settings, sql: Any, tmp_path: Path) -> Write:
    """People who visited, and a policy for them; arguments replace what the policy says."""
    sql(f"""
        CREATE TABLE people (id int PRIMARY KEY, name text, town text, born int);
        INSERT INTO people SELECT n, 'Person Number ' || n, 'Town ' || n % 3, 1950 + n % 5
        FROM generate_series(100001, 100060) AS n;
        CREATE TABLE visits (visit int PRIMARY KEY, id int REFERENCES people, at timestamptz NOT NULL, note text);
        INSERT INTO visits SELECT n, 100001 + n % 60, timestamptz '{place.first_day} 12:00+00' + n * interval '1 hour',
            'a note' FROM generate_series(1, 400) AS n
    """)

    def write(**said: str) -> Settings:
        words = {"person": PERSON, "dropped": DROPPED, "kept": kept(), "born": kept(), "more": "", "id": PERSON}
        words |= {"visit": PERSON.replace("person", "visit")} | said
        folder = tmp_path / "policies"
        folder.mkdir(exist_ok=True)
        text = f"version: 1\nschema: {sql.schema}\ntables:" + (PEOPLE + VISITS).format(**words)
        (folder / "shop.yaml").write_text(text)
        return place.model_copy(update={"policies": folder})

    return write


def proved(extract: Callable[..., object], *arguments: object) -> dict[str, Proof]:
    told: list[Proofs] = []
    extract(*arguments, on_proofs=told.append)
    [proofs] = told
    assert not proofs.failed
    return {proof.name: proof for proof in proofs.proofs}


def rows(settings: Settings, table: str) -> pl.DataFrame:
    store = SnapshotStore(settings.snapshots)
    return pl.concat([pl.read_parquet(store.path(manifest.digest)) for manifest in store.manifests(table)])


def test_every_proof_is_told_and_reported(write: Write) -> None:
    settings = write()
    told = proved(extract_state, "people", settings)
    assert list(told) == list(PROOFS)
    page = (settings.home / "reports" / "people" / f"{settings.now().date()}.html").read_text()
    assert all(name in page for name in PROOFS)
    assert "every proof holds" in page


def test_a_name_in_a_published_text_stops_the_publication_and_leaves_a_report(write: Write, sql: Sql) -> None:
    settings = write()
    sql("UPDATE visits SET note = 'call PERSON NUMBER 100007 back' WHERE visit = 5")
    with pytest.raises(ProofFailedError, match=r"nobody_named: .*column note \(1 texts\)") as refusal:
        extract_day("visits", settings.first_day, settings)
    assert "100007" not in str(refusal.value)
    assert SnapshotStore(settings.snapshots).tables() == []
    page = (settings.home / "reports" / "visits" / f"{settings.first_day}.html").read_text()
    assert "Not published" in page
    assert "Person Number" not in page


def test_a_real_key_in_a_published_text_is_found(write: Write, sql: Sql) -> None:
    sql("UPDATE visits SET note = 'customer 100006 called' WHERE visit = 5")
    settings = write()
    with pytest.raises(ProofFailedError, match="nobody_named"):
        extract_day("visits", settings.first_day, settings)


def test_what_many_share_identifies_nobody(write: Write, sql: Sql) -> None:
    sql(f"UPDATE people SET name = 'Springfield' WHERE id <= 100000 + {MOST_SHARED + 1}")
    sql("UPDATE visits SET note = 'from springfield' WHERE visit = 5")
    settings = write()
    assert proved(extract_day, "visits", settings.first_day, settings)["nobody_named"].figures["found"] == 0


def test_an_address_in_a_text_is_found_by_its_pattern(write: Write, sql: Sql) -> None:
    sql("UPDATE visits SET note = 'write to somebody.else@example.com' WHERE visit = 5")
    settings = write()
    with pytest.raises(ProofFailedError, match=r"patterns: .*certain EMAIL_ADDRESS 1"):
        extract_day("visits", settings.first_day, settings)


def test_looking_for_patterns_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    looked_at, certain, _ = findings(["write to ada@example.co.uk", "4111 1111 1111 1111", "room 1234567"])
    assert (looked_at, certain) == (3, {"EMAIL_ADDRESS": 1, "CREDIT_CARD": 1})


def test_combinations_that_too_few_share_are_blanked_and_no_row_is_lost(write: Write, sql: Sql) -> None:
    sql("UPDATE people SET born = 1901 WHERE id = 100001")
    settings = write(more="quasi_identifiers: [born, town]\n    k: 4")
    told = proved(extract_state, "people", settings)["k_anonymity"]
    published = rows(settings, "people")
    assert published.height == 60
    assert published.filter(pl.col("born").is_null() & pl.col("town").is_null()).height == round(
        told.figures["share blanked"] * 60
    )
    shared = published.drop_nulls(["born", "town"]).group_by("born", "town").len()
    assert shared["len"].min() >= 4  # type: ignore[operator]
    assert 1901 not in published["born"]


def test_a_policy_that_is_too_fine_is_refused(write: Write) -> None:
    settings = write(more="quasi_identifiers: [born, town]\n    k: 5")
    with pytest.raises(ProofFailedError, match=r"k_anonymity: 0 of 15 combinations of born, town .*100\.0%"):
        extract_state("people", settings)
    assert SnapshotStore(settings.snapshots).tables() == []


def test_k_counts_persons_of_every_day_and_not_rows(write: Write, sql: Sql) -> None:
    sql("UPDATE visits SET note = 'often', id = 100001 WHERE visit <= 30")
    settings = write()
    path = settings.policies / "shop.yaml"
    declared = "    person: id\n    quasi_identifiers: [note]\n    k: 5\n    columns:\n      visit"
    path.write_text(path.read_text().replace("    person: id\n    columns:\n      visit", declared))
    told = proved(extract_day, "visits", settings.first_day, settings)["k_anonymity"]
    assert told.figures["smallest before"] == 1
    assert (
        rows(settings, "visits")["note"].null_count()
        == rows(settings, "visits").height - rows(settings, "visits").filter(pl.col("note") == "a note").height
    )
    assert "often" not in rows(settings, "visits")["note"]


def test_a_sensitive_value_that_all_of_a_combination_share_is_not_tied_to_it(write: Write, sql: Sql) -> None:
    sql("UPDATE people SET town = 'North', born = 1950; UPDATE people SET town = 'South', born = 1 + id % 2 "
        "WHERE id > 100004")  # fmt: skip
    settings = write(more="quasi_identifiers: [town]\n    k: 2\n    sensitive: [born]")
    told = proved(extract_state, "people", settings)["k_anonymity"]
    assert told.figures["least diverse"] == 2
    assert "North" not in rows(settings, "people")["town"]


def test_a_foreign_key_whose_ends_are_treated_differently_is_named(write: Write) -> None:
    settings = write(id=PERSON.replace("pseudonym: person", "pseudonym: guest"))
    with pytest.raises(ProofFailedError, match=r"foreign_keys: .*id to people"):
        extract_day("visits", settings.first_day, settings)


def followed(settings: Settings, table: str = "visits") -> dict[str, int | float]:
    how = (extract_day, settings.first_day, settings) if table == "visits" else (extract_state, settings)
    return dict(proved(how[0], table, *how[1:])["foreign_keys"].figures)


def test_a_foreign_key_is_followed_value_by_value(write: Write) -> None:
    settings = write()
    assert followed(settings)["values compared"] == 0  # nothing of people is published
    extract_state("people", settings)
    figures = followed(settings)
    assert (figures["followed"], figures["values compared"], figures["values that lead nowhere"]) == (1, 11, 0)


def test_a_value_that_must_lead_somewhere_stops_the_publication(write: Write, sql: Sql) -> None:
    settings = write()
    extract_state("people", settings)
    sql("INSERT INTO people VALUES (200001, 'Somebody', 'Town 1', 1950); UPDATE visits SET id = 200001 WHERE visit = 5")
    with pytest.raises(ProofFailedError, match=r"id to people: 1 lead nowhere although .* read later, .* people again"):
        extract_day("visits", settings.first_day, settings)
    assert SnapshotStore(settings.snapshots).tables() == ["people"]
    extract_state("people", settings)
    assert followed(settings)["values that lead nowhere"] == 0


def test_a_value_whose_row_may_be_younger_than_what_is_published_is_told_alone(write: Write, sql: Sql) -> None:
    settings = write()
    early = settings.model_copy(update={"today": settings.first_day})
    extract_state("people", early)
    sql("INSERT INTO people VALUES (200001, 'Somebody', 'Town 1', 1950); UPDATE visits SET id = 200001 WHERE visit = 5")
    figures = followed(settings)
    assert (figures["values compared"], figures["values that lead nowhere"]) == (11, 1)


def test_many_values_of_which_none_leads_anywhere_are_no_accident(write: Write, sql: Sql) -> None:
    settings = write()
    sql("CREATE TABLE kept AS SELECT * FROM people; UPDATE visits SET id = NULL WHERE id > 100001; "
        "DELETE FROM people WHERE id > 100001")  # fmt: skip
    extract_state("people", settings.model_copy(update={"today": settings.first_day}))
    sql("INSERT INTO people SELECT * FROM kept WHERE id > 100001; UPDATE visits SET id = 100002 + visit % 59, "
        "at = at - interval '1 hour' * (visit % 24)")  # fmt: skip
    with pytest.raises(ProofFailedError, match=r"id to people: \d+ lead nowhere although not one is in"):
        extract_days("visits", settings.first_day, settings.first_day + timedelta(9), settings)


def test_what_was_published_by_another_policy_is_no_reason_to_stop(write: Write, sql: Sql) -> None:
    settings = write(more="sensitive: [town]")
    extract_state("people", settings)
    sql("INSERT INTO people VALUES (200001, 'Somebody', 'Town 1', 1950); UPDATE visits SET id = 200001 WHERE visit = 5")
    assert followed(write())["values that lead nowhere"] == 1


def test_a_table_that_refers_to_itself_is_followed_within(write: Write, sql: Sql) -> None:
    sql("ALTER TABLE people ADD boss int REFERENCES people; UPDATE people SET boss = 100001 + id % 7")
    settings = write(dropped=DROPPED + f"\n      boss: {PERSON}")
    figures = followed(settings, "people")
    assert (figures["values compared"], figures["values that lead nowhere"]) == (7, 0)


def test_large_tables_are_followed_on_the_same_part_at_both_ends(
    write: Write, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write()
    sql("INSERT INTO people SELECT n, 'Person ' || n, 'Town', 1950 FROM generate_series(300001, 304000) n")
    sql("INSERT INTO visits SELECT id, id, (SELECT min(at) FROM visits), 'a note' FROM people WHERE id > 300000")
    extract_state("people", settings)
    monkeypatch.setattr(references, "ALL_ROWS", 1_000)
    figures = followed(settings)
    assert 100 < figures["values compared"] < 500  # a sixteenth of 4,000
    assert figures["values that lead nowhere"] == 0


def test_the_difference_to_the_day_before_is_told(write: Write, sql: Sql) -> None:
    settings = write()
    proved(extract_state, "people", settings)
    sql("DELETE FROM visits WHERE id = 100001; DELETE FROM people WHERE id = 100001; "
        "INSERT INTO people VALUES (200001, 'Somebody', 'Town 1', 1950), (200002, 'Other', 'Town 1', 1)")  # fmt: skip
    figures = proved(extract_state, "people", settings)["over_time"].figures
    assert (figures["appeared"], figures["disappeared"]) == (2, 1)


def test_people_whom_nobody_shares_the_days_of_are_counted(write: Write, sql: Sql) -> None:
    sql("DELETE FROM visits WHERE id NOT IN (100001, 100002, 100003)")
    sql("UPDATE visits SET id = 100002 + visit % 2 WHERE id <> 100001")
    settings = write()
    extract_days("visits", settings.first_day, settings.first_day + timedelta(20), settings)
    figures = proved(extract_state, "people", settings)["over_time"].figures
    assert figures["persons followed"] == 3
    assert 1 <= figures["unique sequences"] <= 3


def test_a_large_day_streams_to_the_same_bytes_as_a_small_one(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = write()
    first, last = settings.first_day, settings.first_day + timedelta(3)
    together = extract_days("visits", first, last, settings)
    monkeypatch.setattr(publish, "HELD_ROWS", 10)
    apart = extract_days("visits", first, last, settings)
    assert [manifest.digest for manifest in apart] == [manifest.digest for manifest in together]
    assert sum(manifest.rows for manifest in apart) > 10


@pytest.mark.parametrize("batch_bytes", [1, 2_000])
def test_where_batches_of_the_source_end_changes_no_byte(
    write: Write, monkeypatch: pytest.MonkeyPatch, batch_bytes: int
) -> None:
    settings = write()
    first, last = settings.first_day, settings.first_day + timedelta(3)
    whole = [manifest.digest for manifest in extract_days("visits", first, last, settings)]
    monkeypatch.setattr(Source, "batches", partialmethod(Source.batches, batch_bytes=batch_bytes))
    assert [manifest.digest for manifest in extract_days("visits", first, last, settings)] == whole
    monkeypatch.setattr(publish, "HELD_ROWS", 10)  # now each day streams
    assert [manifest.digest for manifest in extract_days("visits", first, last, settings)] == whole


@pytest.mark.parametrize(
    ("text", "identifier", "found"),
    [
        ("call ada lovelace", "Ada Lovelace", True),
        ("xxada lovelacexx", "Ada Lovelace", True),
        ("channel", "Anne", False),
        ("ask anne.", "Anne", True),
        ("charita", "Rita", False),
        ("bob", "Bob", False),
        ("number 123456", 123456, True),
        ("number 1234567", 123456, False),
        ("number 1234", 1234, False),
    ],
)
def test_an_identifier_is_found_where_it_points_at_somebody(text: str, identifier: object, found: bool) -> None:
    assert bool(hits(pl.Series("text", [text]), [pl.Series([identifier])])) is found


def test_the_search_finds_what_a_plain_loop_finds() -> None:
    texts = pl.Series(
        "text", [f"note {n} about {'person number ' + str(n) if n % 3 else 'nobody'}" for n in range(300)]
    )
    people = pl.Series([f"Person Number {n}" for n in range(0, 900, 2)])
    expected = {(text, name.lower()) for text in texts for name in people if name.lower() in text}
    assert hits(texts, [people]) == expected
    assert expected


@pytest.fixture
def known(write: Write, sql: Sql) -> Callable[..., Settings]:
    """Somebody with a first name, a last name, a town and a login, and a note on a visit that names something."""

    def known(note: str, known_by: str = "") -> Settings:
        sql("ALTER TABLE people ADD first text, ADD last text, ADD place text, ADD login text")
        sql("UPDATE people SET first = 'Ada', last = 'Lovelace', place = 'Saint Ives', login = 'enchantress' "
            "WHERE id = 100007")  # fmt: skip
        sql(f"UPDATE visits SET note = '{note}' WHERE visit = 5")
        more = "".join(f"\n      {name}: {DROPPED}" for name in ("first", "last", "place", "login"))
        return write(dropped=DROPPED + more, more=known_by)

    return known


LISTED = "known_by: {names: [[first, last]], identifiers: [login]}"


@pytest.mark.parametrize("note", ["with ADA Lovelace", "with lovelace ada", "login enchantress"])
def test_what_somebody_is_known_by_is_found(known: Callable[..., Settings], note: str) -> None:
    settings = known(note, LISTED)
    with pytest.raises(ProofFailedError, match="nobody_named"):
        extract_day("visits", settings.first_day, settings)


@pytest.mark.parametrize("note", ["a pirate from Saint Ives", "ada", "lovelace"])
def test_a_town_and_a_single_name_identify_nobody(known: Callable[..., Settings], note: str) -> None:
    settings = known(note, LISTED)
    extract_day("visits", settings.first_day, settings)
    assert note in rows(settings, "visits")["note"]


def test_a_policy_that_does_not_say_by_what_persons_are_known_is_taken_strictly(
    known: Callable[..., Settings],
) -> None:
    settings = known("a pirate from Saint Ives")
    with pytest.raises(ProofFailedError, match="nobody_named"):
        extract_day("visits", settings.first_day, settings)
