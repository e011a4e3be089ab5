"""Deciles of more scores than memory need hold.

What belongs here: the smallest score of each decile, exact, by counting. What does not: what a score is.

A float orders like the whole number that its bits are, once negative ones are turned over. So the score of a given rank
is found digit by digit, sixteen bits at a time: four passes that count, and hold nothing but the counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

DECILES = 10
_BITS = 16
_DIGITS = 1 << _BITS


def thresholds(scores: Callable[[], Iterable[Floats]], rows: int) -> list[float]:
    """The smallest score of each decile from the second to the tenth; equal scores are in the same one.

    Decile 1 + the number of thresholds that a score reaches is the share of rows up to and including the score, in
    tenths, rounded up.

    Args:
        scores: Gives all scores, in pieces, each time it is called; none is NaN.
        rows: How many there are, one at least.
    """
    ranks = [number * rows // DECILES for number in range(1, DECILES)]
    return at_ranks(scores, ranks)


def decile(score: str, least: Sequence[float]) -> pl.Expr:
    """The decile of a column of scores, 1 … 10, by the thresholds."""
    reached = pl.sum_horizontal((pl.col(score) >= threshold).cast(pl.Int16) for threshold in least)
    return (1 + reached).cast(pl.Int16)


def at_ranks(scores: Callable[[], Iterable[Floats]], ranks: Sequence[int]) -> list[float]:
    """The scores that stand at these ranks, from 0, when all are in ascending order."""
    prefixes = [0] * len(ranks)
    left = list(ranks)
    for shift in range(64 - _BITS, -1, -_BITS):
        counts = {prefix: np.zeros(_DIGITS, dtype=np.int64) for prefix in prefixes}
        for piece in scores():
            _count(_sortable(piece), shift, counts)
        for number, prefix in enumerate(prefixes):
            upto = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(upto, left[number], side="right"))
            left[number] -= int(upto[digit - 1]) if digit else 0
            prefixes[number] = prefix << _BITS | digit
    return [_score(prefix) for prefix in prefixes]


def _count(numbers: NDArray[np.uint64], shift: int, counts: dict[int, NDArray[np.int64]]) -> None:
    """Adds how often each digit at `shift` follows each of the prefixes."""
    if shift + _BITS < 64:
        # Most of the numbers begin with none of the prefixes: they are left out at once.
        leading = np.zeros(_DIGITS, dtype=bool)
        leading[[prefix >> (64 - _BITS - shift - _BITS) for prefix in counts]] = True
        numbers = numbers[leading[(numbers >> np.uint64(64 - _BITS)).view(np.int64)]]
        before = numbers >> np.uint64(shift + _BITS)
    else:
        before = np.zeros(len(numbers), dtype=np.uint64)
    digits = (numbers >> np.uint64(shift) & np.uint64(_DIGITS - 1)).view(np.int64)
    for prefix in counts:
        counts[prefix] += np.bincount(digits[before == np.uint64(prefix)], minlength=_DIGITS)


def _sortable(scores: Floats) -> NDArray[np.uint64]:
    """Whole numbers in the same order; −0 counts as 0."""
    bits = (scores + 0.0).view(np.uint64)
    negative = bits >> np.uint64(63) != 0
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def _score(number: int) -> float:
    bits = number & ~(1 << 63) if number >> 63 else ~number & (1 << 64) - 1
    return float(np.array([bits], dtype=np.uint64).view(np.float64)[0])
