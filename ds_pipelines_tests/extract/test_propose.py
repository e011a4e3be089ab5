"""What a draft decides on a column, and why: invented tables of which each shows one rule."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines.errors import AbsentTableError, NothingToProposeError
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.propose.draft import propose
from ds_pipelines.extract.propose.structure import _named, _Same
from ds_pipelines.extract.propose.vocabulary import meaning_of
from ds_pipelines_tests.extract.scenario import DIRECT_IDENTIFIERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.settings import Settings

ROWS = 200


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ship_address", "an address"), ("BillingPostalCode", "a postcode"), ("Straße", "an address"),
        ("Geburtsdatum", "a date of birth"), ("fecha_nacimiento", "a date of birth"), ("téléphone", "a phone number"),
        ("Handynummer", "a phone number"), ("nachname", "a name"), ("apellidos", "a name"),
        ("codice_fiscale", "a number that an authority gave"),
        ("customer_iban", "a number of a payment card or an account"), ("eMail", "an e-mail address"),
        ("passwort_hash", "a secret"), ("last_ip", "an address on a network, or of a device"),
        ("Bemerkungen", "free text"),
        ("quantity", None), ("shipped_at", None), ("discount", None), ("description", "free text"),
    ],
)  # fmt: skip
def test_names_of_several_languages_tell_what_a_column_holds(name: str, what: str | None) -> None:
    meaning = meaning_of(name)
    assert (meaning.what if meaning else None) == what


def drafted(sql: Callable[..., Any], place: Settings, tmp_path: Path, table: str) -> TablePolicy:
    draft = propose(place, schema=sql.schema)  # type: ignore[attr-defined]
    path = tmp_path / "draft.yaml"
    path.write_text(draft.yaml)
    assert load(path) == draft.policy
    return draft.policy.table(table)


def labels(table: TablePolicy) -> dict[str, str]:
    return {name: column.treatment.label for name, column in table.columns.items()}


def test_the_shop_is_drafted_with_its_identifiers_withheld_and_its_days(place: Settings) -> None:
    policy = propose(place).policy
    assert {policy.table("customers").columns[name].treatment.label for name in DIRECT_IDENTIFIERS} == {"drop"}
    assert {name: table.by_day for name, table in policy.tables.items() if table.by_day} == {
        "orders": "placed_at", "order_lines": "placed_at", "tickets": "opened_at"
    }  # fmt: skip
    assert labels(policy.table("order_lines"))["customer_id"] == labels(policy.table("customers"))["customer_id"]
    assert labels(policy.table("customers"))["birth_date"] == "generalise(year)"
    assert labels(policy.table("orders"))["channel"] == "keep"
    assert labels(policy.table("tickets"))["body"] == "free_text(withheld)"


def test_no_by_day_where_a_row_would_fall_on_a_day_that_the_business_does_not_have(place: Settings) -> None:
    later = place.model_copy(update={"first_day": place.first_day + timedelta(days=100)})
    assert propose(later, tables=["orders"]).policy.table("orders").by_day is None


def test_categories_are_kept_only_if_each_is_shared_by_rows_and_by_persons(
    sql: Callable[..., Any], place: Settings, tmp_path: Path
) -> None:
    sql("CREATE TABLE persons (id int PRIMARY KEY, email text)")
    sql(
        "CREATE TABLE visits (id int PRIMARY KEY, person int REFERENCES persons, kind text, odd text, own text, "
        "code_of_kind varchar(9))"
    )
    sql(f"INSERT INTO persons SELECT n, 'p' || n || '@example.org' FROM generate_series(1, {ROWS}) n")
    sql(
        "INSERT INTO visits SELECT n, n % 50 + 1, CASE WHEN n % 3 = 0 THEN 'walk in' ELSE 'booked' END, "
        "CASE WHEN n = 1 THEN 'by taxi' ELSE 'on foot' END, CASE WHEN n % 50 = 7 THEN 'blue' ELSE 'green' END, 'A1' "
        f"FROM generate_series(1, {ROWS}) n"
    )
    visits = drafted(sql, place, tmp_path, "visits")
    assert labels(visits) == {
        "id": "pseudonym(visits)", "person": "pseudonym(persons)", "kind": "keep", "odd": "drop", "own": "drop",
        "code_of_kind": "drop",
    }  # fmt: skip
    assert "fewer than 5 rows or persons" in visits.columns["own"].because


def test_copies_of_identifiers_and_what_presidio_finds_are_withheld_whatever_their_name(
    sql: Callable[..., Any], place: Settings, tmp_path: Path
) -> None:
    sql("CREATE TABLE clients (id int PRIMARY KEY, first_name text, last_name text, street text)")
    sql("INSERT INTO clients SELECT n, 'Anna' || n, 'Zorn' || n, 'Long Lane ' || n FROM generate_series(1, 20) n")
    sql("CREATE TABLE parcels (id int PRIMARY KEY, goal text, taken text, seen text, nr_seen bigint, e smallint)")
    sql(
        "INSERT INTO parcels SELECT n, 'LONG LANE ' || n % 20 + 1, 'Anna' || n % 20 + 1 || ' Zorn' || n % 20 + 1, "
        f"'x' || n % 4 || '@example.org', 4111111111111111, n % 5 FROM generate_series(1, {ROWS}) n"
    )
    parcels = drafted(sql, place, tmp_path, "parcels")
    assert {name for name, label in labels(parcels).items() if label == "drop"} == {"goal", "taken", "seen", "nr_seen"}
    assert "occur in clients.street" in parcels.columns["goal"].because
    assert "made of names" in parcels.columns["taken"].because
    assert "Presidio finds EMAIL_ADDRESS in 100%" in parcels.columns["seen"].because
    assert "payment cards" in parcels.columns["nr_seen"].because


def test_a_draft_holds_no_value(sql: Callable[..., Any], place: Settings) -> None:
    sql("CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text)")
    sql(f"INSERT INTO t SELECT n, 'Secretvalue', 'Secretvalue' || n, 'one Secretvalue in a prose of words' FROM "
        f"generate_series(1, {ROWS}) n")  # fmt: skip
    assert "ecretvalue" not in propose(place, schema=sql.schema).yaml  # type: ignore[attr-defined]


def test_every_family_of_types_gets_a_decision_that_can_be_extracted(
    sql: Callable[..., Any], place: Settings, tmp_path: Path
) -> None:
    sql("CREATE TYPE mood AS ENUM ('good', 'bad')")
    sql(
        "CREATE TABLE odd (a uuid PRIMARY KEY, b jsonb, c bytea, d tsvector, e interval, f inet, g text[], h mood, "
        'i money, j time, k boolean, l numeric, m real, age int, salary int, "Größe ""x""" date, birth_year int)'
    )
    odd = labels(drafted(sql, place, tmp_path, "odd"))
    assert {name for name, label in odd.items() if label == "keep"} == {"e", "h", "j", "k", "l", "m", 'Größe "x"'}
    assert odd["age"] == "generalise(bins 18, 30, 45, 60, 75)"
    assert odd["a"] == "pseudonym(a)"


def test_keys_are_joined_by_foreign_keys_in_steps_and_otherwise_by_name(
    sql: Callable[..., Any], place: Settings, tmp_path: Path
) -> None:
    sql("CREATE TABLE parties (id bigint PRIMARY KEY)")
    sql("CREATE TABLE people (party bigint PRIMARY KEY REFERENCES parties)")
    sql(
        "CREATE TABLE jobs (id int, line int, worker bigint REFERENCES people, boss_parties_id bigint, "
        "host_party_id bigint, PRIMARY KEY (id, line))"
    )
    assert labels(drafted(sql, place, tmp_path, "jobs")) == {
        "id": "pseudonym(jobs)", "line": "pseudonym(line)", "worker": "pseudonym(parties)",
        "boss_parties_id": "pseudonym(parties)", "host_party_id": "pseudonym(host_party)",
    }  # fmt: skip


def test_domains_of_one_name_are_told_apart() -> None:
    assert _named([("a", "no"), ("a", "x_id"), ("b", "x_id"), ("1 ö", "id")], _Same()) == {
        ("a", "no"): "a", ("a", "x_id"): "x", ("b", "x_id"): "b_x", ("1 ö", "id"): "domain_1_o"
    }  # fmt: skip


def test_what_the_role_may_not_read_is_withheld_unread(
    sql: Callable[..., Any], place: Settings, tmp_path: Path
) -> None:
    sql("CREATE TABLE half (id int PRIMARY KEY, amount int, hidden int)")
    sql("REVOKE ALL ON half FROM extract; GRANT SELECT (id, amount) ON half TO extract")
    half = drafted(sql, place, tmp_path, "half")
    assert labels(half) == {"id": "pseudonym(half)", "amount": "keep", "hidden": "drop"}
    assert "may not read it" in half.columns["hidden"].because


def test_unknown_tables_and_empty_schemas_are_refused(sql: Callable[..., Any], place: Settings) -> None:
    with pytest.raises(NothingToProposeError, match="no tables in schema 'scratch"):
        propose(place, schema=sql.schema)  # type: ignore[attr-defined]
    with pytest.raises(AbsentTableError, match="'nowhere'"):
        propose(place, tables=["nowhere"])
