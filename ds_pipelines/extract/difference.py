"""What a change of a policy changes for those who use the extracts, and for the privacy of whom they are about.

What belongs here: comparing two policies. What does not: the database; whether either fits it is `catalogue`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ds_pipelines.extract.policy import KnownBy
from ds_pipelines.extract.treatments import Pseudonym

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ds_pipelines.extract.policy import ColumnPolicy, Policy, TablePolicy

Kind = Literal["newly visible", "withheld now", "treated otherwise", "gone", "rows", "joins", "words"]
ORDER: tuple[Kind, ...] = ("newly visible", "withheld now", "treated otherwise", "gone", "rows", "joins", "words")


@dataclass(frozen=True)
class Change:
    """One thing that differs."""

    kind: Kind
    place: str
    """A table, a column of it, or an identity domain."""
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}: {self.what}"


def difference(old: Policy, new: Policy) -> list[Change]:
    """What differs from the old policy to the new, what matters most for privacy first."""
    changes = list(_changes(old, new))
    return sorted(changes, key=lambda change: ORDER.index(change.kind))


def _changes(old: Policy, new: Policy) -> Iterator[Change]:
    for name in [*new.tables, *(name for name in old.tables if name not in new.tables)]:
        before, after = old.tables.get(name), new.tables.get(name)
        yield from _columns(name, before.columns if before else {}, after.columns if after else {})
        if before and after:
            yield from _rows(before, after)
    yield from _free_text(old, new)
    yield from _not_extracted(old, new)
    yield from _joins(old, new)


def _free_text(old: Policy, new: Policy) -> Iterator[Change]:
    """Whether the same text would be masked otherwise."""
    differing = [
        name
        for name in type(new.free_text).model_fields
        if getattr(old.free_text, name) != getattr(new.free_text, name)
    ]
    if differing:
        yield Change("treated otherwise", "free_text", f"another {', '.join(differing)}; texts are masked otherwise")
    for name in sorted(old.tables.keys() & new.tables.keys()):
        if old.tables[name].known_by != new.tables[name].known_by:
            what = "persons are known by other columns: others are sought, and masked in free text"
            yield Change("treated otherwise", name, what)


def _not_extracted(old: Policy, new: Policy) -> Iterator[Change]:
    for name in sorted(new.not_extracted.keys() - old.not_extracted.keys()):
        yield Change("withheld now" if name in old.tables else "words", name, "nobody shall have the table")
    for name in sorted(old.not_extracted.keys() - new.not_extracted.keys() - new.tables.keys()):
        yield Change("gone", name, "not extracted before, and not named any more")
    for name in sorted(old.not_extracted.keys() & new.not_extracted.keys()):
        if old.not_extracted[name] != new.not_extracted[name]:
            yield Change("words", name, "another reason why nobody shall have the table")


def _columns(
    table: str, before: Mapping[str, ColumnPolicy], after: Mapping[str, ColumnPolicy]
) -> Iterator[Change]:  # fmt: skip
    for name in [*after, *(name for name in before if name not in after)]:
        old, new = before.get(name), after.get(name)
        place = f"{table}.{name}"
        was, is_ = (label(column) for column in (old, new))
        visible = old is not None and old.treatment.visible, new is not None and new.treatment.visible
        if new is None:
            yield Change("withheld now" if visible[0] else "gone", place, f"{was}, and not named any more")
        elif visible == (False, True):
            yield Change("newly visible", place, f"{was} → {is_}")
        elif visible == (True, False):
            yield Change("withheld now", place, f"{was} → {is_}")
        elif old is None or old.treatment != new.treatment:
            yield Change("treated otherwise", place, f"{was} → {is_}")
        elif old != new:
            yield Change("words", place, "the same treatment, with another type, description or reason")


def label(column: ColumnPolicy | None) -> str:
    """A column's treatment as people read it."""
    return "not named" if column is None else column.treatment.label


def _rows(before: TablePolicy, after: TablePolicy) -> Iterator[Change]:
    if before.by_day != after.by_day:
        was, is_ = (f"by day of {table.by_day}" if table.by_day else "all rows" for table in (before, after))
        yield Change("rows", before.name, f"{was} → {is_}; days published before stay as they are")
    if before.key != after.key:
        yield Change("rows", before.name, f"key {', '.join(before.key) or 'none'} → {', '.join(after.key) or 'none'}")
    for option in ("person", "known_by", "quasi_identifiers", "k", "sensitive"):
        if (told := getattr(before, option)) != (tells := getattr(after, option)):
            yield Change("treated otherwise", before.name, f"{option}: {_told(told)} → {_told(tells)}")
    if before.description != after.description:
        yield Change("words", before.name, "another description")


def _told(option: Any) -> str:
    if option is None or option == ():
        return "not said"
    if isinstance(option, KnownBy):
        return ", ".join(option.columns)
    return ", ".join(option) if isinstance(option, tuple) else str(option)


def _joins(old: Policy, new: Policy) -> Iterator[Change]:
    """Whether what could be joined still can, among the new extracts and with those published before."""
    before, after = _pseudonyms(old), _pseudonyms(new)
    for place in sorted(before.keys() & after.keys()):
        if before[place] != after[place]:
            same = sorted(".".join(other) for other in after if after[other] == after[place] and other != place)
            with_ = f"joins with {', '.join(same)}" if same else "joins with nothing"
            yield Change(
                "joins", ".".join(place), f"new pseudonyms, unlike those published before; from now on it {with_}"
            )
    for domain in sorted({*before.values()}):
        places = sorted(place for place in before if before[place] == domain)
        parted = {after[place] for place in places if place in after}
        if len(parted) > 1:
            named = ", ".join(".".join(place) for place in places if place in after)
            yield Change("joins", domain, f"can no longer all be joined with each other: {named}")


def _pseudonyms(policy: Policy) -> dict[tuple[str, str], str]:
    """The domain of each column of pseudonyms, with what they look like."""
    return {
        (table.name, name): column.treatment.label
        for table in policy.tables.values()
        for name, column in table.columns.items()
        if isinstance(column.treatment, Pseudonym)
    }
