"""Leases: whether somebody still works on a run, known to the database that the scores go to.

What belongs here: holding one, and asking which are held. What does not: what follows from a run that nobody works on
(`production.due`).

A lease is an advisory lock of a session, so the kernel and the server drop it with the process that held it, on
whatever machine that was. A restart of the server drops all; whoever still works then is taken for gone, and works on
in vain: what it delivers is not newer than what was delivered meanwhile.
"""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg2

from ds_pipelines import postgres

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ds_pipelines.settings import Settings

APPLICATION = "ds-pipelines lease"
SPACE = 0x64732D6C
"""The first of the two numbers by which advisory locks are told apart; ours alone."""


@contextmanager
def held(run: str, settings: Settings) -> Iterator[None]:
    """While the body works, everybody can know that somebody works on the run.

    Raises:
        DatabaseUnreachableError: the serving database does not answer.
    """
    connection = postgres.connect("serving", settings, application=APPLICATION)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            # A machine that has vanished does not say so: ask it, where the connection comes over the network.
            cursor.execute(
                "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
            )
            cursor.execute("SELECT pg_advisory_lock_shared(%s, hashtext(%s))", (SPACE, run))
        yield
    finally:
        with suppress(psycopg2.Error):
            connection.close()


def held_of(runs: Iterable[str], settings: Settings) -> set[str]:
    """Those of the runs on which somebody works.

    Raises:
        DatabaseUnreachableError: the serving database does not answer.
    """
    query = """
        SELECT run FROM unnest(%s) AS run WHERE EXISTS (
            SELECT FROM pg_catalog.pg_locks
            WHERE locktype = 'advisory' AND granted AND classid::bigint = %s AND objid = hashtext(run)::oid
              AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
    """
    with (
        closing(postgres.connect("serving", settings, application=APPLICATION)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query, (list(runs), SPACE))
        return {str(run) for (run,) in cursor.fetchall()}
