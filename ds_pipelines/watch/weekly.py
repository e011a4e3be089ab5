"""The weekly report: what was delivered, when, how it moved, what went wrong, and whether promises are kept.

What belongs here: gathering a week's figures, and the page that tells them. What does not: the picture (`weekly_plot`).
The page is one HTML file without anything from elsewhere. It holds aggregates and names of things, and no row.
"""

from __future__ import annotations

import base64
import html
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from psycopg2 import sql

from ds_pipelines import postgres
from ds_pipelines.scoring import receipt as receipts
from ds_pipelines.scoring.served import SCORE
from ds_pipelines.watch.performance import measured
from ds_pipelines.watch.state import remembered

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from ds_pipelines.evidence import Performance
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Receipt
    from ds_pipelines.settings import Settings

DAYS = 7
SHOWN_DAYS = 28
"""A week says more beside those before it."""
Quantiles = tuple[float, float, float]


@dataclass(frozen=True)
class JobWeek:
    """A job's week, and some before it."""

    job: ScoringJob
    days: Sequence[date]
    """The shown days, the oldest first."""
    delivered: Mapping[date, Receipt]
    scores: Mapping[date, Quantiles]
    """The 10th, 50th and 90th hundredth of a day's scores; empty for a computation."""
    performance: Sequence[Performance]

    @property
    def week(self) -> Sequence[date]:
        """The days that the report is about."""
        return self.days[-DAYS:]

    def figure(self, check: str, name: str, day: date) -> float | None:
        """A figure of a check of a day's delivery."""
        found = [each for each in self.delivered[day].checks if each.name == check] if day in self.delivered else []
        return found[0].figures.get(name) if found else None

    @property
    def words(self) -> list[str]:
        """The week in sentences."""
        there = [self.delivered[day] for day in self.week if day in self.delivered]
        corrected = sum(each.replaces is not None for each in there)
        told = [
            f"{len(there)} of {len(self.week)} days are delivered, {sum(each.rows for each in there):,} rows; "
            f"{corrected} of them replaced an earlier delivery."
        ]
        if missing := [str(day) for day in self.week if day not in self.delivered]:
            told.append(f"Missing: {', '.join(missing)}.")
        told.append(f"Releases: {', '.join(sorted({each.release[:12] for each in there})) or 'none'}.")
        for each in there:
            told += [f"{each.day}, {check.name}: {check.words}." for check in each.checks if not check.passed]
        if self.performance:
            newest = self.performance[-1]
            told.append(f"Scores of {newest.day}: {newest.words}; {'kept' if newest.kept else 'NOT KEPT'}.")
        return told


@dataclass(frozen=True)
class Trouble:
    """A problem that was open during the week."""

    kind: str
    subject: str
    since: datetime
    until: datetime | None

    @property
    def words(self) -> str:
        """One line."""
        until = f"until {self.until:%Y-%m-%d %H:%M}" if self.until else "still open"
        return f"{self.kind}: {self.subject}, since {self.since:%Y-%m-%d %H:%M} UTC, {until}"


@dataclass(frozen=True)
class Report:
    """The week."""

    first: date
    last: date
    jobs: Sequence[JobWeek]
    troubles: Sequence[Trouble]


def gather(jobs: Collection[ScoringJob], settings: Settings) -> Report:
    """The seven days that end with the last that can be extracted.

    Raises:
        DatabaseUnreachableError: a database does not answer.
    """
    last = settings.last_extractable_day()
    shown = [last - timedelta(days=back) for back in range(SHOWN_DAYS - 1, -1, -1)]
    shown = [day for day in shown if day >= settings.first_day]
    with remembered(settings) as cursor:
        weeks = [
            JobWeek(
                job,
                shown,
                {day: each for day, each in receipts.delivered(job, settings).items() if day in shown},
                _scores(job, shown, settings),
                measured(cursor, job.name),
            )
            for job in jobs
        ]
        cursor.execute(
            "SELECT kind, subject, since, until FROM watch.problems "
            "WHERE coalesce(until, 'infinity') > clock_timestamp() - interval '7 days' ORDER BY since"
        )
        troubles = [Trouble(*row) for row in cursor.fetchall()]
    return Report(shown[-DAYS:][0], last, weeks, troubles)


def write(report: Report, picture: bytes, settings: Settings) -> Path:
    """Writes the page, and says where."""
    path = settings.home / "reports" / f"week-to-{report.last}.html"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".draft")
    draft.write_text(page(report, picture), encoding="utf-8")
    draft.replace(path)
    return path


def page(report: Report, picture: bytes) -> str:
    """The report as HTML."""
    title = f"Production, {report.first} to {report.last}"
    lists = [
        ("Problems", [each.words for each in report.troubles] or ["none"]),
        *((each.job.name, each.words) for each in report.jobs),
    ]
    sections = "".join(
        f"<h2>{html.escape(name)}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
        for name, lines in lists
    )
    drawn = base64.b64encode(picture).decode()
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#22303c}"
        f"img{{max-width:100%}}</style><h1>{title}</h1>{sections}"
        f'<img alt="Deliveries, scores, drift and performance by day" src="data:image/png;base64,{drawn}"></html>\n'
    )


def _scores(job: ScoringJob, days: Sequence[date], settings: Settings) -> dict[date, Quantiles]:
    if job.entity is None or SCORE not in job.schema:
        return {}
    query = sql.SQL(
        "SELECT day, percentile_cont(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY {}) FROM {} "
        "WHERE day BETWEEN %s AND %s GROUP BY day"
    ).format(sql.Identifier(SCORE), sql.Identifier(job.table))
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (job.table,))
        if cursor.fetchone() == (False,):
            return {}
        cursor.execute(query, (days[0], days[-1]))
        return {day: (low, middle, high) for day, (low, middle, high) in cursor.fetchall()}
