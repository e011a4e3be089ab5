"""Requests for extracts: asked through the gateway, carried out by production.

What belongs here: the rows, and how a request's state moves: queued, running, done or failed. What does not: who may
ask (`server`), and launching runs (production's sensor). Nothing of Dagster or HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from ds_pipelines.errors import TooManyRequestsOpenError, UnknownRequestError
from ds_pipelines.gateway.wire import RequestStatus

if TYPE_CHECKING:
    from uuid import UUID

    import psycopg2.extensions

    from ds_pipelines.gateway.database import Database
    from ds_pipelines.gateway.users import AssertedBy
    from ds_pipelines.gateway.wire import RequestWanted

OPEN_AT_ONCE = 50
"""Requests of one token that wait or run."""
LISTED = 200

_COLUMNS = (
    "id::text", '"table"', "since", "until", "reason", '"user"', "asserted_by", "state", "asked_at", "started_at",
    "finished_at", "days", "message",
)  # fmt: skip
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM requests"  # noqa: S608 - our own names
_FIELDS = tuple(column.strip('"').removesuffix("::text") for column in _COLUMNS)


class Queue:
    """The requests. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(
        self, wanted: RequestWanted, days: int, *, token: UUID, user: str, asserted_by: AssertedBy
    ) -> RequestStatus:
        """Queues a request.

        Raises:
            TooManyRequestsOpenError: the token has that many open already.
        """
        identifier = str(uuid4())  # made here: if the transaction is tried twice, it stays one request

        def add(cursor: psycopg2.extensions.cursor) -> RequestStatus:
            cursor.execute(
                "SELECT count(*) FROM requests WHERE token = %s AND state IN ('queued', 'running')", (str(token),)
            )
            if (cursor.fetchone() or (0,))[0] >= OPEN_AT_ONCE:
                raise TooManyRequestsOpenError(OPEN_AT_ONCE)
            cursor.execute(
                'INSERT INTO requests (id, token, "table", since, until, reason, "user", asserted_by, days) '
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (
                    identifier,
                    str(token),
                    wanted.table,
                    wanted.since,
                    wanted.until,
                    wanted.reason,
                    user,
                    asserted_by,
                    days,
                ),
            )
            return _read(cursor, "WHERE id = %s", identifier)[0]

        return self._database.run(add)

    def of(self, token: UUID) -> list[RequestStatus]:
        """The newest requests of a token, the newest first; their `done` is yet to be counted."""
        return self._database.run(
            lambda cursor: _read(cursor, f"WHERE token = %s ORDER BY asked_at DESC LIMIT {LISTED}", str(token))
        )

    def find(self, identifier: UUID, *, token: UUID) -> RequestStatus:
        """A request of a token.

        Raises:
            UnknownRequestError: there is none.
        """
        found = self._database.run(
            lambda cursor: _read(cursor, "WHERE id = %s AND token = %s", str(identifier), str(token))
        )
        if not found:
            raise UnknownRequestError
        return found[0]

    def open(self) -> list[RequestStatus]:
        """The requests that wait or run, the oldest first."""
        return self._database.run(
            lambda cursor: _read(cursor, "WHERE state IN ('queued', 'running') ORDER BY asked_at, id")
        )

    def start(self, identifier: str, message: str) -> None:
        """A queued request runs."""
        self._move(identifier, "state = 'running', started_at = coalesce(started_at, now()), message = %s", message)

    def note(self, identifier: str, message: str) -> None:
        """Says where an open request stands."""
        self._move(identifier, "message = %s", message)

    def finish(self, identifier: str) -> None:
        """An open request is done."""
        self._move(identifier, "state = 'done', finished_at = now(), message = %s", "")

    def fail(self, identifier: str, reason: str) -> None:
        """An open request has failed, for a reason that whoever asked may read."""
        self._move(identifier, "state = 'failed', finished_at = now(), message = %s", reason)

    def _move(self, identifier: str, assignments: str, message: str) -> None:
        statement = f"UPDATE requests SET {assignments} WHERE id = %s AND state IN ('queued', 'running')"  # noqa: S608
        self._database.run(lambda cursor: cursor.execute(statement, (message, identifier)))


def _read(cursor: psycopg2.extensions.cursor, condition: str, *values: str) -> list[RequestStatus]:
    cursor.execute(f"{_SELECT} {condition}", values)
    return [_status(dict(zip(_FIELDS, row, strict=True))) for row in cursor.fetchall()]


def _status(said: dict[str, object]) -> RequestStatus:
    return RequestStatus.model_validate(said | {"done": said["days"] if said["state"] == "done" else 0})
