"""Finding experiments: plain scripts in a folder, read but never run.

What belongs here: names, descriptions, and the tables a script asks for, as its text shows them. What does not: running
scripts, or refusing one that cannot be parsed: it is listed with its problem, so that one broken file hides no other.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ds_pipelines.errors import UnknownExperimentError
from ds_pipelines.evidence import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE, LAB = "ds_pipelines", "ds_pipelines.lab"
NO_LIMITS = Limits()
"""As much as the environment allows."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a script says about how it is to be run."""

    owner: str | None = None
    limits: Limits = NO_LIMITS
    tolerance: float | None = None
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """One experiment as its text shows it."""

    name: str
    """Unique among the scripts of a folder; letters, digits and underscores."""
    path: Path
    description: str
    """The script's docstring; empty without one."""
    tables: tuple[str, ...]
    """Tables it reads by a literal name, sorted."""
    problem: str | None = None
    """Why it cannot be run, with the line; None if it parses."""
    kind: Literal["python", "notebook", "r"] = "python"
    header: Header = Header()


def discover(folder: Path) -> tuple[Script, ...]:
    """The scripts at any depth of a folder, by name; files and folders that begin with `_` or `.` are skipped."""
    paths = [path for path in sorted(folder.rglob("*.py")) if not _hidden(path.relative_to(folder))]
    names = _names([path.relative_to(folder).with_suffix("").parts for path in paths])
    return tuple(sorted(map(_read, names, paths), key=lambda script: script.name))


def find(script: str | Path, folder: Path) -> Script:
    """The script of this path, or of this name in the folder.

    Raises:
        UnknownExperimentError: there is neither.
    """
    known = discover(folder)
    wanted = Path(script).absolute()
    for candidate in known:
        if script == candidate.name or wanted == candidate.path.absolute():
            return candidate
    if wanted.is_file():
        return _read(_word(wanted.stem), wanted)
    raise UnknownExperimentError(str(script), [candidate.name for candidate in known])


def _hidden(relative: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in relative.parts)


def _names(places: list[tuple[str, ...]]) -> list[str]:
    """The stem, or where that is not unique the folders with it, or where even that is not, a number at the end."""
    stems = Counter(_word(place[-1]) for place in places)
    taken: Counter[str] = Counter()
    names = []
    for place in places:
        stem = _word(place[-1])
        name = stem if stems[stem] == 1 else "_".join(map(_word, place))
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    return names


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _read(name: str, path: Path) -> Script:
    try:
        with warnings.catch_warnings(action="ignore"):  # a script's own deprecations are shown when it runs
            tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "its text"
        return Script(name, path, "", (), problem=f"{where} is not Python: {error.msg}")
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return Script(name, path, "", (), problem=f"it cannot be read: {type(error).__name__}")
    return Script(name, path, ast.get_docstring(tree) or "", tuple(sorted(set(_tables(tree)))))


def _tables(tree: ast.Module) -> Iterator[str]:
    """Literal first arguments of `lab.table(…)`, under whatever name the script imports `lab` or `table`."""
    calls = {f"{LAB}.table"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            calls |= {f"{alias.asname or alias.name}.table" for alias in node.names if alias.name == "lab"}
        elif isinstance(node, ast.ImportFrom) and node.module == LAB:
            calls |= {alias.asname or alias.name for alias in node.names if alias.name == "table"}
        elif isinstance(node, ast.Import):
            calls |= {f"{alias.asname}.table" for alias in node.names if alias.name == LAB and alias.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in calls:
            named = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
            for argument in (*node.args[:1], *named):
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value
