"""Scores for development: a delivered day under pseudonyms, published as an extract is.

What belongs here: what of a delivery may reach data scientists, and how. What does not: who may have it (the gateway
decides, as for any extract), and when it is published (`production`).

The person has the pseudonym of all extracts, so that scores can be joined to them. An exact score is as good as a key:
whoever knows consumers' tables could join by it and undo the pseudonyms. So scores are rounded to hundredths, and rows
are in the order of the pseudonyms. That makes it harder and no more; nobody should hold extracts and served scores.
Columns of a contract that are not named here are withheld.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import NoPseudonymError, NothingServedError
from ds_pipelines.evidence import Column, SnapshotManifest, Withheld
from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, tombstones
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.snapshots.locks import publishing
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings
    from ds_pipelines.snapshots.parquet import Written

SCORE, DIGITS = "score", 2
"""The column that is rounded, and to how many digits."""
TREATMENTS = {
    "day": ("keep", "The business day at whose end was scored."),
    SCORE: (f"round to {DIGITS} digits", "An exact score would lead from the pseudonym to the real key."),
    "decile": ("keep", "A tenth of all is a large group."),
    "release": ("keep", "Which release gave the score is no person's."),
}
"""What may be published beside the pseudonym, and why it may."""


def table_of(job: ScoringJob) -> str:
    """The table under which a job's scores are published."""
    return f"scores_{job.name}"


def columns_of(job: ScoringJob) -> dict[str, tuple[str, str]]:
    """What is published of a job: treatment and explanation by column, in the order of its contract."""
    told = {str(job.entity): ("pseudonym", "The same person has the same pseudonym in every table.")} | TREATMENTS
    return {column.name: told[column.name] for column in job.columns if column.name in told}


@publishing
def publish_scores(job: ScoringJob, days: Sequence[date], settings: Settings) -> list[SnapshotManifest]:
    """Publishes delivered days under pseudonyms, all of them or none; a day that is published already is replaced.

    Raises:
        NoPseudonymError: the job scores nothing that the privacy policy gives a pseudonym.
        NothingServedError: a day is not delivered.
        MissingSecretError, PolicyError, DiskFullError, DatabaseUnreachableError.
    """
    from ds_pipelines.scoring.receipt import find
    from ds_pipelines.scoring.served import served

    policy = policies.load(settings.policies / policies.SHOP)
    domain, made_by = _domain(job, policy), pseudonyms.load(settings)
    store, manifests = SnapshotStore(settings.snapshots), []
    with store.stage() as stage:
        for day in days:
            receipt = find(job, day, settings)
            if receipt is None:
                raise NothingServedError(job.name, day)
            read_at = datetime.now(UTC)
            frame = served(job, day, list(columns_of(job)), settings)
            gone = tombstones.load(settings).has("identifier", frame[str(job.entity)])
            rows = frame.filter(~gone).with_columns(made_by.of(frame.filter(~gone)[str(job.entity)], domain))
            rows = rows.with_columns(pl.col(SCORE).round(DIGITS)).sort(str(job.entity))
            written = stage.write_batches(rows.schema, [rows], unlike=[str(job.entity)])
            manifests.append(
                SnapshotManifest(
                    table=table_of(job),
                    rows_of="day",
                    day=day,
                    rows=written.rows,
                    bytes=written.bytes,
                    digest=written.digest,
                    logical_digest=written.logical_digest,
                    columns=_columns(job, written, domain),
                    withheld=_withheld(job),
                    erased_rows=int(gone.sum()),
                    policy_digest=policy.digest,
                    key_id=made_by.key_id,
                    read_at=read_at,
                    published_at=datetime.now(UTC),
                )
            )
        stage.publish(manifests)
    return manifests


def _domain(job: ScoringJob, policy: Policy) -> str:
    """What the job's entity identifies, by the tables of the policy."""
    for name in job.reads:
        column = policy.table(name).columns.get(str(job.entity))
        if column is not None and isinstance(column.treatment, Pseudonym):
            return column.treatment.domain
    raise NoPseudonymError(job.name, job.entity)


def _columns(job: ScoringJob, written: Written, domain: str) -> tuple[Column, ...]:
    told = columns_of(job) | {str(job.entity): (f"pseudonym({domain})", columns_of(job)[str(job.entity)][1])}
    return tuple(
        Column(name=name, dtype=str(dtype), treatment=told[name][0], explanation=told[name][1])
        for name, dtype in written.schema.items()
    )


def _withheld(job: ScoringJob) -> tuple[Withheld, ...]:
    because = "Nobody decided that it may be published."
    published = columns_of(job)
    return tuple(Withheld(name=each.name, explanation=because) for each in job.columns if each.name not in published)
