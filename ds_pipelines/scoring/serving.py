"""The serving database: the views, receipts and tables of rows that deliveries fill, made from what the jobs declare.

What belongs here: their structure, and who may read them. What does not: filling them (`deliver`).

The rows of all deliveries of a job lie in one table, each with the number of its batch. A receipt names the batch that
is in force for its day; what consumers read are views that follow it. So a delivery becomes visible by one row, what it
replaced is still there to be compared with and brought back, and nothing that runs for long is waited for. What is the
same in all rows of a delivery, its day and its release, is said by the receipt and not repeated.

Everything is made by the scoring's role, which owns it; the consumers' role reads views and receipts, and writes
nothing. What exists is never altered: a changed contract is something to agree on with its consumers.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2 import extensions, sql

from ds_pipelines import postgres
from ds_pipelines.errors import ServingTableDiffersError
from ds_pipelines.scoring.receipt import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ds_pipelines.scoring.job import ScoringJob, ServedColumn
    from ds_pipelines.settings import Settings

STRUCTURE = Path(__file__).with_name("structure.sql")
SHARED = ("receipts", "corrections", "freshness", "erasures")
"""What of it consumers read."""


def ensure(jobs: Iterable[ScoringJob], settings: Settings) -> None:
    """Makes the receipts, and the table and views of each job, where they do not exist.

    Safe to call again and by several processes at once; nothing waits for it but another such call.

    Raises:
        ServingTableDiffersError: what exists under a job's names, or of the receipts, has other columns.
        DatabaseUnreachableError: nobody answers.
    """
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('ds_pipelines serving structure', 0))")
        made: list[str] = []
        found = _columns(cursor, "receipts")
        if not found:
            cursor.execute(STRUCTURE.read_text(encoding="utf-8"))
            made += SHARED
        elif [name.partition(" ")[0] for name in found] != [*COLUMNS, "batch"]:
            raise ServingTableDiffersError("receipts", [*COLUMNS, "batch"], [name.partition(" ")[0] for name in found])
        for job in jobs:
            made += _ensure_job(cursor, job)
            _describe(cursor, job, settings)
        if made:
            grant(cursor, made, settings)


def rows_table(job: ScoringJob) -> str:
    """The table of a job's rows, of all its deliveries."""
    return f"{job.table}_rows"


def stored(job: ScoringJob) -> list[ServedColumn]:
    """The columns that each row holds; the receipt says the others for all rows of a delivery."""
    return [column for column in job.columns if column.name not in {"day", "release"}]


def stored_key(job: ScoringJob) -> list[str]:
    """The columns that tell the rows of one delivery apart; none if there is only one."""
    return [name for name in job.key if name not in {"day", "release"}]


def _ensure_job(cursor: extensions.cursor, job: ScoringJob) -> list[str]:
    """Makes what a job has here, and returns what consumers read of it; nothing if it is there."""
    named = {rows_table(job): ["batch bigint", *map(_typed, stored(job))], job.table: list(map(_typed, job.columns))}
    there = {name: _columns(cursor, name) for name in named}
    for name, expected in named.items():
        if there[name] and there[name] != expected:
            raise ServingTableDiffersError(name, expected, there[name])
    if all(there.values()):
        return []
    cursor.execute(_rows(job))
    cursor.execute(_views(job))
    return [job.table, f"latest_{job.table}", f"corrections_{job.table}"]


def _describe(cursor: extensions.cursor, job: ScoringJob, settings: Settings) -> None:
    """Says in the database what the job is and when its days are due; only a difference is written."""
    told = (job.name, job.table, job.description, settings.zone, job.deadline, settings.today)
    cursor.execute(
        'INSERT INTO jobs AS known (job, "table", description, zone, deadline, today) VALUES (%s, %s, %s, %s, %s, %s) '
        'ON CONFLICT (job) DO UPDATE SET "table" = excluded."table", description = excluded.description, '
        "zone = excluded.zone, deadline = excluded.deadline, today = excluded.today WHERE known IS DISTINCT FROM "
        "excluded",
        told,
    )


def _typed(column: ServedColumn) -> str:
    return f"{column.name} {column.type}"


def _columns(cursor: extensions.cursor, table: str) -> list[str]:
    """The columns of a table or view as `name type`, in order; empty when there is no such."""
    cursor.execute(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table,),
    )
    return [name for (name,) in cursor.fetchall()]


def _rows(job: ScoringJob) -> sql.Composed:
    """The statements that make the table of a job's rows."""
    columns = [
        sql.SQL("{} {} NOT NULL").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in stored(job)
    ]
    return sql.SQL(
        "CREATE TABLE {rows} (batch bigint NOT NULL, {columns}, PRIMARY KEY ({key}));"
        "COMMENT ON TABLE {rows} IS {comment};"
    ).format(
        rows=sql.Identifier(rows_table(job)),
        columns=sql.SQL(", ").join(columns),
        key=_names(["batch", *stored_key(job)]),
        comment=sql.Literal(f"Rows of all deliveries of {job.name}; consumers read the view {job.table}"),
    )


def _views(job: ScoringJob) -> sql.Composed:
    """The statements that make the views by which consumers read a job."""
    comments = [
        sql.SQL("COMMENT ON COLUMN {}.{} IS {};").format(
            sql.Identifier(view), sql.Identifier(column.name), sql.Literal(column.description)
        )
        for column in job.columns
        for view in (job.table, f"latest_{job.table}")
    ]
    return sql.SQL(
        "CREATE VIEW {table} AS SELECT {columns} FROM receipts AS receipt JOIN {rows} AS delivered USING (batch) "
        "WHERE receipt.job = {job};"
        "CREATE VIEW {latest} AS SELECT {columns}, (SELECT stale FROM freshness WHERE job = {job}) AS stale "
        "FROM (SELECT * FROM receipts WHERE job = {job} ORDER BY day DESC LIMIT 1) AS receipt "
        "JOIN {rows} AS delivered USING (batch);"
        "CREATE VIEW {corrections} AS {differences};"
        "COMMENT ON VIEW {table} IS {of_table}; COMMENT ON VIEW {latest} IS {of_latest};"
        "COMMENT ON VIEW {corrections} IS {of_corrections};"
        "COMMENT ON COLUMN {latest}.stale IS 'Whether a newer day was due by now; this is the newest there is'; "
        "{comments}"
    ).format(
        table=sql.Identifier(job.table),
        latest=sql.Identifier(f"latest_{job.table}"),
        corrections=sql.Identifier(f"corrections_{job.table}"),
        columns=sql.SQL(", ").join(_source(column.name) for column in job.columns),
        rows=sql.Identifier(rows_table(job)),
        job=sql.Literal(job.name),
        differences=_differences(job),
        of_table=sql.Literal(job.description),
        of_latest=sql.Literal(f"{job.description} The newest delivered day, and whether it is stale."),
        of_corrections=sql.Literal(f"The rows of {job.table} that differ from those delivered before for the day."),
        comments=sql.SQL(" ").join(comments),
    )


def _differences(job: ScoringJob) -> sql.Composed:
    """For every delivery in force that replaced another one: the rows that differ, with what they were and are."""
    names = [column.name for column in stored(job)]
    key = stored_key(job)
    values = [name for name in names if name not in key]
    return sql.SQL(
        "SELECT receipt.day, receipt.delivered_at, receipt.delivery, receipt.replaces, differing.* "
        "FROM receipts AS receipt JOIN receipts_replaced AS before ON before.delivery = receipt.replaces, "
        "LATERAL ({compared}) AS differing WHERE receipt.job = {job}"
    ).format(
        compared=differing(
            job,
            sql.SQL("before.batch"),
            sql.SQL("receipt.batch"),
            [
                sql.SQL(
                    "CASE WHEN old.batch IS NULL THEN 'added' WHEN new.batch IS NULL THEN 'removed' ELSE 'changed' "
                    "END AS change"
                ),
                *[sql.SQL("coalesce(new.{0}, old.{0}) AS {0}").format(sql.Identifier(name)) for name in key],
                *[
                    sql.SQL("old.{} AS {}").format(sql.Identifier(name), sql.Identifier(f"{name}_before"))
                    for name in values
                ],
                *[sql.SQL("new.{}").format(sql.Identifier(name)) for name in values],
            ],
        ),
        job=sql.Literal(job.name),
    )


def differing(
    job: ScoringJob, before: sql.Composable, after: sql.Composable, chosen: Sequence[sql.Composable]
) -> sql.Composed:
    """A query over the rows that differ between two batches of a job, as `old` and `new`; either may be missing."""
    key = stored_key(job)
    values = [column.name for column in stored(job) if column.name not in key]
    same = [sql.SQL("old.{0} = new.{0}").format(sql.Identifier(name)) for name in ("one", *key)]
    other = [sql.SQL("old.{0} IS DISTINCT FROM new.{0}").format(sql.Identifier(name)) for name in values]
    return sql.SQL(
        "SELECT {chosen} FROM (SELECT 1 AS one, * FROM {rows} WHERE batch = {before}) AS old "
        "FULL JOIN (SELECT 1 AS one, * FROM {rows} WHERE batch = {after}) AS new ON {same} "
        "WHERE old.batch IS NULL OR new.batch IS NULL OR {other}"
    ).format(
        chosen=sql.SQL(", ").join(chosen),
        rows=sql.Identifier(rows_table(job)),
        before=before,
        after=after,
        same=sql.SQL(" AND ").join(same),
        other=sql.SQL(" OR ").join(other or [sql.SQL("false")]),
    )


def _source(name: str) -> sql.Composed:
    place = "receipt" if name in {"day", "release"} else "delivered"
    return sql.SQL("{}.{}").format(sql.Identifier(place), sql.Identifier(name))


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def grant(cursor: extensions.cursor, made: list[str], settings: Settings) -> None:
    """Lets the consumers' role read, if the server knows it: on a server of the user's own it may not exist yet."""
    consumer = _consumer(settings)
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (consumer,))
    if cursor.fetchone() is not None:
        cursor.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(_names(made), sql.Identifier(consumer)))


def _consumer(settings: Settings) -> str:
    """The login by which consumers read."""
    if settings.consumer_url is None:
        return postgres.ACCESS["consumer"].login
    own: dict[str, Any] = extensions.parse_dsn(postgres.libpq_url(settings.consumer_url.get_secret_value()))
    return str(own.get("user", ""))
