"""How far are forecasts from what ten functions of known growth then take, each at eight times the largest pilot?

Python, NumPy, Polars, pandas and scikit-learn; n, n log n, n², n³ and 2ⁿ, in time and in memory. The limit of a
forecast is a second measurement of the whole: the same function on the same rows differs from itself by that much.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.report import conclude
from ds_pipelines.lab.forecast import Forecast, forecast
from ds_pipelines.lab.pilots import Pilot, measure, write_function, write_sample
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL, INSIDE, COST = 0.25, 9, 0.30
SEED = 11


def squares(numbers: list[float]) -> object:
    """Grows as n in time and memory."""
    return [(number * number, str(number)) for number in numbers]


def ordered(numbers: list[float]) -> object:
    """Grows as n log n in time, n in memory."""
    return sorted(sorted(numbers, key=lambda number: (number * 7_919) % 1.0), key=lambda number: -number)


def differences(numbers: np.ndarray[Any, Any]) -> object:
    """n² in time, n in memory; in one place, because the allocator's own thresholds make temporaries cost more."""
    place = np.empty_like(numbers)
    return [float(np.cos(np.subtract(numbers, number, out=place), out=place).sum()) for number in numbers]


def distances(numbers: np.ndarray[Any, Any]) -> object:
    """n² in time and memory."""
    return np.exp(-np.abs(numbers[:, None] - numbers[None, :])).sum()


def kernel(numbers: np.ndarray[Any, Any]) -> object:
    """n³ in time, n² in memory."""
    return np.linalg.svd(np.exp(-((numbers[:, None] - numbers[None, :]) ** 2)))


def subsets(numbers: list[float]) -> object:
    """2ⁿ in time, nothing in memory."""
    best, total = 0.0, 0.0
    for code in range(1, 1 << len(numbers)):
        lowest = (code & -code).bit_length() - 1
        total += numbers[lowest] if code >> (lowest + 1) & 1 else -numbers[lowest]
        best = max(best, total)
    return best


def sums(numbers: list[float]) -> object:
    """2ⁿ in time and memory."""
    found = np.zeros(1)
    for number in numbers:
        found = np.concatenate([found, np.sort(np.sin(found + number))])
    return np.sort(found)[len(found) // 2]


def report(table: pl.LazyFrame) -> object:
    """N log n in time, n in memory, in Polars."""
    return (
        table.with_columns(text=pl.col("a").cast(pl.String))
        .sort("text", "b")
        .with_columns(pl.col("b").rank().over("group"))
        .collect()
    )


def joined(table: Any) -> object:
    """N in time and memory, in pandas."""
    import pandas as pd

    means = table.groupby("group")["b"].mean().rename("mean").reset_index()
    texts = table.assign(text=table["a"].map(str))
    return pd.concat([texts.merge(means, on="group"), texts]).drop_duplicates(["text", "b"])


def forest(table: np.ndarray[Any, Any]) -> object:
    """N log n in time, n in memory, in scikit-learn."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(n_estimators=12, random_state=SEED).fit(table[:, 1:], table[:, 0])


@dataclass(frozen=True)
class Case:
    """A function and the table that is meant."""

    function: Callable[[Any], object]
    table: Callable[[np.random.Generator], Any]


def frame(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    return pl.DataFrame({"a": rng.random(rows), "b": rng.random(rows), "group": rng.integers(0, 1_000, rows)})


CASES = {
    "squares": Case(squares, lambda rng: rng.random(12_000_000).tolist()),
    "ordered": Case(ordered, lambda rng: rng.random(6_000_000).tolist()),
    "differences": Case(differences, lambda rng: rng.random(30_000)),
    "distances": Case(distances, lambda rng: rng.random(15_000)),
    "kernel": Case(kernel, lambda rng: rng.random(3_800)),
    "subsets": Case(subsets, lambda rng: rng.random(26).tolist()),
    "sums": Case(sums, lambda rng: rng.random(27).tolist()),
    "report": Case(report, lambda rng: frame(rng, 16_000_000).lazy()),
    "joined": Case(joined, lambda rng: frame(rng, 3_000_000).to_pandas()),
    "forest": Case(forest, lambda rng: rng.random((80_000, 6))),
}


def whole(case: Case, table: Any, rows: int) -> Pilot:
    """What the function takes on all rows, measured as a pilot is."""
    with tempfile.TemporaryDirectory(prefix="ds-bench-") as folder:
        place = Path(folder)
        (place / "warm_up").mkdir()
        write_sample(table, min(rows, 2), rows, place / "warm_up")
        write_sample(table, rows, rows, place)
        write_function(case.function, place)
        return measure(place, rows, seconds=200, memory=8 << 30)


@dataclass(frozen=True)
class Found:
    """A forecast beside the truth."""

    told: Forecast
    true: Pilot
    again: Pilot

    @property
    def errors(self) -> tuple[float, float]:
        """Of time and memory, relative."""
        seconds = statistics.mean((self.true.seconds, self.again.seconds))
        return abs(self.told.seconds.value / seconds - 1), abs(self.told.memory.value / self._memory - 1)

    @property
    def _memory(self) -> float:
        return self.true.memory + self.true.base

    @property
    def inside(self) -> tuple[bool, bool]:
        """Whether the truth lies in the intervals of time and memory."""
        times = sorted((self.true.seconds, self.again.seconds))
        seconds, memory = self.told.seconds, self.told.memory
        return times[0] <= seconds.high and times[1] >= seconds.low, memory.low <= self._memory <= memory.high

    @property
    def warned(self) -> bool:
        """Whether it would have been said not to fit where it just does not: with 2 % too little memory or time."""
        return self.told.memory.high > 0.98 * self._memory and self.told.latest > 0.98 * self.true.seconds

    @property
    def cost(self) -> float:
        """Of the pilots, as a share of the whole."""
        return self.told.spent / self.true.seconds


def row(name: str, found: Found) -> tuple[str, ...]:
    told, true = found.told, found.true
    return (
        name,
        f"{told.seconds.law}: {told.seconds.value:.1f} ({told.seconds.low:.1f}-{told.seconds.high:.1f})",
        f"{true.seconds:.1f}, {found.again.seconds:.1f}",
        f"{told.memory.law}: {told.memory.value / 2**20:.0f} ({told.memory.low / 2**20:.0f}-"
        f"{told.memory.high / 2**20:.0f})",
        f"{(true.memory + true.base) / 2**20:.0f}",
        "yes" if all(found.inside) else "no",
        f"{found.cost:.0%}",
        f"{told.rows / told.pilots[-1].rows:.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=list(CASES))
    chosen = parser.parse_args()
    found = {}
    for name in chosen.names:
        case = CASES[name]
        table = case.table(np.random.default_rng(SEED))
        with tempfile.TemporaryDirectory(prefix="ds-bench-") as home:
            told = forecast(case.function, table, settings=load_settings(home=Path(home)))
        found[name] = Found(told, whole(case, table, told.rows), whole(case, table, told.rows))
        print(" | ".join(row(name, found[name])), flush=True)
    inside = sum(all(each.inside) for each in found.values())
    median = statistics.median(error for each in found.values() for error in each.errors)
    cost = max(each.cost for each in found.values())
    unwarned = [name for name, each in found.items() if not each.warned]
    noise = statistics.median(abs(each.true.seconds / each.again.seconds - 1) for each in found.values())
    print(f"{inside} of {len(found)} inside; dearest pilots {cost:.0%}; not warned of: {', '.join(unwarned) or 'none'}")
    conclude(
        "forecast_error",
        [row(name, each) for name, each in found.items()],
        header=("function", "seconds told", "true", "MiB told", "true", "inside", "pilots", "times the pilot"),
        figure=median,
        goal=f"median error <= {GOAL:.0%}, >= {INSIDE} of 10 inside, pilots <= {COST:.0%}, none wrongly said to fit",
        limit=f"the whole differs from itself by {noise:.1%}",
        holds=median <= GOAL and inside >= INSIDE * len(found) / 10 and cost <= COST and not unwarned,
    )


if __name__ == "__main__":
    main()
