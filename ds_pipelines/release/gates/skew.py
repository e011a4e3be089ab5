"""Gates over the job's features: the same rows give the same, whichever way they came, and none knows the future.

What belongs here: computing features twice and comparing them, value by value. What does not: loading the model.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from polars.exceptions import PolarsError

from ds_pipelines.release.gates.case import answer

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case
    from ds_pipelines.scoring.job import Tables

AHEAD = timedelta(days=14)
"""So many days of rows that a day cannot know of lie behind it when it is computed with and without them."""


def no_skew(case: Case) -> GateResult:
    """The extract's and the scoring's path, given the same rows of production, end in the same features."""
    expected = "from the same rows, by the extract's path and by the scoring's, exactly the same features"
    if case.job.entity is None:
        return answer("no skew", expected, None, "a computation, of which nothing was trained on extracts")
    tables, day = case.tables, case.tables.last
    scored, extracted = (_computed(case, which, day) for which in (tables.scored, tables.extracted))
    named = tables.pseudonymised(scored[case.job.entity], case.settings)
    if named is not None:
        scored = scored.with_columns(named.alias(case.job.entity))
    refused = difference(scored, extracted, [case.job.entity])
    return answer(
        "no skew", expected, refused, f"{scored.height:,} rows of {day} are the same by both paths",
        day=str(day), rows=scored.height, columns=scored.width,
    )  # fmt: skip


def no_leak(case: Case) -> GateResult:
    """What is computed for a day is the same whether or not later rows are there."""
    tables, day = case.tables, max(case.tables.first, case.tables.last - AHEAD)
    then = _computed(case, tables.until(day, case.settings), day)
    later = _computed(case, tables.scored, day)
    key = [case.job.entity] if case.job.entity else [name for name in case.job.key if name in then.columns]
    refused = difference(then, later, key)
    return answer(
        "no leak", "for a day the same, whether or not rows of later days are there",
        f"it knows the future. {refused}" if refused else None,
        f"{then.height:,} rows of {day} are the same with the {AHEAD.days} days after it and without",
        day=str(day), rows=then.height, columns=then.width,
        unseen="tables of current state have no history: what they tell of the future no comparison shows",
    )  # fmt: skip


def _computed(case: Case, tables: Tables, day: date) -> pl.DataFrame:
    return case.job.compute(tables, day, case.settings.zone).collect()


def difference(one: pl.DataFrame, other: pl.DataFrame, key: list[str]) -> str | None:
    """In which column, and in how many rows, two results differ; None if they do not. No value is told."""
    if one.schema != other.schema:
        return "Other columns or types"
    if one.height != other.height or one.select(key).is_duplicated().any():
        return f"{one.height:,} rows and {other.height:,}, by {', '.join(key)}"
    try:
        pair = one.join(other, on=key, how="inner", suffix=" again", validate="1:1")
    except PolarsError:
        return f"Rows that {', '.join(key)} does not identify"
    if pair.height != one.height:
        return f"{one.height - pair.height:,} of {one.height:,} rows are of others"
    for name in one.columns:
        if name not in key and (unlike := int(pair[name].ne_missing(pair[f"{name} again"]).sum())):
            return f"{name} differs in {unlike:,} of {one.height:,} rows"
    return None
