"""The days of the business: as partitions, and those that a scoring job owes its consumers.

What belongs here: which days there are, from when on one is expected, and whether a job is behind. What does not:
asking for the days that are missing (`due`), and doing a day.

A day is a calendar day in the business's time zone: 23 or 25 hours twice a year. It appears when it has ended; the
extract and the scoring refuse a day before the set delay has passed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import Settings

DAY = timedelta(days=1)


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """From the business's first day to the last that has ended."""
    return dg.DailyPartitionsDefinition(
        start_date=settings.first_day.isoformat(),
        end_date=settings.today.isoformat() if settings.today else None,
        timezone=settings.zone,
    )


def expected(job: ScoringJob, delivered: Collection[date], settings: Settings) -> list[date]:
    """The days that consumers may expect of a job by now, oldest first.

    From the job's first day (the one that it declares, or else the first that was ever delivered; of a job that never
    delivered, only the newest is expected) to the last that can be extracted and is due.
    """
    last = settings.last_extractable_day()
    while settings.now() < moment_after(last, job.due, settings):
        last -= DAY
    first = job.first or min(delivered, default=last)
    first = max(first, settings.first_day)
    return [first + offset * DAY for offset in range((last - first).days + 1)]


def moment_after(day: date, at: time, settings: Settings) -> datetime:
    """That time of the business's clock on the day after a day; a time that is skipped there is the one an hour on."""
    local = datetime.combine(day + DAY, at, ZoneInfo(settings.zone))
    return local.astimezone(UTC).astimezone(ZoneInfo(settings.zone))


@dataclass(frozen=True)
class Freshness:
    """How a job stands with its consumers."""

    newest: date | None
    """The newest day that is delivered."""
    owed: date | None
    """The newest day whose deadline has passed; None: none has."""
    deadline: datetime | None
    """Until when that day was to be delivered."""

    @property
    def late(self) -> bool:
        """Whether consumers wait for a day longer than they were promised."""
        return self.owed is not None and (self.newest is None or self.newest < self.owed)

    @property
    def words(self) -> str:
        """For a colleague."""
        newest = f"the newest delivered day is {self.newest}" if self.newest else "no day was delivered yet"
        if self.owed is None:
            return f"{newest}; no deadline has passed"
        return f"{newest}; {self.owed} was to be there by {self.deadline:%Y-%m-%d %H:%M %Z}"


def freshness(job: ScoringJob, delivered: Collection[date], settings: Settings) -> Freshness:
    """How a job stands, judged on the newest *delivered* day: a backfill of an old one makes nothing fresh."""
    owed = settings.last_extractable_day()
    while settings.now() < moment_after(owed, job.deadline, settings):
        owed -= DAY
    newest = max(delivered, default=None)
    if owed < settings.first_day or (job.first is not None and owed < job.first):
        return Freshness(newest, None, None)
    return Freshness(newest, owed, moment_after(owed, job.deadline, settings))
