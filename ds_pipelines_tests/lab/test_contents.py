"""Outputs are compared by what they hold, by kind, and a difference is worded without quoting data."""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.lab.contents import compare, frames, largest_difference

TABLE = pl.DataFrame({"id": ["a", "b", "c"], "score": [0.5, 0.25, None]})
PERSON = "Ada Lovelace"


def parquet(frame: pl.DataFrame, **how: object) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **how)  # type: ignore[arg-type]
    return buffer.getvalue()


def png(pixels: np.ndarray, **metadata: str) -> bytes:
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", metadata=metadata)
    return buffer.getvalue()


def likeness(artifact: str, a: bytes, b: bytes, tolerance: float = 1e-9) -> str:
    return compare(artifact, a, b, tolerance).likeness


def test_a_table_in_other_bytes_is_the_same_content() -> None:
    assert likeness("t.parquet", parquet(TABLE), parquet(TABLE, compression="uncompressed")) == "same content"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (TABLE.reverse(), "reordered"),
        (TABLE.with_columns(pl.col("score") * (1 + 1e-12)), "within tolerance"),
        (TABLE.reverse().with_columns(pl.col("score") * (1 + 1e-12)), "reordered"),
        (TABLE.with_columns(pl.col("score") * 1.01), "differs"),
        (TABLE.with_columns(id=pl.lit("a")), "differs"),
        (TABLE.head(2), "differs"),
        (TABLE.rename({"id": "name"}), "differs"),
        (TABLE.with_columns(score=pl.Series([0.5, None, 0.25])), "differs"),
    ],
)
def test_the_strictest_likeness_of_two_tables_is_said(other: pl.DataFrame, expected: str) -> None:
    assert likeness("t.parquet", parquet(TABLE), parquet(other)) == expected


def test_pictures_are_compared_by_their_pixels() -> None:
    pixels = np.zeros((4, 5, 3))
    other = pixels.copy()
    other[1, 2] = 1
    assert likeness("p.png", png(pixels), png(pixels, Title="later")) == "same content"
    found = compare("p.png", png(pixels), png(other), 0)
    assert (found.likeness, found.difference) == ("differs", "1 of 20 pixels differ")


def test_values_of_json_are_compared_and_the_first_place_is_named() -> None:
    a, b = {"p": 0.25, "families": [{"auc": 0.5}]}, {"families": [{"auc": 0.6}], "p": 0.25}
    assert likeness("v.json", json.dumps(a).encode(), json.dumps(a, indent=4).encode()) == "same content"
    found = compare("v.json", json.dumps(a).encode(), json.dumps(b).encode(), 1e-9)
    assert found.difference == "it differs first at families[0].auc"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("auc = 0.81\n", "auc = 0.81\r\n", "same content"),
        ("wrote /tmp/ds-again-1/made/x.csv", "wrote /home/me/spool/77/made/x.csv", "same content"),
        ("auc = 0.8100000000001", "auc = 0.81", "within tolerance"),
        ("auc = 0.81", "auc = 0.91", "differs"),
        ("one", "one\ntwo", "differs"),
    ],
)
def test_texts_are_compared_line_by_line(a: str, b: str, expected: str) -> None:
    assert likeness("stdout.txt", a.encode(), b.encode()) == expected


def test_times_that_were_printed_are_told_from_results() -> None:
    assert compare("stdout.txt", b"took 3.1 s", b"took 2.9 s", 0).clock
    assert not compare("stdout.txt", b"auc 3.1", b"auc 2.9", 0).clock


def test_no_difference_quotes_what_differs() -> None:
    a, b = pl.DataFrame({"name": [PERSON]}), pl.DataFrame({"name": ["Charles"]})
    pairs = {
        "t.parquet": (parquet(a), parquet(b)),
        "t.csv": (a.write_csv().encode(), b.write_csv().encode()),
        "t.txt": (PERSON.encode(), b"Charles"),
        "t.json": (json.dumps([PERSON]).encode(), b'["Charles"]'),
        "t.bin": (PERSON.encode(), b"Charles"),
    }
    for artifact, (left, right) in pairs.items():
        found = compare(artifact, left, right, 0)
        assert found.likeness == "differs"
        assert PERSON not in found.difference
        assert "Charles" not in found.difference


def test_a_damaged_file_differs() -> None:
    assert likeness("t.parquet", parquet(TABLE), b"PAR1 half of it") == "differs"


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.5, float("nan")])), min_size=1), st.randoms())
def test_any_order_of_the_same_rows_is_never_called_different(rows: list[tuple[int, float]], random: object) -> None:
    frame = pl.DataFrame(rows, schema=["id", "value"], orient="row")
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    other = pl.DataFrame(shuffled, schema=["id", "value"], orient="row")
    assert frames(frame, other, 0.0).likeness in ("same content", "reordered")


@given(st.lists(st.floats(), min_size=1))
def test_numbers_never_differ_from_themselves(values: list[float]) -> None:
    assert largest_difference(np.array(values), np.array(values)) == 0


def test_a_duration_that_a_notebook_shows_is_told_from_a_result() -> None:
    def shown(text: str) -> bytes:
        return json.dumps({"cells": [{"outputs": [{"text": text}]}]}).encode()

    assert compare("notebook.ipynb", shown("took 3.1 s"), shown("took 2.9 s"), 0).clock
    assert not compare("notebook.ipynb", shown("auc 3.1"), shown("auc 2.9"), 0).clock
