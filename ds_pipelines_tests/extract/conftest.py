"""An installation of its own on the shared database, and schemas for tables that the shop does not have."""

from __future__ import annotations

import gzip
import itertools
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.extract.publish import extract_days, extract_state
from ds_pipelines_tests.conftest import SHARED_DATA
from ds_pipelines_tests.extract.scenario import BY_DAY, BY_STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ds_pipelines.settings import Settings

_numbers = itertools.count()

DUMPS = {"pagila": "pagila", "chinook": "chinook_mixed_case", "northwind": "northwind"}
AFTERWARDS = {"pagila": "REFRESH MATERIALIZED VIEW rental_by_category;"}
GRANTS = "GRANT USAGE ON SCHEMA public TO extract; GRANT SELECT ON ALL TABLES IN SCHEMA public TO extract;"


def psql(url: str, script: str, *options: str) -> str:
    command = [str(postgres.binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", *options, url]
    done = subprocess.run(command, input=script.encode(), capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return done.stdout.decode()


@pytest.fixture(scope="session", params=DUMPS)
def dump(request: pytest.FixtureRequest, settings: Settings) -> tuple[str, str]:
    """A real database, loaded; its name and its owner's URL."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real test data (../shared/data) is not on this machine")
    name = request.param
    cluster = postgres.cluster("production", settings)
    psql(cluster.url("postgres", "postgres"), f"CREATE DATABASE {name} OWNER owner;")
    packed = (SHARED_DATA / "databases" / f"{DUMPS[name]}.sql.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines(keepends=True)
    own = (r"\c", "DROP DATABASE", "CREATE DATABASE")
    psql(
        cluster.url(name, "postgres"),
        "".join(line for line in lines if not line.startswith(own)),
        "--single-transaction",
    )
    psql(cluster.url(name, "postgres"), AFTERWARDS.get(name, "") + GRANTS)
    return name, cluster.url(name, "postgres")


@pytest.fixture(scope="session")
def urls(settings: Settings) -> dict[str, SecretStr]:
    """The shop database, as the user of another installation would name it."""
    return {f"{role}_url": SecretStr(postgres.url(role, settings)) for role in ("owner", "extract", "scoring")}


@pytest.fixture(scope="session")
def published(settings: Settings, urls: dict[str, SecretStr], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation that has published everything of the small shop; tests leave it as it is."""
    place = settings.model_copy(update={"home": tmp_path_factory.mktemp("published"), **urls})
    for table in BY_DAY:
        extract_days(table, place.first_day, place.last_extractable_day(), place)
    for table in BY_STATE:
        extract_state(table, place)
    return place


@pytest.fixture
def place(settings: Settings, urls: dict[str, SecretStr], tmp_path: Path) -> Settings:
    """An installation that has published nothing."""
    return settings.model_copy(update={"home": tmp_path / "home", **urls})


@pytest.fixture
def sql(settings: Settings) -> Iterator[Callable[..., list[tuple[object, ...]]]]:
    """Runs SQL as the shop's owner, in a schema that only this test has, and that extract and scoring may read."""
    schema = f"scratch_{next(_numbers)}"
    with closing(postgres.connect("owner", settings)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO extract, scoring")
        cursor.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO extract, scoring")
        cursor.execute(f"SET search_path = {schema}; SET timezone = 'UTC'")

        def run(statement: str, parameters: Sequence[object] | None = None) -> list[tuple[object, ...]]:
            cursor.execute(statement, parameters)
            return [] if cursor.description is None else cursor.fetchall()

        run.schema = schema  # type: ignore[attr-defined]
        yield run
        cursor.execute(f"DROP SCHEMA {schema} CASCADE")
