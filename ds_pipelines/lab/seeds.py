"""Noticing what random numbers a run is made of: with which seeds, and where without one.

What belongs here: the generators of Python and numpy. What does not: estimators, which have seeds of their own
(autolog.py).

Each generator is noted by name with the seeds it got, in order; `unseeded` where it was used before it had one. Nothing
is changed: a run without seeds is as random as it was.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ds_pipelines.lab.imports import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from ds_pipelines.lab.imports import Watch
    from ds_pipelines.lab.notes import Notes

Function = TypeVar("Function", bound="Callable[..., Any]")

UNSEEDED = "unseeded"
LONGEST = 100
"""Characters of a seed: it may be an array."""
MOST = 5
"""Seeds of one generator that are noted."""

PYTHON = (
    "betavariate", "choice", "choices", "expovariate", "gammavariate", "gauss", "getrandbits", "lognormvariate",
    "normalvariate", "randbytes", "randint", "random", "randrange", "sample", "shuffle", "triangular", "uniform",
)  # fmt: skip
NUMPY = (
    "beta", "binomial", "bytes", "chisquare", "choice", "exponential", "gamma", "geometric", "laplace", "logistic",
    "lognormal", "multinomial", "multivariate_normal", "normal", "pareto", "permutation", "poisson", "rand", "randint",
    "randn", "random", "random_sample", "shuffle", "standard_normal", "uniform", "weibull",
)  # fmt: skip
"""Functions that draw from the one generator that all share."""


class Seeds:
    """The seeds of one run so far."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._found: dict[str, list[str]] = {}

    def note(self, generator: str, seed: object) -> None:
        """Notes a seed that a generator got; None: it got none."""
        if _importing():
            return
        text = UNSEEDED if seed is None else str(seed)[:LONGEST]
        found = self._found.setdefault(generator, [])
        if text not in found and len(found) < MOST:
            found.append(text)
            self._notes.write("seed", generator=generator, seeds=", ".join(found))

    def drawn(self, generator: str) -> None:
        """Notes that numbers are drawn from a generator, whether or not it ever got a seed."""
        if generator not in self._found:
            self.note(generator, None)

    def of(self, generator: str) -> str | None:
        """The seeds of a generator; None: it was never used."""
        return ", ".join(self._found[generator]) if generator in self._found else None


def _importing() -> bool:
    """Whether this is called while a library is imported: what those draw for themselves is no part of the run."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back  # type: ignore[assignment]  # None where the stack ends
    return frame is not None and bool(set(FOREIGN) & set(Path(frame.f_code.co_filename).parts))


def install(watch: Watch, notes: Notes) -> Seeds:
    """Notices, from when the libraries are imported, how their generators are seeded and used."""
    seeds = Seeds(notes)
    watch.after("random", lambda module: _shared(module, "python", PYTHON, seeds))
    watch.after("numpy.random", lambda module: _numpy(module, seeds))
    return seeds


def named_as(module: ModuleType, name: str) -> Callable[[Function], Function]:
    """Gives what takes a function's place its name and its words, so that it is found, and pickled, as that one was."""

    def take_place(function: Function) -> Function:
        functools.update_wrapper(function, getattr(module, name))
        function.__module__, function.__qualname__ = module.__name__, name
        return function

    return take_place


def _numpy(module: ModuleType, seeds: Seeds) -> None:
    _shared(module, "numpy", NUMPY, seeds)
    made = module.default_rng

    @named_as(module, "default_rng")
    def default_rng(seed: Any = None) -> Any:
        if not isinstance(seed, (module.Generator, module.BitGenerator)):
            seeds.note("numpy.default_rng", seed)
        return made(seed)

    module.default_rng = default_rng  # type: ignore[attr-defined]


def _shared(module: ModuleType, generator: str, draws: tuple[str, ...], seeds: Seeds) -> None:
    """Of a module with one generator for everybody: its `seed`, and the functions that draw."""
    seed = module.seed

    @named_as(module, "seed")
    def seeded(*given: Any, **named: Any) -> Any:
        values = (*given, *named.values())
        seeds.note(generator, values[0] if values else None)
        return seed(*given, **named)

    module.seed = seeded  # type: ignore[attr-defined]
    for name in draws:
        if (draw := getattr(module, name, None)) is not None:
            setattr(module, name, _drawing(module, name, draw, generator, seeds))


def _drawing(
    module: ModuleType, name: str, draw: Callable[..., Any], generator: str, seeds: Seeds
) -> Callable[..., Any]:
    @named_as(module, name)
    def drawing(*given: Any, **named: Any) -> Any:
        seeds.drawn(generator)
        return draw(*given, **named)

    return drawing
