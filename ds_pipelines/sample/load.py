"""Loads a shop into the production database, and tells the installation which days it has.

What belongs here: the one transaction that replaces the sample's tables, and the files beside it. What does not:
making a shop.
"""

from __future__ import annotations

import io
import tempfile
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ds_pipelines import postgres
from ds_pipelines.errors import ForeignDatabaseError, LoadFailedError, ShopInUseError
from ds_pipelines.sample import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    import psycopg2.extensions

    from ds_pipelines.sample.shop import Shop
    from ds_pipelines.settings import Settings

READERS: tuple[postgres.Role, ...] = ("extract", "scoring")
"""Who may read the shop."""

ROWS_AT_A_TIME = 100_000
"""Rows of text in memory at once, about 15 MB."""

PATIENCE = "20s"
"""How long to wait for readers of the tables that are to be replaced."""


def load(shop: Shop, settings: Settings) -> None:
    """Replaces the sample in the production database by this shop, whole or not at all.

    Afterwards `<home>/settings.toml` names the shop's zone, first day and today (the day after its last), and
    `<home>/sample/truth.parquet` holds what was planted.

    Raises:
        ForeignDatabaseError: the database holds other tables than the sample's; nothing is changed.
        ShopInUseError: somebody else holds on to the sample's tables; nothing is changed.
        LoadFailedError: the database refuses for another reason, as a missing right; nothing is changed.
        DatabaseUnreachableError: the database does not answer.
    """
    import psycopg2
    from psycopg2 import errors

    with closing(postgres.connect("owner", settings)) as connection:
        try:
            with connection, connection.cursor() as cursor:
                _drop_own(cursor)
                cursor.execute(schema.TABLES_SQL)
                for table, frame in shop.tables.items():
                    _copy(cursor, table, frame)
                    cursor.execute(f"COMMENT ON TABLE {table} IS %s", (schema.MARK,))
                cursor.execute(schema.CONSTRAINTS_SQL)
                _grant(cursor, settings)
        except (errors.LockNotAvailable, errors.DependentObjectsStillExist):
            raise ShopInUseError from None
        except psycopg2.Error as error:
            raise LoadFailedError(error.diag.message_primary or type(error).__name__) from None
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {', '.join(shop.tables)}")
    _save_truth(shop.truth, settings.home / "sample" / "truth.parquet")
    _name_days(shop, settings.home / "settings.toml")


def _drop_own(cursor: psycopg2.extensions.cursor) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
    cursor.execute(
        "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"
    )
    found = dict(cursor.fetchall())
    foreign = [name for name, mark in found.items() if mark != schema.MARK or name not in schema.COLUMNS]
    if foreign:
        raise ForeignDatabaseError(foreign)
    if found:
        cursor.execute(f"DROP TABLE {', '.join(found)}")


def _copy(cursor: psycopg2.extensions.cursor, table: str, frame: pl.DataFrame) -> None:
    """The rows as CSV, which PostgreSQL reads faster than it could be sent single statements."""
    columns = ", ".join(frame.columns)
    # FREEZE: the table is new in this transaction, so no other one can miss its rows; saves a vacuum later.
    command = f"COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, FREEZE)"
    for part in frame.iter_slices(ROWS_AT_A_TIME):
        buffer = io.BytesIO()
        part.write_csv(buffer, include_header=False, datetime_format="%FT%T%.6fZ")
        buffer.seek(0)
        cursor.copy_expert(command, buffer, size=1 << 20)


def _grant(cursor: psycopg2.extensions.cursor, settings: Settings) -> None:
    """Lets the readers read these tables, and those that the owner makes later."""
    from psycopg2 import extensions, sql

    urls = [
        postgres.libpq_url(postgres.url(role, each))
        for each in (settings, settings.in_acceptance())
        for role in READERS
    ]
    logins = [extensions.parse_dsn(url).get("user", "") for url in urls]
    # A reader that this server does not know reads another one, and needs nothing here.
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) ORDER BY rolname", (logins,))
    for (login,) in cursor.fetchall():
        for right in (
            "GRANT USAGE ON SCHEMA public TO {}",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {}",
        ):
            cursor.execute(sql.SQL(right).format(sql.Identifier(login)))


def _save_truth(truth: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as file:
        truth.write_parquet(file)


def _name_days(shop: Shop, path: Path) -> None:
    """Writes the shop's days into the settings file, and leaves its other lines as they are."""
    days = {
        "zone": f'"{shop.zone}"',
        "first_day": shop.first_day.isoformat(),
        "today": (shop.last_day + timedelta(days=1)).isoformat(),
    }
    lines = path.read_text().splitlines() if path.exists() else []
    tables = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    top = [line for line in lines[:tables] if line.partition("=")[0].strip() not in days]
    text = "\n".join([*top, *(f"{name} = {value}" for name, value in days.items()), *lines[tables:]]) + "\n"
    with _replacing(path) as file:
        file.write(text.encode())


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside the path that takes its place once it is whole; readers see the old or the new one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise
