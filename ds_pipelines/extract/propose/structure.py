"""Keys, and what they identify: the identity domains that follow from primary and foreign keys.

What belongs here: the database's constraints, and the columns that hold the same identifiers. What does not: anything
about values.

A foreign key's columns share the domain of what they refer to, through any number of steps. Where no foreign key was
declared, a column that bears the name of exactly one table's key is taken for one: pseudonyms that can be joined but
need not be are no risk. Constraints on a partition count for the whole table.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ds_pipelines.extract.propose.vocabulary import key_like, stem_of, words_of
from ds_pipelines.extract.types import Refused, carried

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.extract.catalogue import LiveTables
    from ds_pipelines.extract.types import LiveColumn

Place = tuple[str, str]
"""A table and a column."""

_UNIQUE = """
    SELECT c.relname::text, i.indisprimary, array_agg(a.attname::text ORDER BY k.position)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL unnest(i.indkey::int[]) WITH ORDINALITY k(number, position)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE n.nspname = %s AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid
      AND k.position <= i.indnkeyatts
    GROUP BY c.relname, i.indexrelid, i.indisprimary
    ORDER BY c.relname, i.indisprimary DESC, i.indexrelid
"""
_FOREIGN = """
    SELECT DISTINCT s.relname::text, a.attname::text, n.nspname::text, t.relname::text, b.attname::text
    FROM pg_catalog.pg_constraint f
    JOIN pg_catalog.pg_class s ON s.oid = COALESCE(pg_partition_root(f.conrelid), f.conrelid)
    JOIN pg_catalog.pg_class t ON t.oid = COALESCE(pg_partition_root(f.confrelid), f.confrelid)
    JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
    CROSS JOIN LATERAL unnest(f.conkey, f.confkey) k(source, target)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.source
    JOIN pg_catalog.pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = k.target
    WHERE f.contype = 'f' AND s.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = %s)
    ORDER BY 1, 2, 3, 4, 5
"""
_COMMENTS = """
    SELECT c.relname::text, a.attname::text, d.description
    FROM pg_catalog.pg_description d
    JOIN pg_catalog.pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_catalog.pg_class'::regclass
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND a.attnum > 0
    WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = %s)
"""


@dataclass(frozen=True)
class Structure:
    """What a schema declares about its tables."""

    keys: Mapping[str, tuple[str, ...]]
    """By table, the columns that identify a row: the primary key, or a unique one without nulls."""
    domains: Mapping[Place, str]
    """The identity domain of each column that is a key or refers to one."""
    refers: Mapping[Place, Place]
    """From a foreign key's column to the one it refers to."""
    guessed: frozenset[Place]
    """Columns whose domain follows from their name alone."""
    comments: Mapping[tuple[str, str | None], str]
    """What the database itself says of a table (column None) or a column."""


def structure(cursor: Any, schema: str, live: LiveTables) -> Structure:
    """Reads what a schema declares; `cursor` is psycopg2's."""
    cursor.execute(_UNIQUE, (schema,))
    unique: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for table, primary, columns in cursor.fetchall():
        named = live[table].columns if table in live else {}
        if named and (primary or all(named[column].required for column in columns)):
            unique[table].append(tuple(columns))
    cursor.execute(_FOREIGN, (schema,))
    refers: dict[Place, Place] = {}
    same = _Same()
    for table, column, target_schema, target, target_column in cursor.fetchall():
        outside = "" if target_schema == schema else f"{target_schema} "
        refers.setdefault((table, column), (outside + target, target_column))
        same.join((table, column), (outside + target, target_column))
    keys = {table: columns[0] for table, columns in unique.items()}
    alone = {(table, column) for table, found in unique.items() for key in found if len(key) == 1 for column in key}
    known = {(table, column) for table, key in keys.items() for column in key} | alone | same.members
    guessed = _by_name(live, keys, known, same)
    cursor.execute(_COMMENTS, (schema,))
    comments = {(table, column): " ".join(text.split()) for table, column, text in cursor.fetchall()}
    return Structure(keys, _named(sorted(known | guessed), same), refers, frozenset(guessed), comments)


def _by_name(live: LiveTables, keys: Mapping[str, tuple[str, ...]], known: set[Place], same: _Same) -> set[Place]:
    """Columns named as keys are; joined to the table whose key they name, if there is exactly one.

    `customer_id`, and with a role before it `billing_customer_id`, name the key `customer_id`, or `id` of `customers`.
    """
    named: dict[tuple[str, ...], set[Place]] = defaultdict(set)
    for table, key in keys.items():
        if len(key) == 1 and table in live:
            words, whose = words_of(key[0]), words_of(table)
            singular = (*whose[:-1], whose[-1].removesuffix("s")) if whose else ()
            names = {words} if len(words) > 1 else {(*whose, *words), (*singular, *words)}
            for spelling in names:
                named[spelling].add((table, key[0]))
    found: set[Place] = set()
    for table, columns in live.items():
        for name, column in columns.columns.items():
            place, words = (table, name), words_of(name)
            if columns.view or place in same.members or _family(column) not in ("text", "integer", "uuid"):
                continue
            targets = {to for start in range(len(words)) for to in named.get(words[start:], ())} - {place}
            fitting = [to for to in targets if _family(live[to[0]].columns[to[1]]) == _family(column)]
            if len(fitting) == 1 and (name,) != keys.get(table):
                same.join(place, fitting[0])
                found.add(place)
            elif place not in known and key_like(name) and _family(column) != "text":
                found.add(place)
    return found


def _family(column: LiveColumn) -> str:
    how = carried(column)
    return "" if isinstance(how, Refused) else how.family


def _named(places: list[Place], same: _Same) -> dict[Place, str]:
    """A domain for each column, named as what is identified."""
    names: dict[str, Place] = {}
    domains: dict[Place, str] = {}
    for place in sorted(places, key=lambda place: (same.root(place) != place, place)):
        root = same.root(place)
        if root not in domains:
            table = "_".join(words_of(root[0])) or "table"
            stem = stem_of(root[1]) or table
            choices = [stem, f"{table}_{stem}", *(f"{table}_{stem}_{number}" for number in range(2, 1000))]
            usable = (name[:63] if name[0].isalpha() else f"domain_{name}"[:63] for name in choices)
            domains[root] = next(name for name in usable if names.setdefault(name, root) == root)
        domains[place] = domains[root]
    return domains


@dataclass
class _Same:
    """Columns that hold the same identifiers."""

    _above: dict[Place, Place] = field(default_factory=dict)

    @property
    def members(self) -> set[Place]:
        return {*self._above, *self._above.values()}

    def root(self, place: Place) -> Place:
        while (above := self._above.get(place, place)) != place:
            place = above
        return place

    def join(self, source: Place, target: Place) -> None:
        """The target's root stands for both."""
        source, target = self.root(source), self.root(target)
        if source != target:
            self._above[source] = target
