"""What the gateway's server and client say to each other.

What belongs here: the shapes of questions and answers that are not records of the house already. What does not: sending
or reading.
"""

from datetime import date
from typing import Literal

from pydantic import AwareDatetime, Field, TypeAdapter

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


class RequestWanted(Record):
    """Somebody asks for what is not published yet."""

    table: str
    since: date | None = Field(None, description="First day, for a table by day")
    until: date | None = Field(None, description="Last day, for a table by day; without one, the first")
    reason: str = Field(min_length=5, max_length=500, description="What it is needed for, for those who answer for it")
    user: str | None = Field(None, description="Who asks, as an authenticating proxy named them; nobody: shared")


class RequestStatus(Record):
    """What became of a request."""

    id: str = Field(description="A UUID")
    table: str
    since: date | None
    until: date | None
    reason: str
    user: str
    state: Literal["queued", "running", "done", "failed"]
    asked_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    days: int = Field(description="How many days were asked for; 1 for a table of current state")
    done: int = Field(description="How many of them were published since")
    message: str = Field(description="Why it failed, or where it stands; may be empty")


SUMMARIES = TypeAdapter(list[ExtractSummary])
MANIFEST = TypeAdapter(SnapshotManifest)
MANIFESTS = TypeAdapter(list[SnapshotManifest])
REQUEST = TypeAdapter(RequestStatus)
REQUESTS = TypeAdapter(list[RequestStatus])
