"""The gate over a job without a model: a second definition, in SQL and by somebody else, gives the same rows.

What belongs here: asking production by that SQL, and comparing. What does not: the definitions (`production/jobs`).

The SQL lies beside the job's module. It takes `%(day)s` and `%(zone)s`, and gives the columns of the contract apart
from `day` and `release`, in their order.
"""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines import postgres
from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.gates.skew import difference

if TYPE_CHECKING:
    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case

DAYS_BACK = (0, 1, 7, 28)


def independent(case: Case) -> GateResult:
    """On recent days the computation gives exactly the rows of its independent definition."""
    expected = "exactly the rows that the independent SQL definition gives, on recent days"
    code = case.manifest.independent
    if case.manifest.model is not None:
        return answer("independent", expected, None, "a model, which is judged by its backtest")
    if code is None:
        return answer("independent", expected, None, "waived when the release was offered")
    query = (case.candidate.folder / "code" / code.file).read_text(encoding="utf-8")
    names = [name for name in case.job.schema if name not in {"day", "release"}]
    last = case.tables.last
    days = [day for back in DAYS_BACK if (day := last - timedelta(days=back)) >= _first(case)]
    rows = 0
    for day in days:
        ours = case.job.compute(case.tables.until(day, case.settings), day, case.settings.zone).collect()
        theirs = _asked(query, case, day, names)
        rows += theirs.height
        if unlike := difference(ours.select(names), theirs, [name for name in case.job.key if name != "day"]):
            return answer("independent", expected, f"{day}: {unlike}", "", days=[str(each) for each in days])
    told = [str(each) for each in days]
    return answer(
        "independent", expected, None, f"{rows:,} rows on {len(days)} days are the same", days=told, rows=rows
    )


def _first(case: Case) -> date:
    """The first day for which enough was read."""
    return case.tables.first + (case.job.history or timedelta(0))


def _asked(query: str, case: Case, day: date, names: list[str]) -> pl.DataFrame:
    with closing(postgres.connect("scoring", case.settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = '60s'")
        cursor.execute(query, {"day": day, "zone": case.settings.zone})
        found = cursor.fetchall()
    return pl.DataFrame(found, schema={name: case.job.schema[name] for name in names}, orient="row")
