"""Bad input, by the real command: each ends in one clear sentence and a status that is not 0, never in a traceback."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml

from ds_pipelines import postgres
from ds_pipelines.gateway.tokens import ensure_token
from ds_pipelines.settings import PROJECT
from ds_pipelines_tests.acceptance.conftest import CommandLine, command_line
from ds_pipelines_tests.gateway.scenario import make_installation, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

NOBODY = "postgresql://u:hunter2@127.0.0.1:9/x"
"""Port 9 of this machine: nobody listens there."""
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


@pytest.fixture(scope="module")
def command(settings: Settings) -> CommandLine:
    """The command in the home of the small shop, whose databases run."""
    postgres.cluster("production", settings)
    postgres.cluster("platform", settings)
    return command_line(settings.home)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on the error stream; only lines to paste somewhere may follow it, indented."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    line, *draft = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(":" if draft else ".")
    assert [each for each in draft if not each.startswith("    ")] == []
    return line


# ---------------------------------------------------------------- what is typed


@pytest.mark.parametrize(
    ("arguments", "culprit", "expected"),
    [
        ("extract orders --since 2031-01-01", "2031-01-01", "from 2025-01-01 to 2025-12-31"),
        ("extract orders --since yesterday", "yesterday", "YYYY-MM-DD"),
        ("extract orders --since 2025-02-30", "2025-02-30", "YYYY-MM-DD"),
        ("extract orders --since 2025-01-07 --until 2025-01-06", "2025-01-06", "from 2025-01-07"),
        ("extract orders", "'orders'", "give the days"),
        ("extract customers --since 2025-01-05", "'customers'", "give no days"),
        ("extract nosuch --since 2025-01-05", "'nosuch'", "categories, customers, order_lines"),
        ("run nosuch", "'nosuch'", "repurchase, ticket_mood, top_sellers"),
        ("psql nosuch", "'nosuch'", "consumer, dagster, extract"),
        ("exec nosuchprogram", "'nosuchprogram'", "on the PATH"),
        ("release propose nosuch", "release.token", "token create NAME --release propose"),
    ],
)
def test_a_name_or_day_that_does_not_exist(command: CommandLine, arguments: str, culprit: str, expected: str) -> None:
    said = refusal(command(*arguments.split()))
    assert culprit in said
    assert expected in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is not text"),
        (b"\x1f\x8b\x08\0\0\0\0\0cut short", "its compression is damaged"),
        (b"InvoiceNo,StockCode,Quantity\n1,2,3\n", "lack the columns Country, CustomerID, Description"),
        (HEADER.encode(), "none of its rows is a line of an order"),
    ],
    ids=["missing", "empty", "a picture", "a torn archive", "without columns", "without rows"],
)
def test_a_file_that_holds_no_transactions(
    empty_home: CommandLine, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "transactions.csv"
    if content is not None:
        path.write_bytes(content)
    said = refusal(empty_home("sample", "--transactions", str(path)))
    assert str(path) in said
    assert expected in said


def test_the_demonstration_of_a_file_that_holds_no_transactions(command: CommandLine, tmp_path: Path) -> None:
    said = refusal(command("demo", "--transactions", str(tmp_path / "nosuch.csv")))
    assert "nosuch.csv cannot be read: no such file" in said


def test_another_sample_than_the_one_whose_extracts_the_home_holds(empty_home: CommandLine) -> None:
    assert empty_home("sample", "--customers", "50").returncode == 0
    assert empty_home("extract", "categories").returncode == 0
    said = refusal(empty_home("sample", "--customers", "60"))
    assert "the invented shop of 50 customers" in said
    assert "the invented shop of 60 customers" in said
    assert "DS_HOME" in said
    assert empty_home("sample", "--customers", "50").returncode == 0


# ---------------------------------------------------------------- what is set


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DS_WEBSERVER_PORT", "99999", "less than or equal to 65535"),
        ("DS_GATEWAY_PORT", "http", "a valid integer"),
        ("DS_ZONE", "Mars/Olympus", "Europe/London"),
        ("DS_TODAY", "tomorrow", "a valid date"),
        ("DS_ENVIRONMENT", "staging", "'development', 'acceptance' or 'production'"),
        ("DS_EXTRACT_DELAY", "soon", "a valid timedelta"),
    ],
)
def test_a_value_that_a_setting_cannot_have(command: CommandLine, name: str, value: str, expected: str) -> None:
    said = refusal(command("doctor", **{name: value}))
    assert name in said
    assert expected in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [("zone = \n", "line 1"), ("zoon = 'Europe/London'", "DS_ZOON"), ("first_day = 'monday'", "DS_FIRST_DAY")],
)
def test_a_settings_file_that_cannot_be_used(empty_home: CommandLine, content: str, expected: str) -> None:
    (empty_home.home / "settings.toml").write_text(content)
    said = refusal(empty_home("doctor"))
    assert "settings.toml" in said
    assert expected in said


@pytest.mark.parametrize("arguments", ["demo", "up", "sample", "gateway"])
def test_a_home_that_is_no_folder(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "file").touch()
    said = refusal(command_line(tmp_path / "file")(arguments))
    assert str(tmp_path / "file") in said
    assert "DS_HOME" in said


# ---------------------------------------------------------------- databases


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        ("extract orders --since 2025-01-05", "extract"),
        ("psql consumer", "consumer"),
        ("sample --customers 400", "owner"),
        ("demo", "scoring"),
        ("demo", "dagster"),
        ("demo", "mlflow"),
        ("up", "registry"),
        ("up", "serving"),
    ],
)
def test_a_database_that_nobody_answers_for(command: CommandLine, arguments: str, role: str) -> None:
    setting = f"DS_{role.upper()}_URL"
    done = command(*arguments.split(), **{setting: NOBODY})
    said = refusal(done)
    assert f"Role '{role}' cannot reach the database named by {setting}" in said
    assert "Connection refused" in said
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", ["extract categories", "psql extract"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter%ss@127.0.0.1/x",
        "postgresql://u:hunter@ss@127.0.0.1/x",
        "postgresql://u:hunter/ss@127.0.0.1/x",
        "postgresql://u:hunterss@[::1/x",
        "postgresql://u:hunterss@127.0.0.1:port/x",
        "mysql://u:hunterss@127.0.0.1/x",
        "hunterss",
    ],
)
def test_a_database_url_that_is_none_is_not_quoted(command: CommandLine, arguments: str, url: str) -> None:
    """Each is a likely mistake with the password `hunter%ss` or the like."""
    done = command(*arguments.split(), DS_EXTRACT_URL=url)
    assert "DS_EXTRACT_URL" in refusal(done)
    assert "hunter" not in done.stdout + done.stderr
    assert "ss@" not in done.stdout + done.stderr


# ---------------------------------------------------------------- the privacy policy


KEPT = {"treatment": "keep", "description": "Its colour.", "because": "A colour is no person."}


def policy_with(folder: Path, columns: dict[str, object]) -> str:
    """A copy of the shop's policy that says this about columns of the orders, None to say nothing."""
    shop = PROJECT / "ds_pipelines" / "production" / "policies" / "shop.yaml"
    policy = yaml.safe_load(shop.read_text())
    decisions = policy["tables"]["orders"]["columns"] | columns
    policy["tables"]["orders"]["columns"] = {name: said for name, said in decisions.items() if said is not None}
    (folder / "shop.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    return str(folder)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"colour": KEPT}, "'orders' does not have: colour"),
        ({"payment": None}, "'orders' has columns that the privacy policy does not name: payment"),
        ({"payment": KEPT | {"treatment": "shred"}}, "tables.orders.columns.payment.treatment"),
    ],
)
def test_a_policy_that_does_not_fit_the_table(
    command: CommandLine, tmp_path: Path, columns: dict[str, object], expected: str
) -> None:
    policies = policy_with(tmp_path, columns)
    assert expected in refusal(command("extract", "orders", "--since", "2025-01-05", DS_POLICIES=policies))


def test_a_policy_that_is_not_there(command: CommandLine, tmp_path: Path) -> None:
    said = refusal(command("extract", "orders", "--since", "2025-01-05", DS_POLICIES=str(tmp_path)))
    assert f"{tmp_path}/shop.yaml: the file cannot be read" in said


# ---------------------------------------------------------------- the gateway


ANOTHER_TOKEN = "ds_somebody-elses"  # noqa: S105 - it opens nothing


@pytest.fixture
def peek(settings: Settings, tmp_path: Path) -> CommandLine:
    """The command of a data scientist with a token from elsewhere, and an experiment that only looks at the orders."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "peek.py").write_text("from ds_pipelines import lab\nlab.table('orders').collect()\n")
    token = tmp_path / "home" / "secrets" / "gateway.token"
    token.parent.mkdir(parents=True)
    token.write_text(ANOTHER_TOKEN)
    token.chmod(0o600)
    variables = {
        "DS_EXPERIMENTS": str(tmp_path / "experiments"),
        "DS_TRACKING_ADDRESS": postgres.sqlalchemy_url(postgres.url("mlflow", settings)),
        # Where its server would, MLflow itself tells that it makes its tables.
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    return CommandLine(tmp_path / "home", {**command_line(tmp_path / "home").variables, **variables})


def test_another_token_than_the_gateways(peek: CommandLine, tmp_path: Path) -> None:
    elsewhere = make_installation(tmp_path / "elsewhere")
    ensure_token(elsewhere)
    with serving(elsewhere):
        done = peek("run", "peek", DS_GATEWAY_ADDRESS=elsewhere.gateway_base)
    said = refusal(done)
    assert "peek.py, line 2" in said
    assert f"The gateway at {elsewhere.gateway_base.removeprefix('http://')} refuses the token" in said
    assert ANOTHER_TOKEN not in done.stdout + done.stderr


def test_a_gateway_that_nobody_runs(peek: CommandLine) -> None:
    said = refusal(peek("run", "peek"))
    assert "The gateway does not answer" in said
    assert "ds-pipelines up" in said


def test_an_mlflow_that_nobody_runs(command: CommandLine) -> None:
    done = command("run", "repurchase")  # which fails by itself, because nothing is published
    kept, line = done.stderr.splitlines()
    assert done.returncode == 1
    assert kept.startswith("MLflow at http://127.0.0.1")
    assert all(step in kept for step in ("ds-pipelines up", "the run is kept in", "ds-pipelines experiments replay"))
    assert line.startswith("error: Experiment repurchase.py")


# ---------------------------------------------------------------- the machine


@contextmanager
def listening() -> Iterator[str]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ("up", "DS_WEBSERVER_PORT"),
        ("up", "DS_PRODUCTION_PORT"),
        ("up", "DS_EXPLORATION_PORT"),
        ("demo", "DS_GATEWAY_PORT"),
        ("demo", "DS_MLFLOW_PORT"),
        ("gateway", "DS_GATEWAY_PORT"),
    ],
)
def test_a_port_that_is_taken(command: CommandLine, arguments: str, setting: str) -> None:
    with listening() as port:
        said = refusal(command(arguments, **{setting: port}))
    assert f"Port {port} " in said
    assert setting in said


def test_services_that_run_already(command: CommandLine) -> None:
    with (command.home / "up.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = refusal(command("up"))
    assert f"The services of {command.home} are up already" in said
    assert "DS_HOME" in said


@contextmanager
def disk(folder: Path, *, mebibytes: int) -> Iterator[None]:
    """A file system of its own, in memory."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not mount or not umount or subprocess.run([mount, *options], check=False).returncode != 0:
        pytest.skip("only root can make a disk of this size, and not everywhere")
    try:
        yield
    finally:
        subprocess.run([umount, "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("arguments", ["demo", "up", "sample"])
def test_a_disk_that_is_too_small(tmp_path: Path, arguments: str) -> None:
    with disk(tmp_path, mebibytes=32):
        said = refusal(command_line(tmp_path / "home")(arguments))
    assert f"Too little disk space at {tmp_path}/home" in said
    assert "32 MiB free, 300 MiB needed" in said


def test_a_disk_that_fills_up_on_the_way(tmp_path: Path) -> None:
    with disk(tmp_path, mebibytes=450):
        command = command_line(tmp_path / "home")
        assert command("sample", "--customers", "50").returncode == 0
        settings = command.settings()
        held = postgres.cluster("production", settings)
        with (tmp_path / "fill").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(tmp_path).free)
        said = refusal(command("extract", "orders", "--since", "2025-01-05"))
        (tmp_path / "fill").unlink()
        healed = command("extract", "orders", "--since", "2025-01-05")
        held.release()
    assert "no space left" in said
    assert healed.returncode == 0


# ---------------------------------------------------------------- Python, for make

PROGRAMS = ("sh", "echo", "touch")
OLD = """#!/bin/sh
case "$1" in -V) echo "Python 3.9.2" ;; *) exit 1 ;; esac
"""
WITHOUT_VENV = """#!/bin/sh
case "$1" in -V) echo "Python 3.11.2" ;; -c) exit 0 ;; *) echo "No module named venv" >&2; exit 1 ;; esac
"""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "there is no {python}; expected Python 3.11, 3.12 or 3.13"),
        (OLD, "{python} is Python 3.9.2; expected Python 3.11, 3.12 or 3.13"),
        (WITHOUT_VENV, "{python} cannot make a virtual environment (see above)"),
    ],
    ids=["none", "too old", "without venv"],
)
@pytest.mark.parametrize("target", ["demo", "test"])
def test_no_python_that_fits(tmp_path: Path, target: str, script: str | None, expected: str) -> None:
    """In a fresh clone on a machine without uv."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make on this machine")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, tmp_path)
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    if script is not None:
        python.write_text(script)
        python.chmod(0o755)
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None
        (python.parent / name).symlink_to(found)
    done = subprocess.run(
        [make, target, f"PYTHON={python}"], cwd=tmp_path, env={"PATH": str(python.parent)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    [said] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert expected.format(python=python) in said
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / ".venv" / ".ready").exists()
