"""The audit's lines, written before the answers that they are about leave.

What belongs here: writing the lines of many answers in one transaction. What does not: what a line says (`audit`).

Lines that wait are written together, so that a commit is shared by all who wait for it. Lines of files and scores are
on the disk before the first byte leaves; those of listings are in the database, and a crash of the database's machine
may lose its last second of them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ds_pipelines.gateway import audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg2.extensions

    from ds_pipelines.gateway.audit import Line
    from ds_pipelines.gateway.database import Database

LISTINGS = "/v1/extracts"
"""The routes whose lines need not be on the disk."""


class Journal:
    """Writes lines. For one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Sequence[Line], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, lines: Sequence[Line]) -> None:
        """Returns when the lines are in the database.

        Raises:
            DatabaseUnreachableError, UnpreparedGatewayError: they are not.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((lines, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await written

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                lines = [line for lines, _ in batch for line in lines]
                await asyncio.to_thread(self._database.run, partial(_add, lines))
            except Exception as raised:
                error = raised
            for _, written in batch:
                if written.done():
                    continue  # whoever waited has gone
                if error is None:
                    written.set_result(None)
                else:
                    written.set_exception(error)


def _add(lines: Sequence[Line], cursor: psycopg2.extensions.cursor) -> None:
    if all(line.route.startswith(LISTINGS) for line in lines):
        cursor.execute("SET LOCAL synchronous_commit = off")
    audit.add(cursor, lines)
