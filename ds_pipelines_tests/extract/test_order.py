"""The published order: total, the same whatever the batches, and sorted in memory that does not hold it all."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ds_pipelines.extract import order, policy
from ds_pipelines.extract.order import Ordering, columns_of_order
from ds_pipelines.extract.pseudonyms import Pseudonyms
from ds_pipelines_tests.extract.scenario import SECRET, kept, policy_file

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.extract.policy import TablePolicy

PSEUDONYM = "{treatment: {pseudonym: visit}, description: The visit., because: Its number is on a slip.}"
ROWS = 5_000


def table(folder: Path, *, visit: str = PSEUDONYM, key: str = "[visit]") -> TablePolicy:
    columns = {"n": kept(), "visit": visit, "guest": PSEUDONYM}
    return policy.load(policy_file(folder, columns, rows="all", key=key)).table("visits")


def frame() -> pl.DataFrame:
    numbers = pl.Series("n", range(ROWS))
    of = Pseudonyms(SECRET).of
    return pl.DataFrame([numbers, of(numbers, "visit").alias("visit"), of(numbers // 7, "guest").alias("guest")])


def sorted_by(ordering: Ordering, rows: pl.DataFrame, sizes: list[int]) -> pl.DataFrame:
    start = 0
    for size in [*sizes, rows.height]:
        ordering.add(rows.slice(start, size))
        start += size
    return pl.concat(list(ordering.ordered()))


@given(sizes=st.lists(st.integers(0, 1_500), max_size=8), run_rows=st.integers(1, 3_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_batches_and_runs_never_change_the_result(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], run_rows: int
) -> None:
    folder, rows = tmp_path_factory.mktemp("order"), frame()
    decisions = table(folder)
    (folder / "spill").mkdir()
    assert sorted_by(Ordering(decisions, folder / "spill", run_rows=run_rows), rows, sizes).equals(rows.sort("visit"))


def test_more_rows_than_a_bucket_come_in_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "BUCKET_ROWS", 1_024)
    monkeypatch.setattr(order, "_PIECE_ROWS", 64)
    rows, spill = frame(), tmp_path / "spill"
    spill.mkdir()
    ordering = Ordering(table(tmp_path), spill, run_rows=1_000)
    for start in range(0, ROWS, 100):
        ordering.add(rows.slice(start, 100))
    buckets = list(ordering.ordered())
    assert len(buckets) > 2
    assert max(bucket.height for bucket in buckets) < 2 * 1_024
    assert pl.concat(buckets).equals(rows.sort("visit"))


def test_a_table_whose_key_is_kept_is_in_the_order_of_its_first_pseudonym(tmp_path: Path) -> None:
    decisions = table(tmp_path, visit=kept(), key="[n]")
    assert columns_of_order(decisions) == ["guest", "n"]


@pytest.mark.parametrize(
    "values",
    [
        [3, None, 1, 2],
        [0.5, None, float("nan"), -1.0],
        [None, "b", "a", ""],
        [Decimal("0.1"), None, Decimal("-9.9")],
        [True, None, False],
        [b"b", None, b""],
        [time(9), None, time(8)],
        [[2], None, [1, 3], []],
    ],
)
def test_a_table_without_pseudonyms_is_in_the_order_of_its_key(tmp_path: Path, values: list[object]) -> None:
    path = policy_file(tmp_path, {"n": kept()}, rows="all", key="[n]")
    rows = pl.DataFrame({"n": values})
    ordering = Ordering(policy.load(path).table("visits"), tmp_path, run_rows=1)
    assert sorted_by(ordering, rows, [1, 1]).equals(rows.sort("n"))
