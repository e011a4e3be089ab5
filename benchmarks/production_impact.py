"""Does production notice an extract: pgbench on the same cluster and the same cores, with one and without?

Rounds of three: without an extract, with a paced one, and without again. The first is what both others are compared
with, so that the last shows how much two equal runs differ. The extract is of the shop's largest table, whole: read,
transformed, ordered, written; a process of its own, started again when it ends. A few rounds are at full speed, for
comparison. What PostgreSQL does by itself at its own times, as vacuum and checkpoints, is done before each measurement
instead, so that all begin alike. Then, without pgbench, the speed of reading at the pace of an idle database against
the same reading at full speed; the limit is one statement over the whole table.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.extracting import Side, best, multiply, run, shop
from benchmarks.report import conclude
from ds_pipelines.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

NAME, TABLE, TIMES = "benchmarks.production_impact", "order_lines", 10
CLIENTS, SCALE = 4, 20
THROUGHPUT, P95, IDLE = 0.97, 1.05, 0.8
FULL_SPEED = {"DS_PACE_SLEEP": "0", "DS_PACE_ACTIVE": "1000000", "DS_PACE_PROBE": "1000000"}
ENDLESS = """
import sys
sys.path.insert(0, {project!r})
from ds_pipelines.extract import pace, publish
from ds_pipelines.settings import load_settings
if {polite}:
    pace.polite()
settings = load_settings()
publish.extract_state("products", settings)
print("reading", flush=True)
while True:
    publish.extract_state({table!r}, settings)
"""


@dataclass(frozen=True)
class Load:
    """What pgbench reached."""

    throughput: float
    """Transactions a second."""
    p95: float
    """Milliseconds."""
    extracted: float = 0.0
    """Rows a second that the extract read meanwhile."""


def single_statement(settings: Settings, *, warm: bool) -> dict[str, float]:
    """The limit: one statement over the whole table, which vacuum has to wait for."""
    return _read(settings, warm=warm, paced=False)


def paced(settings: Settings, *, warm: bool) -> dict[str, float]:
    """The extract's own reading."""
    return _read(settings, warm=warm, paced=True)


def full_speed(settings: Settings, *, warm: bool) -> dict[str, float]:
    """The extract's own reading, which never sleeps and minds nobody."""
    told = {"pace_sleep": 0.0, "pace_active": 1_000_000, "pace_probe": 1_000_000.0}
    return _read(settings.model_copy(update=told), warm=warm, paced=True)


def _read(settings: Settings, *, warm: bool, paced: bool) -> dict[str, float]:
    from ds_pipelines.extract import policy, pseudonyms
    from ds_pipelines.extract.reading import opened
    from ds_pipelines.extract.source import Source
    from ds_pipelines.extract.stream import ahead
    from ds_pipelines.extract.transform import transform

    decisions, hidden = policy.load(settings.policies / policy.SHOP), pseudonyms.load(settings)
    rows = 0
    began = time.monotonic()
    with opened("extract", settings, decisions, TABLE) as production:
        readable = production.session.readable(decisions, "products" if warm else TABLE)
        batches = production.session.batches(readable) if paced else Source.batches(production.session, readable)
        with ahead(batches) as pieces:
            for batch in pieces:
                rows += transform(batch, readable.policy, hidden, zone=settings.zone).height
    return {"rows a second": rows / (time.monotonic() - began)}


@dataclass(frozen=True)
class Bench:
    """A database of pgbench's own in production's cluster."""

    url: str
    administrator: str
    """URL as who may write a checkpoint."""

    @classmethod
    def prepared(cls, settings: Settings) -> Bench:
        """Makes it; from now on the cluster vacuums nothing by itself."""
        from ds_pipelines import postgres

        cluster = postgres.cluster("production", settings)
        shop, bench = (cluster.url(database, "postgres") for database in ("shop", "pgbench"))
        _tell(shop, "CREATE DATABASE pgbench OWNER owner", "ALTER SYSTEM SET autovacuum = off")
        _tell(shop, "SELECT pg_reload_conf()", "VACUUM ANALYZE")
        url = cluster.url("pgbench", "owner")
        _pgbench("-i", "-q", "-s", str(SCALE), url)
        return cls(url, bench)

    def begin(self) -> None:
        """Leaves nothing behind of what ran before."""
        _tell(self.administrator, "VACUUM", "CHECKPOINT")


def _tell(url: str, *commands: str) -> None:
    import psycopg2

    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for command in commands:
                cursor.execute(command)


def measure(bench: Bench, seconds: int) -> Load:
    """Runs pgbench."""
    bench.begin()
    return _measure(bench, seconds)


def _measure(bench: Bench, seconds: int) -> Load:
    with tempfile.TemporaryDirectory(prefix="ds-pgbench-") as folder:
        prefix = f"--log-prefix={folder}/log"
        _pgbench("-n", "-c", str(CLIENTS), "-j", "1", "-T", str(seconds), "--log", prefix, bench.url)
        times = sorted(
            int(line.split()[2]) for path in Path(folder).glob("log*") for line in path.read_text().splitlines()
        )
    return Load(len(times) / seconds, times[int(0.95 * len(times))] / 1_000)


def measure_beside(bench: Bench, seconds: int, settings: Settings, *, polite: bool, **variables: str) -> Load:
    """Runs pgbench while an extract reads."""
    from ds_pipelines.extract.pace import spent_today

    bench.begin()
    with extracting(settings, polite=polite, **variables):
        before, began = spent_today(settings).rows, time.monotonic()
        found = _measure(bench, seconds)
    return replace(found, extracted=(spent_today(settings).rows - before) / (time.monotonic() - began))


def _pgbench(*arguments: str) -> None:
    from ds_pipelines import postgres

    command = [str(postgres.binaries() / "pgbench"), *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment())


@contextmanager
def extracting(settings: Settings, *, polite: bool, **variables: str) -> Iterator[None]:
    """An extract beside the block, from its beginning to its end."""
    program = ENDLESS.format(project=str(Path(__file__).parent.parent), table=TABLE, polite=polite)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(**settings.as_environment() | variables),
    )
    try:
        if process.stdout is None or process.stdout.readline() != "reading\n":
            raise RuntimeError("the extract did not begin")
        yield
        if process.poll() is not None:
            raise RuntimeError("the extract ended before pgbench did")
    finally:
        process.kill()
        process.communicate()


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """The median, and the ends between which it lies with 95 % (by order statistics; the extremes where few)."""
    ordered, count = sorted(ratios), len(ratios)
    rank = max(int(count / 2 - 0.98 * count**0.5), 0)
    return statistics.median(ordered), ordered[rank], ordered[count - 1 - rank]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=10, help="Of pgbench, each time")
    parser.add_argument("--rows", type=int, default=2_000_000, help="About how many order lines")
    chosen = parser.parse_args()
    rounds: dict[str, list[Load]] = {"without": [], "paced": [], "without again": [], "full speed": []}
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        settings = shop(Path(folder) / "home", chosen.rows // TIMES)
        multiply(settings, TIMES)
        bench = Bench.prepared(settings)
        measure(bench, chosen.seconds)
        for number in range(chosen.rounds):
            rounds["without"].append(measure(bench, chosen.seconds))
            rounds["paced"].append(measure_beside(bench, chosen.seconds, settings, polite=True))
            rounds["without again"].append(measure(bench, chosen.seconds))
            if number < 3:
                fast = measure_beside(bench, chosen.seconds, settings, polite=False, **FULL_SPEED)
                rounds["full speed"].append(fast)
        idle: dict[str, list[Side]] = {"single_statement": [], "full_speed": [], "paced": []}
        for _ in range(3):
            for side, found in idle.items():
                found.append(run(NAME, side, settings))
    _conclude(rounds, {side: best(found) for side, found in idle.items()})


def _conclude(rounds: dict[str, list[Load]], idle: dict[str, Side]) -> None:
    ratios = {
        (side, figure): interval(
            [getattr(a, figure) / getattr(b, figure) for a, b in zip(found, rounds["without"], strict=False)]
        )
        for side, found in rounds.items()
        for figure in ("throughput", "p95")
    }
    rows = [
        (
            side,
            f"{statistics.median(load.throughput for load in found):.0f}",
            "{:.3f} ({:.3f} to {:.3f})".format(*ratios[side, "throughput"]),
            f"{statistics.median(load.p95 for load in found):.2f}",
            "{:.3f} ({:.3f} to {:.3f})".format(*ratios[side, "p95"]),
            f"{statistics.median(load.extracted for load in found):,.0f}",
        )
        for side, found in rounds.items()
    ]
    speed = {side: found.said["rows a second"] for side, found in idle.items()}
    share = speed["paced"] / speed["full_speed"]
    print(f"idle: {speed['paced']:,.0f} rows a second at its pace, {share:.2f} x full speed and "
          f"{speed['paced'] / speed['single_statement']:.2f} x one statement; "
          f"load of the machine: {os.getloadavg()[2]:.1f}")  # fmt: skip
    throughput, p95 = ratios["paced", "throughput"][0], ratios["paced", "p95"][0]
    calm = throughput >= min(THROUGHPUT, ratios["without again", "throughput"][1])
    quick = p95 <= max(P95, ratios["without again", "p95"][2])
    conclude(
        "production_impact",
        rows,
        header=("extract", "pgbench tps", "of without (95 %)", "p95 ms", "of without (95 %)", "rows/s read"),
        figure=throughput,
        goal=f"throughput >= {THROUGHPUT} x and p95 <= {P95} x, or within two equal runs; idle >= {IDLE} x full speed",
        limit="without again: two equal runs",
        holds=calm and quick and share >= IDLE,
    )


if __name__ == "__main__":
    main()
