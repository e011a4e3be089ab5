"""The evidence on every column of a database, gathered in one session.

What belongs here: the order of looking. What does not: what follows for a column (`decide`).

Identifying columns are told by name first, then by Presidio; only then can copies of them be looked for elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ds_pipelines.extract.propose.copies import Known
from ds_pipelines.extract.propose.decide import Evidence
from ds_pipelines.extract.propose.recognise import recognised
from ds_pipelines.extract.propose.sample import MOST_CATEGORIES
from ds_pipelines.extract.propose.structure import structure
from ds_pipelines.extract.propose.vocabulary import of_persons
from ds_pipelines.extract.types import Refused, carried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ds_pipelines.extract.catalogue import LiveTables
    from ds_pipelines.extract.propose.sample import Looking
    from ds_pipelines.extract.propose.structure import Place, Structure
    from ds_pipelines.extract.types import LiveColumn

LOOKED_AT = frozenset({"text", "integer", "decimal"})
"""Families of which values are sampled."""
IDENTIFIED = 0.5
"""Presidio's share of findings from which a column counts as identifying, so that copies of it are looked for."""
LONG_NUMBER = 7
"""Digits from which a number that occurs in an identifying column is no coincidence."""


@dataclass(frozen=True)
class Examined:
    """What is known of some tables."""

    declared: Structure
    evidence: Mapping[Place, Evidence]
    """On every column of theirs."""


def examine(look: Looking, schema: str, live: LiveTables, chosen: Iterable[str]) -> Examined:
    """Gathers the evidence on every column of the chosen tables; keys are followed through the whole schema.

    Raises:
        SourceRefusedError: the connection was lost.
    """
    declared = structure(look.cursor, schema, live)
    tables = {name: live[name] for name in chosen}
    evidence: dict[Place, Evidence] = {}
    for table, columns in tables.items():
        readable = look.readable(table)
        sampled = [
            name for name, column in columns.columns.items() if name in readable and _family(column) in LOOKED_AT
        ]
        values = look.sample(table, sampled) or {}
        for name, column in columns.columns.items():
            place = table, name
            evidence[place] = Evidence(
                column, name in readable, declared.domains.get(place), _origin(place, declared), values.get(name)
            )
    undecided = {place: each for place, each in evidence.items() if _open(each)}
    evidence |= {
        place: replace(each, found=recognised(each.values.distinct)) for place, each in undecided.items() if each.values
    }
    known = _known(look, evidence)
    for place in undecided:
        each = evidence[place]
        if each.values is None:
            continue
        few = len(each.values.distinct) <= MOST_CATEGORIES and _family(each.column) == "text"
        categories = look.categories(*place, _persons(place[0], tables, declared)) if few else None
        shown = list(categories or each.values.distinct)
        if _family(each.column) != "text":
            shown = [value for value in shown if len(value) >= LONG_NUMBER]
        evidence[place] = replace(
            each, categories=categories, copied=known.copied(shown, besides=place), names=known.composed(shown)
        )
    return Examined(declared, evidence)


def _persons(table: str, tables: LiveTables, declared: Structure) -> list[str]:
    """The columns of a table that refer to one of persons."""
    return [
        column
        for column in tables[table].columns
        if (to := declared.refers.get((table, column))) and to[0] in tables and of_persons(tables[to[0]].columns)
    ]


def _known(look: Looking, evidence: Mapping[Place, Evidence]) -> Known:
    """The values of the columns that identify."""
    known = Known()
    for place, each in evidence.items():
        if each.values is None or each.domain is not None:
            continue
        meaning = each.meaning
        text = _family(each.column) == "text"
        named = meaning is not None and meaning.identifies and (meaning.numbers or text)
        if named or (text and each.found and max(each.found.values()) >= IDENTIFIED):
            known.learn(look.distinct(*place), place, names=meaning is not None and meaning.what == "a name")
    return known


def _open(evidence: Evidence) -> bool:
    """Whether a column's values may tell what its name does not."""
    meaning = evidence.meaning
    telling = meaning is not None and (meaning.numbers or _family(evidence.column) == "text")
    return evidence.domain is None and evidence.column.kind != "e" and not telling and evidence.values is not None


def _origin(place: Place, declared: Structure) -> str:
    same = "The same one has the same pseudonym in every table, so that tables can be joined."
    if to := declared.refers.get(place):
        return f"A foreign key to {to[0]}.{to[1]}. {same}"
    if place in declared.guessed:
        return "No foreign key says so, but its name is that of a key."
    if place[1] in declared.keys.get(place[0], ()):
        return f"{'The' if len(declared.keys[place[0]]) == 1 else 'Part of the'} key of the table. {same}"
    return "It is unique, so it stands for one row alone."


def _family(column: LiveColumn) -> str:
    how = carried(column)
    return "" if isinstance(how, Refused) else how.family
