"""What changed between two runs: code, data, parameters, figures, packages and the rest of their environment.

What belongs here: finding and wording differences of two runs, or of a run and today. What does not: whether they
explain a result that differs (causes.py), and comparing what the runs made (contents.py).

What a run did not record is unknown: it is named as such, and is no difference.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ds_pipelines.lab.history import History, PastRun, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from ds_pipelines.evidence import RunEnvironment, RunInput, RunRecord
    from ds_pipelines.settings import Settings

Pair = tuple[str | None, str | None]
CODE = "code"
LONGEST_DIFF = 2_000
"""Lines of one file's difference that are shown."""
FEW = 5
"""Days that are named one by one."""


@dataclass(frozen=True)
class TableChange:
    """What differs of one table that was read."""

    table: str
    only_a: int
    """Snapshots that only the first run read."""
    only_b: int
    same: int
    other_digest: tuple[str, ...]
    """Days that both read, but as they were published at different times."""
    words: str


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs; a is the first named."""

    a: PastRun
    b: PastRun
    code: dict[str, str] = field(default_factory=dict)
    """By path, the unified diff."""
    data: tuple[TableChange, ...] = ()
    parameters: dict[str, Pair] = field(default_factory=dict)
    metrics: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Those of both, changed or not."""
    packages: dict[str, Pair] = field(default_factory=dict)
    environment: dict[str, Pair] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    """What one of the runs did not record."""

    def as_json(self) -> dict[str, Any]:
        """The same, for machines."""
        plain = asdict(self)
        for side in ("a", "b"):
            plain[side] = {"run_id": plain[side]["run_id"], "experiment": plain[side]["experiment"]}
        return plain


def compare(a: str, b: str, settings: Settings) -> Comparison:
    """What differs between two runs, each named by its id, its id's first digits, or its experiment.

    Raises:
        UnknownRunError, AmbiguousRunError: a name means no run, or several.
        UnrecordedRunError: a run left no record.
        TrackingUnreachableError: MLflow does not answer.
    """
    with opened(settings) as history:
        return _compared(history, history.run(a), history.run(b))


def _compared(history: History, a: PastRun, b: PastRun) -> Comparison:
    with history.artifacts(a, CODE) as left, history.artifacts(b, CODE) as right:
        code = code_difference(left / CODE, right / CODE, a.run_id[:7], b.run_id[:7])
    first, second = history.record(a), history.record(b)
    of_a, of_b = first.environment, second.environment
    packages = {} if of_a is None or of_b is None else changed(of_a.packages, of_b.packages)
    return Comparison(
        a,
        b,
        code=code,
        data=data_difference(first.inputs, second.inputs),
        parameters=changed(first.parameters, second.parameters),
        metrics={
            name: (first.metrics.get(name), second.metrics.get(name))
            for name in dict.fromkeys([*first.metrics, *second.metrics])
        },
        packages=packages,
        environment=environment_difference(of_a, of_b) | _about(first, second),
        unknown=tuple(
            f"packages and environment of {run.run_id[:7]}"
            for run, known in ((a, of_a), (b, of_b))
            if known is None
        ),
    )  # fmt: skip


def code_difference(a: Path, b: Path, name_a: str = "recorded", name_b: str = "today") -> dict[str, str]:
    """Unified diffs by path of the files in two folders, where they differ."""
    texts_a, texts_b = _texts(a), _texts(b)
    found = {}
    for path in sorted(texts_a.keys() | texts_b.keys()):
        before, after = texts_a.get(path, ""), texts_b.get(path, "")
        if before != after:
            lines = list(difflib.unified_diff(
                _lines(path, before), _lines(path, after), f"{name_a}/{path}", f"{name_b}/{path}", lineterm=""
            ))  # fmt: skip
            found[path] = "\n".join(lines[:LONGEST_DIFF]) or "only outputs, line ends or bytes that are no text differ"
    return found


def _lines(path: str, text: str) -> list[str]:
    """The lines of a file; of a notebook those of its cells, because in the file it may be one single line."""
    if not path.endswith(".ipynb"):
        return text.splitlines()
    try:
        cells = json.loads(text or '{"cells": []}')["cells"]
        return [
            line
            for number, cell in enumerate(cells, start=1)
            for line in (f"[{number}] {cell['cell_type']}", *"".join(cell["source"]).splitlines())
        ]
    except (ValueError, KeyError, TypeError):  # no notebook, whatever its name is
        return text.splitlines()


def data_difference(a: Iterable[RunInput], b: Iterable[RunInput]) -> tuple[TableChange, ...]:
    """What differs of the snapshots that two runs read, by table."""
    by_table: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for side, inputs in enumerate((a, b)):
        for each in inputs:
            by_table.setdefault(each.table, ({}, {}))[side][str(each.day)] = each.digest
    changes = (_table_change(table, *sides) for table, sides in sorted(by_table.items()))
    return tuple(change for change in changes if change.only_a or change.only_b or change.other_digest)


def environment_difference(a: RunEnvironment | None, b: RunEnvironment | None) -> dict[str, Pair]:
    """What differs of interpreter, machine, threads, variables and seeds; of packages see `changed`."""
    if a is None or b is None:
        return {}
    facts = [
        {"python": each.python, "platform": each.platform, "processors": str(each.processors)}
        | {f"threads of {name}": str(number) for name, number in each.threads.items()}
        | {f"variable {name}": value for name, value in each.variables.items()}
        | {f"seed of {name}": value for name, value in each.seeds.items()}
        for each in (a, b)
    ]
    return changed(*facts)


def changed(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, Pair]:
    """The names whose values differ, with both."""
    return {name: (a.get(name), b.get(name)) for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)}


def told(comparison: Comparison) -> Iterator[str]:
    """The comparison in lines for a terminal."""
    a, b = comparison.a, comparison.b
    for name, run in (("a", a), ("b", b)):
        when = f"{run.started_at:%Y-%m-%d %H:%M %Z}"
        yield f"{name}: {run.experiment} {run.run_id} of {when}, {run.verdict or run.status}"
    yield ""
    yield from _section("code", comparison.code.values(), "the same")
    yield from _section("data", (f"{each.table}: {each.words}" for each in comparison.data), "the same snapshots")
    yield from _section("parameters", _pairs(comparison.parameters), "the same")
    yield from _section("metrics", _numbers(comparison.metrics), "none")
    missing = "unknown" if comparison.unknown else "the same"
    yield from _section("packages", _pairs(comparison.packages), missing)
    yield from _section("environment", _pairs(comparison.environment), missing)
    if comparison.unknown:
        yield f"not recorded: {', '.join(comparison.unknown)}"


def markdown(comparison: Comparison) -> str:
    """The comparison as a page of Dagster's shows it."""
    a, b, _, *rest = told(comparison)
    body = "\n".join(rest).replace("```", "ˋˋˋ")
    return f"**{a}**  \n**{b}**\n\n```diff\n{body}\n```\n"


def _section(name: str, lines: Iterable[str], nothing: str) -> Iterator[str]:
    found = [line for block in lines for line in block.splitlines()]
    if not found:
        yield f"{name}: {nothing}"
        return
    yield f"{name}:"
    yield from (f"  {line}" for line in found)


def _pairs(pairs: Mapping[str, Pair]) -> Iterator[str]:
    for name, (a, b) in pairs.items():
        yield f"{name}: {'—' if a is None else a} → {'—' if b is None else b}"


def _numbers(metrics: Mapping[str, tuple[float | None, float | None]]) -> Iterator[str]:
    for name, (a, b) in metrics.items():
        words = [f"{number:.6g}" if number is not None else "—" for number in (a, b)]
        moved = f" ({b - a:+.3g})" if a is not None and b is not None and a != b else ""
        yield f"{name}: {words[0]}" if a == b else f"{name}: {words[0]} → {words[1]}{moved}"


def _about(a: RunRecord, b: RunRecord) -> dict[str, Pair]:
    """What else two records say differently."""
    facts = [
        {"commit": each.code.commit or "unknown", "verdict": each.verdict or "none", "status": each.status}
        for each in (a, b)
    ]
    return changed(*facts)


def _table_change(table: str, a: Mapping[str, str], b: Mapping[str, str]) -> TableChange:
    both = sorted(a.keys() & b.keys())
    other = tuple(day for day in both if a[day] != b[day])
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    words = [
        f"{len(days)} {what} ({_days(days)})"
        for days, what in ((other, "published anew in between"), (only_a, "only in a"), (only_b, "only in b"))
        if days
    ]
    digests = f"; {other[0]} was {a[other[0]][:12]} and is {b[other[0]][:12]}" if other else ""
    same = len(both) - len(other)
    return TableChange(
        table, len(only_a), len(only_b), same, other, f"{same} snapshots the same, {', '.join(words)}{digests}"
    )


def _days(days: Iterable[str]) -> str:
    listed = list(days)
    return ", ".join(listed) if len(listed) <= FEW else f"{listed[0]} … {listed[-1]}"


def _texts(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
