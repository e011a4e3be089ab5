"""Reading production at its pace: chunk by chunk, each kept before the next begins, and settled at the end.

What belongs here: opening production or its replica, and one reading from its first chunk to its last. What does not:
what a chunk is (`chunks`), when it is read (`pace`), where it is kept (`unfinished`), and what becomes of rows.

A table that cannot be walked along is read by one statement, with a time limit; the record of harm says so.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from ds_pipelines.errors import DatabaseUnreachableError
from ds_pipelines.extract import harm as record
from ds_pipelines.extract import source
from ds_pipelines.extract.chunks import Position, Walk, settling, walk
from ds_pipelines.extract.names import literal, qualified
from ds_pipelines.extract.pace import Pace
from ds_pipelines.extract.pulse import open_pulse
from ds_pipelines.extract.source import BATCH_BYTES, STATEMENT_SECONDS, Readable, Source
from ds_pipelines.extract.stream import ahead
from ds_pipelines.extract.unfinished import Chunk, Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from ds_pipelines.extract.harm import Harm
    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.extract.pulse import Pulse
    from ds_pipelines.extract.unfinished import Reading
    from ds_pipelines.postgres import Role
    from ds_pipelines.settings import Settings

CHUNK_SECONDS = 60
"""A chunk that takes longer is given up: something is wrong with its index, or with the server."""
_KEPT_ROWS = 1 << 16
"""Of a scan, in one file."""
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Treated:
    """What became of some rows."""

    rows: pl.DataFrame
    """What is kept of them; holds no real key."""
    erased: Mapping[str, int] = field(default_factory=dict)
    """Rows of erased persons, by day where the table has days."""
    found: Mapping[str, int] = field(default_factory=dict)
    """Texts so far that name somebody, by column."""


Treat: TypeAlias = "Callable[[pl.DataFrame, bool], Treated]"
"""What is made of rows; the flag asks it to be brief, and to ask the database for nothing."""


class PacedSource(Source):
    """A session that reads at a pace, whatever is read by it in batches."""

    policy: Policy
    pace: Pace

    def batches(
        self, table: Readable, *, since: date | None = None, until: date | None = None, batch_bytes: int = BATCH_BYTES
    ) -> Iterator[pl.DataFrame]:
        """As a source's own, in chunks where the table can be walked along."""
        way = walk(self, self.policy, table, since, until)
        if isinstance(way, str):
            self.pace.note(by_one_statement(table, way))
            self.tell(table, f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
            yield from self.pace.scanned(super().batches(table, since=since, until=until, batch_bytes=batch_bytes))
        else:
            yield from (rows for rows, _, _ in _pieces(way, self.pace, None))

    def read(self, table: Readable, *, since: date | None = None, until: date | None = None) -> pl.DataFrame:
        """As a source's own; of a row that was moved to a later instant meanwhile, the later version."""
        frame = super().read(table, since=since, until=until)
        way = walk(self, self.policy, table, since, until)
        if isinstance(way, str) or table.policy.by_day is None or not {*way.by} <= {*frame.columns}:
            return frame
        return frame.unique(way.by[1:] or way.by, keep="last", maintain_order=True)


@dataclass(frozen=True)
class Opened:
    """Production, ready to be read at a pace."""

    session: PacedSource
    second: PacedSource
    """For what is asked while the first reads."""
    pace: Pace

    def told(self, table: Readable, way: Walk | str) -> str:
        """What is read and how, for a reading to be gone on with only if nothing of that has changed."""
        named = literal(qualified(table.schema, table.policy.name))
        [(oid,)] = self.session.answer(table, f"SELECT {named}::regclass::oid::bigint")
        by = () if isinstance(way, str) else way.by
        return repr((oid, by, {name: (how.column.type, str(how.dtype)) for name, how in table.columns.items()}))


@contextmanager
def opened(
    role: Role,
    settings: Settings,
    policy: Policy,
    table: str,
    *,
    first: date | None = None,
    last: date | None = None,
    on_harm: Callable[[Harm], None] | None = None,
) -> Iterator[Opened]:
    """Opens production, or its replica where there is one for the role; afterwards, the harm is kept and told.

    Raises:
        DatabaseUnreachableError, ClusterError, DiskFullError: as `source.connect`.
    """
    with _database(role, settings) as (chosen, pulse, database, notes):
        pace = Pace(settings, pulse, table, database=database, notes=notes)
        with (
            source.connect_as(PacedSource, role, chosen) as session,
            source.connect_as(PacedSource, role, chosen) as second,
        ):
            for each in (session, second):
                each.policy, each.pace = policy, pace
            try:
                yield Opened(session, second, pace)
            finally:
                done = pace.harm(first, last)
                with suppress(OSError):  # it is full: that is what the extract's own error says
                    record.keep(done, settings)
                if on_harm is not None:
                    on_harm(done)


@contextmanager
def _database(role: Role, settings: Settings) -> Iterator[tuple[Settings, Pulse, str, tuple[str, ...]]]:
    """The replica, if it is there and close enough behind; else production, and why."""
    notes: tuple[str, ...] = ()
    if role == "extract" and settings.replica_url is not None:
        replica = settings.model_copy(update={"extract_url": settings.replica_url})
        try:
            with open_pulse(role, replica) as pulse:
                behind = _caught_up(pulse, settings)
                if not behind:
                    yield replica, pulse, "replica", ()
                    return
                notes = (behind,)
        except DatabaseUnreachableError:
            notes = ("the replica of DS_REPLICA_URL does not answer, so production is read",)
    with open_pulse(role, settings) as pulse:
        yield settings, pulse, "primary", notes


def _caught_up(pulse: Pulse, settings: Settings) -> str:
    """Waits for the replica; why it is not read, if it does not catch up."""
    until = time.monotonic() + settings.replica_patience.total_seconds()
    while (lag := pulse.beat().lag) > settings.replica_lag.total_seconds():
        if time.monotonic() > until:
            return f"the replica was {lag:.0f} s behind, so production is read"
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return ""


def read_whole(
    way: Walk | str,
    readable: Readable,
    production: Opened,
    kept: Reading,
    treat: Treat,
    *,
    since: date | None = None,
    until: date | None = None,
    most: int | None = None,
) -> Whole | None:
    """Reads some days or a whole table to its end, from where an interrupted reading of the same stopped.

    Args:
        way: How the table can be walked along, or why it cannot.
        readable: The table.
        production: What reads, at its pace.
        kept: Where the rows are kept.
        treat: What is kept of rows.
        since: The first business day.
        until: The last, included.
        most: Rows beyond which the reading is given up.

    Returns:
        What was read; None: it was more.

    Raises:
        SourceRefusedError, UnreadableValueError: as `Source.batches`.
        HeldBackError: production is not to be read now.
    """
    if (whole := kept.whole) is not None:
        return whole
    pace = production.pace
    if isinstance(way, str):
        pace.note(by_one_statement(readable, way))
        return _scanned(readable, production, kept, treat, since=since, until=until, most=most)
    way = replace(way, since=since, until=until)
    if not kept.begun:
        way = settling(way) if readable.policy.by_day else way
        kept.begin(way.horizon)
    elif kept.horizon is not None:
        way = settling(way, kept.horizon)
    last = kept.chunks[-1] if kept.chunks else None
    if most is not None and sum(chunk.rows for chunk in kept.chunks) > most:
        return None
    if last is None or last.end is not None:
        with ahead(_pieces(way, pace, last.end if last else None)) as pieces, pace.wanted():
            for read, after, end in pieces:
                treated = treat(read, False)
                told = {"erased": treated.erased, "found": treated.found}
                kept.add(treated.rows, read=read.height, after=after, end=end, **told)
                if most is not None and sum(chunk.rows for chunk in kept.chunks) > most:
                    return None
    return kept.finish(_settled(way, pace, kept, treat))


def by_one_statement(table: Readable, because: str) -> str:
    """What is said of a table that cannot be walked along."""
    return f"table {table.policy.name} was read by one statement, because {because}"


def _pieces(
    way: Walk, pace: Pace, after: Position | None
) -> Iterator[tuple[pl.DataFrame, Position | None, Position | None]]:
    """The chunks behind a position, each with where it begins and ends."""
    way.source.tell(way.table, f"SET statement_timeout = '{CHUNK_SECONDS}s'")
    more = True
    while more:
        with pace.turn() as turn:
            rows, end = way.chunk(after, turn.rows)
            turn.read, turn.bytes = rows.height, int(rows.estimated_size())
        yield rows, after, end
        after, more = end, end is not None


def _settled(way: Walk, pace: Pace, kept: Reading, treat: Treat) -> Whole:
    """What was read, with what changed meanwhile as it is at one moment at the end."""
    if way.horizon is None:
        return _whole(kept.chunks, None, datetime.now(UTC))
    final: list[Chunk] = []
    with pace.turn() as turn, way.source.moment(way.table) as seen:
        read_at = datetime.now(UTC)
        late = _again(way.late(), kept, treat, "late")
        changed = {chunk.file for chunk in _changed(way, kept.chunks)}
        for number, chunk in enumerate(kept.chunks):
            if chunk.file in changed:
                final += _again(way.again(chunk.after, chunk.end), kept, treat, f"again-{number}")
            else:
                final.append(chunk)
        turn.read = sum(chunk.read for chunk in (*late, *final) if chunk not in kept.chunks)
    return _whole([*final, *late], seen, read_at)


def _again(
    frames: Iterator[pl.DataFrame], kept: Reading, treat: Treat, name: str, *, brief: bool = True
) -> list[Chunk]:
    """Reads rows that are not gone on with if this is killed, but read anew."""
    chunks = []
    for number, read in enumerate(frames):
        treated = treat(read, brief)
        file = kept.keep(treated.rows, f"{name}-{number}.arrow")
        chunks.append(
            Chunk(file, treated.rows.height, read.height, None, None, erased=treated.erased, found=treated.found)
        )
    return chunks


def _changed(way: Walk, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
    """The chunks of which rows were changed or deleted since; found by halving."""
    if not chunks or way.count(chunks[0].after, chunks[-1].end) == sum(chunk.read for chunk in chunks):
        return
    if len(chunks) == 1:
        yield chunks[0]
        return
    half = len(chunks) // 2
    yield from _changed(way, chunks[:half])
    yield from _changed(way, chunks[half:])


def _scanned(
    readable: Readable,
    production: Opened,
    kept: Reading,
    treat: Treat,
    *,
    since: date | None,
    until: date | None,
    most: int | None,
) -> Whole | None:
    """Reads by one statement, which is one moment by itself."""
    chunks: list[Chunk] = []
    rows = 0
    session, pace = production.session, production.pace
    with session.moment(readable) as seen:
        read_at = datetime.now(UTC)
        scan = pace.scanned(Source.batches(session, readable, since=since, until=until))
        with ahead(_joined(scan)) as pieces, pace.wanted():
            for read in pieces:
                chunks += _again(iter([read]), kept, treat, f"scan-{len(chunks)}", brief=False)
                rows += chunks[-1].rows
                if most is not None and rows > most:
                    return None
    return kept.finish(_whole(chunks, seen, read_at))


def _joined(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Batches put together, so that files are not too many."""
    held: list[pl.DataFrame] = []
    for batch in batches:
        held.append(batch)
        if sum(each.height for each in held) >= _KEPT_ROWS:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held, rechunk=True)


def _whole(chunks: Sequence[Chunk], watermark: str | None, read_at: datetime) -> Whole:
    erased: dict[str, int] = {}
    found: dict[str, int] = {}
    for chunk in chunks:
        for day, gone in chunk.erased.items():
            erased[day] = erased.get(day, 0) + gone
        found |= {name: max(count, found.get(name, 0)) for name, count in chunk.found.items()}
    files = tuple(chunk.file for chunk in chunks)
    return Whole(files, sum(chunk.rows for chunk in chunks), erased, found, watermark, read_at)
