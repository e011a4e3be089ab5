r"""What does delivering cost: 5 M scores into the serving table, against `psql \copy` of the same rows?

`psql` copies a CSV file into a table with the contract's columns and its primary key, which no consumer sees before its
end. Ours reads the rows from Parquet, holds every batch to the contract, copies it, reads the whole back for the
checksum, and makes it visible with its receipt. Both sides in turns, the best of each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks.extracting import run
from benchmarks.report import conclude
from ds_pipelines import postgres
from ds_pipelines.production.jobs.repurchase import JOB
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

MODULE = "benchmarks.delivery"  # and not __main__, which another process does not have
DAY, RELEASE = date(2025, 3, 3), "5" * 64
BATCH = 1 << 17
COPY_SHARE, GROWTH, TIMES = 0.7, 1.15, 4


def by_delivery(batches: Iterable[pl.DataFrame], job: ScoringJob, day: date, settings: Settings) -> float:
    """Rows a second of a delivery, the rows lying in a Parquet file."""
    with tempfile.TemporaryDirectory(dir=settings.home) as folder:
        path = Path(folder) / "rows.parquet"
        rows = _write(batches, path)
        began = time.monotonic()
        _deliver(path, job, day, settings)
        return rows / (time.monotonic() - began)


def by_psql(batches: Iterable[pl.DataFrame], job: ScoringJob, settings: Settings) -> float:
    r"""Rows a second of `psql \copy`, the rows lying in a CSV file, into a table with the job's columns and key."""
    columns = ", ".join(f"{column.name} {column.type} NOT NULL" for column in job.columns)
    table = f"{job.table}_by_psql"
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({', '.join(job.key)}))")
    rows = 0
    with tempfile.TemporaryDirectory(dir=settings.home) as folder:
        path = Path(folder) / "rows.csv"
        with path.open("wb") as file:
            for batch in batches:
                batch.write_csv(file, include_header=False)
                rows += batch.height
        copy = f"\\copy {table} from '{path}' (format csv)"
        psql = [str(postgres.binaries() / "psql"), "--dbname", postgres.url("serving", settings), "-qc", copy]
        began = time.monotonic()
        subprocess.run(psql, check=True)
        took = time.monotonic() - began
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {table}")
    return rows / took


def one_delivery(settings: Settings, *, warm: bool) -> None:
    """The side whose memory is measured; the first call delivers a few rows."""
    path = settings.home / ("warm.parquet" if warm else "rows.parquet")
    _deliver(path, JOB, DAY, settings)


def _deliver(path: Path, job: ScoringJob, day: date, settings: Settings) -> None:
    from ds_pipelines.scoring.deliver import begin, deliver

    batches = pl.scan_parquet(path).collect_batches(chunk_size=BATCH, maintain_order=True)
    deliver(batches, job, day, release=RELEASE, inputs=(), settings=settings, began=begin(settings))


def _write(batches: Iterable[pl.DataFrame], path: Path) -> int:
    import pyarrow.parquet as pq

    rows, writer = 0, None
    for batch in batches:
        table = batch.to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema, compression="lz4")
        writer.write_table(table)
        rows += batch.height
    if writer is not None:
        writer.close()
    return rows


def scores(rows: int) -> Iterator[pl.DataFrame]:
    """So many rows of the contract, in the order of their key."""
    rng = np.random.default_rng(1)
    for start in range(0, rows, BATCH):
        many = min(BATCH, rows - start)
        yield pl.DataFrame(
            {
                "day": pl.Series([DAY]).new_from_index(0, many),
                "customer_id": np.arange(start, start + many),
                "score": rng.random(many),
                "decile": rng.integers(1, 11, many).astype(np.int16),
                "release": pl.Series([RELEASE]).new_from_index(0, many),
            }
        )


def _empty(settings: Settings) -> None:
    """A serving database in which nothing was delivered."""
    with closing(postgres.connect("serving", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL client_min_messages = warning; DROP OWNED BY CURRENT_USER; CREATE SCHEMA IF NOT EXISTS public"
        )


def _peak(settings: Settings, rows: int) -> float:
    """MiB of a process that delivers so many."""
    _write(scores(1_000), settings.home / "warm.parquet")
    _write(scores(rows), settings.home / "rows.parquet")
    _empty(settings)
    return run(MODULE, "one_delivery", settings).peak


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=3, help="How often each side runs")
    chosen = parser.parse_args()
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as home:
        settings = load_settings(home=Path(home))
        for _ in range(chosen.times):
            _empty(settings)
            ours.append(by_delivery(scores(chosen.rows), JOB, DAY, settings))
            _empty(settings)
            theirs.append(by_psql(scores(chosen.rows), JOB, settings))
        small, large = _peak(settings, chosen.rows), _peak(settings, chosen.rows * TIMES)
        postgres.cluster("production", settings).release()
    share, growth = max(ours) / max(theirs), large / small
    conclude(
        "delivery",
        [
            ("a delivery", f"{max(ours):,.0f}", f"{small:.0f}"),
            ("psql \\copy", f"{max(theirs):,.0f}", ""),
            (f"a delivery of {TIMES} x the rows", "", f"{large:.0f} = {growth:.2f} x"),
            (f"load: {os.getloadavg()[0]:.1f}", "", ""),
        ],
        header=(f"{chosen.rows:,} rows", "rows a second", "peak MiB"),
        figure=share,
        goal=f">= {COPY_SHARE} x psql, and <= {GROWTH} x the memory at {TIMES} x the rows",
        limit="1.0 (psql \\copy)",
        holds=share >= COPY_SHARE and growth <= GROWTH,
    )


if __name__ == "__main__":
    main()
