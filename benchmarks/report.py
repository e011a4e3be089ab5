"""How a benchmark says what it found: a readable table, then one JSON object as the last line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence


def conclude(
    name: str,
    rows: Sequence[tuple[str, ...]],
    *,
    header: tuple[str, ...],
    figure: float,
    goal: str,
    limit: str,
    holds: bool,
) -> NoReturn:
    """Prints the table and the figure; exits 0 if the goal holds, 1 if not."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(json.dumps({"name": name, "figure": round(figure, 3), "goal": goal, "limit": limit, "holds": holds}))
    sys.exit(0 if holds else 1)
