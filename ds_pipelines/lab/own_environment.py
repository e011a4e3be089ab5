"""A virtual environment of its own for a past run, from the lock and the versions that it recorded.

What belongs here: whether this environment is the run's, and making one that is. What does not: what runs in it.

Every package is installed in the version that the run recorded, by the hashes of its lock where that names them, and
without resolving anything anew. Environments are kept by what is in them, so that the next run of the same lock finds
its own. Our own package is today's: it is what repeats the run.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.errors import NotReproducibleError
from ds_pipelines.lab.capture_environment import installed
from ds_pipelines.settings import PACKAGE, environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ds_pipelines.settings import Settings

OURS = "ds-pipelines"
LOCAL = frozenset({OURS, "pip", "setuptools", "wheel", "uv", "editables"})
"""Packages that change no result, or that no index has."""
DIGITS = 16
BUILD_SECONDS = 1_200.0
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")


def name_of(package: str) -> str:
    """A package's name in the one form in which it is compared."""
    return re.sub(r"[-_.]+", "-", package).lower()


def differing(packages: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """The recorded packages whose version is another one here: as recorded, and as installed."""
    here = {name_of(name): version for name, version in installed().items()}
    recorded = {name_of(name): version for name, version in packages.items()}
    return {
        name: (version, here.get(name))
        for name, version in sorted(recorded.items())
        if name not in LOCAL and here.get(name) != version
    }


def interpreter(packages: Mapping[str, str], python: str, lock: bytes | None, settings: Settings) -> Path:
    """The interpreter that has what a run had: this one, or one of its own, which is made where there is none yet.

    Args:
        packages: Version by name, as recorded; empty: unknown, and this interpreter is all there is.
        python: The interpreter's version, as recorded.
        lock: The lock that was recorded with the run.
        settings: Name the folder of environments.

    Raises:
        NotReproducibleError: a package, or the interpreter, is not to be had any more.
    """
    if not packages or (not differing(packages) and python in ("", platform.python_version())):
        return Path(sys.executable)
    requirements = _requirements(packages, lock)
    name = hashlib.sha256(f"{python}\n{requirements}".encode()).hexdigest()[:DIGITS]
    folder = settings.environments / name
    settings.environments.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.environments / f".{name}.lock").open("w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, python or platform.python_version(), requirements)
            (folder / "complete").touch()
    return folder / "bin" / "python"


def _requirements(packages: Mapping[str, str], lock: bytes | None) -> str:
    """The packages one by one, with the lock's hashes where it names this very version."""
    locked = _blocks((lock or b"").decode().splitlines())
    lines = []
    for package, version in sorted(packages.items()):
        name = name_of(package)
        if name not in LOCAL:
            lines.append(locked.get((name, version)) or f"{name}=={version}")
    return "\n".join(lines) + "\n"


def _blocks(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    """The lock's entries, each with its hashes, by name and version."""
    found: dict[tuple[str, str], list[str]] = {}
    block: list[str] = []
    for line in lines:
        if match := PINNED.match(line):
            block = found.setdefault((name_of(match[1]), match[2]), [])
            block.append(f"{match[1]}=={match[2]} \\")  # without a marker: it was installed, whatever that says
        elif line.lstrip().startswith("--hash"):
            block.append(line)
    return {key: "\n".join(block).rstrip("\\ ") for key, block in found.items()}


def _build(folder: Path, python: str, requirements: str) -> None:
    same = python == platform.python_version()
    _uv(["venv", "--quiet", "--python", sys.executable if same else python, str(folder)], f"Python {python}")
    (folder / "requirements.txt").write_text(requirements)
    install = ["pip", "install", "--quiet", "--no-deps", "--python", str(folder / "bin" / "python")]
    _uv([*install, "-r", str(folder / "requirements.txt")], "a package")
    (folder / "ours").mkdir()
    (folder / "ours" / PACKAGE.name).symlink_to(PACKAGE)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "ds_pipelines_of_today.pth").write_text(f"{folder / 'ours'}\n")


def _uv(arguments: list[str], what: str) -> None:
    """Runs uv; should the index not answer, from its cache alone.

    Raises:
        NotReproducibleError: it cannot; what it says of packages goes into the message, no address does.
    """
    beside = Path(sys.executable).parent / "uv"
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        raise NotReproducibleError("package gone", "an environment of its own needs uv: install the package `uv`")
    said = ""
    for extra in ([], ["--offline"]):
        try:
            done = subprocess.run(
                [program, *arguments, *extra], capture_output=True, text=True, check=False, env=environment(),
                timeout=BUILD_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0:
            return
        said = said or done.stderr
    named = sorted(set(re.findall(r"\b[a-z0-9][\w.-]*==[\w.+!-]*\w", said)))
    missing = ", ".join(named) or what
    raise NotReproducibleError("package gone", f"{missing} is not to be had any more, or not from here")
