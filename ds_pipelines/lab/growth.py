"""Laws of growth: which one a few measurements follow, and what it foretells; pure numbers in and out.

What belongs here: the laws, choosing among them, and how sure that is. What does not: measuring (pilots.py), or what a
forecast means for a machine (forecast.py).

A law is chosen by foretelling: each is fitted to the smaller pilots, and judged by its error at the larger ones. All
that do about as well stay in the interval, because nothing measured tells them apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LAWS: Mapping[str, Callable[[Floats], Floats]] = {
    "constant": np.zeros_like,
    "log n": lambda n: np.log2(n + 1),
    "√n": np.sqrt,
    "n": lambda n: n,
    "n log n": lambda n: n * np.log2(n + 1),
    "n√n": lambda n: n**1.5,
    "n²": lambda n: n**2,
    "n² log n": lambda n: n**2 * np.log2(n + 1),
    "n³": lambda n: n**3,
    "2ⁿ": np.exp2,
}
"""By how it is written, from the slowest growth to the fastest."""
UNCOMMON = {"log n", "√n", "n√n", "n² log n"}
"""Chosen only where they do clearly better: the others are what programs mostly do."""
MOST_DOUBLINGS = 200
"""Rows beyond which 2ⁿ is not thought of: nothing that took it would have ended."""
RECENT = 6
"""Pilots that count: small ones show overheads and caches rather than growth."""
NOISE = 0.05
"""Relative error of a measurement that is nobody's fault."""
SEEN = 0.15
"""Share of the largest measurement that must have grown; less of it is noise, which any law could explain."""
PENALTY = 0.03
"""Relative error that an uncommon law must save."""
CLOSE = 1.6
"""So many times the best law's error still counts as about as well."""


@dataclass(frozen=True)
class Estimate:
    """What is foretold, and between which bounds it most likely lies."""

    law: str
    value: float
    low: float
    high: float
    fitted: tuple[float, float]
    """Constant and factor of the law."""

    def at(self, size: float) -> float:
        """What the law says of another size."""
        return float(_value(self.law, self.fitted, np.array([size]))[0])


def foretell(sizes: Sequence[float], measured: Sequence[float], full: float) -> Estimate:
    """What will be measured at the full size; at least two measurements, in ascending order of size."""
    n, y = (np.asarray(values[-RECENT:], dtype=np.float64) for values in (sizes, measured))
    y = np.maximum(y, 1e-9)
    laws = [law for law in LAWS if law != "2ⁿ" or full <= MOST_DOUBLINGS]
    errors = {law: _error_ahead(law, n, y) + (PENALTY if law in UNCOMMON else 0.0) for law in laws}
    best = min(errors, key=errors.__getitem__)
    close = [law for law, error in errors.items() if error <= max(CLOSE * errors[best], errors[best] + NOISE / 2)]
    fits = {law: _fit(law, n, y) for law in close}
    foretold = {law: float(_value(law, fits[law], np.array([full]))[0]) for law in close}
    value = foretold[best]
    slack = _slack(errors[best], n, full)
    return Estimate(
        law=best,
        value=value,
        low=min(value, *_plausible(foretold, value)) / slack,
        high=max(value, *_plausible(foretold, value)) * slack,
        fitted=fits[best],
    )


def _plausible(foretold: Mapping[str, float], value: float) -> list[float]:
    """What the laws that do about as well foretell; of those far off, as 2ⁿ may be, the bound of belief."""
    return [min(max(other, value / 8), value * 8) for other in foretold.values()]


def _slack(error: float, n: Floats, full: float) -> float:
    """By which factor the truth may be off even if the law is right: more, the further ahead."""
    doublings = max(1.0, math.log2(max(2.0, full / n[-1])))
    return 1 + max(0.25, min(2.0, 2 * max(error, NOISE))) * (0.4 + doublings / 5) + 0.05


def _error_ahead(law: str, n: Floats, y: Floats) -> float:
    """Root of the mean square of the logarithms by which larger measurements differ from what smaller ones foretell."""
    errors = []
    for known in range(max(2, len(n) - 3), len(n)):
        foretold = _value(law, _fit(law, n[:known], y[:known]), n[known : known + 1])[0]
        errors.append(math.log(max(foretold, 1e-12) / y[known]) ** 2)
    within = np.log(np.maximum(_value(law, _fit(law, n, y), n), 1e-12) / y)
    errors += list(within[-3:] ** 2)
    return math.sqrt(sum(errors) / len(errors))


def _fit(law: str, n: Floats, y: Floats) -> tuple[float, float]:
    """Constant and factor, neither below zero, with the least relative error; the larger sizes weigh more."""
    g = LAWS[law](n)
    scale = float(g.max()) or 1.0
    weights = np.linspace(0.5, 1.5, len(n)) / y
    candidates = [(float(np.average(y, weights=weights**2)), 0.0)]
    if law != "constant":
        columns = np.column_stack([np.ones_like(n), g / scale]) * weights[:, None]
        both, *_ = np.linalg.lstsq(columns, y * weights, rcond=None)
        alone = float((columns[:, 1] @ (y * weights)) / (columns[:, 1] @ columns[:, 1]))
        candidates += [(0.0, alone / scale)]
        grown = both[1] * g[-1] / scale
        if (both >= 0).all() and grown >= SEEN * (both[0] + grown):
            candidates += [(float(both[0]), float(both[1]) / scale)]
    return min(candidates, key=lambda fit: float((((_value(law, fit, n) - y) * weights) ** 2).sum()))


def _value(law: str, fitted: tuple[float, float], n: Floats) -> Floats:
    constant, factor = fitted
    return np.asarray(constant + factor * LAWS[law](n), dtype=np.float64)
