"""What the gateway's server and client say to each other.

What belongs here: the shapes of answers that are not records of the house already. What does not: sending or reading.
"""

from datetime import date
from typing import Literal

from pydantic import AwareDatetime, Field, TypeAdapter
from pydantic.config import JsonDict

from ds_pipelines.evidence import Column, Record, SnapshotManifest, Withheld
from ds_pipelines.gateway.users import AssertedBy, words

SHORTEST_REASON, LONGEST_REASON = 5, 500
"""Characters of the reason of a request."""
_WRITABLE: JsonDict = {"pattern": r"^[^\x00]*$"}
"""PostgreSQL has no text with NUL; described here, and refused by the server."""


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


class TableSchema(Record):
    """What the newest published extract of a table holds, and why it is so."""

    table: str
    rows_of: Literal["day", "state"]
    day: date = Field(description="The newest day that is published, of which this is said")
    columns: tuple[Column, ...]
    withheld: tuple[Withheld, ...]
    policy_digest: str


class PublishedDay(Record):
    """What is published of a table for one day, in short."""

    day: date
    rows: int
    bytes: int
    digest: str
    published_at: AwareDatetime


class RequestWanted(Record):
    """What somebody asks for that is not published yet, or not any more as it is in production."""

    table: str = Field(json_schema_extra=_WRITABLE)
    since: date | None = Field(None, description="First day; None for a table of current state")
    until: date | None = Field(None, description="Last day, included; None for a table of current state")
    reason: str = Field(
        min_length=SHORTEST_REASON,
        max_length=LONGEST_REASON,
        json_schema_extra=_WRITABLE,
        description="Why, for the people who run production",
    )


class RequestStatus(Record):
    """A request, and what became of it."""

    id: str = Field(description="UUID")
    table: str
    since: date | None
    until: date | None
    reason: str
    user: str
    asserted_by: AssertedBy = Field(description="Who says that this user asked: a proxy, or whoever holds the token")
    state: Literal["queued", "running", "done", "failed"]
    asked_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    days: int = Field(description="Days asked for; 1 for a table of current state")
    done: int = Field(description="Of them, those published since it was asked")
    message: str = Field(description="Why it failed, or where it stands; may be empty")

    @property
    def asker(self) -> str:
        """The user, and on whose word."""
        return words(self.user, self.asserted_by)


class ScoresSummary(Record):
    """What one scoring job delivered."""

    table: str
    job: str
    description: str
    first_day: date
    last_day: date
    days: int
    rows: int = Field(description="Of the newest day")
    stale: bool = Field(description="Whether a day newer than the newest was due by now")


SUMMARIES = TypeAdapter(list[ExtractSummary])
MANIFEST = TypeAdapter(SnapshotManifest)
MANIFESTS = TypeAdapter(list[SnapshotManifest])
DAYS = TypeAdapter(list[PublishedDay])
REQUEST = TypeAdapter(RequestStatus)
REQUESTS = TypeAdapter(list[RequestStatus])
