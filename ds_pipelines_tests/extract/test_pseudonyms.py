"""Pseudonyms and the file of their secret."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.errors import CollidingPseudonymsError, MissingSecretError
from ds_pipelines.extract.pseudonyms import Pseudonyms, ensure_key, load_key, require_distinct
from ds_pipelines_tests.extract.scenario import OTHER_SECRET, SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.extract.treatments import Shape
    from ds_pipelines.settings import Settings

PSEUDONYMS = Pseudonyms(SECRET)
BIGINT = st.integers(-(2**63), 2**63 - 1)


def of(
    values: list[int] | list[str], domain: str = "customer", pseudonyms: Pseudonyms = PSEUDONYMS
) -> list[str | None]:
    return pseudonyms.of(pl.Series("id", values), domain).to_list()


@given(st.lists(st.text(), unique=True))
def test_different_texts_have_different_pseudonyms(values: list[str]) -> None:
    made = PSEUDONYMS.of(pl.Series("id", values, dtype=pl.String), "customer")
    assert made.n_unique() == len(values)
    assert made.str.contains("^[0-9a-f]{32}$").all()


@given(values=st.lists(st.text(), unique=True) | st.lists(st.uuids().map(str), unique=True), shape=st.sampled_from(
    ["text", "bigint", "uuid"]))  # fmt: skip
def test_different_identifiers_have_different_pseudonyms_in_every_shape_and_none_is_its_identifier(
    values: list[str], shape: Shape
) -> None:
    identifiers = pl.Series("id", values, dtype=pl.String)
    made = PSEUDONYMS.of(identifiers, "customer", shape)
    assert made.n_unique() == len(values)
    assert not (made.cast(pl.String) == identifiers).any()
    again = PSEUDONYMS.of(made.cast(pl.String), "customer", shape)
    assert not (again == made).any()


@given(st.lists(BIGINT, unique=True))
def test_an_integer_has_the_pseudonym_of_its_digits_and_no_other(values: list[int]) -> None:
    numbers = pl.Series("id", values, dtype=pl.Int64)
    made = PSEUDONYMS.of(numbers, "customer")
    assert made.equals(PSEUDONYMS.of(numbers.cast(pl.String), "customer"))
    assert made.n_unique() == len(values)


@pytest.mark.parametrize(
    ("shape", "dtype", "looks"),
    [
        ("text", pl.String, "^[0-9a-f]{32}$"),
        ("bigint", pl.Int64, "^[0-9]+$"),
        ("uuid", pl.String, "^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$"),
    ],
)
def test_every_shape_is_injective_and_fits_its_type(shape: Shape, dtype: pl.DataType, looks: str) -> None:
    numbers = pl.Series("id", range(100_000))
    made = PSEUDONYMS.of(numbers, "customer", shape)
    assert made.dtype == dtype
    assert made.n_unique() == len(numbers)
    assert made.cast(pl.String).str.contains(looks).all()
    assert made.equals(PSEUDONYMS.of(numbers.cast(pl.String), "customer", shape))
    assert PSEUDONYMS.of(pl.Series([None], dtype=pl.Int64), "customer", shape).to_list() == [None]


def test_two_identifiers_with_one_pseudonym_are_noticed() -> None:
    numbers = pl.Series("who", [*range(300), None, 7])
    made = PSEUDONYMS.of(numbers, "customer", "bigint")
    require_distinct(numbers, made, "visits", "pseudonym(customer as bigint)")
    with pytest.raises(CollidingPseudonymsError, match=r"Two identifiers in visits\.who .* write `as: text`"):
        require_distinct(numbers, made % 256, "visits", "pseudonym(customer as bigint)")


@given(st.lists(BIGINT, unique=True), st.lists(BIGINT, unique=True))
def test_what_joins_before_joins_after_in_every_shape(left: list[int], right: list[int]) -> None:
    common = set(left) & set(right)
    for shape in ("text", "bigint", "uuid"):
        made = [set(PSEUDONYMS.of(pl.Series(values, dtype=pl.Int64), "customer", shape)) for values in (left, right)]
        assert len(made[0] & made[1]) == len(common)


def test_what_is_drawn_is_evenly_spread_and_tells_of_no_pseudonym() -> None:
    values = pl.Series("id", range(60_000))
    drawn = PSEUDONYMS.draw(values, "shift:customer", 6)
    assert set(drawn) == set(range(6))
    assert 9_500 < drawn.value_counts()["count"].min() <= drawn.value_counts()["count"].max() < 10_500
    as_bigint = PSEUDONYMS.of(values, "customer", "bigint")
    assert abs(pl.select(pl.corr(drawn.cast(pl.Float64), (as_bigint % 6).cast(pl.Float64))).item()) < 0.02
    assert not drawn.equals(PSEUDONYMS.draw(values, "shift:order", 6))


@given(st.lists(st.none() | BIGINT), st.lists(st.none() | BIGINT))
def test_a_pseudonym_depends_on_nothing_but_its_identifier(left: list[int | None], right: list[int | None]) -> None:
    def made(values: list[int | None]) -> list[str | None]:
        return PSEUDONYMS.of(pl.Series("id", values, dtype=pl.Int64), "customer").to_list()

    assert made(left + right) == made(left) + made(right)
    assert [value is None for value in made(left)] == [value is None for value in left]


def test_integers_of_any_width_agree() -> None:
    assert len({tuple(PSEUDONYMS.of(pl.Series([7], dtype=dtype), "customer")) for dtype in (pl.Int16, pl.Int64)}) == 1


def test_domains_and_secrets_give_unrelated_pseudonyms() -> None:
    other = Pseudonyms(OTHER_SECRET)
    assert len({*of([1]), *of([1], "order"), *of([1], pseudonyms=other), *of([1], "order", other)}) == 4
    assert PSEUDONYMS.key_id != other.key_id


def test_pseudonyms_are_the_same_in_another_process_and_release() -> None:
    assert PSEUDONYMS.key_id == "f83c09e78507"
    assert of([1, 2]) == ["7693134a601cf4a141de18448dcc4aa6", "e48bcc122c9f61e92fe81ed48cb94a36"]


def test_the_secret_and_its_keys_show_nowhere() -> None:
    key = PSEUDONYMS._key("customer").item()
    values = pl.LazyFrame({"id": [1]})
    expression = pl.concat_str([pl.lit(PSEUDONYMS._key("customer")), pl.col("nobody").cast(pl.String)])
    with pytest.raises(pl.exceptions.ColumnNotFoundError) as failure:
        values.select(expression).collect()
    with pytest.raises(TypeError) as refusal:
        PSEUDONYMS.of(pl.Series([1.5]), "customer")
    for shown in (repr(PSEUDONYMS), str(expression), str(failure.value), str(refusal.value)):
        assert key not in shown
        assert SECRET.hex() not in shown
    assert key != SECRET.hex()


def test_the_key_is_made_once_for_its_owner_alone(place: Settings) -> None:
    path = ensure_key(place)
    made = load_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert len(made) == 32
    assert load_key(ensure_key(place)) == made
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_those_who_need_the_key_at_the_same_time_get_the_same_one(place: Settings) -> None:
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(load_key(ensure_key(place)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pseudonym.key"
    path.write_text(SECRET.hex())
    path.chmod(mode)
    with pytest.raises(MissingSecretError, match=r"others than its owner can read it\. Run `chmod 600") as refusal:
        load_key(path)
    assert SECRET.hex() not in str(refusal.value)


@pytest.mark.parametrize("content", ["", "abcd", "not hexadecimal", SECRET.hex()[:-2], "é" * 64])
def test_a_key_that_is_too_short_or_malformed_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pseudonym.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(MissingSecretError, match="it does not hold 32 bytes") as refusal:
        load_key(path)
    assert not content or content not in str(refusal.value)


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingSecretError, match="No such file"):
        load_key(tmp_path / "pseudonym.key")


def test_a_lost_key_is_not_replaced_once_something_was_published_with_it(published: Settings, place: Settings) -> None:
    place.home.mkdir()
    place.snapshots.symlink_to(published.snapshots)
    with pytest.raises(MissingSecretError, match="would give everybody other pseudonyms"):
        ensure_key(place)
    assert not place.pseudonym_key.exists()
