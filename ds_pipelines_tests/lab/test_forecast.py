"""`lab.forecast`: laws of growth from figures, and real functions on real samples."""

from __future__ import annotations

import math
import pickle
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines import lab
from ds_pipelines.errors import ForecastTooLargeError, PilotFailedError, UnfitForForecastError
from ds_pipelines.lab.forecast import forecast_figure
from ds_pipelines.lab.growth import LAWS, foretell
from ds_pipelines.lab.notes import Notes, noting
from ds_pipelines.lab.pilots import rows_of, write_sample
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.settings import Settings

SIZES = [1_000 * 2**step for step in range(7)]
FULL = 8 * SIZES[-1]
COMMON = {
    "constant": lambda n: 3.0,
    "n": lambda n: 0.1 + 1e-5 * n,
    "n log n": lambda n: 1e-6 * n * math.log2(n),
    "n²": lambda n: 0.05 + 1e-9 * n**2,
    "n³": lambda n: 1e-14 * n**3,
}


@pytest.fixture
def calm(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


@pytest.mark.parametrize("law", COMMON)
def test_the_law_is_recognised_and_foretells_eight_times_as_much(law: str) -> None:
    told = foretell(SIZES, [COMMON[law](n) for n in SIZES], FULL)
    assert told.law == law
    assert told.value == pytest.approx(COMMON[law](FULL), rel=0.1)
    assert told.low < told.value < told.high


def test_what_doubles_with_each_row_is_recognised() -> None:
    told = foretell(list(range(10, 20)), [1e-6 * 2**n for n in range(10, 20)], 24)
    assert told.law == "2ⁿ"
    assert told.value == pytest.approx(1e-6 * 2**24, rel=0.05)


@given(law=st.sampled_from(sorted(COMMON)), seed=st.integers(0, 10_000))
def test_the_truth_lies_in_the_interval_of_noisy_measurements(law: str, seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(0.95, 1.05, len(SIZES))
    told = foretell(SIZES, [COMMON[law](n) * factor for n, factor in zip(SIZES, noise, strict=True)], FULL)
    assert told.low <= COMMON[law](FULL) <= told.high


def test_where_two_laws_fit_alike_the_interval_spans_both() -> None:
    sizes = [1_000, 1_100, 1_200, 1_300]
    told = foretell(sizes, [1e-3 * n for n in sizes], 8_000)
    assert told.low <= 8.0 < 1e-6 * 8_000**2 * 0.5 <= told.high


def test_noise_is_not_taken_for_growth() -> None:
    told = foretell(SIZES, [1.0, 1.02, 0.99, 1.01, 1.0, 0.98, 1.03], FULL)
    assert told.law == "constant"
    assert 0.5 < told.low < 1.0 < told.high < 2.0


def test_a_growth_that_bends_widens_the_interval() -> None:
    straight = foretell(SIZES, [1e-5 * n for n in SIZES], FULL)
    bent = foretell(SIZES, [1e-5 * n * (3 if n > 16_000 else 1) for n in SIZES], FULL)
    assert bent.high / bent.low > 2 * straight.high / straight.low


def test_an_estimate_never_contradicts_itself() -> None:
    for law, grows in LAWS.items():
        sizes = np.array([2.0, 3.0, 6.0, 8.0])
        told = foretell(list(sizes), list(grows(sizes) + 1.0), 10.0)
        assert told.low <= told.value <= told.high, law


def test_a_real_function_is_foretold(calm: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    def sleepy(table: pl.DataFrame) -> None:  # here, so that its process need not import this whole module
        time.sleep(1.5e-6 * table.height)

    told = lab.forecast(sleepy, pl.DataFrame({"n": range(2_000_000)}), settings=calm)
    assert told.seconds.low <= 3.0 <= told.seconds.high
    assert told.spent <= 0.3 * told.seconds.value
    assert told.fits
    assert told.words in capsys.readouterr().out


def test_what_does_not_fit_is_refused_before_it_runs(calm: Settings) -> None:
    def hoarding(numbers: np.ndarray) -> float:
        return float(np.abs(numbers[:, None] - numbers[None, :]).sum())

    table = np.arange(40_000.0)  # the whole would take 25 GB
    with pytest.raises(ForecastTooLargeError, match="it may be ended before it is done"):
        lab.forecast(hoarding, table, refuse=True, memory=2 << 30, settings=calm)


def test_a_pilot_that_takes_too_much_is_ended(calm: Settings) -> None:
    def greedy(numbers: list[int]) -> None:
        held = [b"x" * (8 << 20) for _ in range(200 * len(numbers))]
        time.sleep(len(held))

    with pytest.raises(ForecastTooLargeError, match=r"Even 1 of 9 rows took more than a pilot may\."):
        lab.forecast(greedy, list(range(9)), memory=1 << 30, settings=calm)


def test_a_function_that_fails_is_named_by_its_error_alone(calm: Settings) -> None:
    def failing(numbers: list[int]) -> None:
        raise KeyError("a customer's name")

    with pytest.raises(PilotFailedError, match=r"sample of 1 rows \(KeyError\)") as caught:
        lab.forecast(failing, [1, 2, 3], settings=calm)
    assert "customer" not in str(caught.value)


def test_what_has_no_rows_is_refused(calm: Settings) -> None:
    with pytest.raises(UnfitForForecastError, match="expected a Polars or pandas table"):
        lab.forecast(print, 7, settings=calm)


def unpickled(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301 - written a moment ago


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (lambda: pl.LazyFrame({"n": range(1_000)}), lambda folder: pl.read_parquet(folder / "sample.parquet")["n"]),
        (lambda: pl.DataFrame({"n": range(1_000)}), lambda folder: pl.read_parquet(folder / "sample.parquet")["n"]),
        (lambda: pd.DataFrame({"n": range(1_000)}), lambda folder: unpickled(folder / "sample.pickle")["n"]),
        (lambda: np.arange(1_000), lambda folder: unpickled(folder / "sample.pickle")),
        (lambda: list(range(1_000)), lambda folder: unpickled(folder / "sample.pickle")),
    ],
)
def test_a_sample_is_from_all_over_the_table_in_its_order(
    make: Callable[[], object], read: Callable[[Path], object], tmp_path: Path
) -> None:
    table = make()
    assert rows_of(table) == 1_000
    write_sample(table, 100, 1_000, tmp_path)
    sample = [int(value) for value in read(tmp_path)]
    assert 95 <= len(sample) <= 100
    assert sample == sorted(set(sample))
    assert min(sample) < 100
    assert max(sample) > 900


def test_in_a_run_the_plot_is_kept(calm: Settings, tmp_path: Path) -> None:
    with noting(Notes(tmp_path)) as notes:
        told = lab.forecast(len, list(range(5)), settings=calm)
    assert notes.figures["forecast"].startswith(b"\x89PNG")
    assert [axes.get_ylabel() for axes in forecast_figure(told).axes] == ["seconds", "GiB"]
