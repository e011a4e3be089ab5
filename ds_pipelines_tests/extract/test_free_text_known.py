"""Persons whom the database knows are found in its texts, in the spellings people use, and masked."""

from __future__ import annotations

import polars as pl
import pytest

from ds_pipelines.extract.free_text.findings import FINDINGS
from ds_pipelines.extract.free_text.known import KnownPersons, PersonColumns
from ds_pipelines.extract.free_text.mask import masked, merged
from ds_pipelines.extract.free_text.patterns import PatternFinder

COLUMNS = PersonColumns("id", names=["name"], emails=["email"], phones=["phone"], addresses=["street", "postcode"])
ANN, DONALD, ROSE, JOSE, WILL, MONIKER = 1, 2, 3, 4, 5, 6
PERSONS = pl.DataFrame(
    {
        "id": [ANN, DONALD, ROSE, JOSE, WILL, MONIKER],
        "name": ["Ann O'Neil", "Donald van der Voet", "Rose White", "José Müller-Straße", "Will Young", "Kovalev"],
        "email": ["ann@example.com", None, "r.white@example.org", None, None, None],
        "phone": ["+44 20 7946 0958", None, "212-555-5555", None, None, None],
        "street": ["12 High Street", "Avenida Noruega 42", None, None, None, None],
        "postcode": ["SW1A1AA", None, None, None, None, None],
    }
)


@pytest.fixture(scope="module")
def known() -> KnownPersons:
    return KnownPersons.of(PERSONS, COLUMNS)


@pytest.fixture(scope="module")
def finder() -> PatternFinder:
    return PatternFinder()


def mask(known: KnownPersons, text: str, owner: int | None = None) -> str:
    texts = pl.Series("body", [text])
    return masked(texts, merged(known.find(texts, pl.Series([owner], dtype=pl.Int64)))).item()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann O'Neil called", "[PERSON] called"),
        ("ANN  O\u2019NEIL called", "[PERSON] called"),
        ("o'neil, ann", "[PERSON]"),
        ("Ann O'Neil's parcel", "[PERSON]'s parcel"),
        ("Donald Voet\u2019s parcel, 'ann o'neil's'", "[PERSON]\u2019s parcel, '[PERSON]'s'"),
        ("signed A. O'Neil.", "signed [PERSON]."),
        ("Ann M. O'Neil came", "[PERSON] came"),
        ("ann.oneil wrote", "[PERSON] wrote"),
        ("jose muller strasse", "[PERSON]"),
        ("Voet, Donald", "[PERSON]"),
        ("donald van der voet and Donald Voet", "[PERSON] and [PERSON]"),
        ("Van der Voet Donald", "[PERSON]"),
        ("Mr. Donald Voet", "[PERSON]"),
        ("KOVALEV said so", "[PERSON] said so"),
        ("to ANN@example.com.", "to [EMAIL]."),
        ("on 020 7946 0958, please", "on [PHONE], please"),
        ("at 12 high  street now", "at [ADDRESS] now"),
        ("in Avenida Noruega 42", "in [ADDRESS]"),
    ],
)
def test_what_anybody_is_known_by_is_masked(known: KnownPersons, text: str, expected: str) -> None:
    assert mask(known, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a white rose",
        "she will young people help",
        "I saw Ann. O'Neil was not there",
        "a. oneil",
        "Ann came",
        "the Voets came",
        "A.O. came",
        "Annette O'Neilly came",
        "SW1A1AA is a postcode",
        "he lives in the high street",
    ],
)
def test_what_may_be_anybody_is_left(known: KnownPersons, text: str) -> None:
    assert mask(known, text) == text


@pytest.mark.parametrize(
    ("owner", "text", "expected"),
    [
        (ANN, "ann came, so did the O'Neils", "[PERSON] came, so did the [PERSON]"),
        (ANN, "A.O. came from SW1A1AA", "[PERSON] came from [ADDRESS]"),
        (DONALD, "Donald's, Ann's", "[PERSON]'s, Ann's"),
        (ROSE, "a white rose for Rose White", "a white rose for [PERSON]"),
        (ROSE, "Mrs. White rose", "[PERSON] rose"),
        (WILL, "will you? Will Young will.", "will you? [PERSON] will."),
        (99, "Ann came", "Ann came"),
    ],
)
def test_the_rows_own_person_is_known_by_less(known: KnownPersons, owner: int, text: str, expected: str) -> None:
    assert mask(known, text, owner) == expected


def test_names_may_be_spread_over_columns() -> None:
    spread = pl.DataFrame({"id": ["x"], "first": ["Ann"], "last": ["O'Neil"]})
    known = KnownPersons.of(spread, PersonColumns("id", names=[("first", "last")]))
    assert masked(pl.Series(["o'neil, ann"]), merged(known.find(pl.Series(["o'neil, ann"])))).item() == "[PERSON]"


def test_nobody_known_and_nothing_written_is_nothing_found(known: KnownPersons) -> None:
    nobody = KnownPersons.of(PERSONS.clear(), COLUMNS)
    assert nobody.find(pl.Series(["Ann O'Neil", None, ""])).equals(FINDINGS.to_frame())
    assert known.find(pl.Series([None], dtype=pl.String), pl.Series([ANN])).is_empty()


def test_batch_boundaries_do_not_change_what_is_masked(known: KnownPersons, finder: PatternFinder) -> None:
    texts = pl.Series(["Ann O'Neil", None, "a white rose", "Will Young 212-555-5555", ""] * 3)
    owners = pl.Series([ANN, None, ROSE, WILL, ANN] * 3)

    def result(some: pl.Series, of: pl.Series) -> list[str | None]:
        return masked(some, merged(known.find(some, of), finder.find(some))).to_list()

    apart = [value for row in range(len(texts)) for value in result(texts[row : row + 1], owners[row : row + 1])]
    assert result(texts, owners) == apart
    assert apart[:5] == ["[PERSON]", None, "a white rose", "[PERSON] [PHONE]", ""]


def test_overlapping_findings_become_one_mask_named_by_the_surest(finder: PatternFinder) -> None:
    texts = pl.Series(["joe@example.com é 10.0.0.1"])
    assert masked(texts, merged(finder.find(texts))).item() == "[EMAIL] é [IP]"


def test_findings_below_the_least_score_are_left(finder: PatternFinder) -> None:
    texts = pl.Series(["order 12345678"])
    found = finder.find(texts)
    assert masked(texts, merged(found)).item() == "order 12345678"
    assert masked(texts, merged(found, least_score=0.0)).item() == "order [US_BANK_NUMBER]"


@pytest.mark.parametrize(
    "around", ["“{}”", "‘{}’", "«{}»", "—{}—", "\u200b{}\u200b", "，{}。", "…{}…", "\ufeff{}", "é{} "]
)
def test_what_stands_around_a_name_hides_it_not(known: KnownPersons, around: str) -> None:
    spaced = around.replace("é", "é ")
    assert mask(known, spaced.format("Ann O'Neil")) == spaced.format("[PERSON]")
    assert mask(known, spaced.format("Ann"), ANN) == spaced.format("[PERSON]")
