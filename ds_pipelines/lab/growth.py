"""Laws of growth: which ones a few measurements allow, and what they foretell; pure numbers in and out.

What belongs here: the laws, weighing them, and how sure that is. What does not: measuring (pilots.py), or what a
forecast means for a machine (forecast.py).

Each law is fitted with and without a constant, and weighs as much as the measurements and its plainness speak for it.
What is foretold is the middle of what all of them foretell together, and the interval holds nine tenths of it: where
nothing measured tells two laws apart, it spans both. How far a law may bend beyond the largest measurement is learned
from how well the smaller ones foretell the largest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def _power(exponent: float) -> Callable[[Floats], Floats]:
    return lambda n: np.asarray(n**exponent, dtype=np.float64)


COMMON: Mapping[str, Callable[[Floats], Floats]] = {
    "constant": np.zeros_like,
    "n": lambda n: n,
    "n log n": lambda n: n * np.log2(n + 1),
    "n²": _power(2),
    "n³": _power(3),
    "2ⁿ": np.exp2,
}
"""What programs mostly do, by how it is written, from the slowest growth to the fastest."""
POWERS = {f"n^{tenth / 10}": _power(tenth / 10) for tenth in range(2, 40) if tenth % 10}
"""Between and beyond them: caches that overflow, sparse data, growing numbers of steps."""
LAWS: Mapping[str, Callable[[Floats], Floats]] = {**COMMON, **POWERS}
MOST_DOUBLINGS = 200
"""Rows beyond which 2ⁿ is not thought of: nothing that took it would have ended."""
RECENT = 7
"""Pilots that count: small ones show overheads and caches rather than growth."""
NOISE = 0.03
"""Relative error of a measurement that is nobody's fault."""
AGE = 0.03
"""So much more of it for each time that a measurement is half as large as the largest."""
SEEN = 4.0
"""By so much the sum of squares must sink before growth beside a constant is believed: two standard deviations."""
DRIFT, MOST_DRIFT = 0.07, 0.35
"""Standard deviation by which a law bends each time that the size doubles, at least and at most."""
FAR = 3.0
"""Doublings of the cost that count even where the size hardly grows, as with 2ⁿ."""
UNSEEN = 64.0
"""So many times may grow what was within chance: as n² at eight times the size."""
INSIDE = 0.9
"""Share of what is foretold that the interval holds."""
NODES = np.array([NormalDist().inv_cdf((node + 0.5) / 40) for node in range(40)])
"""Equally likely points of a normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """What is foretold, and between which bounds it most likely lies."""

    law: str
    """The likeliest."""
    value: float
    low: float
    high: float
    fitted: tuple[float, float]
    """Constant and factor of the law."""

    def at(self, size: float) -> float:
        """What the law says of another size."""
        return float(_value(self.law, self.fitted, np.array([size], dtype=np.float64))[0])


@dataclass(frozen=True)
class _Fit:
    """One law through the measurements."""

    law: str
    fitted: tuple[float, float]
    misfit: float
    """Sum of squares, in standard deviations."""
    penalty: float
    """For its parameters and its rarity."""


def foretell(sizes: Sequence[float], measured: Sequence[float], full: float, *, floor: float = 0.0) -> Estimate:
    """What will be measured at the full size; at least two measurements, in ascending order of size.

    Args:
        sizes: Of the samples.
        measured: What each of them took.
        full: The size that is meant.
        floor: So much comes and goes by chance in any measurement.
    """
    n, y = (np.asarray(values[-RECENT:], dtype=np.float64) for values in (sizes, measured))
    floor = max(floor, 1e-9)
    fits = _fits(n, y, full, floor)
    likelihoods, foretold = _weighed(fits, full, len(n))
    steps = _steps(n[-1], full, max(y[-1], floor), float(np.average(foretold, weights=likelihoods)))
    spread = math.hypot(NOISE, _drift(n, y, floor) * steps)
    low, value, high = _quantiles(foretold, likelihoods, spread)
    best = fits[int(np.argmax(likelihoods))]
    chance = floor * (min((full / n[-1]) ** 2, UNSEEN) if best.law == "constant" else 1.0)
    return Estimate(best.law, value, max(0.0, low - floor), float(high + chance), best.fitted)


def _fits(n: Floats, y: Floats, full: float, floor: float) -> list[_Fit]:
    """Every law, with and without a constant, that the measurements do not rule out by a sign."""
    largest = max(float(y[-1]), floor)
    age = np.maximum(0.0, np.log2(n[-1] / n))
    deviation = np.hypot((NOISE + AGE * age) * np.maximum(y, 0.05 * largest), floor)
    plain = _fit("constant", n, y, deviation, with_constant=True)
    assert plain is not None  # noqa: S101 - a mean there always is
    found = [plain]
    for law in LAWS:
        if law == "constant" or (law == "2ⁿ" and full > MOST_DOUBLINGS):
            continue
        alone = _fit(law, n, y, deviation, with_constant=False)
        both = _fit(law, n, y, deviation, with_constant=True)
        found += [fit for fit in (alone, both) if fit is not None and fit.misfit < plain.misfit - SEEN]
    return found


def _fit(law: str, n: Floats, y: Floats, deviation: Floats, *, with_constant: bool) -> _Fit | None:
    """Least squares; None where the constant or the factor is below zero."""
    growth = LAWS[law](n)
    scale = float(growth.max()) or 1.0
    if law == "constant":
        columns = np.ones((len(n), 1))
    else:
        columns = np.column_stack([growth / scale, np.ones_like(n)][: 1 + with_constant])
    solved, *_ = np.linalg.lstsq(columns / deviation[:, None], y / deviation, rcond=None)
    if (solved < 0).any():
        return None
    if law == "constant":
        fitted = (float(solved[0]), 0.0)
    else:
        fitted = (float(solved[1]) if with_constant else 0.0, float(solved[0]) / scale)
    misfit = float((((_value(law, fitted, n) - y) / deviation) ** 2).sum())
    rarity = 0.0 if law in COMMON else 2 * math.log(len(POWERS))
    return _Fit(law, fitted, misfit, len(solved) * math.log(len(n)) + rarity)


def _weighed(fits: Sequence[_Fit], full: float, measurements: int) -> tuple[Floats, Floats]:
    """How likely each fit is, and what it foretells.

    Where even the best misses the measurements by more than their deviation, all deviations were too small.
    """
    least = min(fit.misfit for fit in fits)
    excess = max(1.0, least / max(1, measurements - 2))
    scores = np.array([fit.misfit / excess + fit.penalty for fit in fits])
    at_full = np.array([full], dtype=np.float64)
    foretold = np.array([_value(fit.law, fit.fitted, at_full)[0] for fit in fits])
    return np.exp(-(scores - scores.min()) / 2), foretold


def _quantiles(foretold: Floats, likelihoods: Floats, spread: float) -> tuple[float, float, float]:
    """Lower bound, middle and upper bound of what all foretell together, each with its spread."""
    points = (np.maximum(foretold, 1e-12)[:, None] * np.exp(spread * NODES)[None, :]).ravel()
    order = np.argsort(points)
    shares = np.cumsum(np.repeat(likelihoods, len(NODES))[order])
    wanted = np.array([(1 - INSIDE) / 2, 0.5, (1 + INSIDE) / 2]) * shares[-1]
    low, value, high = points[order][np.searchsorted(shares, wanted)]
    return float(low), float(value), float(high)


def _steps(last: float, full: float, largest: float, foretold: float) -> float:
    """How often the size doubles from the last measurement on; where it hardly does, how often the cost."""
    costs = math.log2(max(1.0, foretold / largest))
    return max(0.0, math.log2(full / last), min(FAR, costs))


def _drift(n: Floats, y: Floats, floor: float) -> float:
    """By which share the last measurements differ from what those before them foretell, for each doubling."""
    missed = DRIFT
    for known in range(max(3, len(n) - 2), len(n)):
        before, seen, size = y[:known], float(y[known]), float(n[known])
        likelihoods, foretold = _weighed(_fits(n[:known], before, size, floor), size, known)
        _, value, _ = _quantiles(foretold, likelihoods, NOISE)
        error = abs(math.log(max(value, floor) / max(seen, floor)))
        by_chance = 2 * math.hypot(NOISE, floor / max(seen, floor))
        steps = max(0.5, _steps(float(n[known - 1]), size, max(float(before[-1]), floor), value))
        missed = max(missed, (error - by_chance) / steps)
    return min(missed, MOST_DRIFT)


def _value(law: str, fitted: tuple[float, float], n: Floats) -> Floats:
    constant, factor = fitted
    return np.asarray(constant + factor * LAWS[law](n), dtype=np.float64)
