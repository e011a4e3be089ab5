"""The privacy policy: what becomes of every column of every table, read from YAML.

What belongs here: the policy's shape, its file, its digest, and errors that point at the line. What does not: whether
it fits a live database (`source`) and carrying it out (`transform`).

A policy names everything. What it does not name is refused, so that a column that somebody adds to production stays
there until somebody has decided about it.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ds_pipelines.errors import NotExtractedError, PolicyError, UndeclaredTableError
from ds_pipelines.extract.free_text_policy import FreeTextPolicy
from ds_pipelines.extract.generalisations import Noise, Shift
from ds_pipelines.extract.policy_yaml import composed, dumped, locate, words
from ds_pipelines.extract.treatments import Document, FreeText, Keep, Pseudonym, Treatment, plain, written

SHOP = "shop.yaml"
"""The policy of the production database, in `settings.policies`."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnPolicy(_Model):
    """The decision about one column."""

    treatment: Treatment
    type: str | None = Field(
        None, min_length=1, description="The column's type, as psql shows it, for which the decision was made"
    )
    description: str = Field("", description="What the column holds; needed unless it is withheld")
    because: str = Field(min_length=1, description="Why it is treated so, for the people who use the extract")

    @model_validator(mode="after")
    def _described(self) -> Self:
        if self.treatment.visible and not self.description:
            raise ValueError("a column of the extract needs a description")
        return self

    @property
    def explanation(self) -> str:
        """What it holds and why it is treated so."""
        return f"{self.description} {self.because}".strip()


def _rows(written: Any) -> Any:
    """From `all` or `{by_day: <column>}` to None or the column."""
    if written == "all":
        return None
    if isinstance(written, dict) and list(written) == ["by_day"]:
        return written["by_day"]
    raise ValueError("expected all or {by_day: <column>}")


def _key(written: Any) -> Any:
    """From `none` or a list of columns to the columns."""
    if written == "none":
        return ()
    if isinstance(written, tuple) or (isinstance(written, list) and written):
        return written
    raise ValueError("expected the columns that identify a row, or none")


class KnownBy(_Model):
    """By which columns somebody is known: sought in all that is published, and masked in free text.

    A name may be spread over some columns, as `[first_name, last_name]`. What is not listed, as a town, identifies
    nobody by itself. The columns are read for the search, and need not be in the extract.
    """

    names: tuple[str | tuple[str, ...], ...] = ()
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are listed, each once."""
        names = [part for name in self.names for part in ((name,) if isinstance(name, str) else name)]
        return tuple(dict.fromkeys([*names, *self.emails, *self.phones, *self.addresses, *self.identifiers]))


class TablePolicy(_Model):
    """The decisions about one table."""

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    by_day: Annotated[str | None, BeforeValidator(_rows)] = Field(
        alias="rows", description="The column that tells the day of a row; None: the whole table, as of the day"
    )
    key: Annotated[tuple[str, ...], BeforeValidator(_key)] = Field(
        description="Columns that identify a row; extracts are in their order. Empty: none, and that of all columns"
    )
    person: str | None = Field(None, description="The column that tells whose row it is, where that is somebody's")
    known_by: KnownBy | None = Field(
        None, description="Where the table says who persons are: the columns that do, of a table whose key is `person`"
    )
    quasi_identifiers: tuple[str, ...] = Field(
        (),
        description="Columns of the extract that together could single somebody out, for who knows them from elsewhere",
    )
    k: int | None = Field(
        None, strict=True, ge=2, description="So many persons share each combination of them, at least"
    )
    sensitive: tuple[str, ...] = Field((), description="Columns of the extract that nobody should learn of somebody")
    columns: dict[str, ColumnPolicy] = Field(min_length=1)

    @model_validator(mode="after")
    def _shown(self) -> Self:
        if not self.visible:
            raise ValueError(
                "none of its columns would be in the extract; a table that nobody shall have is named under "
                "`not_extracted`, with the reason"
            )
        return self

    @model_validator(mode="after")
    def _of_persons(self) -> Self:
        if self.person is not None and self._domain(self.person) is None:
            raise ValueError(f"{self.person!r}, which tells the person, must be among the columns and a pseudonym")
        for role, names in (("quasi-identifier", self.quasi_identifiers), ("sensitive column", self.sensitive)):
            for name in names:
                treatment = self._treatment(name)
                if treatment is None or not treatment.visible or isinstance(treatment, Pseudonym | FreeText):
                    expected = "must be a column of the extract, and neither a pseudonym nor free text"
                    raise ValueError(f"{role} {name!r} {expected}")
            if len(set(names)) < len(names):
                raise ValueError(f"a {role} is named twice")
        if both := sorted({*self.quasi_identifiers} & {*self.sensitive}):
            raise ValueError(f"{both[0]!r} cannot be both a quasi-identifier and sensitive")
        if fixed := sorted({*self.quasi_identifiers} & {*self.key, self.by_day}):
            raise ValueError(f"quasi-identifier {fixed[0]!r} must be neither of the key nor tell the day of a row")
        if (self.k is None) != (not self.quasi_identifiers):
            raise ValueError("k and quasi_identifiers are declared together: so many share each combination")
        return self

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.known_by is not None:
            if not self.of_persons:
                raise ValueError("known_by belongs to a table of persons: one whose key is its `person` column alone")
            if unknown := sorted({*self.known_by.columns} - {*self.columns}):
                raise ValueError(f"known_by lists {unknown[0]!r}, which must be among the columns")
        return self

    @model_validator(mode="after")
    def _keyed(self) -> Self:
        for name, column in self.columns.items():
            treatment = column.treatment
            if isinstance(treatment, Shift) and self._domain(treatment.per) is None:
                raise ValueError(
                    f"{name!r} is shifted per {treatment.per!r}, which must be among the columns and a pseudonym"
                )
            if isinstance(treatment, Noise) and not self.key:
                raise ValueError(f"{name!r} cannot have noise: it follows from a row's key, and the table has none")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.key:
            column = self.columns.get(name)
            if column is None or not isinstance(column.treatment, Keep | Pseudonym):
                raise ValueError(f"key column {name!r} must be among the columns, kept or a pseudonym")
        if self.by_day is not None:
            column = self.columns.get(self.by_day)
            if column is None or not isinstance(column.treatment, Keep):
                raise ValueError(f"{self.by_day!r}, which tells the day of a row, must be among the columns and kept")
        return self

    def _treatment(self, name: str) -> Treatment | None:
        column = self.columns.get(name)
        return column.treatment if column else None

    def _domain(self, name: str) -> str | None:
        """Whom a column identifies; None if it is no pseudonym."""
        treatment = self._treatment(name)
        return treatment.domain if isinstance(treatment, Pseudonym) else None

    @property
    def of_persons(self) -> bool:
        """Whether the table says who people are: one row each."""
        return self.person is not None and self.key == (self.person,)

    @property
    def keyed(self) -> bool:
        """Whether the secret is needed even where identifiers are kept."""
        return any(column.treatment.keyed for column in self.columns.values())

    @property
    def visible(self) -> dict[str, ColumnPolicy]:
        """The columns of the extract, in its order."""
        return {name: column for name, column in self.columns.items() if column.treatment.visible}

    @property
    def masked(self) -> tuple[str, ...]:
        """The columns of free text that are in the extract."""
        return tuple(name for name, column in self.visible.items() if isinstance(column.treatment, FreeText))

    @property
    def order(self) -> tuple[str, ...]:
        """The columns whose order the extract's rows are in."""
        return self.key or tuple(self.visible)

    @property
    def withheld(self) -> dict[str, ColumnPolicy]:
        """The columns that are never read."""
        return {name: column for name, column in self.columns.items() if not column.treatment.visible}


class Policy(_Model):
    """The decisions about one database schema."""

    version: Literal[1]
    database_schema: str = Field("public", alias="schema", min_length=1)
    consistency: Literal["chunks", "snapshot"] = Field(
        "chunks", description="Whether tables are read chunk by chunk, or what is extracted together at one moment"
    )
    free_text: FreeTextPolicy = FreeTextPolicy()
    tables: dict[str, TablePolicy]
    not_extracted: dict[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict, description="The tables that nobody shall have, each with the reason"
    )

    @model_validator(mode="before")
    @classmethod
    def _name_tables(cls, content: Any) -> Any:
        """Tells each table its name."""
        if not isinstance(content, dict) or not isinstance(content.get("tables"), dict):
            return content
        named = {
            name: {"name": name} | table if isinstance(table, dict) else table
            for name, table in content["tables"].items()
        }
        for name, table in named.items():
            if isinstance(table, dict) and table["name"] != name:
                raise ValueError(f"table {name!r} gives itself another name; leave `name` out")
        return content | {"tables": named}

    @model_validator(mode="after")
    def _names_can_be_found(self) -> Self:
        """Patterns find no name: without persons who are known, and without a model, names would stay."""
        masked = [f"{table.name}.{name}" for table in self.tables.values() for name in table.masked]
        knows = any(table.known_by and table.known_by.names for table in self.tables.values())
        if masked and not (knows or self.free_text.model):
            raise ValueError(
                f"{masked[0]} is masked, and nothing tells names: expected a table of persons with names in its "
                "`known_by`, or a `model` under `free_text`"
            )
        return self

    @model_validator(mode="after")
    def _either_or(self) -> Self:
        if not self.tables and not self.not_extracted:
            raise ValueError("it decides on no table")
        if both := sorted({*self.tables} & {*self.not_extracted}):
            raise ValueError(f"table {both[0]!r} is named under `tables` and under `not_extracted`")
        return self

    @model_validator(mode="after")
    def _same_everywhere(self) -> Self:
        """What a domain's pseudonyms look like, and how far its persons' dates move, is the same in every table."""
        shapes: dict[str, str] = {}
        shifts: dict[str, int] = {}
        for table, name, treatment in self._treatments():
            domains = {treatment.domain: treatment.shape} if isinstance(treatment, Pseudonym) else {}
            if isinstance(treatment, Document):
                domains = dict.fromkeys(treatment.pseudonym.values(), "text")
            for domain, shape in domains.items():
                if shapes.setdefault(domain, shape) != shape:
                    raise ValueError(
                        f"pseudonyms of {domain!r} are {shapes[domain]} elsewhere and {shape} in {table.name}.{name}: "
                        "they could not be joined"
                    )
            if isinstance(treatment, Shift):
                domain = table.columns[treatment.per].treatment.label
                if (days := shifts.setdefault(domain, treatment.days)) != treatment.days:
                    raise ValueError(
                        f"dates per {domain} are shifted by up to {days} days elsewhere and by {treatment.days} in "
                        f"{table.name}.{name}: intervals between them would not stay"
                    )
        return self

    def _treatments(self) -> Iterator[tuple[TablePolicy, str, Treatment]]:
        for table in self.tables.values():
            for name, column in table.columns.items():
                yield table, name, column.treatment

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the decisions and their explanations; comments and layout of the file do not count."""
        decisions = self.model_dump(mode="json", exclude_defaults=True)  # so that a new option changes no old digest
        canonical = json.dumps(decisions, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def table(self, name: str) -> TablePolicy:
        """The decisions about a table.

        Raises:
            NotExtractedError: it was decided that nobody shall have it.
            UndeclaredTableError: there are none.
        """
        if name in self.not_extracted:
            raise NotExtractedError(name, self.not_extracted[name])
        if name not in self.tables:
            raise UndeclaredTableError([name], self.tables)
        return self.tables[name]


def to_yaml(policy: Policy) -> str:
    """A policy as people write it; what `load` reads from it is equal."""
    tables: dict[str, Any] = {}
    for table in policy.tables.values():
        columns = {
            name: column.model_dump(include={"type"}, exclude_none=True)
            | {"treatment": written(column.treatment)}
            | column.model_dump(include={"description", "because"}, exclude_defaults=True)
            for name, column in table.columns.items()
        }
        options = table.model_dump(exclude={"columns", "name", "description", "by_day", "key"}, exclude_defaults=True)
        tables[table.name] = {
            "description": table.description,
            "rows": {"by_day": table.by_day} if table.by_day else "all",
            "key": list(table.key) or "none",
            **{name: plain(value) for name, value in options.items()},
            "columns": columns,
        }
    content: dict[str, Any] = {"version": policy.version, "schema": policy.database_schema}
    content |= policy.model_dump(include={"consistency"}, exclude_defaults=True)
    if free_text := policy.free_text.model_dump(exclude_defaults=True):
        content["free_text"] = plain(free_text)
    content["tables"] = tables
    if policy.not_extracted:
        content["not_extracted"] = dict(policy.not_extracted)
    return dumped(content)


def load(path: Path) -> Policy:
    """Reads a policy.

    Raises:
        PolicyError: the file is missing, no YAML, or no policy; it names the line and the key.
    """
    node, content = composed(path)
    try:
        return Policy.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        line, key = locate(node, first["loc"], missing=first["type"] == "missing")
        more = error.error_count() - 1
        raise PolicyError(path, words(first), line=line, key=key, more=more) from None
