"""From the exploration process the production database cannot be reached.

What holds however it is installed: it is given no URL, no password and no path to one, neither in its environment nor
in a file that its settings name; the embedded databases listen on no network, and their sockets let nobody in without a
password; what it is given, Dagster's storage, opens nothing else.

An experiment cannot read the password files, either, although it runs under the account that may: of that it is kept
by its walls (`lab/test_isolation.py`), where the kernel has Landlock. What runs without walls is not: the code server
itself, notebooks that somebody works in, and everything on a kernel without Landlock. Those are kept from them only by
an operating-system account of their own. The last tests prove that arrangement, and need root to become somebody else.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil
import psycopg2
import pytest

from ds_pipelines import postgres
from ds_pipelines.gateway.client import Gateway
from ds_pipelines.gateway.tokens import read_token
from ds_pipelines.operate.services import SERVICES
from ds_pipelines_tests.acceptance.stack import URL_VARIABLES
from ds_pipelines_tests.gateway.scenario import database_of_its_own, make_installation, serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from ds_pipelines.settings import Settings

SECRET = "hunter2"  # noqa: S105
SOMEBODY_ELSE = 65_534
LOOK = """
import json
from ds_pipelines.settings import DATABASE_SETTINGS, load_settings
settings = load_settings()
print(json.dumps({name: str(getattr(settings, name)) for name in DATABASE_SETTINGS}))
"""


@pytest.fixture
def given(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The whole environment of the exploration code server, started by somebody who knows every database."""
    for name in URL_VARIABLES - {"DS_DAGSTER_URL"}:
        monkeypatch.setenv(name, f"postgresql://somebody:{SECRET}@production.example/shop")
    return SERVICES["exploration"].command(settings)[1]


def passwords(settings: Settings) -> list[Path]:
    return sorted((settings.secrets / "postgres").rglob("*.pgpass"))


# However it is installed


def test_its_environment_holds_no_url_and_no_password_of_production(given: dict[str, str], settings: Settings) -> None:
    postgres.cluster("production", settings)
    assert not URL_VARIABLES & set(given)
    assert SECRET not in json.dumps(given)
    secrets = {path.read_text().strip().rsplit(":", 1)[1] for path in passwords(settings)}
    assert len(secrets) > 5
    assert not [name for name, value in given.items() if any(secret in value for secret in secrets)]


def test_the_only_password_file_that_it_is_told_of_is_dagster_s(given: dict[str, str], settings: Settings) -> None:
    named = {Path(path).name for value in given.values() for path in re.findall(r"[^=&]*\.pgpass", value)}
    assert named == {"dagster.pgpass"}
    assert str(postgres.cluster("production", settings).root) not in json.dumps(given)


def test_its_settings_name_no_database(given: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, env=given, timeout=60
    )
    assert set(json.loads(done.stdout).values()) == {"None"}


def test_production_listens_on_no_network(settings: Settings) -> None:
    cluster = postgres.cluster("production", settings)
    server = psutil.Process(int((cluster.data / "postmaster.pid").read_text().split("\n", 1)[0]))
    connections = server.net_connections("inet")
    for process in server.children():
        with suppress(psutil.NoSuchProcess):  # autovacuum's workers come and go
            connections += process.net_connections("inet")
    assert not [each for each in connections if each.status == psutil.CONN_LISTEN]


@pytest.mark.parametrize("login", ["postgres", "owner", "extract", "scoring", "consumer", "dagster"])
def test_production_s_socket_lets_nobody_in_without_a_password(settings: Settings, login: str) -> None:
    url = postgres.cluster("production", settings).url("shop", login).partition("&passfile=")[0]
    with pytest.raises(psycopg2.OperationalError, match=r"no password supplied|password authentication failed"):
        psycopg2.connect(url, passfile="/dev/null")


@pytest.mark.parametrize("database", ["gateway", "mlflow", "registry"])
def test_what_it_is_given_opens_nothing_but_dagster_s_storage(
    given: dict[str, str], settings: Settings, database: str
) -> None:
    storage = postgres.libpq_url(given["DS_DAGSTER_STORAGE"])
    assert storage == postgres.url("dagster", settings)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(storage.replace("/dagster?", f"/{database}?"))
    production = postgres.cluster("production", settings).sockets
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(storage.replace("/dagster?", "/shop?"), host=str(production))


# Under an account of its own


def as_somebody_else(look: Callable[..., Any], *arguments: Any) -> Any:
    """What a function finds in a process of another account."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def become_and_look() -> None:
        os.setgroups([])
        os.setgid(SOMEBODY_ELSE)
        os.setuid(SOMEBODY_ELSE)
        theirs.send(look(*arguments))

    child = context.Process(target=become_and_look)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    return ours.recv()


def refusal(path: Path) -> str:
    """Why a file cannot be read, or a folder not listed."""
    try:
        list(path.iterdir()) if path.is_dir() else path.read_bytes()
    except OSError as error:
        return type(error).__name__
    return "none"


def refusals(paths: list[Path]) -> set[str]:
    return {refusal(path) for path in paths}


def entry(url: str) -> str:
    """What a database says to who comes by this URL."""
    try:
        with closing(psycopg2.connect(url)):
            return "welcome"
    except psycopg2.OperationalError as error:
        return str(error)


def listed(address: str, token: str, cache: Path) -> list[str]:
    with Gateway(address, token, cache) as gateway:
        return [summary.table for summary in gateway.tables()]


def test_another_account_reads_no_password_and_no_secret(settings: Settings) -> None:
    postgres.cluster("production", settings)
    assert refusals(passwords(settings)) == {"none"}
    assert as_somebody_else(refusals, passwords(settings)) == {"PermissionError"}
    assert as_somebody_else(refusal, settings.secrets) == "PermissionError"


def test_another_account_reads_neither_the_database_s_files_nor_the_snapshots(settings: Settings) -> None:
    cluster = postgres.cluster("production", settings)
    assert as_somebody_else(refusal, cluster.data / "PG_VERSION") == "PermissionError"
    settings.snapshots.mkdir(mode=0o700, exist_ok=True)
    assert as_somebody_else(refusal, settings.snapshots) == "PermissionError"


@pytest.mark.parametrize("role", ["owner", "extract", "scoring", "consumer"])
def test_another_account_is_not_let_in_even_by_the_right_url(settings: Settings, role: postgres.Role) -> None:
    url = postgres.url(role, settings)
    assert entry(url) == "welcome"
    assert "no password supplied" in as_somebody_else(entry, url)


def test_another_account_works_through_the_gateway_with_a_token(settings: Settings, tmp_path: Path) -> None:
    place = make_installation(tmp_path, database_of_its_own(settings))
    with serving(place), TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        address, token = place.gateway_base, read_token(place)
        assert as_somebody_else(listed, address, token, Path(folder)) == ["customers", "orders"]
