"""Live performance: when what a job predicts has come true or not, its delivered scores are held against the promise.

What belongs here: which days are ripe, measuring them, and saying whether the release keeps its promise. What does not:
the statistic (`ranking`), what an outcome is (the job's module), and when this happens (`production`).

The outcome is read from production, through the same policy and at the same pace as the features. What is kept of it
is a record of aggregates a day; no outcome of anybody is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
from psycopg2.extras import Json

from ds_pipelines.errors import ManifestError
from ds_pipelines.evidence import Performance
from ds_pipelines.extract import production
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.registry import MANIFEST
from ds_pipelines.scoring import receipt as receipts
from ds_pipelines.scoring.served import SCORE, served
from ds_pipelines.watch.problems import Problem, Well
from ds_pipelines.watch.ranking import ranked
from ds_pipelines.watch.state import remembered

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date

    import psycopg2.extensions

    from ds_pipelines.release.manifest import Evidence
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.settings import Settings

OUTCOME = "outcome"


def ripe(job: ScoringJob, settings: Settings) -> list[date]:
    """Delivered days whose outcome is known by now and was not measured yet, or is delivered anew since; oldest first.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    if job.outcome is None or job.horizon is None:
        return []
    last = settings.last_extractable_day() - job.horizon
    with remembered(settings) as cursor:
        cursor.execute("SELECT day, delivery::text FROM watch.performance WHERE job = %s", (job.name,))
        measured = set(cursor.fetchall())
    delivered = receipts.delivered(job, settings)
    return [day for day, each in delivered.items() if day <= last and (day, str(each.delivery)) not in measured]


def measure(job: ScoringJob, days: Collection[date], settings: Settings) -> list[Performance]:
    """Measures delivered days, and remembers what was found; days without enough outcomes are not told.

    Raises:
        PolicyError and the errors of `extract.production`: the outcomes cannot be read.
        DatabaseUnreachableError: a database does not answer.
    """
    if job.outcome is None or job.horizon is None or job.entity is None or not days:
        return []
    tables = _Outcomes(job, min(days) + timedelta(days=1), max(days) + job.horizon, settings)
    found: list[tuple[Receipt, Performance | None]] = []
    for day, receipt in receipts.delivered(job, settings).items():
        if day in days:
            came = job.outcome(tables, day, settings.zone).collect()
            scores = served(job, day, [job.entity, SCORE], settings).join(came, on=job.entity, how="left")
            known = scores.with_columns(pl.col(OUTCOME).fill_null(0))
            found.append((receipt, _performance(job, receipt, known, settings)))
    with remembered(settings) as cursor:
        for receipt, told in found:
            record = None if told is None else Json(told.model_dump(mode="json"))
            cursor.execute(
                "INSERT INTO watch.performance (job, day, release, delivery, record) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (job, day) DO UPDATE SET release = excluded.release, delivery = excluded.delivery, "
                "record = excluded.record",
                (job.name, receipt.day, receipt.release, str(receipt.delivery), record),
            )
    return [told for _, told in found if told is not None]


def measured(cursor: psycopg2.extensions.cursor, job: str, *, since: date | None = None) -> list[Performance]:
    """What was measured of a job, the oldest day first."""
    cursor.execute(
        "SELECT record::text FROM watch.performance WHERE job = %s AND day >= coalesce(%s, day) "
        "AND record IS NOT NULL ORDER BY day",
        (job, since),
    )
    return [Performance.model_validate_json(record) for (record,) in cursor.fetchall()]


def promises(
    cursor: psycopg2.extensions.cursor, jobs: Collection[ScoringJob], settings: Settings
) -> Iterator[Problem | Well]:
    """Whether each job's release keeps its promise, by the newest day that was measured."""
    for job in jobs:
        if known := measured(cursor, job.name):
            newest, page = known[-1], f"{settings.pages_base}/assets/performance/{job.name}"
            words = f"Scores of {newest.day}: {newest.words}."
            if newest.kept:
                yield Well("promise", job.name, words, page)
            else:
                step = "look at drift and at the weekly report; train and release anew, or roll the release back."
                yield Problem("promise", job.name, words, step, page)


class _Outcomes(Mapping[str, pl.LazyFrame]):
    """The job's tables from one day to another, with real keys; each is read when the outcome first asks for it."""

    def __init__(self, job: ScoringJob, since: date, until: date, settings: Settings) -> None:
        self._names, self._since, self._until, self._settings = job.reads, since, until, settings
        self._read: dict[str, pl.LazyFrame] = {}

    def __getitem__(self, name: str) -> pl.LazyFrame:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            frame = production.transformed(name, self._settings, since=self._since, until=self._until)
            self._read[name] = frame.lazy()
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _performance(job: ScoringJob, receipt: Receipt, scores: pl.DataFrame, settings: Settings) -> Performance | None:
    outcome, said = scores[OUTCOME].cast(pl.Float64).to_numpy(), scores[SCORE].to_numpy()
    told = ranked(outcome, said)
    if told is None:
        return None
    statistic, value, low, high = told
    promise = _promise(receipt.release, settings)
    kept = {} if promise is None or promise.effect is None else {
        "promised": 0.5 + promise.effect, "promised_low": promise.interval[0], "promised_high": promise.interval[1],
    }  # fmt: skip
    return Performance(
        job=job.name,
        day=receipt.day,
        release=receipt.release,
        delivery=receipt.delivery,
        rows=scores.height,
        came_true=float(outcome.mean()),
        said=float(said.mean()),
        statistic=statistic,
        value=value,
        low=low,
        high=high,
        squared_error=float(((said - outcome) ** 2).mean()),
        at=datetime.now(UTC),
        **kept,
    )


def _promise(release: str, settings: Settings) -> Evidence | None:
    """The evidence of the release that gave the scores; None where it is not kept any more."""
    try:
        return manifests.load(settings.registry_artifacts / "accepted" / release / MANIFEST).evidence
    except ManifestError:
        return None
