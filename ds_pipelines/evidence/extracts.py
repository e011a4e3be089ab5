"""What a published extract says about itself."""

from datetime import date
from typing import Literal

from pydantic import AwareDatetime, Field

from ds_pipelines.evidence.base import Record


class SpellingRecall(Record):
    """How many of some known persons were masked, where they were written in one way."""

    written_as: str = Field(description="A full name, its first name alone, with a typing error…")
    own: float | None = Field(None, description="Share masked in a row of their own; None if rows are nobody's")
    others: float = Field(description="Share masked in a row of somebody else")


class ResidualRisk(Record):
    """What masking a column of free text misses, and masks without need: measured on the source's own persons."""

    persons: int = Field(description="Persons of the source who were mentioned, for the measure, in each spelling")
    recall: tuple[SpellingRecall, ...]
    ordinary_words: int = Field(description="Words of ordinary sentences that were looked at")
    masked_per_thousand: float = Field(description="Of a thousand of these, how many were masked")


class Column(Record):
    """One column of a published extract and what the privacy policy made of it."""

    name: str
    dtype: str = Field(description="Polars type")
    treatment: str = Field(description="What the policy does with it, as keep, pseudonym(customer), truncate(2)")
    explanation: str = Field("", description="Why, for the people who use the column")
    residual: ResidualRisk | None = Field(None, description="Of masked free text: what is left in it")


class Withheld(Record):
    """One column of the source that the privacy policy keeps out of the extract."""

    name: str
    explanation: str = Field("", description="Why, for the people who look for the column")


class SnapshotManifest(Record):
    """What is published of one table for one day."""

    table: str
    rows_of: Literal["day", "state"] = Field(description="Rows that fell on the day, or the whole table as it was then")
    day: date = Field(description="The business day: of the rows, or on which a table of current state was read")
    rows: int
    bytes: int
    digest: str = Field(description="SHA-256 of the Parquet file, in hex: the snapshot's name")
    logical_digest: str = Field(description="Digest of the rows and their order, whatever the file's encoding")
    columns: tuple[Column, ...]
    withheld: tuple[Withheld, ...] = Field((), description="Columns of the source that the policy withholds")
    erased_rows: int = Field(0, description="Rows left out, or removed later, because the person was erased")
    policy_digest: str
    key_id: str = Field(description="Which secret made the pseudonyms; says nothing about it")
    watermark: str | None = Field(
        None, description="What the database had seen (pg_snapshot) at the moment as of which the rows are exact"
    )
    read_at: AwareDatetime
    published_at: AwareDatetime
