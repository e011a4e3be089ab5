"""What can become of a column: the treatments of the privacy policy, each with the values that it fits.

What belongs here: how they are written in YAML, and those that keep, replace or withhold. What does not: those that
leave less of a value (`generalisations`), and doing them to data (`transform`), so that a code location can show a
policy without importing a data library.
"""

from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ds_pipelines.extract.families import Family
from ds_pipelines.extract.generalisations import (
    BaseTreatment,
    Bins,
    Limits,
    Noise,
    Period,
    Rare,
    Round,
    Shift,
    Truncate,
)

Domain = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)]
"""What a pseudonym stands for, as customer."""
Shape: TypeAlias = Literal["text", "bigint", "uuid"]
"""What a pseudonym looks like: 32 hexadecimal digits, a number from 0 to 2⁶³-1, or a UUID (version 8) as text."""


class Keep(BaseTreatment):
    """The value as it is."""

    kind: Literal["keep"]

    @property
    def label(self) -> str:
        """How people read it."""
        return "keep"


class Drop(BaseTreatment):
    """Not in the extract, and of any type."""

    kind: Literal["drop"]

    @property
    def visible(self) -> bool:
        """It is not."""
        return False

    @property
    def label(self) -> str:
        """How people read it."""
        return "drop"


class FreeText(BaseTreatment):
    """Text in people's own words: withheld, because it may name anybody; or masked, which lowers that risk."""

    fits: ClassVar[frozenset[Family]] = frozenset({"text"})
    kind: Literal["free_text"]
    mode: Literal["withheld", "masked"]

    @property
    def visible(self) -> bool:
        """Only if the policy opts in."""
        return self.mode == "masked"

    @property
    def label(self) -> str:
        """How people read it."""
        return f"free_text({self.mode})"


class Null(BaseTreatment):
    """The column without its values: null in every row, of the column's type."""

    read: ClassVar[bool] = False
    kind: Literal["null"]

    @property
    def label(self) -> str:
        """How people read it."""
        return "null"


class Constant(BaseTreatment):
    """The same value in every row, also where there was none; of the type in which the policy writes it."""

    read: ClassVar[bool] = False
    kind: Literal["constant"]
    value: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)] | float | str

    @property
    def label(self) -> str:
        """How people read it."""
        return f"constant({self.value})"


class Pseudonym(BaseTreatment):
    """A keyed stand-in for an identifier, the same in every table that names the same domain."""

    fits: ClassVar[frozenset[Family]] = frozenset({"text", "integer", "uuid", "printed"})
    kind: Literal["pseudonym"]
    domain: Domain
    shape: Shape = Field("text", alias="as")

    @property
    def label(self) -> str:
        """How people read it."""
        return f"pseudonym({self.domain}{'' if self.shape == 'text' else f' as {self.shape}'})"


class Document(BaseTreatment):
    """JSON of which only the listed paths are left; what else it holds, now or one day, is withheld.

    A path is keys with dots between them, through arrays as if they were not there. `keep` leaves the plain values at
    a path, and with `.*` at its end whatever is below; `drop` takes a path out of that again. Keys that hold a dot
    cannot be listed, and are withheld.
    """

    fits: ClassVar[frozenset[Family]] = frozenset({"json"})
    kind: Literal["json"]
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    pseudonym: dict[str, Domain] = Field(default_factory=dict, description="The domain, as text, by path")

    @field_validator("keep", "drop", "pseudonym")
    @classmethod
    def _paths(cls, paths: Any, info: Any) -> Any:
        for path in paths:
            parts = path.split(".")
            if not all(parts) or "*" in (parts if info.field_name != "keep" else parts[:-1]) or parts == ["*"]:
                raise ValueError(f"{path!r} is no path; expected keys with dots between them, as customer.address.city")
        return paths

    @model_validator(mode="after")
    def _once(self) -> Self:
        listed = [*self.keep, *self.drop, *self.pseudonym]
        if twice := sorted({path for path in listed if listed.count(path) > 1}):
            raise ValueError(f"{twice[0]!r} is listed twice")
        if not listed:
            raise ValueError("expected paths to keep or to replace by pseudonyms; `drop` withholds the whole column")
        return self

    @property
    def label(self) -> str:
        """How people read it."""
        parts = [f"keep {', '.join(self.keep)}"] if self.keep else []
        parts += [f"drop {', '.join(self.drop)}"] if self.drop else []
        parts += [f"pseudonym({domain}) {path}" for path, domain in self.pseudonym.items()]
        return f"json({'; '.join(parts)})"


AS_WRITTEN = (
    "keep, drop, null, {constant: <value>}, {pseudonym: <domain>}, {pseudonym: {domain: <domain>, as: "
    "text|bigint|uuid}}, {generalise: year|quarter|month}, {generalise: {round: <number>}}, {generalise: {bins: "
    "[<edges>]}}, {generalise: {bins: {quantiles: <number>}}}, {generalise: {top: <number>, bottom: <number>}} (or "
    "{quantile: <share>} for a number), {truncate: <characters>}, {rare: {below: <persons>}}, {shift: {days: <number>, "
    "per: <column>}}, {noise: {scale: <number>}}, {json: {keep: [<paths>], drop: [<paths>], pseudonym: {<path>: "
    "<domain>}}} or {free_text: withheld|masked}"
)
_WORDS = {"keep", "drop", "null"}
_FIELDS = {"pseudonym": "domain", "truncate": "characters", "free_text": "mode", "constant": "value"}
_MAPPINGS = {"pseudonym", "rare", "shift", "noise", "json"}


def _from_yaml(written: Any) -> Any:
    """From the form people write to the form with a `kind`."""
    if isinstance(written, str) and written in _WORDS:
        return {"kind": written}
    if isinstance(written, dict) and len(written) == 1:
        [(verb, what)] = written.items()
        if verb in _MAPPINGS and isinstance(what, dict):
            return {"kind": verb} | what
        if verb in _FIELDS:
            return {"kind": verb, _FIELDS[verb]: what}
        if verb == "generalise":
            return _generalise(what)
    raise ValueError(f"expected one of {AS_WRITTEN}")


def _generalise(what: Any) -> Any:
    if isinstance(what, str):
        return {"kind": "period", "period": what}
    if isinstance(what, dict):
        if what and what.keys() <= {"top", "bottom"}:
            return {"kind": "limits"} | what
        if list(what) == ["round"]:
            return {"kind": "round", "to": what["round"]}
        if list(what) == ["bins"]:
            bins = what["bins"]
            return {"kind": "bins"} | (bins if isinstance(bins, dict) else {"edges": bins})
    raise ValueError(f"expected one of {AS_WRITTEN}")


Treatment: TypeAlias = Annotated[
    Annotated[
        Keep
        | Drop
        | Null
        | Constant
        | FreeText
        | Pseudonym
        | Period
        | Round
        | Bins
        | Limits
        | Truncate
        | Rare
        | Shift
        | Noise
        | Document,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_from_yaml),
]


def written(treatment: Treatment) -> Any:
    """A treatment in the form in which people write it in YAML: what is read from it is equal."""
    fields = treatment.model_dump(by_alias=True, exclude={"kind"}, exclude_defaults=True)
    kind = treatment.kind
    if kind in _WORDS:
        return kind
    if kind == "limits":
        return {"generalise": fields}
    if kind in ("period", "round", "bins"):
        value = fields if len(fields) > 1 or "quantiles" in fields else next(iter(fields.values()))
        return {"generalise": value if kind == "period" else {kind: plain(value)}}
    if kind in _FIELDS and list(fields) == [_FIELDS[kind]]:
        return {kind: fields[_FIELDS[kind]]}
    return {kind: plain(fields)}


def plain(value: Any) -> Any:
    """Lists instead of tuples, however deep."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, tuple) else value
