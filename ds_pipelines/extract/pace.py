"""The pace of reading: how much at once, how long to sleep, and when not to read at all.

What belongs here: the rules by which production is spared, applied before and after each chunk. What does not: looking
at the database (`pulse`), reading (`reading`), and the record of it (`harm`).

Chunks are made as large as the database works `pace_chunk` long for each. After each, the reader sleeps in proportion
to that time: a tenth of it while the database is calm, a fiftieth while nobody else is at work. When others are at
work, or a small query takes longer than it did, sleep doubles with each look, chunks shrink to a tenth, and both
recover slowly once it is calm. While somebody waits for a lock, the replica is behind, or the file `extract.pause` is
there, nothing is read at all. Outside the allowed hours, beyond a day's budget, above the hard limit, or when patience
ends, reading stops with an error, and the next extract goes on from there. One pace is for one extract, and lets one of
its connections read at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ds_pipelines.errors import HeldBackError, SourceRefusedError
from ds_pipelines.extract.harm import Harm, Look, latency

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date
    from pathlib import Path

    import polars as pl

    from ds_pipelines.extract.pulse import Beat, Pulse
    from ds_pipelines.settings import Settings

FEWEST_ROWS, FIRST_ROWS, MOST_ROWS = 200, 2_000, 1 << 16
MOST_BYTES = 16 << 20
"""Of a chunk: rows are fewer where they are wide."""
PROBES = 9
_PRESSED_SHARE = 0.1
"""Of a chunk's usual length, while the database is pressed."""
_FIRST_SLEEP = 16.0
"""For each second of reading, when it is found pressed for the first time."""
_RECOVERY = 0.8
_ALONE = 0.2
"""Of the usual sleep, while nobody else is at work at all."""
_MARGIN = 5.0
"""Milliseconds that the probe may take longer in any case: so long our own threads may hold each other up."""
_LOOKS = 4_000
_SECONDS_BETWEEN_LOOKS = 0.5
_BLIND = (
    "the role is no member of pg_read_all_stats and does not see what others do: only the probe slows the extract down "
    "(GRANT pg_read_all_stats TO the role)"
)


class LeftError(Exception):
    """Nobody wants any more what is being read."""


@dataclass
class Turn:
    """One chunk's turn to be read."""

    rows: int
    """How many to ask for."""
    read: int = 0
    """How many came."""
    bytes: int = 0


class Pace:
    """The pace of one extract."""

    def __init__(
        self, settings: Settings, pulse: Pulse, table: str, *, database: str = "primary", notes: tuple[str, ...] = ()
    ) -> None:
        self.notes = list(notes)
        self._settings, self._pulse, self._table, self._database = settings, pulse, table, database
        self._one_at_a_time = threading.RLock()
        self._left = threading.Event()
        self._began, self._clock = datetime.now(UTC), time.monotonic()
        self._rows = FIRST_ROWS
        self._sleep = settings.pace_sleep
        self._pressed = ""
        self._alone = False
        self._due = 0.0
        self._before = [pulse.probe() for _ in range(PROBES)]
        self._usual = sorted(self._before)[PROBES // 2]
        self._looks: list[Look] = []
        self._waited: dict[str, float] = {}
        self._read = self._chunks = 0
        self._reading = 0.0
        self._patience = 0.0
        if not pulse.sees:
            self.notes.append(_BLIND)

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Waits until a chunk may be read; afterwards, what it took decides on the next.

        Raises:
            HeldBackError: nothing may be read.
            LeftError: nobody waits for it.
        """
        with self._one_at_a_time:
            self._wait()
            turn = Turn(self._rows)
            began = time.monotonic()
            yield turn
            self._took(time.monotonic() - began, turn)

    def scanned(self, batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Passes on what one statement reads, which only its beginning can wait for; nobody else is kept waiting."""
        with self._one_at_a_time:
            self._wait()
        began = time.monotonic()
        turn = Turn(1)
        for batch in batches:
            turn.read += batch.height
            yield batch
        self._took(time.monotonic() - began, turn)

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Ends any waiting when the block is left by an error."""
        try:
            yield
        except BaseException:
            self._left.set()
            raise

    def harm(self, first: date | None, last: date | None) -> Harm:
        """What was done so far; looks once more."""
        return Harm(
            table=self._table,
            first=first,
            last=last,
            began=self._began,
            ended=datetime.now(UTC),
            database=self._database,
            rows=self._read,
            chunks=self._chunks,
            reading=round(self._reading, 3),
            waited={reason: round(seconds, 3) for reason, seconds in self._waited.items()},
            before=latency(self._before),
            during=latency([look.latency for look in self._looks]),
            after=latency(self._probes()),
            notes=tuple(self.notes),
            looks=tuple(self._looks),
        )

    def note(self, words: str) -> None:
        """Puts something into the record, once."""
        if words not in self.notes:
            self.notes.append(words)

    def _probes(self) -> list[float]:
        try:
            return [self._pulse.probe() for _ in range(PROBES)]
        except SourceRefusedError:  # the database may be what ended the extract
            return []

    def _wait(self) -> None:
        """Until the time is come and nothing speaks against it."""
        self._nap(self._due, self._pressed or "in proportion")
        self._due = 0.0
        self._stop_if(self._forbidden())
        while reason := self._held_back():
            if self._patience > self._settings.pace_patience.total_seconds():
                self._stop_if((f"it waited for {self._patience:.0f} s: {reason}", "Try again when that is over."))
            began = time.monotonic()
            self._nap(_SECONDS_BETWEEN_LOOKS, reason)
            self._patience += time.monotonic() - began
            self._stop_if(self._forbidden())
        self._patience = 0.0

    def _nap(self, seconds: float, reason: str) -> None:
        if self._left.is_set():
            raise LeftError
        if seconds <= 0:
            return
        began = time.monotonic()
        left = self._left.wait(seconds)
        self._waited[reason] = self._waited.get(reason, 0.0) + time.monotonic() - began
        if left:
            raise LeftError

    def _held_back(self) -> str:
        """Why nothing may be read at this moment."""
        if self._settings.pause.exists():
            return "paused"
        beat = self._pulse.beat()
        self._judge(beat)
        if beat.active > self._settings.pace_stop:
            step = "Find out what is wrong with production first, or raise DS_PACE_STOP."
            self._stop_if((f"{beat.active} backends of others are at work", step))
        if beat.waiting > self._settings.pace_waiting:
            return "lock waits"
        return "replica lag" if beat.lag > self._settings.replica_lag.total_seconds() else ""

    def _judge(self, beat: Beat) -> None:
        """Sleeps more from now on, or a little less."""
        settings = self._settings
        self._alone = self._pulse.sees and beat.active == 0
        bearable = max(settings.pace_probe * self._usual, self._usual + _MARGIN)
        if beat.active > settings.pace_active:
            self._pressed = "active backends"
        elif beat.latency > bearable:
            self._pressed = "slow probe"
        elif beat.waiting > settings.pace_waiting:
            self._pressed = "lock waits"
        else:
            self._sleep = max(self._sleep * _RECOVERY, settings.pace_sleep)
            self._pressed = self._pressed if self._sleep > settings.pace_sleep else ""
            self._note(beat)
            return
        most = max(settings.pace_most_sleep, settings.pace_sleep)
        self._sleep = min(max(2 * self._sleep, _FIRST_SLEEP), most)
        self._note(beat)

    def _note(self, beat: Beat) -> None:
        if len(self._looks) >= _LOOKS:
            del self._looks[::2]
        second = round(time.monotonic() - self._clock, 3)
        self._looks.append(
            Look(second=second, latency=beat.latency, active=beat.active, waiting=beat.waiting, sleep=self._sleep)
        )

    def _took(self, seconds: float, turn: Turn) -> None:
        self._read += turn.read
        self._chunks += 1
        self._reading += seconds
        self._due = self._sleep * seconds * (_ALONE if self._alone and not self._pressed else 1.0)
        spend(self._settings, turn.read, seconds)
        if turn.read < turn.rows and not self._pressed:  # all there was: it tells nothing of how long a full one takes
            return
        share = _PRESSED_SHARE if self._pressed else 1.0
        fitting = turn.rows * share * self._settings.pace_chunk.total_seconds() / max(seconds, 1e-6)
        rows = min(max(fitting, turn.rows / 4), turn.rows * 2)
        if turn.read and turn.bytes:
            rows = min(rows, MOST_BYTES / (turn.bytes / turn.read))
        self._rows = int(min(max(rows, FEWEST_ROWS), MOST_ROWS))

    def _forbidden(self) -> tuple[str, str] | None:
        """Why nothing may be read for long, and what to do about it."""
        settings = self._settings
        if not within(settings.extract_hours, datetime.now(ZoneInfo(settings.zone))):
            return f"it is outside DS_EXTRACT_HOURS ({settings.extract_hours})", "Extract it in these hours."
        spent = spent_today(settings)
        for name, limit, used in (
            ("DS_EXTRACT_ROWS_A_DAY", settings.extract_rows_a_day, spent.rows),
            ("DS_EXTRACT_SECONDS_A_DAY", settings.extract_seconds_a_day, spent.seconds),
        ):
            if limit is not None and used >= limit:
                return f"the day's budget is spent ({name}={limit})", "Extract it tomorrow, or raise the budget."
        return None

    def _stop_if(self, why: tuple[str, str] | None) -> None:
        if why is not None:
            raise HeldBackError(self._table, *why)


@dataclass(frozen=True)
class Spent:
    """What extracts have taken from production today."""

    rows: int = 0
    seconds: float = 0.0


def within(hours: str | None, now: datetime) -> bool:
    """Whether a moment is in the allowed hours, which may pass midnight."""
    if hours is None:
        return True
    start, end = hours.split("-")
    clock = f"{now:%H:%M}"
    return start <= clock < end if start <= end else clock >= start or clock < end


def spent_today(settings: Settings) -> Spent:
    """What the extracts of this home have taken today, by the business's calendar."""
    try:
        return Spent(**json.loads(_account(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return Spent()


def spend(settings: Settings, rows: int, seconds: float) -> None:
    """Adds to what was taken today."""
    path = _account(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = spent_today(settings)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"rows": before.rows + rows, "seconds": round(before.seconds + seconds, 3)}))
        draft.replace(path)
    finally:
        os.close(folder)


def polite() -> None:
    """Lets every other process of this machine go first; for the life of this one."""
    if os.getpriority(os.PRIO_PROCESS, 0) < _NICE:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)


_NICE = 19


def _account(settings: Settings) -> Path:
    return settings.home / "pace" / f"{datetime.now(ZoneInfo(settings.zone)).date()}.json"
