"""The days of the business as partitions.

A day is a calendar day in the business's time zone. It appears when it has ended; the extract itself refuses a day
before the set delay has passed.
"""

import dagster as dg

from ds_pipelines.settings import Settings


def daily(settings: Settings) -> dg.DailyPartitionsDefinition:
    """From the business's first day to the last that has ended."""
    return dg.DailyPartitionsDefinition(
        start_date=settings.first_day.isoformat(),
        end_date=settings.today.isoformat() if settings.today else None,
        timezone=settings.zone,
    )
