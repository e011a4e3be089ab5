"""A computation in use, for tests of what happens with it afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.propose import propose_computation
from ds_pipelines.release.registry import import_release

if TYPE_CHECKING:
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings


def put_in_use(job: ScoringJob, settings: Settings) -> str:
    """Makes a release of a computation the champion, and writes in the ledger that it was deployed; its digest."""
    digest = import_release(propose_computation(job, settings), job, settings).champion.digest
    Ledger(settings).append("deployed", job=job.name, release=digest, actor="the tests", because="they go on from here")
    return digest
