"""How many people share what an outsider may know: k-anonymity and l-diversity, measured in the source.

What belongs here: counting persons by the quasi-identifiers of a table as the policy leaves them, and blanking those
that too few share. What does not: deciding which columns these are; the policy says so.

Counted are persons in the whole source, every day of it, and not rows of the extract: somebody with many rows hides
nobody, and a day with few rows shows nobody who is one of many. A combination that fewer than k persons share, or of
whose persons all share one value of a sensitive column, is blanked in every row: the columns become null, and the row
stays. If more than a tenth of the persons would be blanked, the extract is not published: the policy is too fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract.generalisations import Noise, Shift
from ds_pipelines.extract.source import Readable
from ds_pipelines.extract.transform import transform
from ds_pipelines.extract.treatments import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.extract.source import Source

MOST_BLANKED = 0.10
"""Share of persons whose quasi-identifiers may be blanked."""
L = 2
"""Different values of a sensitive column among those who share a combination, at least."""
_PAIRS_HELD = 1 << 20
_CLASS, _PERSON, _SAFE = "class", "person", "whether so many share it, by a name that no column can have: too long"


@dataclass(frozen=True)
class Anonymity:
    """What was counted of one table."""

    columns: tuple[str, ...]
    k: int
    classes: pl.DataFrame
    """One row a combination: the columns, `persons`, and the distinct values of each sensitive column."""
    safe: pl.DataFrame
    """The combinations that may be published."""
    persons: int
    blanked: int
    smallest: int
    """Persons who share the rarest combination of all, before anything is blanked."""
    least_diverse: int | None
    """Different sensitive values among those who share a published combination, at the least; None: none declared."""

    @property
    def share_blanked(self) -> float:
        """Of the persons."""
        return self.blanked / self.persons if self.persons else 0.0

    def blank(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The same rows, without the combinations that too few share."""
        known = self.safe.select(self.columns).with_columns(pl.lit(value=True).alias(_SAFE))
        joined = rows.join(known, on=self.columns, how="left", nulls_equal=True, maintain_order="left")
        blanked = (pl.when(_SAFE).then(pl.col(name)).otherwise(None).alias(name) for name in self.columns)
        return joined.with_columns(blanked).select(rows.columns)


def measure(source: Source, readable: Readable, pseudonyms: Pseudonyms, zone: str) -> Anonymity | None:
    """Counts the persons of a table; None if the policy declares no quasi-identifiers for it.

    Raises:
        The errors of `Source.batches` and `transform`.
    """
    table = readable.policy
    if table.k is None:
        return None
    needed = {*table.quasi_identifiers, *table.sensitive, table.person, table.by_day}
    treatments = [table.columns[name].treatment for name in (*table.quasi_identifiers, *table.sensitive)]
    needed |= {treatment.per for treatment in treatments if isinstance(treatment, Shift)}
    needed |= {name for name in table.key if any(isinstance(treatment, Noise) for treatment in treatments)}
    documents = any(isinstance(treatment, Document) for treatment in treatments)  # these hold pseudonyms
    part = table.model_copy(update={"columns": {name: c for name, c in table.columns.items() if name in needed}})
    carried = {name: how for name, how in readable.columns.items() if name in needed}

    def frames(take: Callable[[pl.DataFrame], None]) -> None:
        for batch in source.batches(Readable(part, readable.schema, carried, readable.apart)):
            take(transform(batch, part, pseudonyms, zone=zone, keep_keys=not documents))

    return _counted(table, frames)


def _counted(table: TablePolicy, frames: Callable[[Callable[[pl.DataFrame], None]], None]) -> Anonymity:
    by, sensitive = list(table.quasi_identifiers), list(table.sensitive)
    one_row_each = table.person is None or table.key == (table.person,)
    counts: list[pl.DataFrame] = []
    pairs: list[pl.DataFrame] = []
    values: dict[str, list[pl.DataFrame]] = {name: [] for name in sensitive}

    def take(rows: pl.DataFrame) -> None:
        counts.append(rows.group_by(by).agg(persons=pl.len()))
        if sum(each.height for each in counts) > _PAIRS_HELD:
            counts[:] = [pl.concat(counts).group_by(by).agg(pl.col("persons").sum())]
        for name in sensitive:
            values[name] = [pl.concat([*values[name], rows.select(*by, name).unique()]).unique()]
        if not one_row_each:
            person = pl.col(str(table.person))
            both = rows.filter(person.is_not_null())
            pairs.append(both.select(pl.struct(by).hash(7).alias(_CLASS), person.hash(7).alias(_PERSON)).unique())
            if sum(each.height for each in pairs) > _PAIRS_HELD:
                pairs[:] = [pl.concat(pairs).unique()]

    frames(take)
    if not counts:
        empty = pl.DataFrame(schema=dict.fromkeys(by, pl.Null()) | {"persons": pl.UInt32()})
        return Anonymity(tuple(by), table.k or 0, empty, empty, 0, 0, 0, None)
    classes = pl.concat(counts).group_by(by).agg(pl.col("persons").sum())
    if not one_row_each:
        persons = pl.concat(pairs).unique().group_by(_CLASS).agg(persons=pl.len())
        classes = classes.drop("persons").with_columns(pl.struct(by).hash(7).alias(_CLASS))
        classes = classes.join(persons, on=_CLASS, how="left").drop(_CLASS).with_columns(pl.col("persons").fill_null(0))
    for name in sensitive:
        distinct = pl.concat(values[name]).unique().group_by(by).agg(pl.len().alias(f"values of {name}"))
        classes = classes.join(distinct, on=by, how="left", nulls_equal=True)
    diverse = [pl.col(f"values of {name}") >= L for name in sensitive]
    safe = classes.filter(pl.col("persons") >= table.k, *diverse)
    total = int(classes["persons"].sum())
    least = (
        safe.select(pl.min_horizontal(f"values of {name}" for name in sensitive).min()).item() if sensitive else None
    )
    return Anonymity(
        columns=tuple(by), k=table.k or 0, classes=classes, safe=safe, persons=total,
        blanked=total - int(safe["persons"].sum()), smallest=classes.select(pl.col("persons").min()).item() or 0,
        least_diverse=least,
    )  # fmt: skip
