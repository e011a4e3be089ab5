"""The decision on one column, from all that is known of it, with its reason.

What belongs here: the rules, from the strongest evidence to the weakest; the last one withholds. What does not: where
the evidence comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ds_pipelines.extract.propose.vocabulary import AGE, BIRTH, FREE_TEXT, SENSITIVE, key_like, meaning_of
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.extract.types import Refused, carried

if TYPE_CHECKING:
    from ds_pipelines.extract.propose.sample import Values
    from ds_pipelines.extract.propose.structure import Place
    from ds_pipelines.extract.propose.vocabulary import Meaning
    from ds_pipelines.extract.types import LiveColumn

FEWEST = 5
"""So often does each value occur, at least, for a text to be a category."""
LONGEST_CATEGORY = 40
PROSE_WORDS = 6
"""Words of a value, on average, from which a text is prose."""
AGES = [18, 30, 45, 60, 75]
HALF = 0.5
WITHHELD = {"free_text": "withheld"}


@dataclass(frozen=True)
class Decision:
    """What becomes of a column, in the form people write, and why."""

    treatment: Any
    because: str

    @property
    def visible(self) -> bool:
        """Whether the column is in the extract."""
        return self.treatment not in ("drop", WITHHELD)


@dataclass(frozen=True)
class Evidence:
    """What is known of a column."""

    column: LiveColumn
    readable: bool = True
    """Whether the role may read it."""
    domain: str | None = None
    """What it identifies, if it is a key or refers to one."""
    origin: str = ""
    """How that is known."""
    values: Values | None = None
    """A sample of text or numbers; None: there is none."""
    found: Mapping[str, float] | None = None
    """Presidio's findings in them, as shares."""
    categories: Mapping[str, int] | None = None
    """In how many rows, or of how many persons, each value occurs in the whole table, if they are few."""
    copied: tuple[float, Place] | None = None
    """Which share of values occurs in an identifying column, and in which."""
    names: bool = False
    """Whether values are composed of known names."""

    @property
    def meaning(self) -> Meaning | None:
        """What its name tells, or that of its domain."""
        return meaning_of(self.column.name) or (meaning_of(self.column.type) if self.column.domain else None)


def decide(evidence: Evidence) -> Decision:
    """What is proposed for a column."""
    how = carried(evidence.column)
    if not evidence.readable:
        return _drop("The role that drafted this may not read it.")
    if isinstance(how, Refused):
        return _drop(f"Its type {evidence.column.type} cannot be carried exactly: {how.reason}.")
    if evidence.domain is not None and how.family in Pseudonym.fits:
        return Decision({"pseudonym": evidence.domain}, evidence.origin)
    if evidence.domain is not None and how.family not in ("date", "timestamp", "boolean", "time"):
        return _drop(f"{evidence.origin} A pseudonym does not fit the type {evidence.column.type}.")
    rules = _RULES.get(how.family, (_opaque,))
    return next(decision for rule in rules if (decision := rule(evidence)) is not None)


def _drop(because: str) -> Decision:
    return Decision("drop", because)


def _keep(because: str) -> Decision:
    return Decision("keep", because)


def _says(meaning: Meaning) -> str:
    return f"Its name says {meaning.what}: {meaning.because}."


def _sensitive(evidence: Evidence) -> Decision | None:
    return _drop(_says(SENSITIVE)) if evidence.meaning is SENSITIVE else None


def _plain(evidence: Evidence) -> Decision:
    return _keep(f"A {evidence.column.base} by itself leads to nobody.")


def _opaque(evidence: Evidence) -> Decision:
    if evidence.column.base == "interval":
        return _keep("A length of time by itself leads to nobody.")
    return _drop(f"A value of type {evidence.column.type} may hold or lead to anything; nobody has looked at it yet.")


def _birth(evidence: Evidence) -> Decision | None:
    return Decision({"generalise": "year"}, _says(BIRTH)) if evidence.meaning is BIRTH else None


def _moment(_: Evidence) -> Decision:
    return _keep("A day or a moment by itself leads to nobody; with a person it may.")


def _named_number(evidence: Evidence) -> Decision | None:
    meaning = evidence.meaning
    if meaning is AGE:
        return Decision({"generalise": {"bins": AGES}}, _says(AGE))
    if meaning is not None and meaning.numbers:
        return _drop(_says(meaning))
    return None


def _card(evidence: Evidence) -> Decision | None:
    cards = (evidence.found or {}).get("CREDIT_CARD", 0)
    return _drop(f"{cards:.0%} of a sample pass the check of payment cards' numbers.") if cards >= HALF else None


def _number(evidence: Evidence) -> Decision:
    if key_like(evidence.column.name):
        return _drop("Its name is that of a key, and its type does not fit a pseudonym.")
    if evidence.values is None and evidence.column.base not in ("real", "double precision"):
        return _drop("It could not be looked at in time, and a number may be somebody's.")
    return _keep("A number whose name and values suggest no identifier.")


def _named_text(evidence: Evidence) -> Decision | None:
    meaning = evidence.meaning
    if meaning in (AGE, BIRTH):
        return _drop(f"{_says(meaning)} As text it cannot be generalised safely.")
    return None if meaning is None else Decision(WITHHELD if meaning is FREE_TEXT else "drop", _says(meaning))


def _enum(evidence: Evidence) -> Decision | None:
    return _keep("Its type declares the few values that it can have.") if evidence.column.kind == "e" else None


def _unseen(evidence: Evidence) -> Decision | None:
    if evidence.values is None:
        return _drop("It could not be looked at in time; when in doubt, it is withheld.")
    return None if evidence.values.distinct else _drop("It has no values to judge by; when in doubt, it is withheld.")


def _copy(evidence: Evidence) -> Decision | None:
    if evidence.copied is None:
        return None
    share, (table, column) = evidence.copied
    return _drop(f"{share:.0%} of its values occur in {table}.{column}, which may say who it is.")


def _composed(evidence: Evidence) -> Decision | None:
    return _drop("Some of its values are made of names that other columns hold.") if evidence.names else None


def _recognised(evidence: Evidence) -> Decision | None:
    if not evidence.found:
        return None
    [(entity, share), *_] = evidence.found.items()
    return _drop(f"Presidio finds {entity} in {share:.0%} of a sample.")


def _prose(evidence: Evidence) -> Decision | None:
    words = evidence.values.words if evidence.values else 0
    if words < PROSE_WORDS:
        return None
    return Decision(WITHHELD, f"Its values have {words:.0f} words on average: people's own words.")


def _unlike_categories(evidence: Evidence) -> Decision | None:
    counts, values = evidence.categories, evidence.values
    if key_like(evidence.column.name):
        return _drop("Its name is that of a key, and nothing tells what it refers to.")
    if counts is None or values is None:
        return _drop("Its values are too many for categories; when in doubt, it is withheld.")
    if min(counts.values(), default=0) < FEWEST:
        return _drop(f"It has values of fewer than {FEWEST} rows or persons; what is rare singles out.")
    if values.longest > LONGEST_CATEGORY or any(char.isdigit() or char == "@" for value in counts for char in value):
        return _drop("Its values hold digits or are long, unlike categories; when in doubt, it is withheld.")
    return None


def _category(evidence: Evidence) -> Decision:
    many = len(evidence.categories or ())
    return _keep(f"Categories: {many} short value{'s' if many > 1 else ''}, each in {FEWEST} rows or more.")


_Rule = Callable[[Evidence], Decision | None]
_RULES: Mapping[str, tuple[_Rule, ...]] = {
    "boolean": (_sensitive, _plain),
    "time": (_sensitive, _plain),
    **dict.fromkeys(("date", "timestamp"), (_birth, _sensitive, _moment)),
    **dict.fromkeys(("integer", "decimal", "float"), (_named_number, _copy, _card, _number)),
    "text": (
        _named_text, _enum, _unseen, _copy, _composed, _recognised, _prose, _unlike_categories, _category,
    ),
}  # fmt: skip
"""By family, from the strongest evidence to the weakest; the last one always decides."""
