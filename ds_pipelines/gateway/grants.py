"""Tokens as the gateway's database knows them: what each may do, and until when.

What belongs here: making, listing, finding and revoking them. What does not: the file that holds the lab's own
(`tokens`), and asking every request for one (`server`).

A token is 256 random bits, so a single SHA-256 of it can be stored: nothing could be guessed faster from the hash than
from the gateway. One kind a token: extracts and scores together would undo the pseudonyms.
"""

from __future__ import annotations

import hashlib
import hmac
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from ds_pipelines import postgres
from ds_pipelines.errors import TokenNameTakenError, UnknownTokenError
from ds_pipelines.gateway import database
from ds_pipelines.gateway.tokens import ensure_token, new_token

if TYPE_CHECKING:
    from uuid import UUID

    import psycopg2.extensions

    from ds_pipelines.settings import Settings

Kind = Literal["extracts", "scores", "metrics", "release"]
SCOPES = ("release:propose", "release:approve", "release:deploy")
"""What a token of releases may do; it opens no data."""

DEVELOPMENT = "development"
"""The name of the lab's own token: all extracts, for ever, until it is revoked."""
REQUESTS_PER_MINUTE, DEVELOPMENT_REQUESTS_PER_MINUTE = 1_200, 60_000
BYTES_PER_DAY, DEVELOPMENT_BYTES_PER_DAY = 100 * 10**9, 10**13

COLUMNS = (
    "id", "name", "kind", "tables", "requests_per_minute", "bytes_per_day", "created_at", "expires_at", "revoked_at",
    "scopes", "user",
)  # fmt: skip
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)


@dataclass(frozen=True)
class Grant:
    """What a token may do."""

    id: UUID
    name: str
    kind: Kind
    tables: frozenset[str] | None
    """None: all."""
    requests_per_minute: int
    bytes_per_day: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    scopes: frozenset[str] = frozenset()
    user: str = ""
    """Whose it is; the same for all tokens of a person."""

    def allows(self, table: str) -> bool:
        """Whether the table is within what it opens."""
        return self.tables is None or table in self.tables

    def state(self, now: datetime) -> str:
        """In force, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "in force"


@dataclass(frozen=True)
class Wanted:
    """A token to be made."""

    name: str
    kind: Kind
    tables: frozenset[str] | None
    lifetime: timedelta | None
    requests_per_minute: int = REQUESTS_PER_MINUTE
    bytes_per_day: int = BYTES_PER_DAY
    scopes: frozenset[str] = frozenset()
    user: str | None = None


def hashed(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def prepare(settings: Settings) -> None:
    """Makes the database's tables and the lab's own token, where they are missing.

    Raises:
        MissingSecretError: the token's file cannot be used.
        SettingsError, DatabaseUnreachableError: the database cannot be made ready.
    """
    token = ensure_token(settings)
    database.ensure(settings)
    wanted = Wanted(
        DEVELOPMENT, "extracts", None, None, DEVELOPMENT_REQUESTS_PER_MINUTE, DEVELOPMENT_BYTES_PER_DAY
    )  # fmt: skip
    with closing(postgres.connect("gateway_owner", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('ds_pipelines development token', 0))")
        cursor.execute("SELECT 1 FROM tokens WHERE hash = %s", (hashed(token),))
        if cursor.fetchone() is None:  # one that was revoked stays so
            cursor.execute(
                "UPDATE tokens SET revoked_at = now() WHERE name = %s AND revoked_at IS NULL", (DEVELOPMENT,)
            )
            _insert(cursor, wanted, token)


def create(wanted: Wanted, settings: Settings) -> str:
    """Makes a token; this is the only time that it is told.

    Raises:
        TokenNameTakenError: one of this name is in force, or was and has only expired.
        SettingsError, DatabaseUnreachableError: the database cannot be used.
    """
    import psycopg2

    database.ensure(settings)
    token = new_token()
    with closing(postgres.connect("gateway_owner", settings)) as connection, connection, connection.cursor() as cursor:
        try:
            _insert(cursor, wanted, token)
        except psycopg2.errors.UniqueViolation:
            raise TokenNameTakenError(wanted.name) from None
    return token


def listed(settings: Settings) -> list[Grant]:
    """Every token that was ever made, the newest last."""
    database.ensure(settings)
    with closing(postgres.connect("gateway_owner", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {NAMES} FROM tokens ORDER BY created_at")  # noqa: S608 - our own names
        return [_grant(row) for row in cursor.fetchall()]


def revoke(name: str, settings: Settings) -> Grant:
    """Ends a token; a gateway that runs refuses it some seconds later at most.

    Raises:
        UnknownTokenError: none of this name is in force.
    """
    in_force = [grant for grant in listed(settings) if grant.revoked_at is None]
    for grant in in_force:
        if grant.name == name:
            with closing(postgres.connect("gateway_owner", settings)) as connection, connection:
                connection.cursor().execute("UPDATE tokens SET revoked_at = now() WHERE id = %s", (str(grant.id),))
            return grant
    raise UnknownTokenError(name, [grant.name for grant in in_force])


def find(cursor: psycopg2.extensions.cursor, digest: bytes) -> Grant | None:
    """The token of this hash, if it is in force."""
    names = NAMES
    cursor.execute(f"SELECT hash, {names} FROM tokens WHERE hash = %s", (digest,))  # noqa: S608 - our own names
    row = cursor.fetchone()
    if row is None or not hmac.compare_digest(bytes(row[0]), digest):
        return None
    grant = _grant(row[1:])
    return grant if grant.state(datetime.now(UTC)) == "in force" else None


def _insert(cursor: psycopg2.extensions.cursor, wanted: Wanted, token: str) -> None:
    expires_at = None if wanted.lifetime is None else datetime.now(UTC) + wanted.lifetime
    tables = None if wanted.tables is None else sorted(wanted.tables)
    cursor.execute(
        "INSERT INTO tokens (name, hash, kind, tables, requests_per_minute, bytes_per_day, expires_at, scopes, "
        '"user") VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)',
        (
            wanted.name, hashed(token), wanted.kind, tables, wanted.requests_per_minute, wanted.bytes_per_day,
            expires_at, sorted(wanted.scopes), wanted.user,
        ),
    )  # fmt: skip


def _grant(row: tuple[object, ...]) -> Grant:
    from uuid import UUID

    said = dict(zip(COLUMNS, row, strict=True))
    tables, scopes = said["tables"], said["scopes"]
    known = {
        "id": UUID(str(said["id"])),
        "tables": frozenset(tables) if isinstance(tables, list) else None,
        "scopes": frozenset(scopes) if isinstance(scopes, list) else frozenset(),
        "user": said["user"] or said["name"],
    }
    return Grant(**said | known)  # type: ignore[arg-type]
