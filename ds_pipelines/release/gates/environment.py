"""The gate over where the candidate is tried: acceptance reads production, and can write nothing of it.

What belongs here: asking the databases themselves what the logins of acceptance may do. What does not: setting it up.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.release.gates.case import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.postgres import Role
    from ds_pipelines.release.gates.case import Case
    from ds_pipelines.settings import Settings

SUFFIX = "acceptance"
"""With which the name of a database ends that acceptance may empty and fill."""
WRITES_SQL = """
    SELECT count(*) FROM pg_catalog.pg_class
    WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
      AND has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
"""
OTHERS_SQL = """
    SELECT count(*) FROM pg_catalog.pg_database
    WHERE datname = 'serving' AND datname <> current_database() AND has_database_privilege(oid, 'CONNECT')
"""


def environment(case: Case) -> GateResult:
    """It is acceptance, delivers into a database of its own, and may write neither the shop nor what is served."""
    settings = case.settings
    refused = list(_wrong(settings))
    return answer(
        "environment",
        f"the environment acceptance, a serving database whose name ends with {SUFFIX}, and only reading elsewhere",
        "; ".join(refused) or None,
        "acceptance's own: it reads the shop, and writes nothing that others read",
        environment=settings.environment,
    )


def _wrong(settings: Settings) -> Iterator[str]:
    if settings.environment != "acceptance":
        yield f"this is {settings.environment}"
    serving, who = _ask("serving", settings, "SELECT current_database(), current_user")
    if not str(serving).endswith(SUFFIX):
        yield f"{who} would deliver into {serving} (DS_ACCEPTANCE_URL names another)"
    elif _ask("serving", settings, OTHERS_SQL)[0]:
        yield f"{who} may also enter the database that production serves from"
    shop, reader = _ask("scoring", settings, "SELECT current_database(), current_user")
    if _ask("scoring", settings, WRITES_SQL)[0]:
        yield f"{reader} may write tables of {shop}"


def _ask(role: Role, settings: Settings, query: str) -> tuple[object, ...]:
    with closing(postgres.connect(role, settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query)
        return tuple(cursor.fetchone() or ())
