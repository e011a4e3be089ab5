"""Whether two outputs are the same, by what they hold: rows, numbers, pixels, values, lines, predictions.

What belongs here: comparing one output with its like, and saying how it differs without quoting data. What does not:
why they differ (causes.py).

Of each kind the strictest likeness that holds is said: the same bytes; the same content in other bytes; numbers within
a relative tolerance; the same rows in another order; else that they differ.
"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import polars.selectors as cs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ds_pipelines.evidence import Likeness

    Floats = NDArray[np.float64]

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d|\b\d\d?:\d\d:\d\d\b|\b\d+(?:\.\d+)? ?(?:ms|s|sec|seconds|min)\b")
PLACE = re.compile(r"(?:/[\w.\-]+)*/(?:spool|ds-again-[\w]+|tmp)/[\w./\-]*|\b0x[0-9a-f]{6,}\b")
"""What a text says of the machine and not of the result: temporary folders, addresses in memory."""
NOTEBOOK_VOLATILE = {"execution_count", "metadata", "id"}


@dataclass(frozen=True)
class Folders:
    """Where the artifacts of both lie."""

    a: Path
    b: Path


@dataclass(frozen=True)
class Compared:
    """How one output is like another."""

    likeness: Likeness
    difference: str = ""
    largest: float | None = None
    """Largest relative difference of numbers."""
    clock: bool = False
    """Whether all that differs are times and durations."""


SAME = Compared("identical")


def compare(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None = None) -> Compared:
    """How the output b is like a.

    Args:
        artifact: Its path, whose ending says what it is.
        a: What the run made.
        b: What its repetition made.
        tolerance: Largest relative difference of numbers that counts as equal.
        folders: The artifacts around them, by which models can be tried on the run's own rows.
    """
    if a == b:
        return SAME
    way = _way(artifact)
    try:
        return way(artifact, a, b, tolerance, folders)
    except (ValueError, OSError, KeyError, pl.exceptions.PolarsError) as error:
        return Compared("differs", f"its bytes differ, and one cannot be read ({type(error).__name__})")


def numbers(a: Floats, b: Floats, tolerance: float) -> Compared:
    """How two arrays of numbers, shape (n,) each, are alike; NaN equals NaN."""
    largest = largest_difference(a, b)
    if largest == 0:
        return Compared("same content")
    if largest <= tolerance:
        return Compared("within tolerance", f"numbers differ by {largest:.1e} at most, relatively", largest)
    differing = int(np.count_nonzero(_relative(a, b) > tolerance))
    return Compared("differs", f"{differing:,} of {a.size:,} numbers differ, by {largest:.1e} at most", largest)


def largest_difference(a: Floats, b: Floats) -> float:
    """The largest relative difference of two arrays of one shape; infinite where only one is missing."""
    return float(_relative(a, b).max(initial=0.0))


def _relative(a: Floats, b: Floats) -> Floats:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        relative = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
    return np.where(same, 0.0, np.where(np.isfinite(relative), relative, np.inf))


# ---------------------------------------------------------------- by kind


def _parquet(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:  # noqa: ARG001
    return frames(pl.read_parquet(io.BytesIO(a)), pl.read_parquet(io.BytesIO(b)), tolerance)


def frames(a: pl.DataFrame, b: pl.DataFrame, tolerance: float) -> Compared:
    """How two tables are alike: rows in order, within the tolerance, or in another order."""
    if a.schema != b.schema:
        names = sorted(name for name in a.schema | b.schema if a.schema.get(name) != b.schema.get(name))
        return Compared("differs", f"its columns differ: {', '.join(names) or 'their order'}")
    if a.equals(b):
        return Compared("same content")
    if a.height != b.height:
        return Compared("differs", f"{a.height:,} rows became {b.height:,}")
    in_order = _rows(a, b, tolerance)
    if in_order.likeness == "within tolerance":
        return in_order
    if _sorted(a).equals(_sorted(b)) or _rows(_sorted(a), _sorted(b), tolerance).likeness == "within tolerance":
        moved = int((~_row_by_row(a, b)).sum())
        return Compared("reordered", f"the same rows in another order: {moved:,} of {a.height:,} moved")
    return in_order


def _rows(a: pl.DataFrame, b: pl.DataFrame, tolerance: float) -> Compared:
    floats = a.select(cs.float()).columns
    others = a.select(~cs.float())
    if others.width and not others.equals(b.select(others.columns)):
        differing = [name for name in a.columns if not a[name].equals(b[name])]
        count = int((~_row_by_row(a, b)).sum())
        return Compared("differs", f"{count:,} of {a.height:,} rows differ, in {', '.join(differing[:5])}")
    arrays = [frame.select(pl.col(floats).cast(pl.Float64)).to_numpy().ravel() for frame in (a, b)]
    if any((a[name].is_null() != b[name].is_null()).any() for name in floats):
        return Compared("differs", "values are missing in other rows")
    return numbers(arrays[0], arrays[1], tolerance)


def _row_by_row(a: pl.DataFrame, b: pl.DataFrame) -> pl.Series:
    equal = [a[name].eq_missing(b[name]).alias(name) for name in a.columns]
    return pl.DataFrame(equal).select(pl.all_horizontal(pl.all())).to_series()


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    sortable = frame.select(~cs.nested() & ~cs.object()).columns
    exact = frame.select(cs.by_name(sortable) & ~cs.float()).columns
    return frame.sort([*exact, *(name for name in sortable if name not in exact)], nulls_last=True)


def _csv(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:
    try:
        tables = [pl.read_csv(io.BytesIO(each), infer_schema_length=None) for each in (a, b)]
    except pl.exceptions.PolarsError:
        return _text(artifact, a, b, tolerance, folders)
    return frames(tables[0], tables[1], tolerance)


def _picture(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:  # noqa: ARG001
    from matplotlib.image import imread

    pixels = [np.asarray(imread(io.BytesIO(each), format="png"), dtype=np.float64) for each in (a, b)]
    if pixels[0].shape != pixels[1].shape:
        return Compared("differs", f"the picture was {_size(pixels[0])} and is {_size(pixels[1])} pixels")
    differing = int((pixels[0] != pixels[1]).any(axis=-1).sum())
    if not differing:
        return Compared("same content")
    return Compared("differs", f"{differing:,} of {pixels[0].shape[0] * pixels[0].shape[1]:,} pixels differ")


def _size(pixels: Floats) -> str:
    return f"{pixels.shape[1]} × {pixels.shape[0]}"


def _json(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:  # noqa: ARG001
    return values(json.loads(a), json.loads(b), tolerance)


def values(a: Any, b: Any, tolerance: float) -> Compared:
    """How two JSON values are alike; names the first place that differs."""
    largest = 0.0
    for path, left, right in _leaves(a, b, ""):
        if isinstance(left, (int, float)) and isinstance(right, (int, float)) and not isinstance(left, bool):
            largest = max(largest, largest_difference(np.array([left]), np.array([right])))
            if largest <= tolerance:
                continue
        elif left == right:
            continue
        return Compared("differs", f"it differs first at {path or 'its beginning'}", largest or None)
    if largest == 0:
        return Compared("same content")
    return Compared("within tolerance", f"numbers differ by {largest:.1e} at most, relatively", largest)


def _leaves(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _leaves(a.get(key), b.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _leaves(left, right, f"{path}[{place}]")
    else:
        yield path, a, b


def _notebook(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:  # noqa: ARG001
    left, right = (_without(json.loads(each)) for each in (a, b))
    found = values(left, right, tolerance)
    if found.likeness != "differs":
        return found
    timeless = values(_timeless(left), _timeless(right), 0).likeness != "differs"
    return replace(found, clock=timeless)


def _timeless(node: Any) -> Any:
    """A notebook without the times and durations that it prints."""
    if isinstance(node, dict):
        return {key: _timeless(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_timeless(each) for each in node]
    return TIME.sub("(time)", node) if isinstance(node, str) else node


def _without(node: Any) -> Any:
    """A notebook without what says when and how often it was executed."""
    if isinstance(node, dict):
        return {key: _without(value) for key, value in node.items() if key not in NOTEBOOK_VOLATILE}
    return [_without(each) for each in node] if isinstance(node, list) else node


def _text(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:  # noqa: ARG001
    left, right = (PLACE.sub("(place)", each.decode("utf-8", errors="replace")).splitlines() for each in (a, b))
    if left == right:
        return Compared("same content", "but for temporary folders and addresses in memory")
    if len(left) != len(right):
        return Compared("differs", f"{len(left):,} lines became {len(right):,}")
    lines = [(place, *pair) for place, pair in enumerate(zip(left, right, strict=True), 1) if pair[0] != pair[1]]
    found = [_numbers_of(one, other) for _, one, other in lines]
    first = f"{len(lines):,} of {len(left):,} lines differ, the first is line {lines[0][0]}"
    clock = all(TIME.sub("(time)", one) == TIME.sub("(time)", other) for _, one, other in lines)
    if any(pair is None for pair in found):
        return Compared("differs", first, clock=clock)
    largest = max(largest_difference(*pair) for pair in found if pair is not None)
    if largest <= tolerance:
        return Compared("within tolerance", f"numbers differ by {largest:.1e} at most, relatively", largest)
    return Compared("differs", first, largest, clock=clock)


def _numbers_of(a: str, b: str) -> tuple[Floats, Floats] | None:
    """The numbers of two lines that are the same text but for them; None: they are not."""
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return None
    return np.array([float(each) for each in NUMBER.findall(a)]), np.array([float(each) for each in NUMBER.findall(b)])


def _model(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:  # noqa: ARG001
    predicted = (
        None if folders is None else _predictions(folders, "skops" if artifact.endswith("skops") else "lightgbm")
    )
    if predicted is None:
        return Compared("differs", "its bytes differ, and there are no held-out rows to try both on")
    compared = numbers(*predicted, tolerance)
    if compared.likeness == "same content":
        return Compared("same content", "other bytes, the same predictions")
    return Compared(compared.likeness, f"as its predictions show: {compared.difference}", compared.largest)


def _predictions(folders: Folders, kind: Literal["skops", "lightgbm"]) -> tuple[Floats, Floats] | None:
    """What both models predict for the run's held-out rows."""
    from ds_pipelines.evidence import ModelCard
    from ds_pipelines.lab.save import predict

    try:
        card = ModelCard.model_validate_json((folders.a / "evidence/model.json").read_bytes())
        rows = pl.read_parquet(folders.a / card.predictions).select(each.name for each in card.features)
        inputs = rows.to_numpy().astype(np.float64)
        return predict(kind, folders.a / card.artifact, inputs), predict(kind, folders.b / card.artifact, inputs)
    except OSError:
        return None


def _bytes(artifact: str, a: bytes, b: bytes, tolerance: float, folders: Folders | None) -> Compared:  # noqa: ARG001
    place = next((at for at, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
    return Compared("differs", f"{len(a):,} bytes became {len(b):,}, which differ from byte {place:,} on")


WAYS: Mapping[str, Callable[[str, bytes, bytes, float, Folders | None], Compared]] = {
    ".parquet": _parquet, ".csv": _csv, ".png": _picture, ".json": _json, ".ipynb": _notebook, ".skops": _model,
    ".lgb": _model, ".txt": _text, ".md": _text, ".html": _text, ".log": _text, ".tsv": _text, ".svg": _text,
}  # fmt: skip
"""How a file is compared, by its ending; any other by its bytes."""


def _way(artifact: str) -> Callable[[str, bytes, bytes, float, Folders | None], Compared]:
    return WAYS.get(PurePosixPath(artifact).suffix.lower(), _bytes)


def is_rounding(largest: float | None) -> bool:
    """Whether a difference is that of adding the same numbers in another order, and no other number."""
    return largest is not None and math.isfinite(largest) and largest < 1e-9
