"""Real databases that nobody has decided on: a proposal, unattended; then every table by it, and a search for persons.

The columns that hold persons' data are listed by hand, database by database. Everything they hold is searched for in
everything that was published, and what the proposal says about them is not asked.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.extract import catalogue, source
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.proofs import PROOFS
from ds_pipelines.extract.propose.draft import propose
from ds_pipelines.extract.publish import extract_days, extract_state
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.conftest import psql

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.extract.proofs import Proof, Proofs
    from ds_pipelines.settings import Settings

SHORTEST = 4
"""Characters of an identifier that is searched for within texts; shorter ones only as whole values."""

IDENTIFIERS = {
    "pagila": [
        "SELECT email FROM customer", "SELECT email FROM staff", "SELECT password FROM staff",
        "SELECT username FROM staff",
        "SELECT phone FROM address", "SELECT address FROM address", "SELECT address2 FROM address",
        "SELECT first_name || ' ' || last_name FROM customer", "SELECT first_name || ' ' || last_name FROM staff",
        "SELECT first_name || ' ' || last_name FROM actor", "SELECT last_name || ', ' || first_name FROM customer",
        "SELECT last_name FROM customer", "SELECT last_name FROM staff", "SELECT last_name FROM actor",
    ],
    "chinook": [
        'SELECT "Email" FROM "Customer"', 'SELECT "Email" FROM "Employee"', 'SELECT "Phone" FROM "Customer"',
        'SELECT "Phone" FROM "Employee"', 'SELECT "Fax" FROM "Customer"', 'SELECT "Fax" FROM "Employee"',
        'SELECT "Address" FROM "Customer"', 'SELECT "Address" FROM "Employee"',
        'SELECT "BillingAddress" FROM "Invoice"',
        'SELECT "FirstName" || \' \' || "LastName" FROM "Customer"', 'SELECT "LastName" FROM "Customer"',
        'SELECT "FirstName" || \' \' || "LastName" FROM "Employee"', 'SELECT "LastName" FROM "Employee"',
        'SELECT "FirstName" FROM "Customer"', 'SELECT "Composer" FROM "Track"',
    ],
    "northwind": [
        "SELECT contact_name FROM customers", "SELECT contact_name FROM suppliers",
        "SELECT company_name FROM customers",
        "SELECT first_name || ' ' || last_name FROM employees", "SELECT last_name FROM employees",
        "SELECT first_name FROM employees", "SELECT address FROM employees", "SELECT address FROM customers",
        "SELECT address FROM suppliers", "SELECT ship_address FROM orders", "SELECT ship_name FROM orders",
        "SELECT phone FROM customers", "SELECT fax FROM customers", "SELECT phone FROM suppliers",
        "SELECT fax FROM suppliers", "SELECT phone FROM shippers", "SELECT home_phone FROM employees",
        "SELECT notes FROM employees", "SELECT customer_id FROM customers",
    ],
}  # fmt: skip
KEYS = {
    "pagila": [
        ("customer.address_id", "address.address_id"), ("customer.store_id", "store.store_id"),
        ("rental.customer_id", "customer.customer_id"), ("rental.inventory_id", "inventory.inventory_id"),
        ("payment.customer_id", "customer.customer_id"), ("payment.rental_id", "rental.rental_id"),
        ("payment.staff_id", "staff.staff_id"), ("film.original_language_id", "language.language_id"),
        ("film_actor.actor_id", "actor.actor_id"), ("store.manager_staff_id", "staff.staff_id"),
    ],
    "chinook": [
        ("Invoice.CustomerId", "Customer.CustomerId"), ("InvoiceLine.InvoiceId", "Invoice.InvoiceId"),
        ("InvoiceLine.TrackId", "Track.TrackId"), ("Customer.SupportRepId", "Employee.EmployeeId"),
        ("Employee.ReportsTo", "Employee.EmployeeId"), ("PlaylistTrack.PlaylistId", "Playlist.PlaylistId"),
    ],
    "northwind": [
        ("orders.customer_id", "customers.customer_id"), ("orders.ship_via", "shippers.shipper_id"),
        ("order_details.order_id", "orders.order_id"), ("employees.reports_to", "employees.employee_id"),
        ("employee_territories.territory_id", "territories.territory_id"),
        ("products.supplier_id", "suppliers.supplier_id"),
    ],
}  # fmt: skip
"""Foreign keys that must hold, one by role or by the name alone among them; all declared ones are checked besides."""
FOREIGN_KEYS = """
    SELECT COALESCE(pg_partition_root(conrelid), conrelid)::regclass::oid, a.attname,
           COALESCE(pg_partition_root(confrelid), confrelid)::regclass::oid, b.attname
    FROM pg_constraint CROSS JOIN LATERAL unnest(conkey, confkey) k(x, y)
    JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = x
    JOIN pg_attribute b ON b.attrelid = confrelid AND b.attnum = y WHERE contype = 'f'
"""
KNOWN_BY = {
    "pagila": {
        "actor": {"names": (("first_name", "last_name"),)},
        "address": {"phones": ("phone",), "addresses": ("address", "address2")},
        "customer": {"names": (("first_name", "last_name"),), "emails": ("email",)},
        "staff": {"names": (("first_name", "last_name"),), "emails": ("email",), "identifiers": ("password",)},
    },
    "chinook": {
        "Customer": {
            "names": (("FirstName", "LastName"), "Company"), "emails": ("Email",), "phones": ("Phone", "Fax"),
            "addresses": ("Address",),
        },
        "Employee": {
            "names": (("FirstName", "LastName"),), "emails": ("Email",), "phones": ("Phone", "Fax"),
            "addresses": ("Address",),
        },
    },
    "northwind": {
        "customers": {
            "names": ("company_name", "contact_name"), "phones": ("phone", "fax"), "addresses": ("address",),
            "identifiers": ("customer_id",),
        },
        "employees": {
            "names": (("first_name", "last_name"),), "phones": ("home_phone", "extension"), "addresses": ("address",),
        },
        "shippers": {"names": ("company_name",), "phones": ("phone",)},
        "suppliers": {
            "names": ("company_name", "contact_name"), "phones": ("phone", "fax"), "addresses": ("address",),
        },
    },
}  # fmt: skip
"""By which columns the draft must say that somebody is known, and of no other table."""
USEFUL = {
    "pagila": ["payment.amount", "rental.rental_date", "film.rating", "customer.activebool", "film.length"],
    "chinook": ["InvoiceLine.UnitPrice", "Invoice.Total", "Track.Milliseconds", "Invoice.InvoiceDate"],
    "northwind": ["order_details.quantity", "orders.order_date", "products.unit_price", "orders.freight"],
}
"""What no extract should be without; withholding everything would pass every search."""


@dataclass(frozen=True)
class Published:
    name: str
    url: str
    policy: Policy
    frames: Mapping[str, pl.DataFrame]
    proofs: Mapping[str, Mapping[str, Proof]]

    def asked(self, query: str) -> list[str]:
        """The first column of what the source answers, without nulls."""
        printed = psql(self.url, f"COPY ({query}) TO STDOUT (FORMAT csv);")
        return [row[0] for row in csv.reader(io.StringIO(printed)) if row and row[0]]


@pytest.fixture(scope="module")
def published(dump: tuple[str, str], settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A real database: proposed, and every table extracted by the proposal, as the role extract."""
    name, url = dump
    home = tmp_path_factory.mktemp("proposed")
    role_url = postgres.cluster("production", settings).url(name, "extract")
    place = settings.model_copy(
        update={
            "home": home, "policies": home, "extract_url": SecretStr(role_url),
            "first_day": date(2022, 1, 1), "today": date(2022, 9, 1),
        }
    )  # fmt: skip
    (home / "shop.yaml").write_text(propose(place).yaml)
    policy = load(home / "shop.yaml")
    with source.connect("extract", place) as session:
        catalogue.check(policy, session.live_tables("public"))
    store = SnapshotStore(place.snapshots)
    frames, proofs = {}, {}
    for table, decisions in policy.tables.items():
        told: list[Proofs] = []
        if decisions.by_day:
            manifests = extract_days(table, place.first_day, place.last_extractable_day(), place, on_proofs=told.append)
        else:
            manifests = [extract_state(table, place, on_proofs=told.append)]
        proofs[table] = {proof.name: proof for proof in told[-1].proofs}
        frames[table] = pl.concat([pl.read_parquet(store.path(manifest.digest)) for manifest in manifests])
    return Published(name, url, policy, frames, proofs)


def texts(frame: pl.DataFrame) -> pl.Series:
    """Every value of a table that is text in any form, folded."""
    columns = [
        frame[name].explode() if isinstance(frame.schema[name], pl.List) else frame[name] for name in frame.columns
    ]
    written = [column.cast(pl.String, strict=False).rename("text") for column in columns if column.dtype != pl.Binary]
    folded = pl.concat(written) if written else pl.Series("text", [], dtype=pl.String)
    return folded.drop_nulls().unique().str.to_lowercase()


def test_no_identifier_of_the_source_occurs_in_what_was_published(published: Published) -> None:
    identifiers = {value.strip().lower() for query in IDENTIFIERS[published.name] for value in published.asked(query)}
    assert len(identifiers) > 100
    long = sorted(identifier for identifier in identifiers if len(identifier) >= SHORTEST)
    for table, frame in published.frames.items():
        published_texts = texts(frame)
        numbers = frame.select(pl.selectors.numeric() | pl.selectors.temporal())
        hits = published_texts.filter(published_texts.str.contains_any(long)).to_list()
        # a sum of money may have the digits of a short phone extension; text and pseudonyms may not
        plain = texts(numbers)
        assert set(hits) <= set(plain.to_list()), table
        assert not identifiers & set(published_texts.to_list()) - set(plain.to_list()), table


def test_every_foreign_key_holds_between_published_pseudonyms(published: Published) -> None:
    names = dict(
        line.split("\t") for line in psql(
            published.url, "COPY (SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p')) TO STDOUT;"
        ).splitlines()
    )  # fmt: skip
    declared = [line.split("\t") for line in psql(published.url, f"COPY ({FOREIGN_KEYS}) TO STDOUT;").splitlines()]
    pairs = {((names[table], column), (names[target], key)) for table, column, target, key in declared}
    pairs |= {((*source_.split("."),), (*target.split("."),)) for source_, target in KEYS[published.name]}  # type: ignore[misc]
    for (table, column), (target, key) in pairs:
        refers, referred = published.frames[table][column], published.frames[target][key]
        assert refers.dtype == pl.String, (table, column)
        assert refers.drop_nulls().is_in(referred.implode()).all(), (table, column)
        joined = published.frames[table].join(published.frames[target], left_on=column, right_on=key)
        assert joined.height == int(published.asked(
            f'SELECT count(*) FROM "{table}" a JOIN "{target}" b ON a."{column}" = b."{key}"'
        )[0])  # fmt: skip
        assert refers.null_count() == int(published.asked(f'SELECT count(*) - count("{column}") FROM "{table}"')[0])
    assert len(pairs) >= 10


def test_every_row_is_accounted_for(published: Published) -> None:
    query = """SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition
               AND relnamespace = 'public'::regnamespace"""
    live = set(published.asked(query))
    assert published.frames.keys() == live
    for table, frame in published.frames.items():
        assert frame.height == int(published.asked(f'SELECT count(*) FROM "{table}"')[0]), table


def test_every_proof_held_and_everybody_was_sought(published: Published) -> None:
    assert all(proof.passed for proofs in published.proofs.values() for proof in proofs.values())
    assert all(list(proofs) == list(PROOFS) for proofs in published.proofs.values())
    for table, proofs in published.proofs.items():
        assert proofs["rows"].figures == {"read": published.frames[table].height} | {
            "written": published.frames[table].height
        }
    searched = [proofs["nobody_named"].figures for proofs in published.proofs.values()]
    assert max(figures["values sought"] for figures in searched) > 100
    assert sum(figures["texts searched"] for figures in searched) > 0


def test_foreign_keys_are_followed_by_value_when_their_other_end_is_published(published: Published) -> None:
    figures = [proofs["foreign_keys"].figures for proofs in published.proofs.values()]
    assert sum(each["values compared"] for each in figures) > 50
    assert sum(each["values that lead nowhere"] for each in figures) == 0


def test_the_draft_says_by_what_persons_are_known(published: Published) -> None:
    said = {
        table.name: table.known_by.model_dump(exclude_defaults=True)
        for table in published.policy.tables.values()
        if table.known_by
    }
    assert said == KNOWN_BY[published.name]
    assert all(published.policy.table(name).of_persons for name in said)


def test_what_analyses_need_is_there_and_each_decision_has_its_reason(published: Published) -> None:
    for place in USEFUL[published.name]:
        table, column = place.split(".")
        assert column in published.frames[table].columns, place
    for table in published.policy.tables.values():
        assert all(column.because and column.type for column in table.columns.values())


def test_a_type_that_cannot_be_carried_is_dropped_by_name_with_the_reason(published: Published) -> None:
    if published.name == "pagila":
        fulltext = published.policy.table("film").columns["fulltext"]
        assert fulltext.treatment.label == "drop"
        assert "tsvector cannot be carried exactly: it is an index of words" in fulltext.because
        assert published.policy.table("payment").by_day == "payment_date"
    photos = {"pagila": ("staff", "picture"), "northwind": ("employees", "photo")}.get(published.name)
    if photos:
        assert published.policy.table(photos[0]).columns[photos[1]].treatment.label == "drop"
