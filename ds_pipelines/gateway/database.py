"""The gateway's database: its tables, who may do what to them, and connections.

What belongs here: the structure and the rights, made by the owner; short transactions as the gateway. What does not:
what the rows mean (`grants`, `queue`, `audit`).

Two roles. The owner makes the tables and manages tokens (`ds-pipelines token`). The gateway and production's sensor
work as another, which can read tokens but not make one, add to the audit but never change it, and delete nothing.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from ds_pipelines import postgres
from ds_pipelines.errors import DatabaseUnreachableError, SettingsError, UnpreparedGatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg2.extensions

    from ds_pipelines.postgres import Role
    from ds_pipelines.settings import Settings

T = TypeVar("T")

KEPT = 4
"""Connections that are kept open between uses."""

TABLES_SQL = """
CREATE TABLE IF NOT EXISTS tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    kind text NOT NULL CHECK (kind IN ('extracts', 'scores', 'metrics')),
    tables text[] CHECK (tables IS NOT NULL OR kind <> 'scores'),
    requests_per_minute integer NOT NULL CHECK (requests_per_minute > 0),
    bytes_per_day bigint NOT NULL CHECK (bytes_per_day > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS tokens_in_force ON tokens (name) WHERE revoked_at IS NULL;
ALTER TABLE tokens DROP CONSTRAINT IF EXISTS tokens_kind_check;
ALTER TABLE tokens ADD CONSTRAINT tokens_kind_check CHECK (kind IN ('extracts', 'scores', 'metrics', 'release'));
ALTER TABLE tokens ADD COLUMN IF NOT EXISTS scopes text[] NOT NULL DEFAULT '{}';
ALTER TABLE tokens ADD COLUMN IF NOT EXISTS "user" text;
COMMENT ON COLUMN tokens.scopes IS 'What it may do with releases, as release:approve';
COMMENT ON COLUMN tokens.user IS 'Whose it is, who may have several; null: the name says';
COMMENT ON COLUMN tokens.hash IS 'SHA-256 of the token, which is 256 random bits: nothing slower is needed';
COMMENT ON COLUMN tokens.tables IS 'Extracts, or serving tables of scores; null: all extracts';

CREATE TABLE IF NOT EXISTS requests (
    id uuid PRIMARY KEY,
    token uuid NOT NULL REFERENCES tokens,
    "table" text NOT NULL,
    since date,
    until date,
    reason text NOT NULL,
    "user" text NOT NULL,
    asserted_by text NOT NULL CHECK (asserted_by IN ('proxy', 'token', 'nobody')),
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    days integer NOT NULL CHECK (days > 0),
    message text NOT NULL DEFAULT '',
    CHECK ((since IS NULL) = (until IS NULL) AND since <= until)
);
CREATE INDEX IF NOT EXISTS requests_of ON requests (token, asked_at);
CREATE INDEX IF NOT EXISTS requests_open ON requests (asked_at) WHERE state IN ('queued', 'running');

CREATE TABLE IF NOT EXISTS audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    token uuid NOT NULL,
    token_name text NOT NULL,
    "user" text NOT NULL,
    asserted_by text NOT NULL CHECK (asserted_by IN ('proxy', 'token', 'nobody')),
    method text NOT NULL,
    route text NOT NULL,
    "table" text,
    digest text,
    bytes bigint NOT NULL,
    status smallint NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_of ON audit (token, at);
COMMENT ON COLUMN audit.bytes IS 'What the answer announced; a connection that broke may have carried less';

CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
"""

GRANTS_SQL = """
GRANT SELECT ON tokens TO {gateway};
GRANT SELECT, INSERT ON requests, audit TO {gateway};
GRANT UPDATE (state, started_at, finished_at, message) ON requests TO {gateway};
"""


def knows_owner(settings: Settings) -> bool:
    """Whether this process may make the tables: in the embedded database, or as the owner that a URL names."""
    return settings.gateway_owner_url is not None or settings.gateway_database_url is None


def ensure(settings: Settings) -> None:
    """Makes the tables, and grants the gateway what it needs; safe to call again and by several processes at once.

    Raises:
        SettingsError: only one of the two roles has a URL.
        DatabaseUnreachableError: nobody answers.
    """
    if (settings.gateway_owner_url is None) != (settings.gateway_database_url is None):
        raise SettingsError("DS_GATEWAY_OWNER_URL", "to be set together with DS_GATEWAY_DATABASE_URL, or neither")
    from psycopg2 import sql

    login = _gateway_login(settings)
    structure = hashlib.sha256(f"{TABLES_SQL}{GRANTS_SQL}{login}".encode()).hexdigest()
    comment = (
        f"Who got what: a row an answer, or a file of it. Rows are added, and never changed. Structure {structure}"
    )
    with closing(postgres.connect("gateway_owner", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('ds_pipelines gateway structure', 0))")
        cursor.execute("SELECT obj_description(to_regclass('public.audit'))")
        if cursor.fetchone() != (comment,):  # otherwise nothing waits for the locks that making it takes
            cursor.execute(TABLES_SQL)
            cursor.execute(sql.SQL(GRANTS_SQL).format(gateway=sql.Identifier(login)))
            cursor.execute("COMMENT ON TABLE audit IS %s", (comment,))


def _gateway_login(settings: Settings) -> str:
    if settings.gateway_database_url is None:
        return postgres.ACCESS["gateway_database"].login
    from psycopg2 import extensions

    own = extensions.parse_dsn(postgres.libpq_url(settings.gateway_database_url.get_secret_value()))
    return str(own.get("user", ""))


class Database:
    """Short transactions as one role, over a few connections that are kept. Safe to use from several threads."""

    def __init__(self, settings: Settings, role: Role = "gateway_database") -> None:
        self._settings = settings
        self._role = role
        self._idle: list[psycopg2.extensions.connection] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[psycopg2.extensions.cursor], T]) -> T:
        """Does the work in one transaction; a second time if the connection turns out to have died since its last use.

        Raises:
            DatabaseUnreachableError: nobody answers, or not in time.
            UnpreparedGatewayError: the tables are not there yet.
        """
        import psycopg2

        try:
            return self._run_once_or_twice(work)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            named = getattr(self._settings, f"{self._role}_url") is not None
            setting = f"DS_{self._role.upper()}_URL" if named else None
            raise DatabaseUnreachableError(self._role, type(error).__name__, setting=setting) from None
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InsufficientPrivilege):
            if self._role != "gateway_database":
                raise
            raise UnpreparedGatewayError from None

    def _run_once_or_twice(self, work: Callable[[psycopg2.extensions.cursor], T]) -> T:
        import psycopg2

        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._run(kept, work)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.close()  # the server was restarted, and the others are dead, too
        return self._run(self._connect(), work)

    def close(self) -> None:
        """Closes what is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> psycopg2.extensions.connection:
        connection = postgres.connect(self._role, self._settings, application="ds-pipelines gateway")
        with connection, connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '30s'; SET lock_timeout = '5s'; SET timezone = 'UTC'")
        return connection

    def _run(self, connection: psycopg2.extensions.connection, work: Callable[[psycopg2.extensions.cursor], T]) -> T:
        try:
            with connection, connection.cursor() as cursor:
                found = work(cursor)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append(connection)
                return found
        connection.close()
        return found
