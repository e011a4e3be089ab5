"""The audit: who got what from the gateway.

What belongs here: adding lines and reading them. What does not: when a line is added (`server`). No role can change a
line: the gateway's has no right to, and a trigger refuses everybody (`database`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import psycopg2.extensions

    from ds_pipelines.gateway.users import AssertedBy


@dataclass(frozen=True)
class Line:
    """One answer, or one file of an answer."""

    token: UUID
    token_name: str
    user: str
    asserted_by: AssertedBy
    method: str
    route: str
    table: str | None
    digest: str | None
    bytes: int
    status: int


_NAMES = ", ".join(f'"{field.name}"' for field in fields(Line))


def add(cursor: psycopg2.extensions.cursor, lines: Sequence[Line]) -> None:
    """Adds lines."""
    from psycopg2.extras import execute_values

    rows = [(str(line.token), *astuple(line)[1:]) for line in lines]
    execute_values(cursor, f"INSERT INTO audit ({_NAMES}) VALUES %s", rows, page_size=1_000)  # noqa: S608 - our names


def bytes_today(cursor: psycopg2.extensions.cursor, token: UUID) -> int:
    """What a token got since midnight, UTC."""
    cursor.execute(
        "SELECT coalesce(sum(bytes), 0)::bigint FROM audit "
        "WHERE token = %s AND at >= date_trunc('day', now(), 'UTC') AND status < 300",
        (str(token),),
    )
    [total] = cursor.fetchone() or (0,)
    return int(total)


def read(
    cursor: psycopg2.extensions.cursor, *, named: str | None = None, table: str | None = None, last: int = 100
) -> list[tuple[datetime, Line]]:
    """The newest lines, in the order in which they were added; of a token's name or of a table, where one is given."""
    cursor.execute(
        f"SELECT at, {_NAMES} FROM audit WHERE token_name = coalesce(%s, token_name) "  # noqa: S608 - our own names
        'AND (%s::text IS NULL OR "table" = %s) ORDER BY id DESC LIMIT %s',
        (named, table, table, last),
    )
    return [(at, Line(*said)) for at, *said in reversed(cursor.fetchall())]
