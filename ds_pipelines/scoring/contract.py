"""The contract of a delivery: a Pandera schema made from what the job declares, and the refusal of what breaks it.

What belongs here: strict columns in order, exact types, bounds, nothing null, NaN or infinite, unique keys, one day, at
least one row. What does not: making a frame fit; a frame that breaks its contract is not delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ds_pipelines.errors import ContractBrokenError

if TYPE_CHECKING:
    from datetime import date

    import pandera.polars as pa

    from ds_pipelines.scoring.job import ScoringJob, ServedColumn

TWICE = "the same key more than once"
CHECKS = {
    "column_in_schema": "not a column of the contract",
    "column_in_dataframe": "missing",
    "column_ordered": "out of order",
    "not_nullable": "null or NaN",
    "multiple_fields_uniqueness": TWICE,
}
"""Pandera's names for what it checks without being told, in words."""

EMPTY = ("the whole", "at least one row")


def require(frame: pl.DataFrame, job: ScoringJob, day: date, release: str) -> None:
    """Checks a frame against what the job promises for a day, made with a release.

    Raises:
        ContractBrokenError: it breaks the contract; the message names columns and checks, never a value.
    """
    broken = [EMPTY] if frame.is_empty() else []
    broken += _broken(schema(job, day, release, unique=True), frame, job)
    if broken:
        raise ContractBrokenError(job.name, broken)


def require_batch(batch: pl.DataFrame, known: pa.DataFrameSchema, job: ScoringJob) -> None:
    """Checks one of several batches of rows; that no key is there twice is not seen in one of them.

    Args:
        batch: The next rows.
        known: The job's `schema`, made once.
        job: Whose they are.

    Raises:
        ContractBrokenError: as for `require`.
    """
    if broken := _broken(known, batch, job):
        raise ContractBrokenError(job.name, broken)


def _broken(known: pa.DataFrameSchema, frame: pl.DataFrame, job: ScoringJob) -> list[tuple[str, str]]:
    import pandera.polars as pa

    try:
        known.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return [_named(case, job) for case in errors.failure_cases.iter_rows(named=True)]
    return []


def schema(job: ScoringJob, day: date, release: str, *, unique: bool) -> pa.DataFrameSchema:
    """The Pandera schema of a job's delivery for a day; columns named `day` and `release` hold these throughout."""
    import pandera.polars as pa

    return pa.DataFrameSchema(
        {column.name: _column(column, job, day, release) for column in job.columns},
        name=job.table,
        strict=True,
        ordered=True,
        unique=list(job.key) if unique else None,
    )


def _column(column: ServedColumn, job: ScoringJob, day: date, release: str) -> pa.Column:
    import pandera.polars as pa

    checks: list[Any] = []
    if column.name == "day":
        checks.append(pa.Check.eq(day, error="the day that is delivered"))
    if column.name == "release":
        checks.append(pa.Check.eq(release, error="the release in use"))
    if column.least is not None:
        checks.append(pa.Check.ge(column.least, error=f"at least {column.least:g}"))
    if column.most is not None:
        checks.append(pa.Check.le(column.most, error=f"at most {column.most:g}"))
    if column.type == "double precision":
        checks.append(pa.Check(_finite, error="finite"))
    dtype: Any = job.schema[column.name]
    return pa.Column(dtype, checks, nullable=False, description=column.description)


def _finite(data: Any) -> pl.LazyFrame:
    finite: pl.LazyFrame = data.lazyframe.select(pl.col(data.key).is_finite())
    return finite


def _named(case: dict[str, Any], job: ScoringJob) -> tuple[str, str]:
    """Column and check of one of Pandera's failure cases; the case's value stays behind."""
    check = str(case["check"])
    if check in {"column_in_schema", "column_in_dataframe", "column_ordered"}:
        return str(case["failure_case"]), CHECKS[check]
    if check == "multiple_fields_uniqueness":
        return ", ".join(job.key), CHECKS[check]
    if check.startswith("dtype"):
        return str(case["column"]), f"of type {job.schema[str(case['column'])]}"
    return str(case["column"]), CHECKS.get(check, check)
