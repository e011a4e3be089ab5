"""What a builder of the sample hands over: the tables, what was planted in them, and what became of every row read.

What belongs here: the records, and the random streams that both builders draw from. What does not: making any of it.
"""

import zlib
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

ZONE = "Europe/London"
"""The shop's time zone: its days, and its hours of opening."""

Fate = Literal["read", "kept", "set aside", "mended", "noticed"]


@dataclass(frozen=True)
class Accounted:
    """What a rule did to rows of a file of transactions.

    The rows `read` are the sum of those `kept` and those `set aside`. `mended` rows are kept ones that a rule changed,
    and `noticed` counts describe without changing anything; a row may be counted by several of these.
    """

    rule: str
    rows: int
    fate: Fate


@dataclass(frozen=True)
class Shop:
    """A whole shop in memory."""

    tables: dict[str, pl.DataFrame]
    """By name, in an order in which foreign keys hold; columns and types as in `schema.COLUMNS`."""
    truth: pl.DataFrame
    """What was planted, a row a customer: `customer_id`, `propensity` (expected orders a year while active, apart from
    follow-ups), `habit` (chance that an order is followed by another within 30 days), `left_on` (the day from which
    the customer never orders again). Null where the orders are real."""
    accounting: list[Accounted]
    """By rule, in the order in which they apply; empty for a generated shop."""
    first_day: date
    last_day: date
    zone: str = ZONE

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table."""
        return {name: frame.height for name, frame in self.tables.items()}


CHANNELS = (("web", 0.62), ("app", 0.24), ("phone", 0.08), ("store", 0.06))
PAYMENTS = (("card", 0.55), ("paypal", 0.25), ("invoice", 0.13), ("gift card", 0.07))
"""With the share of the orders that each has."""


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of one concern: adding another one, or drawing more from it, changes no other."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def drawn(rng: np.random.Generator, shares: tuple[tuple[str, float], ...], count: int) -> pl.Series:
    """Names drawn by their shares."""
    names, weights = zip(*shares, strict=True)
    return pl.Series(names).gather(rng.choice(len(names), count, p=weights))
