"""What can become of a column: the treatments of the privacy policy, each with the values that it fits.

What belongs here: the declarations, how they are written in YAML, and how people read them. What does not: doing them
to data (`transform`), so that a code location can show a policy without importing a data library.
"""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

Family = Literal[
    "text", "integer", "decimal", "float", "boolean", "date", "timestamp", "time", "uuid", "json", "binary", "printed",
    "list",
]  # fmt: skip
"""Values that can be treated alike, whatever exact type PostgreSQL gives them; printed ones are carried as text."""

NUMBERS: frozenset[Family] = frozenset({"integer", "decimal", "float"})
TIMES: frozenset[Family] = frozenset({"date", "timestamp"})
ANY: frozenset[Family] = frozenset(get_args(Family))

Domain = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)]
"""What a pseudonym stands for, as customer."""


class _Treatment(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    fits: ClassVar[frozenset[Family]] = ANY
    visible: ClassVar[bool] = True
    """Whether the column is in the extract. What is not visible is never even read."""


class Keep(_Treatment):
    """The value as it is."""

    kind: Literal["keep"]

    @property
    def label(self) -> str:
        """How people read it."""
        return "keep"


class Drop(_Treatment):
    """Not in the extract, and of any type."""

    visible: ClassVar[bool] = False
    kind: Literal["drop"]

    @property
    def label(self) -> str:
        """How people read it."""
        return "drop"


class FreeText(_Treatment):
    """Text in people's own words: withheld, because it may name anybody."""

    fits: ClassVar[frozenset[Family]] = frozenset({"text"})
    visible: ClassVar[bool] = False
    kind: Literal["free_text"]
    mode: Literal["withheld"]

    @property
    def label(self) -> str:
        """How people read it."""
        return f"free_text({self.mode})"


class Pseudonym(_Treatment):
    """A keyed stand-in for an identifier, the same in every table that names the same domain."""

    fits: ClassVar[frozenset[Family]] = frozenset({"text", "integer"})
    kind: Literal["pseudonym"]
    domain: Domain

    @property
    def label(self) -> str:
        """How people read it."""
        return f"pseudonym({self.domain})"


class Period(_Treatment):
    """The first day of the year, quarter or month; of a timestamp, in the business's time zone. Gives a date."""

    fits: ClassVar[frozenset[Family]] = TIMES
    kind: Literal["period"]
    period: Literal["year", "quarter", "month"]

    @property
    def label(self) -> str:
        """How people read it."""
        return f"generalise({self.period})"


class Round(_Treatment):
    """The nearest multiple of a whole number, halves up. Integers become 64 bits wide."""

    fits: ClassVar[frozenset[Family]] = NUMBERS
    kind: Literal["round"]
    to: int = Field(strict=True, gt=0)

    @property
    def label(self) -> str:
        """How people read it."""
        return f"generalise(round {self.to})"


class Bins(_Treatment):
    """The name of the interval in which a number lies; an edge belongs to the interval above it. Gives text."""

    fits: ClassVar[frozenset[Family]] = NUMBERS
    kind: Literal["bins"]
    edges: tuple[Annotated[int | float, Field(allow_inf_nan=False)], ...] = Field(min_length=1)

    @field_validator("edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if list(edges) != sorted(set(edges)):
            raise ValueError("the edges of bins must ascend")
        return edges

    @property
    def label(self) -> str:
        """How people read it."""
        return f"generalise(bins {', '.join(str(edge) for edge in self.edges)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The intervals, from the lowest; one more than edges."""
        between = zip(self.edges, self.edges[1:], strict=False)
        middle = (f"{low} to below {high}" for low, high in between)
        return (f"below {self.edges[0]}", *middle, f"{self.edges[-1]} and above")


class Truncate(_Treatment):
    """The first characters of a text."""

    fits: ClassVar[frozenset[Family]] = frozenset({"text"})
    kind: Literal["truncate"]
    characters: int = Field(strict=True, gt=0)

    @property
    def label(self) -> str:
        """How people read it."""
        return f"truncate({self.characters})"


AS_WRITTEN = (
    "keep, drop, {pseudonym: <domain>}, {generalise: year|quarter|month}, {generalise: {round: <number>}}, "
    "{generalise: {bins: [<edges>]}}, {truncate: <characters>} or {free_text: withheld}"
)
_FIELDS = {"pseudonym": "domain", "truncate": "characters", "free_text": "mode"}


def _from_yaml(written: Any) -> Any:
    """From the form people write to the form with a `kind`."""
    if written in ("keep", "drop"):
        return {"kind": written}
    if isinstance(written, dict) and len(written) == 1:
        [(verb, what)] = written.items()
        if verb in _FIELDS:
            return {"kind": verb, _FIELDS[verb]: what}
        if verb == "generalise" and isinstance(what, str):
            return {"kind": "period", "period": what}
        if verb == "generalise" and isinstance(what, dict) and len(what) == 1:
            [(how, argument)] = what.items()
            if how in ("round", "bins"):
                return {"kind": how, "to" if how == "round" else "edges": argument}
    raise ValueError(f"expected one of {AS_WRITTEN}")


Treatment: TypeAlias = Annotated[
    Annotated[
        Keep | Drop | FreeText | Pseudonym | Period | Round | Bins | Truncate,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_from_yaml),
]
