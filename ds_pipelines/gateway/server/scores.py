"""Routes that read scores: what the scoring jobs delivered, for consumers that have no database client.

What belongs here: the answers, read as the consumers' role. What does not: delivering, and which jobs there are; who
starts the service says so.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
from fastapi import APIRouter, Request, Response

from ds_pipelines.errors import UnknownScoresError
from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.server.exchange import Item, exchange_of
from ds_pipelines.gateway.server.files import BINARY, PARQUET
from ds_pipelines.gateway.server.shapes import Day, problem
from ds_pipelines.gateway.wire import ScoresSummary

if TYPE_CHECKING:
    import psycopg2.extensions

JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
ROWS = {"schema": {"type": "array", "items": {"type": "object"}}}
TYPES: Mapping[int, pl.DataType] = {
    16: pl.Boolean(), 20: pl.Int64(), 21: pl.Int16(), 23: pl.Int32(), 25: pl.String(), 701: pl.Float64(),
    1043: pl.String(), 1082: pl.Date(), 1184: pl.Datetime("us", "UTC"),
}  # fmt: skip
"""By PostgreSQL's number of the type; numeric has its own digits."""
NUMERIC = 1700
FETCHED = 50_000
"""Rows that are taken from the database at a time."""


@dataclass(frozen=True)
class Offer:
    """A serving table that the gateway reads for consumers."""

    table: str
    job: str
    description: str


def routes(offers: Iterable[Offer], serving: Database) -> APIRouter:
    """The routes over the serving database."""
    router = APIRouter(tags=["scores"])
    offered = {offer.table: offer for offer in offers}

    @router.get("/v1/scores")
    def scores(request: Request) -> list[ScoresSummary]:
        """What was delivered, by table."""
        exchange = exchange_of(request, "scores")
        visible = [offer for table, offer in sorted(offered.items()) if exchange.grant.allows(table)]
        return [summary for offer in visible for summary in serving.run(lambda cursor: _summary(cursor, offer))]  # noqa: B023

    @router.get(
        "/v1/scores/{table}",
        response_class=Response,
        responses={
            200: {"content": {JSON: ROWS, PARQUET: BINARY, ARROW: BINARY}},
            406: problem("None of the forms that Accept names"),
        },
    )
    def rows(request: Request, table: str, day: Day | None = None) -> Response:
        """The rows of a day; by default of the newest. `Accept` chooses JSON, Parquet or an Arrow stream.

        The header `X-Day` says of which day they are, and `X-Stale: true` that a newer one was due by now.
        """
        exchange = exchange_of(request, "scores")
        form = _form(request.headers.get("accept", "*/*"))
        if form is None:
            return Response(f'{{"detail": "Expected Accept: {JSON}, {PARQUET} or {ARROW}."}}', 406, media_type=JSON)
        offer = offered.get(table) if exchange.grant.allows(table) else None
        found = None if offer is None else serving.run(lambda cursor: _delivered(cursor, offer, day))
        if found is None:
            raise UnknownScoresError(table, day, [each for each in offered if exchange.grant.allows(each)])
        exchange.items.append(Item(table))
        headers = {"X-Day": found.day.isoformat(), "X-Stale": str(found.stale).lower()}
        return Response(_encoded(found.rows, form), media_type=form, headers=headers)

    return router


def _form(accept: str) -> str | None:
    """The form in which somebody wants the rows: the first of theirs that there is."""
    for wanted in accept.lower().split(","):
        name = wanted.partition(";")[0].strip()
        if name in {JSON, PARQUET, ARROW}:
            return name
        if name in {"", "*/*", "application/*"}:
            return JSON
    return None


def _summary(cursor: "psycopg2.extensions.cursor", offer: Offer) -> list[ScoresSummary]:
    if not _is_there(cursor, "receipts"):
        return []
    cursor.execute(
        "SELECT min(day), max(day), count(*), (array_agg(rows ORDER BY day DESC))[1] FROM receipts WHERE job = %s",
        (offer.job,),
    )
    first, last, days, newest = cursor.fetchone() or (None, None, 0, 0)
    said = {"table": offer.table, "job": offer.job, "description": offer.description}
    if not days:
        return []
    cursor.execute("SELECT stale FROM freshness WHERE job = %s", (offer.job,))
    [(stale,)] = cursor.fetchall()
    return [ScoresSummary(**said, first_day=first, last_day=last, days=days, rows=newest, stale=stale)]


@dataclass(frozen=True)
class _Delivered:
    """What consumers get of a day."""

    day: date
    stale: bool
    """Whether a newer day was due by now."""
    rows: pl.DataFrame


def _delivered(cursor: "psycopg2.extensions.cursor", offer: Offer, day: date | None) -> _Delivered | None:
    """A day's rows, by default those of the newest; None if nothing is delivered for it."""
    if not _is_there(cursor, offer.table) or not _is_there(cursor, "freshness"):
        return None
    cursor.execute("SELECT coalesce(%s, day), stale OR %s < day FROM freshness WHERE job = %s", (day, day, offer.job))
    wanted, stale = cursor.fetchone() or (None, None)
    rows = None if wanted is None else _rows(cursor, offer, wanted)
    return None if rows is None else _Delivered(wanted, bool(stale), rows)


def _rows(cursor: "psycopg2.extensions.cursor", offer: Offer, day: date) -> pl.DataFrame | None:
    from psycopg2 import sql

    query = sql.SQL("DECLARE delivered NO SCROLL CURSOR FOR SELECT * FROM {} WHERE day = %s")
    cursor.execute(query.format(sql.Identifier(offer.table)), (day,))
    pieces: list[pl.DataFrame] = []
    while not pieces or pieces[-1].height == FETCHED:
        # Not all at once: as Python's objects the rows take some thirty times the room.
        cursor.execute(f"FETCH {FETCHED} FROM delivered")
        schema = {column.name: _type(column) for column in cursor.description or ()}
        pieces.append(pl.DataFrame(cursor.fetchall(), schema=schema, orient="row"))
    whole = pl.concat(pieces)
    return whole if whole.height else None  # a delivery has rows


def _type(column: Any) -> pl.DataType:
    if column.type_code == NUMERIC:
        return pl.Decimal(column.precision, column.scale)
    return TYPES[column.type_code]


def _is_there(cursor: "psycopg2.extensions.cursor", relation: str) -> bool:
    cursor.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (relation,))
    return cursor.fetchone() == (True,)


def _encoded(frame: pl.DataFrame, form: str) -> bytes:
    file = io.BytesIO()
    if form == JSON:
        return frame.write_json().encode()
    if form == PARQUET:
        frame.write_parquet(file)
    else:
        frame.write_ipc_stream(file)
    return file.getvalue()
