"""The scoring jobs, a module each: what is computed every day and delivered.

What belongs here: one `JOB` a module, reviewed, in Polars expressions over transformed tables. What does not: reading,
delivering or scheduling. A release names its module's file by hash: change one, and it has to be released anew.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from ds_pipelines.errors import UnknownJobError
from ds_pipelines.production.jobs import repurchase, top_sellers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.scoring.job import ScoringJob

JOBS: Mapping[str, ScoringJob] = MappingProxyType({job.name: job for job in (repurchase.JOB, top_sellers.JOB)})
"""Every scoring job by name."""


def find(name: str) -> ScoringJob:
    """The scoring job of that name.

    Raises:
        UnknownJobError: there is none.
    """
    if name not in JOBS:
        raise UnknownJobError(name, JOBS)
    return JOBS[name]
