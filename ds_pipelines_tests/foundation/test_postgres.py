"""The embedded PostgreSQL: who gets in, who may do what, and that it comes and goes as it should."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import ClusterError, DatabaseUnreachableError, DiskFullError, UnknownRoleError
from ds_pipelines.postgres import Cluster, Role
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.sample import Shop

UNREACHABLE = "postgresql://reader:hunter2@127.0.0.1:9/shop"


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ds-pg-", ignore_cleanup_errors=True) as folder:
        made = Cluster("platform", Path(folder) / "postgres" / "platform", Path(folder) / "secrets")
        yield made
        made.release()


def ask(url: str, statement: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()
    finally:
        connection.close()


@pytest.mark.parametrize("role", postgres.ROLES)
def test_each_role_reaches_its_database_by_its_own_password(role: Role, settings: Settings) -> None:
    with postgres.connect(role, settings) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database()")
        access = postgres.ACCESS[role]
        assert cursor.fetchone() == (access.login, access.database)
    connection.close()


def test_the_socket_trusts_nobody_without_a_password(settings: Settings) -> None:
    url = postgres.url("extract", settings).partition("&passfile=")[0]
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(url, passfile="/dev/null")


def test_passwords_lie_in_files_that_only_their_owner_can_read(settings: Settings) -> None:
    postgres.url("dagster", settings)
    files = [path for path in (settings.secrets / "postgres").rglob("*") if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_no_url_holds_a_password(settings: Settings) -> None:
    for role in postgres.ROLES:
        access = postgres.ACCESS[role]
        passfile = settings.secrets / "postgres" / access.cluster / f"{access.login}.pgpass"
        url = postgres.url(role, settings)
        assert passfile.read_text().strip().rsplit(":", 1)[1] not in url


@pytest.mark.parametrize("role", ["extract", "scoring"])
def test_readers_see_the_shop_and_who_is_busy_but_cannot_write(role: Role, settings: Settings, shop: Shop) -> None:
    url = postgres.url(role, settings)
    assert ask(url, "SELECT count(*) FROM customers") == (shop.tables["customers"].height,)
    assert ask(url, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'usage')") == (True,)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(url, "DELETE FROM customers RETURNING 1")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(url, "CREATE TABLE mine AS SELECT 1 AS one")


def test_neither_consumers_nor_the_extract_enter_the_other_s_database(settings: Settings) -> None:
    for role, database in (("consumer", "shop"), ("extract", "serving"), ("mlflow", "dagster"), ("mlflow", "registry")):
        access = postgres.ACCESS[role]
        url = postgres.cluster(access.cluster, settings).url(database, access.login)
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            psycopg2.connect(url)


def test_consumers_cannot_write_the_serving_database(settings: Settings) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(postgres.url("consumer", settings), "CREATE TABLE mine AS SELECT 1 AS one")


def test_a_url_of_the_user_s_replaces_the_embedded_one() -> None:
    own = load_settings(serving_url="postgres://me@warehouse/serving")
    assert postgres.url("serving", own) == "postgres://me@warehouse/serving"
    assert postgres.sqlalchemy_url(postgres.url("serving", own)) == "postgresql+psycopg2://me@warehouse/serving"


def test_no_embedded_cluster_is_needed_where_every_role_has_a_url() -> None:
    own = load_settings(**{f"{role}_url": "postgresql://me@warehouse/db" for role in postgres.ROLES})
    assert postgres.embedded_clusters(own) == []


def test_an_unreachable_database_is_named_by_its_setting_and_keeps_its_password() -> None:
    with pytest.raises(DatabaseUnreachableError, match="DS_EXTRACT_URL") as caught:
        postgres.connect("extract", load_settings(extract_url=UNREACHABLE))
    assert "hunter2" not in str(caught.value)


def test_a_home_from_before_a_database_was_thought_of_gets_it_at_the_next_start(fresh: Cluster) -> None:
    fresh.hold()
    connection = psycopg2.connect(fresh.url("postgres", "postgres"))
    connection.autocommit = True
    connection.cursor().execute("DROP DATABASE gateway")
    connection.cursor().execute("DROP ROLE gateway")
    connection.close()
    fresh.passfile("gateway").unlink()
    (fresh.data / "provided").write_text("by an earlier version")
    fresh.release()
    fresh.hold()
    assert ask(fresh.url("gateway", "gateway"), "SELECT current_user") == ("gateway",)


def test_an_unknown_role_is_told_which_there_are() -> None:
    with pytest.raises(UnknownRoleError, match="consumer, dagster, extract"):
        postgres.require_role("admin")


def test_the_last_one_to_leave_stops_the_server(fresh: Cluster) -> None:
    second = Cluster(fresh.name, fresh.root, fresh.secrets_dir)
    fresh.hold()
    second.hold()
    fresh.release()
    assert second.running()
    second.release()
    assert not second.running()


def test_a_killed_holder_does_not_keep_the_server_from_stopping(fresh: Cluster) -> None:
    program = (
        "import sys, time; from pathlib import Path; from ds_pipelines.postgres import Cluster;"
        "Cluster('platform', Path(sys.argv[1]), Path(sys.argv[2])).hold(); print('held', flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", program, str(fresh.root), str(fresh.secrets_dir)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        fresh.hold()
        other.kill()
        other.wait()
    assert fresh.running()
    fresh.release()
    assert not fresh.running()


def test_a_killed_server_is_started_again(fresh: Cluster) -> None:
    fresh.hold()
    pid = int((fresh.data / "postmaster.pid").read_text().split("\n", 1)[0])
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while fresh.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    fresh.hold()
    assert ask(fresh.url("dagster", "dagster"), "SELECT 1") == (1,)


def test_a_stale_pid_file_that_names_another_process_heals(fresh: Cluster) -> None:
    fresh.hold()
    fresh.release()
    (fresh.data / "postmaster.pid").write_text(f"{os.getppid()}\n{fresh.data}\n1\n5432\n\n\n")
    fresh.hold()
    assert ask(fresh.url("mlflow", "mlflow"), "SELECT 1") == (1,)


def test_an_interrupted_first_start_is_made_anew(fresh: Cluster) -> None:
    fresh.data.mkdir(parents=True)
    (fresh.data / "half").touch()
    fresh.hold()
    assert ask(fresh.url("mlflow", "mlflow"), "SELECT 1") == (1,)


def test_many_processes_that_start_at_once_share_one_server(fresh: Cluster) -> None:
    program = (
        "import sys; from pathlib import Path; from ds_pipelines.postgres import Cluster; import psycopg2;"
        "held = Cluster('platform', Path(sys.argv[1]), Path(sys.argv[2])); held.hold();"
        "print(psycopg2.connect(held.url('mlflow', 'mlflow')).closed)"
    )
    arguments = [sys.executable, "-c", program, str(fresh.root), str(fresh.secrets_dir)]
    started = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in started] == ["0\n"] * 4
    assert not fresh.running()


def test_a_path_too_long_for_a_socket_gets_a_short_one() -> None:
    with tempfile.TemporaryDirectory(prefix="ds-pg-", ignore_cleanup_errors=True) as folder:
        deep = Path(folder) / ("a folder with a rather long name " * 3).strip() / "postgres"
        made = Cluster("platform", deep, Path(folder) / "secrets")
        made.hold()
        assert ask(made.url("mlflow", "mlflow"), "SELECT 1") == (1,)
        made.release()


def test_too_little_space_is_said_before_anything_is_made(fresh: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "NEEDED_MIB", 10**9)
    with pytest.raises(DiskFullError, match="DS_HOME"):
        fresh.hold()
    assert not fresh.data.exists()


def test_a_server_that_cannot_start_quotes_its_log(fresh: Cluster) -> None:
    fresh.hold()
    fresh.release()
    with (fresh.data / "postgresql.conf").open("a") as config:
        config.write("no_such_setting = 1\n")
    with pytest.raises(ClusterError, match=r"postgresql\.conf.* contains errors"):
        fresh.hold()
