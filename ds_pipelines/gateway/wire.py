"""What the gateway's server and client say to each other.

What belongs here: the shapes of answers that are not records of the house already. What does not: sending or reading.
"""

from datetime import date
from typing import Literal

from pydantic import Field, TypeAdapter

from ds_pipelines.evidence import Record, SnapshotManifest


class ExtractSummary(Record):
    """What is published of one table."""

    table: str
    rows_of: Literal["day", "state"] = Field(
        description="Rows that fell on each day, or the whole table as it was then"
    )
    first_day: date
    last_day: date
    days: int = Field(description="How many days are published; fewer than first to last if some are missing")
    rows: int = Field(description="Of all days; of the newest day for a table of current state")


SUMMARIES = TypeAdapter(list[ExtractSummary])
MANIFEST = TypeAdapter(SnapshotManifest)
MANIFESTS = TypeAdapter(list[SnapshotManifest])
