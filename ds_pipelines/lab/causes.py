"""Why a run and its repetition differ: by what their records say, and by experiments where these agree.

What belongs here: naming causes, each with its evidence. What does not: executing anything (again.py, which is handed
in), and comparing outputs (contents.py).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.evidence import Cause
from ds_pipelines.lab.again import is_about_threads
from ds_pipelines.lab.contents import frames
from ds_pipelines.lab.own_environment import LOCAL, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date
    from pathlib import Path

    from ds_pipelines.evidence import Part, RunEnvironment, RunInput, RunRecord

MOST = 5
"""Packages, variables or days that are named one by one."""
UNSEEDED = "unseeded"
OPEN_ORDER = Cause(
    kind="reordered rows",
    words="the script leaves the order of rows to chance, as a group_by or a join without a sort by a key does",
    proven=True,
)


def between(a: RunRecord, b: RunRecord, snapshot: Callable[[RunInput], Path | None]) -> dict[Part, list[Cause]]:
    """What the records of a run and of its repetition say differently, by part.

    Args:
        a: The run.
        b: Its repetition.
        snapshot: Finds the file of a snapshot; None where it is gone.
    """
    found: dict[Part, list[Cause]] = {
        "code": of_code(_code(a), _code(b), a.script),
        "data": of_data(a.inputs, b.inputs, snapshot),
        "environment": [],
        "threads": [],
        "variables": [],
    }
    if a.environment is not None and b.environment is not None:
        found["environment"] = of_packages(a.environment, b.environment)
        found["threads"] = of_threads(a.environment, b.environment)
        found["variables"] = of_variables(a.environment.variables, b.environment.variables)
    return {part: causes for part, causes in found.items() if causes}


def of_code(a: Mapping[str, str], b: Mapping[str, str], script: str) -> list[Cause]:
    """What was edited, of digests by path."""
    causes = []
    for path in sorted(a.keys() | b.keys()):
        if a.get(path) == b.get(path):
            continue
        what = "is new" if path not in a else "is used no longer" if path not in b else "was edited"
        kind = "script" if path == script else "helper"
        causes.append(Cause(kind=f"edited {kind}", words=f"{path} {what} since the run"))
    return causes


def of_data(a: Iterable[RunInput], b: Iterable[RunInput], snapshot: Callable[[RunInput], Path | None]) -> list[Cause]:
    """What differs of the snapshots read: other rows, or the same in another order."""
    read = [{(each.table, each.day): each for each in side} for side in (a, b)]
    causes = []
    for table in sorted({table for side in read for table, _ in side}):
        days = [{day: each for (name, day), each in side.items() if name == table} for side in read]
        anew = sorted(day for day in days[0].keys() & days[1].keys() if days[0][day].digest != days[1][day].digest)
        causes += [_anew(days[0][day], days[1][day], snapshot) for day in anew[:MOST]]
        for only, words in (
            (sorted(days[1].keys() - days[0].keys()), "more are read now"),
            (sorted(days[0].keys() - days[1].keys()), "are not read any more"),
        ):
            if only:
                causes.append(Cause(kind="changed data", words=f"{len(only)} days of {table} {words}: {_named(only)}"))
    return causes


def of_packages(a: RunEnvironment, b: RunEnvironment) -> list[Cause]:
    """Which packages, or which Python, are of another version."""
    before, now = ({name_of(name): version for name, version in each.packages.items()} for each in (a, b))
    changed = [name for name in sorted(before) if name not in LOCAL and before[name] != now.get(name)]
    words = [f"{name} was {before[name]} and is {now.get(name, 'not installed')}" for name in changed[:MOST]]
    if len(changed) > MOST:
        words.append(f"{len(changed) - MOST} more")
    if a.python != b.python:
        words.insert(0, f"Python was {a.python} and is {b.python}")
    return [Cause(kind="package version", words="; ".join(words))] if words else []


def of_threads(a: RunEnvironment, b: RunEnvironment) -> list[Cause]:
    """Which libraries used another number of threads, or were told to."""
    words = [
        f"{name} used {a.threads[name]} threads and now uses {b.threads[name]}"
        for name in sorted(a.threads.keys() & b.threads.keys())
        if a.threads[name] != b.threads[name]
    ]
    words += [
        f"{name} was {a.variables.get(name, 'not set')} and is {b.variables.get(name, 'not set')}"
        for name in sorted(a.variables.keys() | b.variables.keys())
        if is_about_threads(name) and a.variables.get(name) != b.variables.get(name)
    ]
    return [Cause(kind="threads", words="; ".join(words))] if words else []


def of_variables(a: Mapping[str, str], b: Mapping[str, str]) -> list[Cause]:
    """Which variables have another value, by name only: a value may say too much."""
    names = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name) and not is_about_threads(name)]
    if not names:
        return []
    more = f", and {len(names) - MOST} more" if len(names) > MOST else ""
    words = ", ".join(f"{name} {_change(name, a, b)}" for name in names[:MOST])
    return [Cause(kind="environment variable", words=f"{words}{more}")]


def of_seeds(record: RunRecord, again: RunRecord) -> Cause | None:
    """Which generators were used without a seed, as the run or its repetition noticed."""
    noticed: dict[str, str] = {}
    for each in (record, again):
        noticed |= each.environment.seeds if each.environment else {}
    names = sorted(name for name, seeds in noticed.items() if UNSEEDED in seeds)
    if not names:
        return None
    return Cause(kind="missing seed", words=f"{', '.join(names)} got no seed, so that each run draws other numbers")


def _change(name: str, a: Mapping[str, str], b: Mapping[str, str]) -> str:
    if name not in a:
        return "is set now and was not"
    return "has another value" if name in b else "was set and is not"


def _code(record: RunRecord) -> dict[str, str]:
    return dict(record.code.files) or {record.script: record.code_digest}


def _anew(before: RunInput, now: RunInput, snapshot: Callable[[RunInput], Path | None]) -> Cause:
    """What became of one day that was published anew."""
    where = f"{before.table} of {before.day}"
    files = snapshot(before), snapshot(now)
    if files[0] is None or files[1] is None:
        words = f"{where} was published anew, and one of both is gone"
        return Cause(kind="changed data", words=f"{words} ({before.digest[:12]}, {now.digest[:12]})")
    compared = frames(pl.read_parquet(files[0]), pl.read_parquet(files[1]), 0.0)
    if compared.likeness == "reordered":
        return Cause(kind="reordered rows", words=f"{where} was published anew: {compared.difference}")
    if compared.likeness == "same content":
        return Cause(kind="reordered rows", words=f"{where} was published anew with the same rows in another file")
    return Cause(kind="changed data", words=f"{where} was published anew: {compared.difference}")


def _named(days: list[date]) -> str:
    return ", ".join(map(str, days)) if len(days) <= MOST else f"{days[0]} … {days[-1]}"


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 by path of the files below a folder that are there."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names if (folder / name).is_file()
    }
