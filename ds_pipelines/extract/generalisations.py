"""Treatments that leave less of a value than there was: coarser, moved, noisy, or a part of it.

What belongs here: their declarations. What does not: how they are written in YAML (`treatments`), fitting them to data
(`fitting`) and doing them (`transform`).

Some are fitted: the edges of bins by quantile, limits by quantile and the categories that are frequent are found in the
data, once per version of the policy, and stored. Until then, and on a table without a value, there are none.
"""

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ds_pipelines.extract.families import ANY, NUMBERS, TIMES, Family

Finite = Annotated[int | float | Decimal, Field(allow_inf_nan=False)]
OTHER = "other"
"""What stands for every rare category."""


class BaseTreatment(BaseModel):
    """What every treatment says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fits: ClassVar[frozenset[Family]] = ANY
    read: ClassVar[bool] = True
    """Whether a visible column's values are needed."""
    keyed: ClassVar[bool] = False
    """Whether it needs the secret even where identifiers are kept."""

    @property
    def visible(self) -> bool:
        """Whether the column is in the extract. What is not visible is never even read."""
        return True

    @property
    def unfitted(self) -> bool:
        """Whether it must be fitted to data before it can be done."""
        return False


class Period(BaseTreatment):
    """The first day of the year, quarter or month; of a timestamp, in the business's time zone. Gives a date."""

    fits: ClassVar[frozenset[Family]] = TIMES
    kind: Literal["period"]
    period: Literal["year", "quarter", "month"]

    @property
    def label(self) -> str:
        """How people read it."""
        return f"generalise({self.period})"


class Round(BaseTreatment):
    """The nearest multiple of a whole number, halves up. Integers become 64 bits wide."""

    fits: ClassVar[frozenset[Family]] = NUMBERS
    kind: Literal["round"]
    to: int = Field(strict=True, gt=0)

    @property
    def label(self) -> str:
        """How people read it."""
        return f"generalise(round {self.to})"


class Bins(BaseTreatment):
    """The name of the interval in which a number lies; an edge belongs to the interval above it. Gives text.

    With quantiles, the edges are fitted so that about equally many values lie in each of so many intervals.
    """

    fits: ClassVar[frozenset[Family]] = NUMBERS
    kind: Literal["bins"]
    edges: tuple[Finite, ...] | None = Field(None, min_length=1)
    quantiles: int | None = Field(None, strict=True, ge=2, le=100)

    @field_validator("edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if edges is not None and list(edges) != sorted(set(edges)):
            raise ValueError("the edges of bins must ascend")
        return edges

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.edges is None and self.quantiles is None:
            raise ValueError("bins need edges, or how many quantiles")
        return self

    @property
    def unfitted(self) -> bool:
        """Whether the edges are still to be found."""
        return self.edges is None

    @property
    def label(self) -> str:
        """How people read it."""
        if self.quantiles is not None:
            return f"generalise(bins by {self.quantiles} quantiles)"
        return f"generalise(bins {', '.join(str(edge) for edge in self.edges or ())})"

    @property
    def names(self) -> tuple[str, ...]:
        """The intervals, from the lowest; one more than edges."""
        edges = self.edges or ()
        if not edges:
            return ("any",)
        middle = (f"{low} to below {high}" for low, high in pairwise(edges))
        return (f"below {edges[0]}", *middle, f"{edges[-1]} and above")


class Quantile(BaseModel):
    """A limit that is found in the data: that share of the values is not above it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantile: float = Field(gt=0, lt=1)


class Limits(BaseTreatment):
    """Numbers above the top become the top, those below the bottom the bottom; NaN counts as above everything.

    The limit of a quantile is a value of the data. Where there was no value to fit on, every value becomes null.
    """

    fits: ClassVar[frozenset[Family]] = NUMBERS
    kind: Literal["limits"]
    top: Finite | Quantile | None = None
    bottom: Finite | Quantile | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.top is None and self.bottom is None:
            raise ValueError("expected top, bottom or both")
        numbers = [limit for limit in (self.bottom, self.top) if limit is not None and not isinstance(limit, Quantile)]
        quantiles = [limit.quantile for limit in (self.bottom, self.top) if isinstance(limit, Quantile)]
        if numbers != sorted(numbers) or quantiles != sorted(quantiles):
            raise ValueError("the bottom must not be above the top")
        return self

    @property
    def unfitted(self) -> bool:
        """Whether a limit is still to be found."""
        return isinstance(self.top, Quantile) or isinstance(self.bottom, Quantile)

    @property
    def label(self) -> str:
        """How people read it."""
        limits = {"bottom": self.bottom, "top": self.top}
        words = {
            name: f"quantile {limit.quantile}" if isinstance(limit, Quantile) else str(limit)
            for name, limit in limits.items()
            if limit is not None
        }
        return f"generalise({', '.join(f'{name} {word}' for name, word in words.items())})"


class Rare(BaseTreatment):
    """Categories that fewer than so many persons have become `other`; rows count where a table names no person."""

    fits: ClassVar[frozenset[Family]] = frozenset({"text"})
    kind: Literal["rare"]
    below: int = Field(strict=True, ge=2)
    frequent: tuple[str, ...] | None = None
    """The categories that stay, once they are fitted."""

    @property
    def unfitted(self) -> bool:
        """Whether the frequent categories are still to be found."""
        return self.frequent is None

    @property
    def label(self) -> str:
        """How people read it."""
        return f"generalise(rarer than {self.below} to {OTHER})"


class Truncate(BaseTreatment):
    """The first characters of a text."""

    fits: ClassVar[frozenset[Family]] = frozenset({"text"})
    kind: Literal["truncate"]
    characters: int = Field(strict=True, gt=0)

    @property
    def label(self) -> str:
        """How people read it."""
        return f"truncate({self.characters})"


class Shift(BaseTreatment):
    """Dates and times moved by whole days, of one person's all by the same number, so that intervals between them stay.

    It is the same number in every table, of times 24 hours where the values are instants. It follows from the secret
    and the person's identifier, and is never 0. Who is no person's is null, because one shift for all of them would be
    found out.
    """

    fits: ClassVar[frozenset[Family]] = TIMES
    keyed: ClassVar[bool] = True
    kind: Literal["shift"]
    days: int = Field(strict=True, ge=1, le=3650, description="At most so many, to and fro")
    per: str = Field(min_length=1, description="The column with the person's identifier, a pseudonym in the extract")

    @property
    def label(self) -> str:
        """How people read it."""
        return f"shift({self.days} days per {self.per})"


class Noise(BaseTreatment):
    """A number with Laplace noise, rounded to what its type can hold; the same for the same row, whenever it is read.

    The noise follows from the secret and the row's key. Where the type is coarse beside the scale, some of it rounds
    to nothing.
    """

    fits: ClassVar[frozenset[Family]] = NUMBERS
    keyed: ClassVar[bool] = True
    kind: Literal["noise"]
    scale: float = Field(gt=0, allow_inf_nan=False, description="Of the distribution: the mean size of the noise")

    @property
    def label(self) -> str:
        """How people read it."""
        return f"noise(scale {self.scale:g})"
