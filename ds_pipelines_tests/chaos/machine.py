"""A production that can be broken at any moment: a home of its own, its daemon, its code server, its databases.

It plays the part of the supervisor: what was killed is started again, and nothing else is helped along.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import psutil
import psycopg2
import yaml

from ds_pipelines import errors, postgres
from ds_pipelines.operate.sampling import Sample, load_sample
from ds_pipelines.operate.services import SERVICES, prepare_instance
from ds_pipelines.production.days import expected
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.receipt import delivered
from ds_pipelines.scoring.score import score_day
from ds_pipelines.scoring.sources import noted, sources
from ds_pipelines.settings import environment, load_settings
from ds_pipelines_tests.acceptance.stack import free_ports, lives, variables, wait_until
from ds_pipelines_tests.gateway.scenario import serving_database_of_its_own
from ds_pipelines_tests.production.released import put_in_use

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

JOB = JOBS["top_sellers"]
ORDER = ", ".join(f'{name} COLLATE "C"' if JOB.schema[name] == pl.String() else name for name in JOB.key)
CUSTOMERS = 60
CLUSTERS: tuple[postgres.ClusterName, ...] = ("production", "platform")
MEBIBYTES = 1_500
"""Of the disk that can be full: databases start with 300 free, and their write-ahead logs grow to some hundred."""
QUICK = {
    "DS_DAYS_INTERVAL": "PT1S", "DS_DAYS_A_TICK": "2", "DS_DAYS_PAUSE": "PT0.2S", "DS_SOURCE_INTERVAL": "PT1S",
}  # fmt: skip
"""What an installation waits half a minute or an hour for, it waits a second for here."""


class Machine:
    """One installation whose job top_sellers is in use."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ds-chaos-"))
        self.can_be_full = _mounted(self.home)
        ports = {f"DS_{name.upper()}": str(port) for name, port in free_ports().items()}
        self._variables = {"DS_HOME": str(self.home), "DS_RELEASES": str(self.home / "releases"), **ports, **QUICK}
        self._services: list[tuple[str, subprocess.Popen[bytes]]] = []
        load_sample(self.settings, Sample(None, CUSTOMERS, 7))
        self.release = put_in_use(JOB, self.settings)
        self.today = self.settings.now().date()
        for cluster in CLUSTERS:
            postgres.cluster(cluster, self.settings)

    @property
    def settings(self) -> Settings:
        """As of now: the business's today moves."""
        return load_settings(**{name.removeprefix("DS_").lower(): value for name, value in self._variables.items()})

    def set_today(self, today: date) -> None:
        """Turns the business's clock."""
        path = self.home / "settings.toml"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("today")]
        draft = path.with_suffix(".draft")
        draft.write_text("\n".join([*lines, f"today = {today}"]) + "\n")
        draft.replace(path)

    def start(self, name: str) -> None:
        """Starts a service as `up` would, its log in the home."""
        chosen = self._environment()
        arguments = SERVICES[name].command(self.settings)[0]
        assert self._workspace.exists()
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                arguments, env=chosen, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._services.append((name, process))

    @contextmanager
    def switching_on(self) -> Iterator[None]:
        """Starts the sensor meanwhile, as a person does where the environment is not production."""
        wait_until(self.answers, "the code server", 120)
        command = [sys.executable, "-m", "dagster", "sensor", "start", f"{JOB.name}_days", "-w", str(self._workspace)]
        silent = subprocess.DEVNULL
        switch = subprocess.Popen(command, env=self._environment(), stdin=silent, stdout=silent, stderr=silent)
        yield
        assert switch.wait(120) == 0

    def _environment(self) -> dict[str, str]:
        chosen = environment(**{**prepare_instance(self.settings), **self._variables})
        chosen.pop("DS_TODAY", None)  # which every process reads anew
        return chosen

    @property
    def _workspace(self) -> Path:
        """Names production's location, and not that of the data scientists."""
        server = {"host": self.settings.host, "port": self.settings.production_port, "location_name": "production"}
        path = self.settings.instance / "workspace.yaml"
        path.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        return path

    def pids(self, name: str) -> list[int]:
        """The processes of a service that live."""
        return [process.pid for kind, process in self._services if kind == name and process.poll() is None]

    def workers(self) -> list[psutil.Process]:
        """The processes of runs: those of the code server, and those that it left behind."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "multiprocessing.spawn" in " ".join(process.cmdline()) and self._ours(process):
                    found.append(process)
        return found

    def tend(self) -> None:
        """Starts again what is not running."""
        for cluster in CLUSTERS:
            with suppress(errors.DiskFullError, errors.ClusterError):
                postgres.cluster(cluster, self.settings)
        for name in ("production", "daemon"):
            if not self.pids(name):
                with suppress(errors.DiskFullError, errors.ClusterError, OSError):
                    self.start(name)

    def kill(self, *names: str) -> None:
        """Kills services at once."""
        for pid in [pid for name in names for pid in self.pids(name)]:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def kill_database(self, name: postgres.ClusterName) -> None:
        """Kills a server with all its processes."""
        with suppress(OSError, ValueError, psutil.Error):
            server = psutil.Process(int((self.home / f"postgres/{name}/data/postmaster.pid").read_text().split()[0]))
            for process in [*server.children(recursive=True), server]:
                with suppress(psutil.Error):
                    process.kill()

    def fill(self, seconds: float) -> None:
        """Leaves nothing free on the disk for so long."""
        fill = self.home / "fill"
        with fill.open("wb", buffering=0) as file:
            for size in (1 << 24, 1 << 16, 1 << 12):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        time.sleep(seconds)
        fill.unlink()

    def jump(self, days: int, seconds: float) -> None:
        """Sets the business's clock to another day for so long."""
        with suppress(TimeoutError):  # a location that is loaded meanwhile would keep the wrong day
            wait_until(self.answers, "the code server", 20)
        self.set_today(self.today + timedelta(days=days))
        time.sleep(seconds)
        self.set_today(self.today)

    def answers(self) -> bool:
        """Whether the code server can be asked."""
        from dagster._grpc.client import DagsterGrpcClient

        try:
            DagsterGrpcClient(port=self.settings.production_port, host=self.settings.host).ping("")
        except Exception:
            return False
        return True

    def late_data(self, chance: random.Random) -> None:
        """Somebody changes orders of the newest days that were scored."""
        settings = self.settings
        first = settings.last_extractable_day() - timedelta(days=settings.rescore_days - 1)
        with closing(postgres.connect("owner", settings)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE order_lines SET quantity = quantity + 1 + (order_line_id * %s) %% 40 WHERE placed_at >= %s "
                "AND quantity > 0",
                (chance.randrange(1, 40), settings.bounds(first)[0]),
            )

    def owed(self) -> list[date]:
        """The days that consumers may expect."""
        return expected(JOB, delivered(JOB, self.settings), self.settings)

    def undisturbed(self) -> dict[date, tuple[int, str]]:
        """Rows and checksum of each of those days, scored and delivered elsewhere, with nobody near."""
        elsewhere = self.settings.model_copy(update=serving_database_of_its_own(self.settings))
        for day in self.owed():
            self.deliver(day, elsewhere)
        return self.visible(elsewhere)

    def deliver(self, day: date, settings: Settings | None = None) -> None:
        """Scores and delivers a day in this process."""
        settings = settings or self.settings
        began = begin(settings)
        with score_day(JOB, day, settings, release=self.release) as scored:
            inputs = noted(scored.inputs, sources(JOB, [day], settings)[day])
            deliver(scored.frame, JOB, day, release=self.release, inputs=inputs, settings=settings, began=began)

    def visible(self, settings: Settings | None = None) -> dict[date, tuple[int, str]]:
        """Rows and checksum of the days that consumers see; each has one receipt, which says how many rows."""
        settings, found = settings or self.settings, {}
        with closing(postgres.connect("consumer", settings)) as connection, connection.cursor() as cursor:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            cursor.execute("SELECT to_regclass('receipts') IS NOT NULL")
            if cursor.fetchall() == [(False,)]:
                return {}
            cursor.execute("SELECT day, rows FROM receipts WHERE job = %s", (JOB.name,))
            for day, rows in cursor.fetchall():
                lines = io.StringIO()
                query = f"COPY (SELECT * FROM {JOB.table} WHERE day = '{day}' ORDER BY {ORDER}) TO STDOUT (FORMAT csv)"
                cursor.copy_expert(query, lines)
                told = lines.getvalue()
                assert told.count("\n") == rows, day
                found[day] = (rows, hashlib.sha256(told.encode()).hexdigest())
        return found

    def is_calm(self, undisturbed: dict[date, tuple[int, str]]) -> bool:
        """Whether consumers see all that is owed, as an undisturbed run would have delivered it."""
        self.tend()
        try:
            visible = self.visible()
        except (errors.DatabaseUnreachableError, psycopg2.Error):
            return False
        return undisturbed.items() <= visible.items()

    def stop(self) -> None:
        """Ends everything that this home has started, and removes it."""
        self.kill("daemon", "production")
        for _, process in self._services:
            process.wait()
        for worker in self.workers():
            with suppress(psutil.Error):
                worker.kill()
        for cluster in CLUSTERS:
            handle = postgres._handle(cluster, self.home / "postgres", self.home / "secrets" / "postgres")
            self.kill_database(cluster)
            handle.release()
        if self.can_be_full:
            subprocess.run(["umount", "--lazy", str(self.home)], check=False)  # noqa: S607
        shutil.rmtree(self.home, ignore_errors=True)

    def _ours(self, process: psutil.Process) -> bool:
        return lives(process) and variables(process).get("DS_HOME") == str(self.home)


def _mounted(home: Path) -> bool:
    """Puts a small disk of its own under the home, where this account may."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m,mode=755", "ds-chaos", str(home)],  # noqa: S607
        check=False, capture_output=True,
    )  # fmt: skip
    return done.returncode == 0
