"""The code of a run as git knows it, and what git does not know yet.

What belongs here: asking git. What does not: helpers, which are seen when they are imported (imports.py).

Nothing of git is needed: without a repository, or without git, the script and its helpers are kept all the same.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ds_pipelines.lab.private import redacted
from ds_pipelines.settings import environment

SECONDS = 10.0
"""For one question; a repository that takes longer is recorded as unknown."""
LARGEST = 4 << 20
"""Bytes of a difference that is kept."""
SECRET_FILES = ("*.pem", "*.key", "*.p12", "*.pfx", ".env", ".env.*", "id_rsa*", "id_ed25519*", "*.token", ".netrc")


@dataclass(frozen=True)
class Repository:
    """Where a script lies in git."""

    root: Path
    commit: str
    difference: bytes
    """What differs from the commit among the files that git follows; empty: nothing."""


def repository(script: Path) -> Repository | None:
    """The repository that holds a script; None if none does, or it has no commit yet."""
    answer = _git(script.parent, "rev-parse", "--show-toplevel", "HEAD")
    if answer is None:
        return None
    root, commit = answer.decode().split("\n")[:2]
    exclude = [f":(exclude,glob)**/{pattern}" for pattern in SECRET_FILES]
    arguments = ["diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", "--", ".", *exclude]
    difference = _git(Path(root), *arguments)
    if difference is None:
        difference = b"(git did not say in time what differs)\n"
    elif len(difference) > LARGEST:
        difference = difference[:LARGEST] + b"\n(the rest is too large to be kept)\n"
    return Repository(Path(root), commit, redacted(difference))


def _git(folder: Path, *arguments: str) -> bytes | None:
    variables = {name: value for name, value in environment().items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the git that is on the PATH is the one people use
            env={**variables, "GIT_OPTIONAL_LOCKS": "0"}, capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
