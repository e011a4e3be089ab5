"""The ledger of releases: who proposed, approved, deployed or rolled back what and why, in order and for good.

What belongs here: its table and rights, adding an entry, reading, and proving that none was changed. What does not:
who may do what (`identity`, `approval`), and what is in use now (`registry`).

Three things keep it honest. Its writer can insert and read, and the database refuses everybody an update or a
deletion, an entry out of order and one that is dated back. Every entry holds the digest of the one before it. And the
newest digest is also kept in a file of the home: whoever can do anything to the database still cannot rewrite or cut
off the end of the ledger without that showing.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import AwareDatetime, Field

from ds_pipelines import postgres
from ds_pipelines.errors import LedgerBrokenError, LedgerRefusedError, SettingsError
from ds_pipelines.evidence import Record
from ds_pipelines.settings import Settings

if TYPE_CHECKING:
    import psycopg2.extensions

Action = Literal[
    "proposed", "accepted", "refused", "waived", "approved", "rejected", "deployed", "rolled back", "shadowed",
    "retired",
]  # fmt: skip
ACTIONS: tuple[Action, ...] = get_args(Action)
IN_USE: tuple[Action, ...] = ("deployed", "rolled back")
"""What makes a release the champion."""
GENESIS = "0" * 64
"""In place of the digest of the entry before the first."""
COLUMNS = ("number", "at", "action", "job", "release", "actor", "because", "evidence", "previous", "digest")

TABLE_SQL = f"""
CREATE TABLE IF NOT EXISTS entries (
    number bigint PRIMARY KEY CHECK (number > 0),
    at timestamptz NOT NULL,
    action text NOT NULL CHECK (action IN ({", ".join(f"'{action}'" for action in ACTIONS)})),
    job text NOT NULL,
    release text NOT NULL,
    actor text NOT NULL,
    because text NOT NULL,
    evidence text NOT NULL CHECK (evidence IS JSON OBJECT),
    previous text NOT NULL UNIQUE,
    digest text NOT NULL UNIQUE
);
-- An approval is used once, whoever tries to at the same time.
CREATE UNIQUE INDEX IF NOT EXISTS approvals_used ON entries ((evidence::jsonb ->> 'approval'))
    WHERE action = 'deployed';
COMMENT ON COLUMN entries.release IS 'Digest of the release''s manifest; empty where there is none yet';
COMMENT ON COLUMN entries.digest IS 'SHA-256 of the canonical JSON of the other columns, the previous digest included';

CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE FUNCTION ledger_is_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest entries%ROWTYPE;
BEGIN
    SELECT * INTO newest FROM entries ORDER BY number DESC LIMIT 1;
    IF NEW.number <> coalesce(newest.number, 0) + 1 OR NEW.previous <> coalesce(newest.digest, '{GENESIS}') THEN
        RAISE EXCEPTION 'an entry follows the newest one' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.at < coalesce(newest.at, NEW.at) OR NEW.at < clock_timestamp() - interval '1 minute'
        OR NEW.at > greatest(clock_timestamp(), newest.at) THEN
        RAISE EXCEPTION 'an entry is dated now' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER in_order BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION ledger_is_in_order();
"""  # noqa: S608 - our own words
GRANTS_SQL = "GRANT SELECT, INSERT ON entries TO {writer}"
LOCK_SQL = "SELECT pg_advisory_xact_lock(hashtextextended('ds_pipelines ledger', 0))"


class Entry(Record):
    """One thing that was done to a release."""

    number: int = Field(description="From 1, without a gap")
    at: AwareDatetime
    action: Action
    job: str
    release: str = Field(description="Digest of the release's manifest; empty where there is none yet")
    actor: str = Field(description="The user of the token that was presented")
    because: str
    evidence: dict[str, Any] = Field(description="What it rests on; JSON, and no value of a row")
    previous: str = Field(description="Digest of the entry before it")
    digest: str

    @property
    def computed(self) -> str:
        """SHA-256 of what the entry says, as its digest should be."""
        content = self.model_dump(mode="json", exclude={"digest", "at"}) | {"at": self.at.astimezone(UTC).isoformat()}
        return hashlib.sha256(_canonical(content).encode()).hexdigest()


class Ledger:
    """The ledger of an installation; made when first used, and shared by any number of processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def append(
        self,
        action: Action,
        *,
        job: str,
        release: str,
        actor: str,
        because: str = "",
        evidence: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Adds an entry behind the newest.

        Raises:
            LedgerBrokenError: the newest entry is not what was written.
            LedgerRefusedError: the database does not take it, as for an approval that was used.
            DatabaseUnreachableError: nobody answers.
        """
        import psycopg2

        ensure(self._settings)
        try:
            with closing(self._connect()) as connection, connection, connection.cursor() as cursor:
                cursor.execute(LOCK_SQL)
                newest = next(iter(_read(cursor, "ORDER BY number DESC LIMIT 1")), None)
                if newest is not None and newest.computed != newest.digest:
                    raise LedgerBrokenError(newest.number, "what its digest was made of")
                cursor.execute("SELECT clock_timestamp()")
                ((now,),) = cursor.fetchall()
                entry = _following(newest, now, action, job, release, actor, because, dict(evidence or {}))
                values = entry.model_dump() | {"evidence": _canonical(entry.evidence)}
                cursor.execute(
                    f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})",  # noqa: S608 - our own names
                    [values[name] for name in COLUMNS],
                )
        except psycopg2.errors.UniqueViolation:
            expected = "an approval of its own for each deployment: have it approved anew"
            raise LedgerRefusedError(action, "the approval was used before", expected) from None
        except psycopg2.Error as error:
            reason = str(error.diag.message_primary or type(error).__name__)
            expected = "a database whose clock and entries nobody changed; `ds-pipelines release history` verifies them"
            raise LedgerRefusedError(action, reason, expected) from None
        self._witness(entry)
        return entry

    def entries(self, job: str | None = None, release: str | None = None) -> list[Entry]:
        """The entries, of a job, of a release, or all, the newest last."""
        ensure(self._settings)
        with closing(self._connect()) as connection, connection, connection.cursor() as cursor:
            where = "WHERE (%(job)s::text IS NULL OR job = %(job)s) AND (%(of)s::text IS NULL OR release = %(of)s)"
            return _read(cursor, f"{where} ORDER BY number", {"job": job, "of": release})

    def verify(self) -> list[Entry]:
        """All entries, once none of them is shown to have been changed, added in between or removed.

        Raises:
            LedgerBrokenError: one was; the message names its number.
        """
        witness = self._witnessed()  # before reading: what is added meanwhile is behind it
        entries = self.entries()
        previous = GENESIS
        for number, entry in enumerate(entries, start=1):
            if entry.number != number:
                raise LedgerBrokenError(number, f"an entry of this number, where there is entry {entry.number}")
            if entry.previous != previous:
                raise LedgerBrokenError(number, "the digest of the entry before it")
            if entry.computed != entry.digest:
                raise LedgerBrokenError(number, "what its digest was made of")
            previous = entry.digest
        if witness is not None:
            number, digest = witness
            if number > len(entries) or entries[number - 1].digest != digest:
                raise LedgerBrokenError(number, f"the entry that {self._settings.ledger_head.name} witnesses")
        return entries

    def champion_on(self, job: str, day: date) -> Entry | None:
        """The entry that made the release the champion which was in use at the end of a business day; None: none."""
        _, end = self._settings.bounds(day)
        return champion_of(entry for entry in self.entries(job) if entry.at < end)

    def _connect(self) -> "psycopg2.extensions.connection":
        return postgres.connect("ledger", self._settings, application="ds-pipelines ledger")

    def _witness(self, entry: Entry) -> None:
        """Keeps the newest digest outside the database; a file that lags behind is as good, only less sharp."""
        path = self._settings.ledger_head
        known = self._witnessed()
        if known is not None and known[0] >= entry.number:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".ledger-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{entry.number} {entry.digest}\n")
        Path(draft).replace(path)

    def _witnessed(self) -> tuple[int, str] | None:
        try:
            number, digest = self._settings.ledger_head.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return None
        return int(number), digest


def champion_of(entries: Iterable[Entry]) -> Entry | None:
    """The entry of one job's entries, in order, by which a release is the champion; None: none is."""
    champion: Entry | None = None
    for entry in entries:
        if entry.action in IN_USE:
            champion = entry
        elif entry.action == "retired" and champion is not None and champion.release == entry.release:
            champion = None
    return champion


def ensure(settings: Settings) -> None:
    """Makes the table and grants its writer what it needs; safe to call again and by several processes at once.

    Raises:
        SettingsError: only one of the two roles has a URL.
        DatabaseUnreachableError: nobody answers.
    """
    if (settings.ledger_owner_url is None) != (settings.ledger_url is None):
        raise SettingsError("DS_LEDGER_OWNER_URL", "to be set together with DS_LEDGER_URL, or neither")
    from psycopg2 import sql

    writer = _writer(settings)
    comment = "What was done to releases, by whom and why. Rows are added, and never changed. Structure " + (
        hashlib.sha256(f"{TABLE_SQL}{GRANTS_SQL}{writer}".encode()).hexdigest()
    )
    with closing(postgres.connect("ledger", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT obj_description(to_regclass('public.entries'))")
        if cursor.fetchone() == (comment,):
            return
    with closing(postgres.connect("ledger_owner", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute(LOCK_SQL)
        cursor.execute(TABLE_SQL)
        cursor.execute(sql.SQL(GRANTS_SQL).format(writer=sql.Identifier(writer)))
        cursor.execute("COMMENT ON TABLE entries IS %s", (comment,))


def _writer(settings: Settings) -> str:
    """The login that adds entries."""
    if settings.ledger_url is None:
        return postgres.ACCESS["ledger"].login
    from psycopg2 import extensions

    own = extensions.parse_dsn(postgres.libpq_url(settings.ledger_url.get_secret_value()))
    return str(own.get("user", ""))


def _following(newest: Entry | None, now: datetime, action: Action, *said: Any) -> Entry:
    """The entry behind the newest; never dated before it, whatever the database's clock says."""
    job, release, actor, because, evidence = said
    # As it is read back: what JSON does not hold alike, such as a tuple, is told here and not by a digest that differs.
    evidence = json.loads(_canonical(evidence))
    number, previous = (1, GENESIS) if newest is None else (newest.number + 1, newest.digest)
    at = now if newest is None else max(now, newest.at)
    entry = Entry(
        number=number, at=at, action=action, job=job, release=release, actor=actor, because=because,
        evidence=evidence, previous=previous, digest="",
    )  # fmt: skip
    return entry.model_copy(update={"digest": entry.computed})


def _read(cursor: "psycopg2.extensions.cursor", how: str, values: Mapping[str, Any] | None = None) -> list[Entry]:
    cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM entries {how}", values)  # noqa: S608 - our own words
    found = (dict(zip(COLUMNS, row, strict=True)) for row in cursor.fetchall())
    return [Entry(**row | {"evidence": json.loads(row["evidence"])}) for row in found]


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
