"""The serving database: the tables, receipts and views that other systems read, made from what the jobs declare.

What belongs here: their structure, and who may read them. What does not: filling them (`deliver`).
Everything is made by the scoring's role, which owns it; the consumers' role reads tables, receipts and views, and
writes nothing. A table that exists is never altered: a changed contract is something to agree on with its consumers.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from psycopg2 import extensions, sql

from ds_pipelines import postgres
from ds_pipelines.errors import ServingTableDiffersError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg2.extensions

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

RECEIPTS_SQL = """
CREATE TABLE IF NOT EXISTS receipts (
    job text NOT NULL,
    day date NOT NULL,
    delivery uuid NOT NULL UNIQUE,
    release text NOT NULL,
    rows bigint NOT NULL CHECK (rows > 0),
    checksum text NOT NULL,
    inputs jsonb NOT NULL,
    delivered_at timestamptz NOT NULL,
    replaces uuid,
    PRIMARY KEY (job, day)
);
CREATE TABLE IF NOT EXISTS receipts_replaced (
    job text NOT NULL,
    day date NOT NULL,
    delivery uuid PRIMARY KEY,
    release text NOT NULL,
    rows bigint NOT NULL,
    checksum text NOT NULL,
    inputs jsonb NOT NULL,
    delivered_at timestamptz NOT NULL,
    replaces uuid,
    replaced_at timestamptz NOT NULL
);
COMMENT ON TABLE receipts IS 'One row a job and day: what consumers see of it, and what it was made from';
COMMENT ON TABLE receipts_replaced IS 'Receipts of deliveries that a later delivery of the same day replaced';
COMMENT ON COLUMN receipts.checksum IS
    'SHA-256, in hex, of the day''s rows as COPY … TO STDOUT (FORMAT csv) gives them in the order of their key';
"""


def ensure(jobs: Iterable[ScoringJob], settings: Settings) -> None:
    """Makes the receipts, and the table and view of each job, where they do not exist.

    Safe to call again and by several processes at once; nothing waits for it but another such call.

    Raises:
        ServingTableDiffersError: a job's table exists and has other columns.
        DatabaseUnreachableError: nobody answers.
    """
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('ds_pipelines serving structure', 0))")
        cursor.execute("SELECT to_regclass('receipts_replaced') IS NULL")
        made: list[str] = []
        if cursor.fetchone() == (True,):
            cursor.execute(RECEIPTS_SQL)
            made.append("receipts")
        for job in jobs:
            found = _columns(cursor, job.table)
            expected = [f"{column.name} {column.type}" for column in job.columns]
            if not found:
                cursor.execute(_table(job))
                made += [job.table, f"latest_{job.table}"]
            elif found != expected:
                raise ServingTableDiffersError(job.table, expected, found)
        if made:
            grant(cursor, made, settings)


def _columns(cursor: psycopg2.extensions.cursor, table: str) -> list[str]:
    """A table's columns as `name type`, in order; empty when there is no such table."""
    cursor.execute(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (f"public.{table}",),
    )
    return [name for (name,) in cursor.fetchall()]


def _table(job: ScoringJob) -> sql.Composed:
    """The statements that make a job's table and its view of the newest delivered day."""
    columns = [
        sql.SQL("{} {} NOT NULL").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in job.columns
    ]
    comments = [
        sql.SQL("COMMENT ON COLUMN {}.{} IS {};").format(
            sql.Identifier(job.table), sql.Identifier(column.name), sql.Literal(column.description)
        )
        for column in job.columns
    ]
    return sql.SQL(
        "CREATE TABLE {table} ({columns}, PRIMARY KEY ({key}));"
        "COMMENT ON TABLE {table} IS {description}; {comments}"
        "CREATE OR REPLACE VIEW {latest} AS SELECT {names} FROM {table} "
        "WHERE day = (SELECT max(day) FROM receipts WHERE job = {job});"
        "COMMENT ON VIEW {latest} IS {of_latest};"
    ).format(
        table=sql.Identifier(job.table),
        columns=sql.SQL(", ").join(columns),
        key=sql.SQL(", ").join(map(sql.Identifier, job.key)),
        description=sql.Literal(job.description),
        comments=sql.SQL(" ").join(comments),
        latest=sql.Identifier(f"latest_{job.table}"),
        names=sql.SQL(", ").join(sql.Identifier(column.name) for column in job.columns),
        job=sql.Literal(job.name),
        of_latest=sql.Literal(f"{job.description} The newest delivered day."),
    )


def grant(cursor: psycopg2.extensions.cursor, made: list[str], settings: Settings) -> None:
    """Lets the consumers' role read, if the server knows it: on a server of the user's own it may not exist yet."""
    consumer = _consumer(settings)
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (consumer,))
    if cursor.fetchone() is not None:
        names = sql.SQL(", ").join(map(sql.Identifier, made))
        cursor.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(names, sql.Identifier(consumer)))


def _consumer(settings: Settings) -> str:
    """The login by which consumers read."""
    if settings.consumer_url is None:
        return postgres.ACCESS["consumer"].login
    own: dict[str, Any] = extensions.parse_dsn(postgres.libpq_url(settings.consumer_url.get_secret_value()))
    return str(own.get("user", ""))
