"""All outputs of a run beside those of its repetition, in the order in which the run made them.

What belongs here: which outputs there are, and in which order. What does not: comparing one of them (contents.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ds_pipelines.evidence import OutputComparison
from ds_pipelines.lab.contents import Folders, compare, numbers
from ds_pipelines.lab.notes import kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.evidence import RunRecord

LISTED = (
    "tables/",
    "evidence/predictions.parquet",
    "evidence/verdict.json",
    "model/",
    "plots/",
    "files/",
    "stdout.txt",
)
"""Where outputs lie in a run whose record does not list them."""
DESCRIPTIONS = frozenset({
    "model/MLmodel", "model/conda.yaml", "model/python_env.yaml", "model/requirements.txt", "files/not-kept.json",
})  # fmt: skip
"""What says when and with what an output was made; the rest of the record says so, too."""
METRIC, PRINTED = "metric ", "stdout.txt"


@dataclass(frozen=True)
class Side:
    """A run's record and its artifacts."""

    record: RunRecord
    artifacts: Path


@dataclass(frozen=True)
class Judged:
    """All outputs compared."""

    outputs: tuple[OutputComparison, ...]
    clock: bool
    """Whether all that differs are times that were printed."""

    @property
    def diverged(self) -> list[OutputComparison]:
        """Those that are not equal, not even within the tolerance; in order."""
        return [each for each in self.outputs if each.likeness not in ("identical", "same content", "within tolerance")]

    @property
    def identical(self) -> bool:
        """Whether all are the same by content."""
        return all(each.likeness in ("identical", "same content") for each in self.outputs)

    @property
    def largest(self) -> float | None:
        """The largest relative difference of numbers; None where something else differs, too."""
        if any(each.largest is None for each in self.diverged):
            return None
        return max((each.largest for each in self.outputs if each.largest is not None), default=None)


def judge(a: Side, b: Side, tolerance: float) -> Judged:
    """How every output of b is like that of a."""
    names = _outputs(a) | _outputs(b)
    compared, clocks = [], []
    for artifact, kind in names.items():
        paths = [side.artifacts / artifact for side in (a, b)]
        if not (paths[0].is_file() and paths[1].is_file()):
            likeness, words = ("new", "only the repetition made it") if paths[1].is_file() else (
                "missing", "the repetition did not make it"
            )  # fmt: skip
            compared.append(OutputComparison(artifact=artifact, kind=kind, likeness=likeness, difference=words))
            clocks.append(False)
            continue
        found = compare(
            artifact, paths[0].read_bytes(), paths[1].read_bytes(), tolerance, Folders(a.artifacts, b.artifacts)
        )
        compared.append(OutputComparison(
            artifact=artifact, kind=kind, likeness=found.likeness, difference=found.difference, largest=found.largest
        ))  # fmt: skip
        if found.likeness == "differs":
            clocks.append(found.clock)
    metrics = _metrics(a.record.metrics, b.record.metrics, tolerance)
    clocks += [False for each in metrics if each.likeness in ("differs", "missing", "new")]
    printed = [each for each in compared if each.artifact == PRINTED]  # it is made all along, and says least
    made = [each for each in compared if each.artifact != PRINTED]
    return Judged((*made, *metrics, *printed), bool(clocks) and all(clocks))


def _outputs(side: Side) -> dict[str, str]:
    """Kind by artifact, in the order in which they were made where that is known."""
    made = {each.artifact: str(each.kind) for each in side.record.outputs}
    if not made:
        found = [path.relative_to(side.artifacts).as_posix() for path in side.artifacts.rglob("*") if path.is_file()]
        ranked = [(place, name) for name in found for place, prefix in enumerate(LISTED) if name.startswith(prefix)]
        made = {name: kind_of(name) or "file" for _, name in sorted(ranked)}
    return {name: kind for name, kind in made.items() if name not in DESCRIPTIONS}


def _metrics(a: dict[str, float], b: dict[str, float], tolerance: float) -> list[OutputComparison]:
    compared = []
    for name in dict.fromkeys([*a, *b]):
        artifact = f"{METRIC}{name}"
        if name not in a or name not in b:
            likeness = "missing" if name in a else "new"
            compared.append(OutputComparison(artifact=artifact, kind="metric", likeness=likeness))
            continue
        found = numbers(np.array([a[name]]), np.array([b[name]]), tolerance)
        words = "" if a[name] == b[name] else f"{a[name]:.6g} became {b[name]:.6g}"
        compared.append(OutputComparison(
            artifact=artifact, kind="metric", likeness="identical" if a[name] == b[name] else found.likeness,
            difference=words, largest=found.largest,
        ))  # fmt: skip
    return compared
