"""Shares of a table's rows, from all over it.

What belongs here: which rows a share has. What does not: why somebody wants a share (pilots.py, rehearsal.py).
"""

from __future__ import annotations

import polars as pl

GOLDEN = 2_654_435_769
"""Of 2³², its golden section: multiples of it, wrapped, spread evenly, so that any share of the rows can be taken."""


def spread(share: float) -> pl.Expr:
    """Whether a row belongs to a share; all that a smaller share has, a larger one has too."""
    index = pl.int_range(pl.len(), dtype=pl.UInt64)
    return (index * GOLDEN % 2**32) < round(share * 2**32)
