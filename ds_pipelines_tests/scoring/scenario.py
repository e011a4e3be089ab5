"""What the tests of the scoring use: a job of their own, and its rows for a Monday and a Tuesday."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines import postgres
from ds_pipelines.scoring.job import ScoringJob, ServedColumn, Tables
from ds_pipelines.scoring.receipt import Input

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

MONDAY, TUESDAY = date(2025, 3, 3), date(2025, 3, 4)
RELEASE = "5" * 64
INPUTS = (
    Input(
        table="orders",
        rows=12,
        since=None,
        until=MONDAY,
        policy_digest="9" * 64,
        read_at=datetime(2025, 3, 4, 5, tzinfo=UTC),
    ),
)


def _nothing(tables: Tables, day: date, zone: str) -> pl.LazyFrame:
    return pl.LazyFrame()


def job(name: str) -> ScoringJob:
    """A job with a column of every kind that is served."""
    return ScoringJob(
        name=name,
        description="How keen each customer is, for the tests.",
        owner="team:tests",
        consumers=("the tests",),
        table=f"{name}_scores",
        columns=(
            ServedColumn("day", "date", "The day"),
            ServedColumn("customer", "bigint", "The customer"),
            ServedColumn("segment", "text", "Free of surprises, or not"),
            ServedColumn("score", "double precision", "How keen", least=0, most=1),
            ServedColumn("worth", "numeric(14,2)", "In pounds"),
            ServedColumn("decile", "smallint", "Of ten", least=1, most=10),
        ),
        key=("day", "customer"),
        reads=(),
        compute=_nothing,
        budget=timedelta(minutes=1),
        entity="customer",
    )


def rows(day: date, scores: list[float]) -> pl.DataFrame:
    """One row a score, with texts that CSV and SQL stumble over."""
    texts = ("", 'a "quoted" one', "a, comma", "\\.", "two\nlines", "œuvre")
    return pl.DataFrame(
        {
            "day": [day] * len(scores),
            "customer": range(1, len(scores) + 1),
            "segment": [texts[at % len(texts)] for at in range(len(scores))],
            "score": scores,
            "worth": [at * 100 for at in range(len(scores))],
            "decile": [1 + at % 10 for at in range(len(scores))],
        },
        schema=job("any").schema,
    )


SCORES = [0.1, 0.2, 1 / 3, 1e-12, 0.30000000000000004, 1.0, 0.0]
SCORES_CORRECTED = [0.5, 0.25, 0.125]


def ask(settings: Settings, query: str, role: postgres.Role = "consumer") -> list[tuple[Any, ...]]:
    with closing(postgres.connect(role, settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def scores_of(settings: Settings, keen: ScoringJob, day: date) -> list[float]:
    found = ask(settings, f"SELECT score FROM {keen.table} WHERE day = '{day}' ORDER BY customer")
    return [score for (score,) in found]
