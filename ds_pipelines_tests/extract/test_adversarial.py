"""What is naughty, huge, missing or oddly named, from the database through the whole extract to the published file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines.errors import DsPipelinesError, PolicyError, ProofFailedError
from ds_pipelines.extract import pseudonyms
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.publish import extract_state
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.extract.scenario import kept, policy_file

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings


def decided(treatment: str) -> str:
    return f"{{treatment: {treatment}, description: D., because: B.}}"


TREATED = {
    "id": kept(),
    "same": kept(),
    "who": decided("{pseudonym: text}"),
    "as_uuid": decided("{pseudonym: {domain: unique, as: uuid}}"),
    "start": decided("{truncate: 3}"),
    "common": decided("{rare: {below: 2}}"),
    "form": decided("{json: {keep: [a], pseudonym: {b: text}}}"),
}
COPIES = (
    "CREATE TABLE visits (id int PRIMARY KEY, same text, who text, as_uuid text, start text, common text, form json)"
)
FILLED = """
    INSERT INTO visits
    SELECT n, t, t, t, t, t, json_build_object('a', t, 'b', t, t, 1)
    FROM unnest(%s::int[], %s::text[]) AS given(n, t)
"""


def published(
    place: Settings, folder: Path, columns: dict[str, str], table: str = "visits", **said: str
) -> pl.DataFrame:
    """What an extract of a table publishes, read from its file."""
    said = {"rows": "all", "key": "[id]"} | said
    there = place.model_copy(update={"policies": policy_file(folder / "policy", columns, table=table, **said).parent})
    name = json.loads(table) if table.startswith('"') else table
    manifest = extract_state(name, there)
    frame = pl.read_parquet(SnapshotStore(there.snapshots).path(manifest.digest))
    assert frame.height == manifest.rows
    return frame


@pytest.fixture
def naughty(shared_data: Path) -> list[str]:
    """The 515 of them."""
    texts = json.loads((shared_data / "adversarial" / "naughty_strings.json").read_text())
    assert len(texts) == 515
    return texts  # type: ignore[no-any-return]


@pytest.fixture
def texts(naughty: list[str]) -> list[str]:
    """These, some of them twice, and two of a megabyte."""
    return [*naughty, *naughty[:100], "é" * 500_000, "a" * (1 << 20)]


def test_naughty_strings_are_kept_cut_and_listed_like_any_others(
    place: Settings, sql: Any, tmp_path: Path, texts: list[str]
) -> None:
    sql(COPIES)
    sql(FILLED, (list(range(len(texts))), texts))
    columns = TREATED | {"who": decided("drop"), "as_uuid": decided("drop")}
    frame = published(place, tmp_path, columns, schema=sql.schema).sort("id")
    assert frame["same"].to_list() == texts
    assert frame["start"].to_list() == [text[:3] for text in texts]
    twice = {text for text in texts if texts.count(text) > 1}
    assert frame["common"].to_list() == [text if text in twice else "other" for text in texts]
    forms = [json.loads(form) for form in frame["form"]]
    assert [form["a"] for form in forms] == texts
    made = pseudonyms.load(place).of(pl.Series(texts), "text").to_list()
    assert [form["b"] for form in forms] == made
    assert {key for form in forms for key in form} == {"a", "b"}


def test_naughty_strings_have_pseudonyms_like_any_others(
    place: Settings, sql: Any, tmp_path: Path, texts: list[str]
) -> None:
    sql(COPIES)
    sql(FILLED, (list(range(len(texts))), texts))
    columns = {name: decided("drop") for name in TREATED} | {name: TREATED[name] for name in ("id", "who", "as_uuid")}
    frame = published(place, tmp_path, columns, schema=sql.schema).sort("id")
    given, of = pl.Series(texts), pseudonyms.load(place).of
    assert frame["who"].to_list() == of(given, "text").to_list()
    assert frame["as_uuid"].to_list() == of(given, "unique", "uuid").to_list()
    assert frame["who"].n_unique() == frame["as_uuid"].n_unique() == given.n_unique()


def test_a_key_of_a_megabyte_in_a_text_of_a_megabyte_is_found(place: Settings, sql: Any, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (id int PRIMARY KEY, who text, same text)")
    sql("INSERT INTO visits VALUES (1, repeat('a', 1 << 20), 'x' || repeat('a', 1 << 20))")
    columns = {name: TREATED[name] for name in ("id", "who", "same")}
    with pytest.raises(ProofFailedError, match=r"nobody_named: .*column same"):
        published(place, tmp_path, columns, schema=sql.schema)


@pytest.mark.parametrize(
    ("rows", "height"),
    [
        ("SELECT WHERE false", 0),
        ("SELECT 1, 'x', 'x', 'x', 'x', 'x', '{\"a\": 1}'", 1),
        ("SELECT n, NULL, NULL, NULL, NULL, NULL, NULL FROM generate_series(1, 3) n", 3),
    ],
    ids=["no row", "one row", "no value"],
)
def test_tables_without_rows_or_values_keep_their_types(
    place: Settings, sql: Any, tmp_path: Path, rows: str, height: int
) -> None:
    sql(COPIES)
    if height:
        sql(f"INSERT INTO visits {rows}")
    frame = published(place, tmp_path, TREATED, schema=sql.schema)
    assert (frame.height, frame.dtypes) == (height, [pl.Int32, *[pl.String] * 6])
    if height == 3:
        assert all(frame[name].null_count() == 3 for name in frame.columns[1:])


@pytest.mark.parametrize("treatment", ["{pseudonym: thing}", "{pseudonym: {domain: thing, as: bigint}}", "keep"])
@pytest.mark.parametrize("name", ["select", "Order Details", "ſchön ж", 'a "b"', "user'); DROP TABLE visits; --", "c0"])
def test_keys_and_columns_of_any_name_are_published_under_it(
    place: Settings, sql: Any, tmp_path: Path, name: str, treatment: str
) -> None:
    quoted, written = '"' + name.replace('"', '""') + '"', json.dumps(name, ensure_ascii=False)
    sql(f"CREATE TABLE {quoted} ({quoted} int PRIMARY KEY, other text)".replace("%", "%%"))
    sql(f"INSERT INTO {quoted} VALUES (7, 'x'), (8, NULL)".replace("%", "%%"))
    columns = {written: decided(treatment), "other": kept()}
    frame = published(place, tmp_path, columns, written, schema=sql.schema, key=f"[{written}]")
    assert frame.columns == [name, "other"]
    assert frame[name].n_unique() == 2
    assert set(frame["other"]) == {"x", None}


@pytest.mark.parametrize(
    "text",
    ["version: 1\ntables:\n  \"a\\0b\": {}\n", "version: 1\ntables: {a: \"\\ud800\"}\n", "version: 1\n\0tables: {}\n"],
    ids=["a NUL in a name", "half a surrogate pair", "a NUL in the file"],
)  # fmt: skip
def test_a_policy_with_what_no_database_can_hold_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(PolicyError, match=r"shop\.yaml.*Correct the file"):
        load(path)


@pytest.mark.parametrize(
    "where", ['{constant: "a\\0b"}', '{constant: "\\ud800"}', '{rare: {below: 2, frequent: ["\\ud800"]}}']
)
def test_a_constant_that_no_text_can_hold_is_refused_by_its_place(tmp_path: Path, where: str) -> None:
    path = policy_file(tmp_path, {"id": kept(), "c": decided(where)}, rows="all", key="[id]")
    with pytest.raises(PolicyError, match=r"line 11: .* a text holds NUL or half a surrogate pair"):
        load(path)


@pytest.mark.parametrize("table", ["a\0b", "\ud800", "", "x" * 1000, "../../etc/passwd"])
def test_a_table_of_an_impossible_name_is_unknown(place: Settings, table: str) -> None:
    with pytest.raises(DsPipelinesError) as refusal:
        extract_state(table, place)
    str(refusal.value).encode()
