"""How often somebody has looked at the same held-out rows.

What belongs here: naming a holdout by its content, and the ledger of looks at it. What does not: what follows from the
number (judge.py).

A holdout is the multiset of its entities with their labels; without entities, its labels in their order. A look is a
set of predictions judged on it: judging the same ones again, as a reproduction does, is the same look, with the number
it had. The ledger is a file a holdout below the home; a run with another home counts by itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ds_pipelines.lab.layout import LOOKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

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
    columns: list[NDArray[Any]] = [np.asarray(y_true, dtype=np.float64)]
    columns += [np.asarray(predictions[name], dtype=np.float64).round(PRECISION) for name in sorted(predictions)]
    frame = pl.DataFrame({str(place): column + 0.0 for place, column in enumerate(columns)}).sort(pl.all())
    names = "\n".join(sorted(predictions)).encode()
    return _digest(names + b"".join(column.to_numpy().tobytes() for column in frame))


def look_at(home: Path, holdout: str, look: str) -> int:
    """Which look this is, or would be, the first being 1; nothing is written.

    Args:
        home: Below which the ledger lies.
        holdout: The holdout's digest.
        look: The digest of what is judged.
    """
    known = _known(home / LOOKS / f"{holdout}.jsonl")
    return (known.index(look) if look in known else len(known)) + 1


def note_look(home: Path, holdout: str, look: str) -> int | None:
    """Writes this look down, once; its number, the first being 1, or None if the ledger cannot be written."""
    path = home / LOOKS / f"{holdout}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)  # released when it is closed
            known = _known(path)
            if look not in known:
                known.append(look)
                ledger.write(json.dumps({"look": look, "at": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n")
    except OSError:
        return None
    return known.index(look) + 1


def _known(path: Path) -> list[str]:
    """The looks written down so far; a line that was cut off counts as a look, whatever it was."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(str(json.loads(line)["look"]))
        except (ValueError, KeyError, TypeError):
            found.append(line)
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
