"""How many dead tuples can vacuum not remove while an extract reads?

Rows of a table beside are changed, and a second later vacuum runs: what died a second ago and is still kept, somebody's
open transaction keeps. This is done again and again while the shop's largest table is read at the extract's pace, and
while one statement reads it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.extracting import multiply, shop
from benchmarks.report import conclude
from ds_pipelines.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

TABLE, TIMES, CHANGED = "order_lines", 10, 1_000
READING = """
import sys
sys.path.insert(0, {project!r})
from ds_pipelines.extract import policy
from ds_pipelines.extract.reading import opened
from ds_pipelines.extract.source import Source
from ds_pipelines.settings import load_settings
settings = load_settings()
decisions = policy.load(settings.policies / policy.SHOP)
with opened("extract", settings, decisions, {table!r}) as production:
    session = production.session
    readable = session.readable(decisions, {table!r})
    print("reading", flush=True)
    while True:
        for batch in session.batches(readable) if {paced} else Source.batches(session, readable):
            pass
"""


@contextmanager
def reading(settings: Settings, *, paced: bool) -> Iterator[None]:
    """Somebody reads the table, over and over."""
    program = READING.format(project=str(Path(__file__).parent.parent), table=TABLE, paced=paced)
    variables = settings.as_environment()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment(**variables)
    )
    try:
        if process.stdout is None or process.stdout.readline() != "reading\n":
            raise RuntimeError("nothing was read")
        yield
        if process.poll() is not None:
            raise RuntimeError("reading ended too early")
    finally:
        process.kill()
        process.communicate()


def unremovable(connection: Any, times: int) -> int:
    """How many dead tuples vacuum had to leave, over so many times."""
    left = 0
    for _ in range(times):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE churn SET n = n + 1 WHERE id <= %s", (CHANGED,))
            time.sleep(1)
            connection.notices.clear()
            cursor.execute("VACUUM (VERBOSE) churn")
        told = "\n".join(connection.notices)
        left += sum(int(count) for count in re.findall(r"(\d+) are dead but not yet removable", told))
    return left


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000, help="About how many order lines")
    parser.add_argument("--times", type=int, default=10, help="How often vacuum runs")
    chosen = parser.parse_args()
    from ds_pipelines import postgres

    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        settings = shop(Path(folder) / "home", chosen.rows // TIMES)
        multiply(settings, TIMES)
        with closing(postgres.connect("owner", settings)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE TABLE churn (id int, n int) WITH (autovacuum_enabled = off)")
                cursor.execute("INSERT INTO churn SELECT id, 0 FROM generate_series(1, 10000) AS id")
            nobody = unremovable(connection, 3)
            with reading(settings, paced=False):
                scanned = unremovable(connection, chosen.times)
            with reading(settings, paced=True):
                paced = unremovable(connection, chosen.times)
    died = CHANGED * chosen.times
    conclude(
        "vacuum_horizon",
        [
            ("nobody (the limit)", f"{3 * CHANGED:,}", f"{nobody:,}", ""),
            ("one statement", f"{died:,}", f"{scanned:,}", ""),
            ("the extract's pace", f"{died:,}", f"{paced:,}", "0"),
        ],
        header=("who reads", "died", "left by vacuum", "goal"),
        figure=paced,
        goal="no dead tuple that vacuum cannot remove a second later",
        limit=f"{nobody} with nobody reading; one statement leaves {scanned:,}",
        holds=paced == 0,
    )


if __name__ == "__main__":
    main()
