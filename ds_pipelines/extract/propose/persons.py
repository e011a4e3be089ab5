"""Who persons are: of a table of persons, the columns by which somebody is known.

What belongs here: finding these columns by their names, and joining the parts of a name. What does not: what becomes
of the columns (`decide`), and seeking what they hold (`search`).

A table is one of persons if it holds more of them than a name, or a name in parts. A user's login, a page or a device
is left to the reviewer: many a login is an ordinary word, which would be found anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ds_pipelines.extract.propose.vocabulary import meaning_of, of_persons, words, words_of
from ds_pipelines.extract.types import Refused, carried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ds_pipelines.extract.types import LiveColumn

_GIVEN = words(
    "firstname forename givenname vorname prenom nombre nombres nome imie jmeno fornamn fornavn voornaam ad isim"
)
_MIDDLE = words("middlename secondname")
_FAMILY = words(
    "lastname surname familyname nachname familienname zuname apellido apellidos cognome sobrenome apelido achternaam "
    "nazwisko prijmeni efternamn etternavn soyad"
)
_FAMILY_BESIDES = words("name nom naam")
"""A family's name where a given one stands beside it; else the whole name, or that of a thing."""
_NO_NAME = words("title titel titulo titolo titre role type kind status")
"""What is said of a `contact_title` is no name."""
_KNOWN_AS = {
    "an e-mail address": "emails",
    "a phone number": "phones",
    "an address": "addresses",
    "a number of a payment card or an account": "identifiers",
    "a number that an authority gave": "identifiers",
    "a secret": "identifiers",
    "a name": "names",
}
"""What is sought of a person, by what a column's name tells."""


def known_by(columns: Iterable[LiveColumn], key: LiveColumn) -> Mapping[str, list[Any]]:
    """By which columns persons are known, as a policy says it; empty: the table is not one of persons.

    Args:
        columns: The columns of a table that may be read, and are neither keys nor refer to one.
        key: Its key. One of letters is how people call somebody; a number is sought anyway, in the rows that have it.
    """
    usable = {column.name: family for column in columns if (family := _family(column))}
    found: dict[str, list[Any]] = {"names": []}
    for name, family in usable.items():
        meaning = meaning_of(name)
        kind = _KNOWN_AS.get(meaning.what) if meaning and not _NO_NAME.intersection(words_of(name)) else None
        if kind and (family == "text" or (meaning and meaning.numbers)):
            found.setdefault(kind, []).append(name)
    joined = _joined(found["names"])
    if not joined and not of_persons(usable):
        return {}
    parts = {part for name in joined for part in name}
    if _family(key) == "text":
        found["identifiers"] = [key.name, *found.get("identifiers", ())]
    found["names"] = [*joined, *(name for name in found["names"] if name not in parts)]
    return {kind: names for kind, names in found.items() if names}


def _joined(names: Iterable[str]) -> list[list[str]]:
    """Names that are spread over columns, given name first; with what is in between also so."""
    persons: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        single = words_of(name)
        for length in (2, 1):
            whose, what = "".join(single[:-length]), "".join(single[-length:])
            part = _part(what, alone=not whose)
            if part and len(single) >= length:
                persons[whose].setdefault(part, name)
                break
    found = []
    for parts in persons.values():
        family = parts.get("family", parts.get("family besides"))
        if "given" in parts and family:
            found.append([parts["given"], family])
            if "middle" in parts:
                found.append([parts["given"], parts["middle"], family])
    return found


def _part(word: str, *, alone: bool) -> str | None:
    kinds = {"given": _GIVEN, "middle": _MIDDLE, "family": _FAMILY}
    if alone:
        kinds["family besides"] = _FAMILY_BESIDES
    return next((part for part, known in kinds.items() if word in known), None)


def _family(column: LiveColumn) -> str | None:
    """The kind of values, of those that can be sought."""
    how = carried(column)
    return how.family if not isinstance(how, Refused) and how.family in ("text", "integer", "uuid") else None
