"""How often somebody has looked at the same held-out rows.

What belongs here: naming a holdout by its content, and the ledger of looks at it. What does not: what follows from the
number (judge.py).

A holdout is the multiset of its entities with their labels; without entities, its labels in their order. A look is a set
of predictions judged on it: judging the same ones again, as a reproduction does, is the same look, with the number it
had. The ledger is a file a holdout below the home; a run with another home counts by itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike

FOLDER = "looks"
DIGITS = 32
"""Of a digest."""
PRECISION = 9
"""Decimal digits to which predictions must agree to be the same look."""


def holdout_digest(y_true: ArrayLike, groups: ArrayLike | None, task: str) -> str:
    """The digest of held-out labels with their entities."""
    target = np.asarray(y_true, dtype=np.float64)
    lines = [task]
    if groups is None:
        lines += [f"{value:.12g}" for value in target]
    else:
        lines += sorted(f"{name}\t{value:.12g}" for name, value in zip(np.asarray(groups), target, strict=True))
    return _digest("\n".join(lines).encode())


def predictions_digest(y_true: ArrayLike, predictions: Mapping[str, ArrayLike]) -> str:
    """The digest of what is judged: every family's predictions with the labels, whatever the rows' order."""
    columns = [np.asarray(y_true, dtype=np.float64)]
    columns += [np.round(np.asarray(predictions[name], dtype=np.float64), PRECISION) for name in sorted(predictions)]
    frame = pl.DataFrame({str(place): column + 0.0 for place, column in enumerate(columns)}).sort(pl.all())
    names = "\n".join(sorted(predictions)).encode()
    return _digest(names + b"".join(column.to_numpy().tobytes() for column in frame))


def count_look(home: Path, holdout: str, look: str) -> int | None:
    """The number of this look at the holdout, the first being 1; None if the ledger cannot be written.

    Args:
        home: Below which the ledger lies.
        holdout: The holdout's digest.
        look: The digest of what is judged.
    """
    path = home / FOLDER / f"{holdout}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)  # released when it is closed
            ledger.seek(0)
            known = [json.loads(line)["look"] for line in ledger if line.strip()]
            if look not in known:
                known.append(look)
                ledger.write(json.dumps({"look": look, "at": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n")
    except (OSError, ValueError, KeyError):
        return None
    return known.index(look) + 1


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
