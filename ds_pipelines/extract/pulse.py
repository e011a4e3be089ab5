"""How the database fares: one look at it, by a connection of its own that holds nothing.

What belongs here: the probe, and what others do at that moment. What does not: what follows from it (`pace`).

Only who belongs to `pg_read_all_stats` sees what others do. Without it, a look shows nobody, and says so.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ds_pipelines import postgres
from ds_pipelines.errors import SourceRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

APPLICATION = "ds-pipelines pulse"
_OTHERS = """
    SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE wait_event_type = 'Lock'),
           CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 'Infinity') END
    FROM pg_catalog.pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name NOT LIKE 'ds-pipelines %'
"""
_SEES = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
_PROBE = "SELECT relname FROM pg_catalog.pg_class ORDER BY oid LIMIT 1"


@dataclass(frozen=True)
class Beat:
    """What one look shows."""

    latency: float
    """Of the probe, in milliseconds."""
    active: int
    """Backends of others at work."""
    waiting: int
    """Backends of others that wait for a lock."""
    lag: float
    """Seconds by which the replica is behind; 0 on a primary."""


class Pulse:
    """Looks at a database; made by `open_pulse`. A look that fails raises SourceRefusedError."""

    def __init__(self, connection: Any, role: postgres.Role) -> None:
        self._cursor, self._role = connection.cursor(), role
        [(self.sees,)] = self._ask(_SEES)
        """Whether what others do is visible."""

    def probe(self) -> float:
        """How long a small query takes now, in milliseconds."""
        began = time.perf_counter()
        self._ask(_PROBE)
        return (time.perf_counter() - began) * 1_000

    def beat(self) -> Beat:
        """One look."""
        latency = min(self.probe(), self.probe())  # our own threads may have held one up
        [(active, waiting, lag)] = self._ask(_OTHERS)
        return Beat(latency, int(active), int(waiting), float(lag))

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        import psycopg2

        try:
            self._cursor.execute(query)
            return list(self._cursor.fetchall())
        except psycopg2.Error:
            reason = "a look at it failed, or the server ended the connection"
            raise SourceRefusedError(
                "pg_stat_activity", self._role, reason, "Try again; the server's log has more."
            ) from None


@contextmanager
def open_pulse(role: postgres.Role, settings: Settings) -> Iterator[Pulse]:
    """A pulse of the database that a role reads.

    Raises:
        DatabaseUnreachableError: nobody answers.
    """
    with closing(postgres.connect(role, settings, application=APPLICATION)) as connection:
        connection.set_session(readonly=True, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '10s'; SET lock_timeout = '1s'")
        yield Pulse(connection, role)
