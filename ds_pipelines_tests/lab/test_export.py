"""Extracts as files for other tools: whole or not at all, exact in Parquet, safe in Excel."""

from __future__ import annotations

import csv
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ds_pipelines.errors import NestedColumnError, NoSuchFolderError, UnknownFileKindError, WouldOverwriteError
from ds_pipelines.lab.export import Written, write

if TYPE_CHECKING:
    from pathlib import Path

HARMFUL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x","y")', "＝1+1"]
HARMLESS = ["a=1", " =1", "'=1", "", 'Ünïcode, "quoted"', "two\nlines", "1-2"]
TABLE = pl.DataFrame(
    {
        "text": HARMFUL + HARMLESS,
        "number": [-place for place in range(16)],
        "paid": [Decimal("-0.10")] * 16,
        "at": [datetime(2025, 3, 3, 12, 30, tzinfo=UTC)] * 16,
        "on": [date(2025, 3, 3)] * 16,
        "nothing": pl.Series([None] * 16, dtype=pl.String),
    },
    schema_overrides={"paid": pl.Decimal(10, 2)},
)
WRITE = """
import resource, sys
import polars as pl
from pathlib import Path
from ds_pipelines.lab.export import write
folder, kind, days = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rows = pl.scan_parquet([folder / "day.parquet"] * days, glob=False, hive_partitioning=False)
written = write("table", rows, folder / f"out.{kind}", force=True)
print(written.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def cells(path: Path, encoding: str = "utf-8-sig") -> list[dict[str, str]]:
    """A CSV file as other tools read it."""
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file))


def test_parquet_holds_the_rows_exactly(tmp_path: Path) -> None:
    written = write("table", TABLE.lazy(), tmp_path / "table.parquet")
    assert_frame_equal(pl.read_parquet(written.path), TABLE)
    assert (written.rows, written.guarded, written.bytes) == (16, 0, written.path.stat().st_size)


def test_csv_for_excel_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = write("table", TABLE.lazy(), tmp_path / "table.csv").path
    assert path.read_bytes().startswith(b"\xef\xbb\xbftext,number,")


def test_what_excel_would_run_gets_an_apostrophe_and_is_counted(tmp_path: Path) -> None:
    written = write("table", TABLE.lazy(), tmp_path / "table.csv")
    assert [row["text"] for row in cells(written.path)] == [f"'{text}" for text in HARMFUL] + HARMLESS
    assert written.guarded == len(HARMFUL)


def test_a_column_named_like_a_formula_is_guarded_too(tmp_path: Path) -> None:
    written = write("table", pl.LazyFrame({"=1+1": ["a"], "b": [1]}), tmp_path / "table.csv")
    assert list(cells(written.path)[0]) == ["'=1+1", "b"]
    assert written.guarded == 1


def test_numbers_and_times_are_never_changed(tmp_path: Path) -> None:
    row = cells(write("table", TABLE.lazy(), tmp_path / "table.csv").path)[3]
    assert (row["number"], row["paid"], row["on"], row["nothing"]) == ("-3", "-0.10", "2025-03-03", "")
    assert row["at"].startswith("2025-03-03T12:30:00")


def test_exact_csv_is_for_programs(tmp_path: Path) -> None:
    written = write("table", TABLE.lazy(), tmp_path / "table.csv", exact=True)
    assert written.path.read_bytes().startswith(b"text,")
    assert [row["text"] for row in cells(written.path, "utf-8")] == HARMFUL + HARMLESS
    assert written.guarded == 0


def test_a_table_without_texts_and_one_without_rows_can_be_written(tmp_path: Path) -> None:
    assert write("table", TABLE.lazy().select("number"), tmp_path / "numbers.csv").rows == 16
    assert write("table", TABLE.lazy().head(0), tmp_path / "empty.csv").path.read_text("utf-8-sig").startswith("text,")
    assert pl.read_parquet(write("table", TABLE.lazy().head(0), tmp_path / "empty.parquet").path).schema == TABLE.schema


def test_lists_are_refused_in_csv_by_name_and_written_to_parquet(tmp_path: Path) -> None:
    frame = pl.LazyFrame({"tags": [["a"], None], "number": [1, 2]})
    with pytest.raises(NestedColumnError, match=r"'basket' hold lists.*: tags\. Write Parquet"):
        write("basket", frame, tmp_path / "basket.csv")
    assert write("basket", frame, tmp_path / "basket.parquet").rows == 2
    assert [path.name for path in tmp_path.iterdir()] == ["basket.parquet"]


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("mine")
    with pytest.raises(WouldOverwriteError, match="--force"):
        write("table", TABLE.lazy(), path)
    assert path.read_text() == "mine"
    write("table", TABLE.lazy(), path, force=True)
    assert len(cells(path)) == 16
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_fails_half_way_leaves_the_former_file_and_nothing_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"table.{kind}"
    path.write_text("mine")
    TABLE.write_parquet(tmp_path / "day.parquet")
    content = (tmp_path / "day.parquet").read_bytes()
    (tmp_path / "day.parquet").write_bytes(b"PAR1" + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(Exception):  # noqa: B017, PT011 - Polars has many words for it
        write("table", pl.scan_parquet(tmp_path / "day.parquet"), path, force=True)
    assert path.read_text() == "mine"
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "day.parquet"}


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    for kind in ("parquet", "csv"):
        assert write("table", TABLE.lazy(), tmp_path / f"table.{kind}").path.stat().st_mode & 0o077 == 0


def test_where_it_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UnknownFileKindError, match=r"'table\.xlsx'.*\.parquet or \.csv"):
        write("table", TABLE.lazy(), tmp_path / "table.xlsx")
    with pytest.raises(NoSuchFolderError, match="no folder"):
        write("table", TABLE.lazy(), tmp_path / "nowhere" / "table.csv")


def test_more_rows_than_a_sheet_has_are_noticed(tmp_path: Path) -> None:
    assert Written(tmp_path / "a.csv", 1_048_576, 1, 0).beyond_a_sheet
    assert not Written(tmp_path / "a.csv", 1_048_575, 1, 0).beyond_a_sheet
    assert not Written(tmp_path / "a.parquet", 10**9, 1, 0).beyond_a_sheet


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, kind: str) -> None:
    """Eight times as many rows; they would take 330 MiB at once."""
    pl.select(number=pl.int_range(200_000), text=pl.int_range(200_000).cast(pl.String).str.zfill(40)).write_parquet(
        tmp_path / "day.parquet"
    )
    peaks = []
    for days in (4, 32):
        done = subprocess.run(
            [sys.executable, "-c", WRITE, str(tmp_path), kind, str(days)], capture_output=True, text=True, check=True
        )
        rows, peak = map(int, done.stdout.split())
        assert rows == days * 200_000
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 100, peaks
