"""The scoring jobs, a module each: what is computed every day and delivered.

What belongs here: one `JOB` a module, reviewed, in Polars expressions over transformed tables. What does not: reading,
delivering or scheduling. A release names its module's file by hash: change one, and it has to be released anew.
A module that is put here is a job; `ds-pipelines job new` starts one.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from ds_pipelines.errors import UnknownJobError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ds_pipelines.scoring.job import ScoringJob


def _jobs() -> Iterator[ScoringJob]:
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__)):
        yield import_module(f"{__name__}.{module}").JOB


JOBS: Mapping[str, ScoringJob] = MappingProxyType({job.name: job for job in _jobs()})
"""Every scoring job by name."""


def find(name: str) -> ScoringJob:
    """The scoring job of that name.

    Raises:
        UnknownJobError: there is none.
    """
    if name not in JOBS:
        raise UnknownJobError(name, JOBS)
    return JOBS[name]
