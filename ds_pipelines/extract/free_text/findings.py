"""What a search of free text returns, whichever search it was.

What belongs here: the shape of findings. What does not: searching, and anything heavy to import.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

FINDINGS = pl.Schema(
    {"text": pl.UInt32, "entity": pl.String, "start": pl.UInt32, "end": pl.UInt32, "score": pl.Float64}
)
"""One row a finding: the text's position in the column, the entity, where it starts and ends in characters, its score;
by text, and within a text in the order in which Presidio returns them."""


class Finding(NamedTuple):
    """A place in a text: its entity, start and end in characters, and the score from 0 to 1."""

    entity: str
    start: int
    end: int
    score: float
