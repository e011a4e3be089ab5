"""What a scoring job is: what it reads, what it computes, what it promises to deliver.

What belongs here: the declaration, and nothing that runs. What does not: any particular job; those are a module each in
`production/jobs`. Importing this module imports Polars and nothing heavier, so that code locations can read the
declarations at load time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from types import MappingProxyType
from typing import Literal, TypeAlias

import polars as pl

ServedType: TypeAlias = Literal["date", "smallint", "integer", "bigint", "double precision", "numeric(14,2)", "text"]

POLARS_TYPES: Mapping[ServedType, pl.DataType] = MappingProxyType(
    {
        "date": pl.Date(),
        "smallint": pl.Int16(),
        "integer": pl.Int32(),
        "bigint": pl.Int64(),
        "double precision": pl.Float64(),
        "numeric(14,2)": pl.Decimal(14, 2),
        "text": pl.String(),
    }
)
"""What a frame must hold to fill a column of each type, exactly: nothing is cast on the way."""

Tables: TypeAlias = Mapping[str, pl.LazyFrame]
"""Transformed tables by name, as the privacy policy leaves them; identifiers are real keys or pseudonyms alike."""

Compute: TypeAlias = Callable[[Tables, date, str], pl.LazyFrame]
"""From the tables, a business day and the business's time zone: the rows as of the end of that day."""


@dataclass(frozen=True, slots=True)
class ServedColumn:
    """One column that consumers read. No column of a delivery is ever null, NaN or infinite."""

    name: str
    type: ServedType
    """PostgreSQL's type; `POLARS_TYPES` gives the frame's."""
    description: str
    least: float | None = None
    most: float | None = None
    """Bounds of the values, both included; None: unbounded."""


@dataclass(frozen=True)
class ScoringJob:
    """A standardised daily task."""

    name: str
    """Also the name of its releases and in its receipts."""
    description: str
    owner: str
    consumers: tuple[str, ...]
    """The systems that read what it delivers."""
    table: str
    """The serving table; its newest day is the view `latest_<table>`."""
    columns: tuple[ServedColumn, ...]
    """What is delivered, in order: the contract, and the columns of the serving table. `day` is one of them."""
    key: tuple[str, ...]
    """The columns that identify a row; `day` is the first."""
    reads: tuple[str, ...]
    """The production tables that `compute` needs."""
    compute: Compute
    """With an `entity`: the model's features, a row an entity. Without: the result, `day` and `release` apart."""
    budget: timedelta
    """How long a day may take, reading and delivery included."""
    memory: int = 2 << 30
    """Bytes that a day may take."""
    margin: float = 0.005
    """By how much, in ROC AUC, a new model must beat the champion over recent days, or the baseline without one."""
    entity: str | None = None
    """The column that names what a model scores; None for a computation, which needs no model."""
    history: timedelta | None = None
    """How much of the tables by day is read, ending with the day; None: all of it until then."""
    due: time = time(5)
    """When a day is scored, by the business's clock on the next one."""
    deadline: time = time(8)
    """Until when consumers shall have it."""
    first: date | None = None
    """The first day that is delivered; None: the first that ever was."""
    population: Compute | None = None
    """How many rows there are to be, counted otherwise than by `compute`: a single number. None: nobody knows."""
    outcome: Compute | None = None
    """What came true of what the model predicts as of a day: `entity` and `outcome`, a number, from tables that reach
    `horizon` beyond the day; who is missing has 0. None where there is no model."""
    horizon: timedelta | None = None
    """How long after the day the outcome is known."""

    @property
    def kind(self) -> Literal["model", "computation"]:
        """Whether a released model is needed."""
        return "computation" if self.entity is None else "model"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Names and Polars types of what is delivered."""
        return {column.name: POLARS_TYPES[column.type] for column in self.columns}
