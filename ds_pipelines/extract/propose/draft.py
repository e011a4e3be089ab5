"""The draft of a policy: each decision written down, with what the database itself says of tables and columns.

What belongs here: which tables are drafted, what is decided on whole tables, and the YAML. What does not: gathering the
evidence (`examine`), and the decision on a column (`decide`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ds_pipelines.errors import AbsentTableError, NothingToProposeError
from ds_pipelines.extract import source
from ds_pipelines.extract.policy import Policy
from ds_pipelines.extract.propose.decide import WITHHELD, decide
from ds_pipelines.extract.propose.examine import examine
from ds_pipelines.extract.propose.persons import known_by
from ds_pipelines.extract.propose.sample import looking
from ds_pipelines.extract.propose.vocabulary import BIRTH, meaning_of, words, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ds_pipelines.extract.catalogue import LiveTable, LiveTables
    from ds_pipelines.extract.propose.decide import Decision, Evidence
    from ds_pipelines.extract.propose.examine import Examined
    from ds_pipelines.extract.propose.sample import Looking
    from ds_pipelines.extract.propose.structure import Place, Structure
    from ds_pipelines.extract.types import LiveColumn
    from ds_pipelines.postgres import Role
    from ds_pipelines.settings import Settings

NOT_THE_DAY = words(
    "create created creation insert inserted update updated modified modification change changed register registered "
    "registration join joined hire hired start end since until expire expires expiry due required valid sync"
)
"""Words of columns that do not tell the day on which a row came about as an event."""

HEADER = """\
# A draft by `ds-pipelines policy propose`, from names, types, keys and a sample of values: review every line of it.
# Each guess has its reason in `because`. What nothing spoke for is withheld. A table that nobody shall have is named
# under `not_extracted`, with the reason, instead of under `tables`.
"""


@dataclass(frozen=True)
class Draft:
    """A proposed policy."""

    policy: Policy
    content: Mapping[str, Any]
    """The same in the form that people write."""
    tables: Mapping[str, Any]
    """The entry of each table, also of those of which nothing is visible."""

    @property
    def yaml(self) -> str:
        """The policy's file."""
        return HEADER + _dumped(self.content)

    def entries(self, table: str, columns: Iterable[str] | None = None) -> str:
        """What a policy that lacks a table, or some of its columns, needs to have under `tables`."""
        whole = self.tables[table]
        if columns is None and table in self.policy.not_extracted:
            entry = _dumped({table: self.policy.not_extracted[table]})
            return "# Not here, but under `not_extracted`:\n" + "".join(f"# {line}\n" for line in entry.splitlines())
        if columns is None:
            return _dumped({table: whole})
        return _dumped({table: {"columns": {name: whole["columns"][name] for name in columns}}})


def propose(settings: Settings, *, schema: str = "public", role: Role = "extract", tables: Iterable[str] = ()) -> Draft:
    """Drafts a policy for a database, or for some of its tables.

    Args:
        settings: Where production is, and the days that the business has.
        schema: Whose tables.
        role: Who looks; columns that it may not read are withheld.
        tables: Only these, views included; by default every table on which somebody must decide.

    Raises:
        AbsentTableError: there is no such table.
        NothingToProposeError: the schema has no tables.
        DatabaseUnreachableError, SourceRefusedError: the database cannot be read.
    """
    with source.connect(role, settings) as session:
        live = session.live_tables(schema)
    undecided = [name for name, table in live.items() if not table.view and not _read_with_another(table, live)]
    chosen = list(dict.fromkeys(tables)) or undecided
    if absent := [name for name in chosen if name not in live]:
        raise AbsentTableError(absent[0], schema)
    if not chosen:
        raise NothingToProposeError(schema, role)
    with looking(role, settings, schema) as look:
        examined = examine(look, schema, live, dict.fromkeys([*undecided, *chosen]))
        drafted = {name: _table(name, live, examined, look, settings) for name in chosen}
    visible = {name: entry for name, entry in drafted.items() if _visible(entry)}
    content = {"version": 1, "schema": schema, "tables": visible}
    if hidden := [name for name in drafted if name not in visible]:
        content["not_extracted"] = dict.fromkeys(hidden, "Each of its columns would be withheld.")
    return Draft(Policy.model_validate(content), content, drafted)


def _visible(entry: Mapping[str, Any]) -> bool:
    """Whether anything of a table would be in its extract."""
    return any(column["treatment"] not in ("drop", WITHHELD) for column in entry["columns"].values())


def _table(
    name: str,
    live: LiveTables,
    examined: Examined,
    look: Looking,
    settings: Settings,
) -> dict[str, Any]:
    """The entry of a table."""
    table, declared = live[name], examined.declared
    decisions = {column: decide(examined.evidence[name, column]) for column in table.columns}
    key = declared.keys.get(name, ())
    inherited = any(name in other.parents for other in live.values())  # whose rows the key does not span
    usable = key and not inherited and all(_in_key(decisions[column]) for column in key)
    comment = declared.comments.get((name, None))
    by_day = _by_day(name, table, examined.evidence, look, settings)
    return {
        "description": comment or f"{'View' if table.view else 'Table'} {name}; nobody has described it yet.",
        "rows": _Inline(by_day=by_day) if by_day else "all",
        "key": _InlineList(key) if usable else "none",
        **(_of_persons(name, key[0], table, examined.evidence) if usable and len(key) == 1 else {}),
        "columns": {
            column: dict(_column(table.columns[column], decision, (name, column), declared))
            for column, decision in decisions.items()
        },
    }


def _of_persons(name: str, key: str, table: LiveTable, evidence: Mapping[Place, Evidence]) -> dict[str, Any]:
    """What a table of persons says of them, if it is one."""
    if "pseudonym" not in decide(evidence[name, key]).treatment:
        return {}
    looked_at = [evidence[name, column] for column in table.columns]
    told = [each.column for each in looked_at if each.readable and each.domain is None]
    known = {kind: _InlineList(map(_inline, names)) for kind, names in known_by(told, table.columns[key]).items()}
    return {"person": key, "known_by": _Inline(known)} if known else {}


def _inline(name: str | list[str]) -> str | _InlineList:
    return name if isinstance(name, str) else _InlineList(name)


def _column(column: LiveColumn, decision: Decision, place: Place, declared: Structure) -> Iterator[tuple[str, Any]]:
    yield "type", column.type
    treatment = decision.treatment
    yield "treatment", _Inline(treatment) if isinstance(treatment, dict) else treatment
    if decision.visible:
        yield "description", declared.comments.get(place) or _described(column, place, declared)
    yield "because", decision.because


def _described(column: LiveColumn, place: Place, declared: Structure) -> str:
    if to := declared.refers.get(place):
        return f"Refers to {to[0]}.{to[1]}."
    if (place[1],) == declared.keys.get(place[0]):
        return f"Key of {place[0]}."
    return f"{' '.join(words_of(column.name)).capitalize() or column.name}; nobody has described it yet."


def _by_day(
    name: str, table: LiveTable, evidence: Mapping[Place, Evidence], look: Looking, settings: Settings
) -> str | None:
    """The column that tells the day of a row, if there is no doubt about it.

    There must be one candidate only, the table must refer to another, as events do, and each row must fall on a day
    that the business has: no row may be lost.
    """
    candidates = [
        column.name
        for column in table.columns.values()
        if column.required
        and column.base in ("timestamp with time zone", "date")
        and not column.domain
        and evidence[name, column.name].readable
        and not NOT_THE_DAY.intersection(words_of(column.name))
        and meaning_of(column.name) is not BIRTH
    ]
    refers = sum(evidence[name, column].domain is not None for column in table.columns) > 1
    if len(candidates) != 1 or not refers or decide(evidence[name, candidates[0]]).treatment != "keep":
        return None
    [column] = candidates
    within = look.within(
        name,
        column,
        first=settings.first_day,
        last=settings.now().date(),
        zone=settings.zone,
        instant=table.columns[column].base != "date",
    )
    return column if within else None


def _in_key(decision: Decision) -> bool:
    treatment = decision.treatment
    return treatment == "keep" or (isinstance(treatment, dict) and "pseudonym" in treatment)


def _read_with_another(table: LiveTable, live: LiveTables) -> bool:
    """Whether a table has nothing of its own to decide on, because it is read with the one from which it inherits."""
    parents = [live[parent] for parent in table.parents if parent in live]
    return any(table.columns.keys() <= parent.columns.keys() for parent in parents)


class _Inline(dict[str, Any]):
    """A mapping on one line."""


class _InlineList(list[Any]):
    """A list on one line."""


class _Dumper(yaml.SafeDumper):
    """YAML in which small things stand on one line, and lists are indented as people do."""


_Dumper.add_representer(
    _Inline, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)
_Dumper.add_representer(
    _InlineList, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def _dumped(content: Mapping[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=116)
