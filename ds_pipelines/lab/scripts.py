"""Finding experiments: Python scripts, notebooks and R scripts in a folder, read but never run.

What belongs here: which files are experiments, and what they are called. What does not: what their text tells
(sources.py) or asks for (header.py), running them, or refusing one that cannot be run: it is listed with its problem,
so that one broken file hides no other.

Names need no convention. A file is called by its stem, in letters, digits and underscores; where several share it, by
its folders too; a notebook or an R script beside a Python script of its name, by its suffix too.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.errors import BrokenScriptError, UnknownExperimentError
from ds_pipelines.evidence import Limits
from ds_pipelines.lab import sources
from ds_pipelines.lab.admission import memory_of_all
from ds_pipelines.lab.header import NONE, Header, excess
from ds_pipelines.lab.sources import KINDS, Kind
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_NAME = 120
"""Characters; MLflow takes 500 for an experiment, and Dagster puts names into file names."""
NOT_OURS = {"node_modules", "renv"}
"""Folders into which tools install what others wrote; virtual environments are known by their `pyvenv.cfg`."""


@dataclass(frozen=True, slots=True)
class Script:
    """One experiment as its text shows it."""

    name: str
    """Unique among the scripts of a folder; letters, digits and underscores."""
    path: Path
    description: str
    """Its docstring, first markdown cell or leading comment; empty without one."""
    tables: tuple[str, ...]
    """Tables it reads by a literal name, sorted."""
    problem: str | None = None
    """Why it cannot be run, with the line; None if nothing speaks against it."""
    kind: Kind = "python"
    header: Header = NONE

    def require_sound(self) -> None:
        """Refuses to be run.

        Raises:
            BrokenScriptError: it has a problem.
        """
        if self.problem is not None:
            raise BrokenScriptError(sources.clean(self.path.name), self.problem)


def discover(folder: Path, settings: Settings | None = None) -> tuple[Script, ...]:
    """The experiments at any depth of a folder, by name; files and folders that begin with `_` or `.` are skipped.

    Args:
        folder: The experiments folder; it may be a repository of its own.
        settings: They bound what a header may ask for; by default, those of the environment.
    """
    paths = sorted(_files(folder, set()))
    most = ceilings(settings or load_settings())
    names = _names([path.relative_to(folder) for path in paths])
    return tuple(sorted((_read(*each, most) for each in zip(names, paths, strict=True)), key=lambda one: one.name))


def find(script: str | Path, folder: Path, settings: Settings | None = None) -> Script:
    """The experiment of this path, or of this name in the folder.

    Raises:
        UnknownExperimentError: there is neither.
    """
    known = discover(folder, settings)
    wanted = Path(script).absolute()
    for candidate in known:
        if script == candidate.name or wanted == candidate.path.absolute():
            return candidate
    if wanted.is_file() and _kind(wanted) is not None:
        return _read(_word(wanted.stem), wanted, ceilings(settings or load_settings()))
    raise UnknownExperimentError(str(script), [candidate.name for candidate in known])


def ceilings(settings: Settings) -> Limits:
    """The most that any experiment of this environment may take."""
    return Limits(
        seconds=settings.experiment_minutes * 60,
        memory=memory_of_all(settings),
        disk=settings.experiment_disk,
        cores=settings.experiment_cores or os.cpu_count(),
    )


def _kind(path: Path) -> Kind | None:
    return KINDS.get(path.suffix.lower())


def _files(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path]:
    """Regular files of our kinds, also behind links; a folder that contains itself is entered once."""
    try:
        state = folder.stat()
        inside = list(os.scandir(folder))
    except OSError:  # gone, or not ours to read
        return
    if (state.st_dev, state.st_ino) in entered or any(entry.name == "pyvenv.cfg" for entry in inside):
        return
    entered.add((state.st_dev, state.st_ino))
    for entry in inside:
        if entry.name.startswith(("_", ".")) or entry.name in NOT_OURS:
            continue
        path = folder / entry.name
        if entry.is_dir():
            yield from _files(path, entered)
        elif _kind(path) is not None and (entry.is_file() or _dangling(entry)):
            yield path


def _dangling(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to nothing: shown, because its owner means it to be an experiment."""
    return entry.is_symlink() and not Path(entry.path).exists()


def _names(places: list[Path]) -> list[str]:
    """A name each; a script keeps its name when others come, unless they share its stem in another folder."""
    stems = Counter(_word(bare.name) for bare in {place.with_suffix("") for place in places})
    taken: set[str] = set()
    names: dict[Path, str] = {}
    for place in sorted(places, key=lambda each: (_kind(each) != "python", each)):
        bare = place.with_suffix("")
        alone = stems[_word(bare.name)] == 1
        name = _word(bare.name) if alone else "_".join(map(_word, bare.parts))
        if name in taken and _kind(place) != "python":
            name = f"{name}_{_word(place.suffix[1:].lower())}"
        names[place] = _untaken(_bounded(name, place), taken)
        taken.add(names[place])
    return [names[place] for place in places]


def _untaken(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _bounded(name: str, place: Path) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}"


def _word(text: str) -> str:
    """In plain letters: é becomes e."""
    whole = text.replace("ß", "ss")
    plain = "".join(each for each in unicodedata.normalize("NFKD", whole) if not unicodedata.combining(each))
    return re.sub(r"[^A-Za-z0-9_]", "_", plain)


def _read(name: str, path: Path, most: Limits) -> Script:
    kind = _kind(path) or "python"
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise FileNotFoundError
    except OSError as error:
        return Script(name, path, "", (), f"it cannot be read: {type(error).__name__}", kind)
    source = sources.read(path, kind, state.st_mtime_ns, state.st_size)
    problem = source.problem or excess(source.header.limits, most)
    return Script(name, path, source.description, source.tables, problem, kind, source.header)
