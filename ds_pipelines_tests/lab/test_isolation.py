"""From an experiment's environment, files and network the production database cannot be reached, even by an experiment
that runs under the very account that could; and `lab.table` works all the same.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import postgres
from ds_pipelines.caps import confine, kernel
from ds_pipelines.settings import PACKAGE, PROJECT, scrubbed_environment
from ds_pipelines_tests.gateway.scenario import ORDERS, database_of_its_own, make_installation, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

MARK = "a-password-in-a-variable"
BREAK_OUT = Path(__file__).with_name("break_out.py")
EVERYTHING = ("groups", "landlock", "namespaces")
ALWAYS = {
    "own environment",
    "socket, without a password",
    "socket, as the superuser",
    "socket, with a guessed password",
}
"""What even an experiment without walls does not reach."""

WORKER = """
import json, os, sys
from pathlib import Path
from ds_pipelines.evidence import Limits
from ds_pipelines.lab.launch import launch
from ds_pipelines.settings import load_settings, scrubbed_environment
task = json.loads(sys.argv[1])
told = {**task["told"], "worker": os.getpid(), "descriptor": os.open(task["told"]["passfile"], os.O_RDONLY)}
folder = Path(task["folder"])
ended = launch(
    [sys.executable, *task["command"], json.dumps(told)], limits=Limits(seconds=60, memory=1 << 30),
    environment=scrubbed_environment(), folder=folder, readable=[Path(path) for path in task["readable"]], writable=[],
    ports=[], output=folder / "output.txt", without=task["without"],
)
sys.exit(ended.code or 0)
"""

needs_landlock = pytest.mark.skipif(kernel.landlock_version() < 6, reason="this kernel's Landlock is too old or off")
needs_namespaces = pytest.mark.skipif(not confine.namespaces_possible(), reason="no namespaces here")


@dataclass
class Place:
    """An installation with its gateway, and what an attacker may know of it."""

    settings: Settings
    told: dict[str, object]

    def run(self, command: list[str], *, without: tuple[str, ...] = ()) -> str:
        """What an experiment prints that a worker with secrets in its own environment launches."""
        folder = self.settings.home / "spool" / os.urandom(4).hex()
        folder.mkdir(parents=True)
        task = {
            "told": self.told, "command": command, "folder": str(folder), "without": without,
            "readable": [str(BREAK_OUT), str(self.settings.home)],
        }  # fmt: skip
        variables = scrubbed_environment(**self.settings.as_environment(), DS_EXTRACT_URL=f"postgresql://x:{MARK}@h/d")
        subprocess.run([sys.executable, "-c", WORKER, json.dumps(task)], env=variables, check=False, timeout=100)
        return (folder / "output.txt").read_text()

    def found(self, *, without: tuple[str, ...] = ()) -> dict[str, str]:
        """By attempt to break out, how it went."""
        lines = self.run([str(BREAK_OUT)], without=without).splitlines()
        marked = [line for line in lines if line.startswith("FOUND ")]
        assert marked, lines[-5:]
        return dict(json.loads(marked[-1].removeprefix("FOUND ")))


@pytest.fixture(scope="module")
def place(shared: Settings) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="ds-", ignore_cleanup_errors=True) as home:
        settings = make_installation(Path(home) / "home", database_of_its_own(shared))
        production = postgres.cluster("production", settings)
        production.hold()
        with closing(socket.create_server(("127.0.0.1", 0))) as listener, socket.socket(socket.AF_UNIX) as abstract:
            name = f"ds-test-{os.getpid()}"
            abstract.bind("\0" + name)
            abstract.listen()
            passfile = production.passfile("extract")
            shutil.copy(passfile, f"{passfile}.copy")
            server = int((production.data / "postmaster.pid").read_text().splitlines()[0])
            told = {
                "mark": MARK,
                "passfile": str(passfile),
                "secrets": str(settings.secrets),
                "home": str(settings.home),
                "tops": [str(settings.home), str(PROJECT), str(Path.home() / ".ssh"), "/tmp"],  # noqa: S108
                "data": str(production.data),
                "postgres": str(Path(f"/proc/{server}/exe").readlink()),
                "sockets": str(production.sockets),
                "server": server,
                "server_name": Path(f"/proc/{server}/comm").read_text(),
                "port": listener.getsockname()[1],
                "abstract": name,
                "package": str(PACKAGE),
                "packages": sysconfig.get_path("purelib"),
            }
            with serving(settings):
                yield Place(settings, told)
        production.release()


@pytest.mark.parametrize(
    "without",
    [
        pytest.param((), id="all there is", marks=[needs_landlock, needs_namespaces]),
        pytest.param(("namespaces",), id="Landlock alone", marks=needs_landlock),
    ],
)
def test_an_experiment_of_the_same_account_cannot_reach_production(place: Place, without: tuple[str, ...]) -> None:
    found = place.found(without=without)
    assert {name: outcome for name, outcome in found.items() if not outcome.startswith("refused")} == {}
    assert len(found) > 30


def test_the_attempts_are_real(place: Place) -> None:
    """Without walls many of them succeed (those that need root's rights do not, which are dropped in any case)."""
    planted = (PACKAGE / "planted.py", Path(sysconfig.get_path("purelib")) / "planted.pth")
    try:
        found = place.found(without=EVERYTHING)
    finally:
        for path in planted:
            path.unlink(missing_ok=True)
    reached = {name for name, outcome in found.items() if outcome.startswith("reached")}
    assert {
        "password file", "password file through a symbolic link", "password file through another program",
        "names in the folder of secrets", "socket, with the URL's password file", "TCP", "TCP from another program",
        "abstract socket", "signal to the parent", "code that production imports",
    } <= reached  # fmt: skip
    assert not reached & ALWAYS


def test_an_extract_is_read_through_the_gateway(place: Place) -> None:
    code = "from ds_pipelines import lab; print('ROWS', lab.table('orders').collect().height)"
    output = place.run(["-c", code])
    assert f"ROWS {sum(frame.height for frame in ORDERS.values())}\n" in output


@needs_landlock
def test_a_home_inside_the_project_closes_the_project_and_leaves_the_package(place: Place) -> None:
    """The default home is such a one: the folder that holds both is not listed, yet the package is imported."""
    with tempfile.TemporaryDirectory(dir=PROJECT, prefix=".ds-") as home:
        inside = Place(place.settings.model_copy(update={"home": Path(home)}), place.told)
        code = f"import os; from ds_pipelines import lab; print(lab.__name__, flush=True); os.listdir({str(PROJECT)!r})"
        output = inside.run(["-c", code])
    assert output.startswith("ds_pipelines.lab\n")
    assert "PermissionError" in output
