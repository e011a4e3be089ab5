"""What an extract did to production while it ran, as a record: told by whoever reads, kept beside the manifests.

What belongs here: the record, its file, and its words. What does not: measuring it (`pulse`), holding back (`pace`),
and drawing it (`harm_plot`).

    <home>/snapshots/harm/<table>/<when it began>.json
"""

import os
import statistics
from collections.abc import Sequence
from datetime import UTC, date
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ds_pipelines.settings import Settings
from ds_pipelines.snapshots.store import folder_name

KEPT = 100
"""Records of a table."""


class Latency(BaseModel):
    """How long the probe took, in milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probes: int
    median: float
    p95: float


class Look(BaseModel):
    """One look at the database."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    second: float = Field(description="Since the extract began")
    latency: float = Field(description="Of the probe, in milliseconds")
    active: int = Field(description="Backends of others that were at work")
    waiting: int = Field(description="Backends that waited for a lock")
    sleep: float = Field(description="Seconds of sleep for each second of reading, from then on")


class Harm(BaseModel):
    """What one extract did to production."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    first: date | None = None
    last: date | None = None
    began: AwareDatetime
    ended: AwareDatetime
    database: str = Field(description="primary, or replica")
    rows: int
    chunks: int
    reading: float = Field(description="Seconds in which the database worked for it")
    waited: dict[str, float] = Field(description="Seconds, by reason")
    before: Latency | None
    during: Latency | None
    after: Latency | None
    notes: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()

    @property
    def rate(self) -> float:
        """Rows a second, waiting included."""
        seconds = (self.ended - self.began).total_seconds()
        return self.rows / seconds if seconds else 0.0

    @property
    def words(self) -> str:
        """In one sentence."""
        waited = ", ".join(f"{reason} {seconds:.1f} s" for reason, seconds in sorted(self.waited.items()))
        told = f"{self.rows:,} rows in {self.chunks:,} chunks, {self.rate:,.0f} a second, from the {self.database}"
        told += f"; the database worked {self.reading:.1f} s for it; waited: {waited or 'not at all'}"
        if self.before and self.during and self.after:
            times = (f"{each.median:.2f} ms {when}" for each, when in zip(
                (self.before, self.during, self.after), ("before", "during", "after"), strict=True))  # fmt: skip
            told += f"; the probe took {', '.join(times)}"
        return told


def latency(milliseconds: Sequence[float]) -> Latency | None:
    """Of some probes; None of none."""
    if not milliseconds:
        return None
    ordered = sorted(milliseconds)
    p95 = ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]
    return Latency(probes=len(ordered), median=round(statistics.median(ordered), 3), p95=round(p95, 3))


def keep(harm: Harm, settings: Settings) -> Path:
    """Writes the record; only the newest of a table stay."""
    folder = settings.snapshots / "harm" / folder_name(harm.table)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{harm.began.astimezone(UTC):%Y-%m-%dT%H%M%S.%f}.json"
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(harm.model_dump_json())
    draft.replace(path)
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def latest(settings: Settings) -> list[Harm]:
    """The newest record of each table."""
    folders = sorted((settings.snapshots / "harm").glob("*"))
    newest = [max(folder.glob("*.json"), default=None) for folder in folders]
    return [Harm.model_validate_json(path.read_bytes()) for path in newest if path is not None]
