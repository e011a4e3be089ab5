"""The logical digest: equal for equal tables however they are stored, and different otherwise."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.snapshots.digest import logical_digest, logical_digest_of_batches

FRAME = pl.DataFrame(
    {
        "id": ["a", None, ""],
        "n": [1, None, 2],
        "d": [date(2025, 1, 1)] * 3,
        "p": [Decimal("1.10"), None, Decimal("0.00")],
    },
    schema_overrides={"p": pl.Decimal(10, 2)},
)
ROW = st.tuples(st.none() | st.text(max_size=4), st.none() | st.integers(-3, 3), st.none() | st.booleans())
SCHEMA = {"t": pl.String(), "n": pl.Int64(), "b": pl.Boolean()}


def test_the_digest_is_the_same_in_another_process_and_release() -> None:
    assert logical_digest(FRAME) == "0af5a7eab5099475a82c6e3ea2fd102cdcc77417453084d435b67c6cfaec157b"


@given(st.lists(ROW), st.lists(ROW))
def test_tables_share_a_digest_exactly_if_they_are_equal(
    left: list[tuple[object, ...]], right: list[tuple[object, ...]]
) -> None:
    one, other = (pl.DataFrame(rows, SCHEMA, orient="row") for rows in (left, right))
    assert (logical_digest(one) == logical_digest(other)) == one.equals(other)


@given(st.lists(ROW, min_size=1), st.data())
def test_chunks_slices_and_parquet_do_not_matter(rows: list[tuple[object, ...]], data: st.DataObject) -> None:
    frame = pl.DataFrame(rows, SCHEMA, orient="row")
    cut = data.draw(st.integers(0, frame.height))
    file = io.BytesIO()
    frame.write_parquet(file, compression="uncompressed")
    file.seek(0)
    same = [
        pl.concat([frame.head(cut), frame.slice(cut)], rechunk=False),
        pl.concat([frame, frame]).slice(frame.height),
        pl.read_parquet(file),
    ]
    assert {logical_digest(each) for each in same} == {logical_digest(frame)}
    assert logical_digest_of_batches(frame.schema, [frame.head(cut), frame.slice(cut)]) == logical_digest(frame)


@pytest.mark.parametrize(
    "changed",
    [
        FRAME.rename({"n": "m"}),
        FRAME.cast({"n": pl.Int32}),
        FRAME.select("n", "id", "d", "p"),
        FRAME.reverse(),
        FRAME.with_columns(pl.col("id").fill_null("")),
        FRAME.cast({"p": pl.Decimal(12, 2)}),
        FRAME.clear(),
    ],
)
def test_names_types_order_and_nulls_matter(changed: pl.DataFrame) -> None:
    assert logical_digest(changed) != logical_digest(FRAME)


def test_an_empty_table_is_told_from_another_empty_table() -> None:
    assert logical_digest(FRAME.clear()) != logical_digest(FRAME.clear().drop("p"))
