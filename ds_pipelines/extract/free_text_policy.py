"""What a policy says about masking free text: its `free_text` block.

What belongs here: the block's shape, so that a code location can read a policy without importing a recogniser. What
does not: which columns are masked (their treatment says so), and masking them (`masking`).
"""

from typing import Annotated, Self

import regex
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

LEAST_SCORE = 0.3
"""Below are Presidio's guesses without any context: any nine digits may be a passport."""

Label = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=40)]
Word = Annotated[str, Field(pattern=r"\S", max_length=200)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pattern(_Model):
    """A regular expression, and how sure it makes of what it finds; case does not count."""

    regex: str = Field(min_length=1)
    score: float = Field(gt=0, le=1)

    @field_validator("regex")
    @classmethod
    def _compiles(cls, written: str) -> str:
        try:
            found = regex.compile(written)
        except regex.error as error:
            raise ValueError(f"{written!r} is no regular expression: {error}") from None
        if found.match(""):
            raise ValueError(f"{written!r} matches nothing at all; expected what has at least one character")
        return written


class Recogniser(_Model):
    """A kind of thing to find: by patterns, or by words that are listed."""

    name: Label = Field(description="What stands in its place, in brackets")
    patterns: tuple[Pattern, ...] = ()
    words: tuple[Word, ...] = ()
    context: tuple[Word, ...] = Field((), description="Words that make what stands near them surer")

    @model_validator(mode="after")
    def _finds_something(self) -> Self:
        if not self.patterns and not self.words:
            raise ValueError("expected patterns or words to find")
        return self


class FreeTextPolicy(_Model):
    """What is found in every masked column, besides known persons and what Presidio's recognisers find."""

    least_score: float = Field(LEAST_SCORE, gt=0, le=1, description="What a pattern or model finds less surely stays")
    not_names: tuple[Word, ...] = Field((), description="Words that name nobody by themselves, besides ordinary ones")
    model: str | None = Field(None, min_length=1, description="A spaCy model, by package name or folder")
    recognisers: tuple[Recogniser, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [recogniser.name for recogniser in self.recognisers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"recogniser {twice[0]!r} is listed twice")
        return self
