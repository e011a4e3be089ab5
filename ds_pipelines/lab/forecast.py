"""`lab.forecast`: how long a function will take on a whole table and how much memory, told from samples of it.

What belongs here: how large the next sample is, when there are enough, and what is said. What does not: one
measurement (pilots.py), and what follows from several (growth.py).

Pilots shorter than a second, or of less than 50 MB, show a program's start rather than its growth: samples grow until
a pilot is longer than that, or until the pilots have cost three tenths of what the whole is foretold to cost.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import ForecastTooLargeError
from ds_pipelines.lab.admission import machine_memory, memory_of_all
from ds_pipelines.lab.growth import Estimate, foretell
from ds_pipelines.lab.notes import current, figure, say
from ds_pipelines.lab.pilots import (
    WARM_UP_ROWS,
    Pilot,
    TooMuchError,
    measure,
    rows_of,
    write_function,
    write_sample,
)
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from ds_pipelines.settings import Settings

ENOUGH_SECONDS, ENOUGH_MEMORY = 1.0, 50 << 20
"""What a pilot must take for its growth to be seen."""
BUDGET, DOUBT = 0.3, 4
"""Of the time that the whole takes at least, for all pilots; where that is foretold vaguely, of a fourth of what it
most likely takes."""
FARTHEST = 8
"""So many times the largest pilot the whole is at most, if the budget allows."""
PATIENCE_SECONDS = 120.0
"""For all pilots, however long the whole is foretold to take."""
FIRST_SHARE = 256
FEWEST = 4
"""Pilots that are needed to tell laws apart."""
FREE_SECONDS = 1.0
"""For all pilots, whatever the whole is foretold to take: such short ones foretell nothing yet."""
FEW_ROWS = 64
CHANCE_SECONDS, CHANCE_MEMORY = 0.001, 4 << 20
"""What comes and goes in any process, in seconds and bytes: growth within it is not taken for a law."""
SLACK = 0.05
"""Of memory, by which Python and the libraries differ from process to process."""
CROWDED = 1.15
"""So many times the undisturbed seconds are worth a word."""
PILOT_SHARE = 0.5
"""Of the memory that experiments may have, at most for a pilot."""
GIB = 1 << 30


@dataclass(frozen=True)
class Forecast:
    """What is foretold of the whole."""

    rows: int
    seconds: Estimate
    """On a machine that does nothing else."""
    memory: Estimate
    """In bytes, with Python and the libraries."""
    base: int
    """Bytes of Python and the libraries alone."""
    pilots: tuple[Pilot, ...]
    spent: float
    """Seconds that the pilots took."""
    available: int
    """Bytes that an experiment may have here."""
    machine: int
    """Bytes of memory that this machine has."""
    limit: float
    """Seconds that an experiment may take."""
    crowded: float = 1.0
    """So many times as long as undisturbed the pilots took, because other programs had the processors."""

    @property
    def fits(self) -> bool:
        """Whether it ends within the limits, even at the interval's upper bounds."""
        return self.memory.high <= self.available and self.latest <= self.limit

    @property
    def latest(self) -> float:
        """Seconds at most, if the machine stays as busy as it is."""
        return self.seconds.high * self.crowded

    @property
    def words(self) -> str:
        """One or two sentences."""
        time = f"{_duration(self.seconds.value)} ({_duration(self.seconds.low)} to {_duration(self.seconds.high)})"
        memory = f"{_size(self.memory.value)} ({_size(self.memory.low)} to {_size(self.memory.high)})"
        told = f"About {time} and {memory}; this machine has {_size(self.machine)}."
        if self.memory.high > self.available:
            told += f" An experiment may have {_size(self.available)}: it may be ended before it is done."
        if self.crowded > CROWDED:
            told += f" Other programs make everything take {self.crowded:.1f} times as long now."
        if self.latest > self.limit:
            told += f" An experiment may take {_duration(self.limit)}: it may be ended before it is done."
        return told

    def __str__(self) -> str:
        """What printing it shows; all figures are in its fields."""
        return self.words


def forecast(
    function: Callable[[Any], object],
    table: Any,
    *,
    refuse: bool = False,
    memory: int | None = None,
    seconds: float | None = None,
    settings: Settings | None = None,
) -> Forecast:
    """Foretells what `function(table)` will take, by trying it on samples of the table, each in its own process.

    Args:
        function: Called with a sample of what it will be called with; it must do its whole work in the call.
        table: A Polars table (lazy or not), a pandas one, a NumPy array, or a list.
        refuse: Raise rather than warn where it may not fit.
        memory: Bytes that it may have, if less than what experiments may have here.
        seconds: That it may take, if less than what experiments may take here.
        settings: By default what the environment says.

    Raises:
        UnfitForForecastError: the table has no rows to count, or the function cannot be copied.
        PilotFailedError: the function failed on a sample.
        ForecastTooLargeError: it may not fit, and `refuse` was given.
    """
    settings = settings or load_settings()
    rows = rows_of(table)
    available = min(memory_of_all(settings), memory or machine_memory())
    with tempfile.TemporaryDirectory(prefix="ds-forecast-") as folder:
        trial = _Trial(Path(folder), table, rows, int(PILOT_SHARE * available))
        write_function(function, trial.folder)
        ladder = Ladder(rows, trial)
        ladder.climb()
    limit = min(settings.experiment_minutes * 60, seconds or math.inf)
    told = ladder.forecast(available, limit)
    say(told.words)
    if current() is not None:
        figure(forecast_figure(told), "forecast")
    if refuse and not told.fits:
        raise ForecastTooLargeError(told.words)
    return told


class _Trial:
    """Pilots of a function on samples of a table."""

    def __init__(self, folder: Path, table: Any, rows: int, memory: int) -> None:
        self.folder, self._table, self._rows, self._memory = folder, table, rows, memory

    def __call__(self, size: int) -> Pilot:
        warm_up = self.folder / "warm_up"
        if not warm_up.is_dir():
            warm_up.mkdir()
            write_sample(self._table, min(WARM_UP_ROWS, size), self._rows, warm_up)
        write_sample(self._table, size, self._rows, self.folder)
        return measure(self.folder, size, seconds=PATIENCE_SECONDS, memory=self._memory)


class Ladder:
    """Samples of growing size, and what their pilots took.

    Args:
        rows: Of the whole.
        attempt: Makes the pilot of so many rows; raises `TooMuchError` where it takes too much.
        free: Seconds that all pilots may take, whatever the whole is foretold to take.
    """

    def __init__(self, rows: int, attempt: Callable[[int], Pilot], free: float = FREE_SECONDS) -> None:
        self._rows, self._attempt, self._free = rows, attempt, free
        self._pilots: list[Pilot] = []
        self._spent = 0.0

    def climb(self, first: int | None = None) -> None:
        """Tries larger samples until one means something, or more would cost too much.

        Raises:
            ForecastTooLargeError: even the smallest ones took too much.
        """
        size = first or max(1, self._rows // (FIRST_SHARE if self._rows > FEW_ROWS else 8))
        while True:
            try:
                pilot = self._attempt(size)
            except TooMuchError:
                if len(self._pilots) < 2:
                    raise ForecastTooLargeError(
                        f"Even {size:,} of {self._rows:,} rows took more than a pilot may."
                    ) from None
                return
            self._spent += pilot.seconds
            self._pilots.append(pilot)
            following = self._next(size)
            if following is None:
                return
            size = following

    def _next(self, size: int) -> int | None:
        """How large the next sample is; None if there are enough, or any larger one would cost too much."""
        last = self._pilots[-1]
        enough = last.seconds >= ENOUGH_SECONDS and last.memory >= ENOUGH_MEMORY
        most = self._rows // FARTHEST if enough else self._rows - 1
        following = min(most, self._step(size))
        while following > size:
            if len(self._pilots) < FEWEST or self._affordable(following):
                return following
            following = size + (following - size) // 2
        return None

    def _affordable(self, size: int) -> bool:
        told = self._time()
        cost = self._spent + told.at(size)
        return cost <= self._free or cost <= min(PATIENCE_SECONDS, BUDGET * max(told.low, told.value / DOUBT))

    def _step(self, size: int) -> int:
        """Twice the rows; of few rows, where work may double with each, an eighth of them more."""
        return 2 * size if self._rows > FEW_ROWS else size + max(1, self._rows // 8)

    def _estimate(self, measured: list[float], chance: float) -> Estimate:
        return foretell([pilot.rows for pilot in self._pilots], measured, self._rows, floor=chance)

    def _time(self) -> Estimate:
        return self._estimate([pilot.seconds for pilot in self._pilots], CHANCE_SECONDS)

    def forecast(self, available: int, limit: float) -> Forecast:
        """What the pilots foretell."""
        base = max(pilot.base for pilot in self._pilots)
        growing = self._estimate([float(pilot.memory) for pilot in self._pilots], CHANCE_MEMORY)
        memory = Estimate(
            growing.law,
            growing.value + base,
            (growing.low + base) * (1 - SLACK),
            (growing.high + base) * (1 + SLACK),
            (growing.fitted[0] + base, growing.fitted[1]),
        )
        recent = self._pilots[-3:]
        undisturbed = sum(pilot.seconds for pilot in recent)
        crowded = 1 + sum(pilot.waited for pilot in recent) / max(undisturbed, CHANCE_SECONDS)
        return Forecast(
            rows=self._rows,
            seconds=self._time(),
            memory=memory,
            base=base,
            pilots=tuple(self._pilots),
            spent=self._spent,
            available=available,
            machine=machine_memory(),
            limit=limit,
            crowded=crowded,
        )


def forecast_figure(told: Forecast, along_what: str = "rows") -> Figure:
    """The pilots, the laws through them, the whole with its interval, and the limits."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11, 4.2), dpi=110, facecolor="white", layout="constrained")
    drawing.suptitle(told.words, x=0.018, ha="left", fontsize=10, color="#22303c", wrap=True)
    seconds, memory = drawing.subplots(1, 2)
    sizes = [pilot.rows for pilot in told.pilots]
    parts = (
        (seconds, told.seconds, [pilot.seconds for pilot in told.pilots], told.limit, 1.0, "seconds"),
        (memory, told.memory, [p.memory + p.base for p in told.pilots], float(told.available), float(GIB), "GiB"),
    )
    for axes, estimate, measured, limit, unit, name in parts:
        along = [sizes[0] * (told.rows / sizes[0]) ** (step / 60) for step in range(61)]
        axes.plot(along, [estimate.at(n) / unit for n in along], color="#6b7883", label=f"grows as {estimate.law}")
        axes.plot(sizes, [value / unit for value in measured], "o", color="#22303c", label="pilots")
        around = [[(estimate.value - estimate.low) / unit], [(estimate.high - estimate.value) / unit]]
        axes.errorbar([told.rows], [estimate.value / unit], around, fmt="D", color="#1b7f5c", capsize=5, label="whole")
        if limit < 20 * estimate.high:
            axes.axhline(limit / unit, color="#a02c3a", linestyle="--", label="limit")
        axes.set(xscale="log", yscale="log", xlabel=along_what, ylabel=name)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return drawing


def _duration(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}" if seconds >= 10 * unit else f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds" if seconds >= 10 else f"{seconds:.1f} seconds"


def _size(size: float) -> str:
    if size >= GIB:
        return f"{size / GIB:.0f} GiB" if size >= 10 * GIB else f"{size / GIB:.1f} GiB"
    return f"{size / 2**20:.0f} MiB"
