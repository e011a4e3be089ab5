"""What does anonymizing 2 M order lines cost, against copying them as they are and against what people write?

Every side runs in a process of its own, and they take turns; of each, the least of its rounds counts. The limit is the
same rows as binary COPY, thrown away. CPU seconds are the client's.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.extracting import Side, best, run, shop
from benchmarks.report import conclude

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

TABLE = "order_lines"
SIDES = ("copied", "plain", "anonymized", "published")
NAIVE = "as_people_write_it"


def copied(settings: Settings, *, warm: bool) -> None:
    """The limit: binary COPY, thrown away."""
    from contextlib import closing

    from ds_pipelines import postgres

    class Nowhere:
        def write(self, content: bytes) -> int:
            return len(content)

    with closing(postgres.connect("extract", settings)) as connection, connection.cursor() as cursor:
        cursor.copy_expert(f"COPY (TABLE {TABLE} LIMIT {100 if warm else 'ALL'}) TO STDOUT (FORMAT binary)", Nowhere())


def plain(settings: Settings, *, warm: bool) -> None:
    """The plain loop: ADBC to Parquet, nothing anonymized."""
    import adbc_driver_postgresql.dbapi as adbc
    import pyarrow.parquet as pq

    from ds_pipelines import postgres

    url = postgres.libpq_url(postgres.url("extract", settings))
    with adbc.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {TABLE} LIMIT {100 if warm else 'ALL'}")
        batches = cursor.fetch_record_batch()
        with pq.ParquetWriter(settings.home / "plain.parquet", batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


def anonymized(settings: Settings, *, warm: bool) -> None:
    """The same, anonymized on the way: a thread reads, another transforms, a third writes, compressed as by default.

    Pseudonyms are not compressed: they are of random digits.
    """
    import pyarrow.parquet as pq

    from ds_pipelines.extract import policy, pseudonyms, source
    from ds_pipelines.extract.stream import ahead
    from ds_pipelines.extract.transform import transform
    from ds_pipelines.snapshots.parquet import repeating

    decisions = policy.load(settings.policies / policy.SHOP)
    hidden = pseudonyms.load(settings)
    if warm:
        return
    with source.connect("extract", settings) as session:
        readable = session.readable(decisions, TABLE)
        with (
            ahead(session.batches(readable)) as batches,
            ahead((transform(each, readable.policy, hidden, zone=settings.zone) for each in batches), depth=1) as made,
        ):
            first = next(made)
            path, schema = settings.home / "anonymized.parquet", first.to_arrow().schema
            random = ("order_line_id", "customer_id")
            codecs = {name: "none" if name in random else "snappy" for name in first.columns}
            alike = repeating(first.schema, random)
            with pq.ParquetWriter(path, schema, use_dictionary=alike, compression=codecs) as writer:
                for rows in chain([first], made):
                    writer.write_table(rows.to_arrow())


def published(settings: Settings, *, warm: bool) -> dict[str, float]:
    """All of it: streamed, in pseudonym order, searched, counted, proved and published."""
    from ds_pipelines.extract import anonymity, order, publish, search
    from ds_pipelines.snapshots import digest, parquet

    if warm:
        publish.extract_state("products", settings)
        return {}
    shutil.rmtree(settings.snapshots, ignore_errors=True)
    spent: dict[str, float] = {}
    _timed(spent, "counting persons (k)", anonymity.Counter, "take")
    _timed(spent, "transforming", publish, "transform")
    _timed(spent, "spilling", order.Ordering, "_spill")
    _timed(spent, "searching the rows", search.Search, "add")
    _timed(spent, "searching for people", search.Search, "flush")
    _timed(spent, "logical digest", digest.LogicalDigest, "update")
    _timed(spent, "sorting, Parquet, digests", parquet, "write_parquet", publish_too=True)
    publish.extract_state(TABLE, settings)
    return spent


def _timed(spent: dict[str, float], name: str, owner: object, function: str, *, publish_too: bool = False) -> None:
    """Counts the CPU seconds of the whole process while a function runs, its helpers' threads included."""
    from ds_pipelines.snapshots import store

    untimed = getattr(owner, function)

    def timed(*arguments: object, **options: object) -> object:
        began = time.process_time()
        try:
            return untimed(*arguments, **options)
        finally:
            spent[name] = spent.get(name, 0.0) + time.process_time() - began

    for each in (owner, store) if publish_too else (owner,):
        setattr(each, function, timed)


def as_people_write_it(settings: Settings, *, warm: bool) -> None:
    """The script that the extract replaces."""
    import hashlib

    import pandas as pd
    import sqlalchemy

    from ds_pipelines import postgres

    engine = sqlalchemy.create_engine(postgres.sqlalchemy_url(postgres.url("extract", settings)))
    frame = pd.read_sql(f"SELECT * FROM {TABLE} LIMIT {100 if warm else 'ALL'}", engine)
    for name in ("order_line_id", "customer_id"):
        frame[name] = frame[name].map(lambda value: hashlib.sha256(f"secret{value}".encode()).hexdigest()[:32])
    frame["placed_at"] = frame["placed_at"].map(lambda moment: moment.date().replace(day=1))
    frame["ship_postcode"] = frame["ship_postcode"].str[:2]
    frame.drop(columns="gift_message").to_parquet(settings.home / "people.parquet")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000, help="About how many order lines")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        settings = shop(Path(folder) / "home", chosen.rows)
        rounds: dict[str, list[Side]] = {name: [] for name in (*SIDES, NAIVE)}
        for number in range(chosen.rounds):
            for name in SIDES if number else (*SIDES, NAIVE):
                rounds[name].append(run("benchmarks.extract_throughput", name, settings))
    found = {name: best(sides) for name, sides in rounds.items()}
    _conclude(found)


def _conclude(found: dict[str, Side]) -> None:
    base, ours, whole, people = found["plain"], found["anonymized"], found["published"], found[NAIVE]
    rows = [
        (name, f"{side.wall:.2f}", f"{side.cpu:.2f}", f"{side.peak:.0f}", f"{side.cpu / base.cpu:.2f}", goal)
        for (name, side), goal in zip(
            found.items(), ("the limit", "1", "cpu <= 1.2, wall <= 0.85", "cpu <= 2", "wall >= 8, memory"), strict=True
        )
    ]
    rows += [(f"  of published: {name}", "", f"{cpu:.2f}", "", "", "") for name, cpu in whole.said.items()]
    cpu, wall = ours.cpu / base.cpu, ours.wall / base.wall
    faster, leaner = people.wall / ours.wall, people.peak / ours.peak
    print(f"wall {wall:.2f} x plain; {faster:.1f} x faster than as people write it, at {1 / leaner:.2f} of its memory")
    conclude(
        "extract_throughput",
        rows,
        header=("side", "wall s", "CPU s", "peak MiB", "CPU / plain", "goal"),
        figure=cpu,
        goal="anonymized <= 1.2 x plain CPU and <= 0.85 x its wall; published <= 2 x its CPU; 8 x pandas, 1/10 memory",
        limit=f"binary COPY {found['copied'].cpu:.2f} CPU s, {found['copied'].wall:.2f} s",
        holds=cpu <= 1.2 and wall <= 0.85 and whole.cpu <= 2 * base.cpu and faster >= 8 and leaner >= 10,
    )


if __name__ == "__main__":
    main()
