"""How production is, in figures for Prometheus: deliveries, staleness, drift, open problems, live performance.

What belongs here: reading them as the consumers' role, and the wire format. What does not: the gateway's own figures
(`status`), and making any of these.

What follows from receipts is read from them, so it is right though the watch over production has died; when that last
looked is a figure of its own. Jobs are named; no figure is about a person, and a token of the kind `metrics` is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from ds_pipelines.gateway.server.exchange import exchange_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg2.extensions

    from ds_pipelines.gateway.database import Database

RECEIPTS_SQL = """
SELECT DISTINCT ON (job) job, extract(epoch FROM day::timestamp), extract(epoch FROM delivered_at), rows, checks
FROM receipts ORDER BY job, day DESC
"""
HELP = {
    "production_delivered_day_timestamp_seconds": "Midnight, as if of UTC, of the newest delivered day",
    "production_delivered_timestamp_seconds": "When it was delivered",
    "production_delivered_rows": "Its rows",
    "production_delivered_days": "How many days consumers can see",
    "production_stale": "1 if a newer day was due by now",
    "production_corrections": "How often a delivered day became another",
    "production_check_passed": "1 if the check of the newest delivery passed",
    "production_check_figure": "The figures behind it",
    "watch_looked_timestamp_seconds": "When the watch over production last looked",
    "watch_problems_open": "Problems that are not over, by kind",
    "watch_alerts_unsent": "Alerts that a channel has not taken yet",
    "watch_live_performance": "The statistic of the newest day whose outcome is known",
    "watch_promised_performance": "What the release promised of it",
}
"""Every figure, and what it means."""

ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Told = tuple[str, "Mapping[str, str]", float]


def routes(serving: Database) -> APIRouter:
    """The route over the serving database."""
    router = APIRouter(tags=["status"])

    @router.get("/metrics/production", response_class=PlainTextResponse)
    def figures(request: Request) -> PlainTextResponse:
        """How deliveries and the watch over them stand, for Prometheus."""
        exchange_of(request, "metrics")
        told = serving.run(lambda cursor: [*_of_receipts(cursor), *_of_watch(cursor)])
        return PlainTextResponse(as_text(told), media_type="text/plain; version=0.0.4")

    return router


def as_text(told: list[Told]) -> str:
    """As Prometheus reads it."""
    lines = []
    for name, words in HELP.items():
        of_name = [(labels, value) for each, labels, value in told if each == name]
        if of_name:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(labels)} {value!r}" for labels, value in of_name]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{key}="{value.translate(ESCAPED)}"' for key, value in sorted(labels.items()))
    return f"{{{inside}}}" if inside else ""


def _of_receipts(cursor: psycopg2.extensions.cursor) -> Iterator[Told]:
    if not _is_there(cursor, "receipts"):
        return
    cursor.execute(RECEIPTS_SQL)
    for job, day, at, rows, checks in cursor.fetchall():
        of = {"job": job}
        yield "production_delivered_day_timestamp_seconds", of, float(day)
        yield "production_delivered_timestamp_seconds", of, float(at)
        yield "production_delivered_rows", of, float(rows)
        for check in checks:
            named = of | {"check": check["name"]}
            yield "production_check_passed", named, float(check["passed"])
            for figure, value in check["figures"].items():
                yield "production_check_figure", named | {"figure": figure}, float(value)
    cursor.execute("SELECT job, count(*) FROM receipts GROUP BY job ORDER BY job")
    yield from (("production_delivered_days", {"job": job}, float(days)) for job, days in cursor.fetchall())
    cursor.execute("SELECT job, count(*) FROM corrections GROUP BY job ORDER BY job")
    yield from (("production_corrections", {"job": job}, float(times)) for job, times in cursor.fetchall())
    cursor.execute("SELECT job, stale FROM freshness ORDER BY job")
    yield from (("production_stale", {"job": job}, float(stale)) for job, stale in cursor.fetchall())


def _of_watch(cursor: psycopg2.extensions.cursor) -> Iterator[Told]:
    if not _is_there(cursor, "figures"):
        return
    cursor.execute("SELECT name, labels, value FROM figures ORDER BY name, labels::text")
    yield from cursor.fetchall()


def _is_there(cursor: psycopg2.extensions.cursor, relation: str) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (f"public.{relation}",))
    return cursor.fetchone() == (True,)
