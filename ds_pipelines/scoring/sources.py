"""What a scored day was made from, as production held it: so that source data which comes late is noticed.

What belongs here: which days of which tables count, and their fingerprints together. What does not: a fingerprint
(`extract.fingerprint`), and scoring a day again.

Of each table by day, the `rescore_days` that end with the scored day count, or as many as the job reads. Older ones do
not: what changes in them is settled history, which a job with all of history in its features sees from the next day on.
Tables of current state have no history at all, so a day scored again is scored with them as they are by then.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from ds_pipelines.extract import policy as policies
from ds_pipelines.extract.fingerprint import fingerprints

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date

    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.scoring.receipt import Input, Receipt
    from ds_pipelines.settings import Settings

DAY = timedelta(days=1)


def sources(job: ScoringJob, days: Collection[date], settings: Settings) -> dict[date, dict[str, str]]:
    """For each day the fingerprint of each table by day that the job reads; one statement a table.

    Raises:
        The errors of `extract.fingerprint.fingerprints`.
    """
    if not days:
        return {}
    policy = policies.load(settings.policies / policies.SHOP)
    back = settings.rescore_days - 1
    if job.history is not None:
        back = min(back, job.history.days - 1)
    first = max(min(days) - back * DAY, settings.first_day)
    found: dict[date, dict[str, str]] = {day: {} for day in days}
    for table in job.reads:
        if policy.table(table).by_day is None:
            continue
        told = fingerprints(table, settings, since=first, until=max(days))
        for day in days:
            counted = [told[at] for offset in range(back, -1, -1) if (at := day - offset * DAY) >= first]
            found[day][table] = hashlib.sha256("".join(counted).encode()).hexdigest()[:16]
    return found


def changed_since(receipt: Receipt, now: Mapping[str, str]) -> bool:
    """Whether what a delivery was made from has changed; of one that did not note it, nothing is known."""
    then = {each.table: each.source for each in receipt.inputs if each.source}
    return any(then[table] != told for table, told in now.items() if table in then)


def noted(inputs: Iterable[Input], source: Mapping[str, str]) -> tuple[Input, ...]:
    """What was read, with the fingerprints of its source from before it was."""
    return tuple(each.model_copy(update={"source": source.get(each.table, "")}) for each in inputs)
