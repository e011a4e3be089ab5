"""Invented people: plausible, distinct, and reachable by nobody."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from ds_pipelines.sample import people

COUNT = 20_000
DAY = date(2025, 1, 1)


@pytest.fixture(scope="module")
def persons() -> pl.DataFrame:
    countries = pl.Series(["United Kingdom", "France", "Unspecified", "United Kingdom"] * (COUNT // 4))
    return people.invent(np.random.default_rng(3), countries, on=DAY)


@pytest.mark.parametrize("column", ["full_name", "email", "national_id", "card_digits"])
def test_no_two_share(persons: pl.DataFrame, column: str) -> None:
    assert persons[column].n_unique() == COUNT


def test_no_value_is_missing(persons: pl.DataFrame) -> None:
    assert persons.null_count().sum_horizontal().item() == 0


def test_names_have_diacritics_and_hyphens(persons: pl.DataFrame) -> None:
    assert persons["full_name"].str.contains("[éøłı]").mean() > 0.05
    assert persons["full_name"].str.contains("-").mean() > 0.02


@pytest.mark.parametrize(
    ("column", "form"),
    [
        ("full_name", r"^\S+ \S.*$"),
        ("email", r"^[a-z][a-z0-9._-]*@([a-z]+\.)?example\.(com|org|net)$"),
        ("phone", r"^(\+44 \d{2,4}|\(\d{3,5}\)|\d{3,5}) \d[\d ]{4,8}$"),
        ("national_id", r"^(QQ|BG|GB|KN|NK|NT|TN|ZZ) \d\d \d\d \d\d [A-D]$"),
        ("card_digits", r"^9999\d{12}$"),
        ("street", r"^(Flat \d, )?\d+ .* [A-Z][a-z]+$"),
    ],
)
def test_form(persons: pl.DataFrame, column: str, form: str) -> None:
    assert persons.filter(~pl.col(column).str.contains(form))[column].to_list() == []


def test_card_digits_pass_the_checksum(persons: pl.DataFrame) -> None:
    digits = np.array([list(map(int, number)) for number in persons["card_digits"]])
    digits[:, ::2] *= 2
    assert not ((digits // 10 + digits % 10).sum(axis=1) % 10).any()


def test_the_country_is_the_one_asked_for_and_british_postcodes_are_british(persons: pl.DataFrame) -> None:
    assert persons["country"].to_list()[:4] == ["United Kingdom", "France", "Unspecified", "United Kingdom"]
    british = persons.filter(pl.col("country") == "United Kingdom")
    assert british["postcode"].str.contains(r"^[A-Z]{1,2}\d{1,2} \d[A-Z]{2}$").all()


def test_everybody_is_an_adult(persons: pl.DataFrame) -> None:
    assert persons["birth_date"].max() <= date(2007, 1, 1)
    assert persons["birth_date"].min() > date(1939, 1, 1)


def test_names_are_double_barrelled_once_all_pairings_are_used() -> None:
    pairings = len(people.GIVEN_NAMES) * len(people.FAMILY_NAMES)
    count = pairings + 5_000
    names = people.invent(np.random.default_rng(3), pl.Series(["Spain"] * count), on=DAY)["full_name"]
    assert names.n_unique() > 0.999 * count
    assert names[pairings:].str.contains("-").all()


@pytest.mark.parametrize(("name", "keys"), [("Łukasz", "Lukasz"), ("Søren", "Soren"), ("Ayşe Yılmaz", "Ayse Yilmaz")])
def test_a_plain_name_has_no_diacritics(name: str, keys: str) -> None:
    assert people.plain(name) == keys
