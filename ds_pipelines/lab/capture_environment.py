"""What a run runs on, as far as it may change a result.

What belongs here: asking the machine and the interpreter. What does not: what only shows while the script runs, as its
seeds (seeds.py) and its threads (threads.py).
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib.metadata import distributions
from typing import TYPE_CHECKING

from ds_pipelines.evidence import RunEnvironment
from ds_pipelines.settings import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOCK = PROJECT / "requirements.lock"


def describe(variables: Mapping[str, str]) -> RunEnvironment:
    """The environment of a run that gets these variables and is started now, on this machine, by this interpreter."""
    return RunEnvironment(
        python=platform.python_version(),
        platform=platform.platform(),
        processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        packages=installed(),
        lock_sha256=hashlib.sha256(content).hexdigest() if (content := lock()) is not None else None,
        variables=dict(variables),
    )


@functools.cache
def installed() -> dict[str, str]:
    """Version by name of everything that is installed beside this interpreter."""
    found = {(each.name or "").lower().replace("_", "-"): each.version for each in distributions()}
    return dict(sorted((name, version) for name, version in found.items() if name))


def lock(path: Path = LOCK) -> bytes | None:
    """The lock that the environment was made from, where there is one."""
    return path.read_bytes() if path.is_file() else None
