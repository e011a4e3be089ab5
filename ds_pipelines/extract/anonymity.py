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
    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.extract.source import Source

MOST_BLANKED = 0.10
"""Share of persons whose quasi-identifiers may be blanked."""
L = 2
"""Different values of a sensitive column among those who share a combination, at least."""
_ROWS_HELD = 1 << 18
_BATCHES_HELD = 16
_SHARDS = 16
"""Persons are counted in so many parts: to remove what is double takes several times the memory of a part."""
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


class Counter:
    """Counts the persons of a table whose rows pass by, after the transformation."""

    def __init__(self, table: TablePolicy) -> None:
        self._table = table
        self._by, self._sensitive = list(table.quasi_identifiers), list(table.sensitive)
        self._one_row_each = table.person is None or table.of_persons
        self._counts: list[pl.DataFrame] = []
        self._pairs: list[pl.DataFrame] = []
        self._shards: dict[int, pl.DataFrame] = {}
        self._values: dict[str, list[pl.DataFrame]] = {name: [] for name in self._sensitive}

    def take(self, rows: pl.DataFrame) -> None:
        """Counts some rows."""
        by = self._by
        self._counts.append(rows.group_by(by).agg(persons=pl.len()))
        if sum(each.height for each in self._counts) > _ROWS_HELD:
            self._counts = [self._summed()]
        for name in self._sensitive:
            self._values[name] = [pl.concat([*self._values[name], rows.select(*by, name).unique()]).unique()]
        if not self._one_row_each:
            person = pl.col(str(self._table.person))
            theirs = rows.filter(person.is_not_null())
            hashed = theirs.select(pl.struct(by).hash(7).alias(_CLASS), person.hash(7).alias(_PERSON))
            self._pairs.append(hashed)
            if len(self._pairs) == _BATCHES_HELD:
                self._shard()

    def counted(self) -> Anonymity:
        """What was counted of all rows."""
        k = self._table.k or 0
        classes = self._classes() if self._counts else pl.DataFrame(schema={name: pl.Null() for name in self._by})
        if not self._counts:
            return Anonymity(tuple(self._by), k, classes, classes, 0, 0, 0, None)
        diverse = [pl.col(f"values of {name}") >= L for name in self._sensitive]
        safe = classes.filter(pl.col("persons") >= k, *diverse)
        total = int(classes["persons"].sum())
        least = None
        if self._sensitive:
            least = safe.select(pl.min_horizontal(f"values of {name}" for name in self._sensitive).min()).item()
        return Anonymity(
            columns=tuple(self._by),
            k=k,
            classes=classes,
            safe=safe,
            persons=total,
            blanked=total - int(safe["persons"].sum()),
            smallest=classes.select(pl.col("persons").min()).item() or 0,
            least_diverse=least,
        )

    def _summed(self) -> pl.DataFrame:
        return pl.concat(self._counts).group_by(self._by).agg(pl.col("persons").sum())

    def _shard(self) -> None:
        """Forgets the pairs that are known already, a part of the persons at a time."""
        if not self._pairs:
            return
        pairs, self._pairs = pl.concat(self._pairs), []
        for number in range(_SHARDS):
            part = pairs.filter(pl.col(_PERSON) % _SHARDS == number)
            known = self._shards.get(number, part.clear())
            self._shards[number] = pl.concat([known, part]).unique()

    def _classes(self) -> pl.DataFrame:
        classes = self._summed()
        if not self._one_row_each:
            self._shard()
            shards = [shard.group_by(_CLASS).agg(persons=pl.len()) for shard in self._shards.values()]
            persons = pl.concat(shards).group_by(_CLASS).agg(pl.col("persons").sum())
            classes = classes.drop("persons").with_columns(pl.struct(self._by).hash(7).alias(_CLASS))
            classes = classes.join(persons, on=_CLASS, how="left").drop(_CLASS)
            classes = classes.with_columns(pl.col("persons").fill_null(0))
        for name in self._sensitive:
            values = pl.concat(self._values[name]).unique().group_by(self._by)
            distinct = values.agg(pl.len().alias(f"values of {name}"))
            classes = classes.join(distinct, on=self._by, how="left", nulls_equal=True)
        return classes


def measure(source: Source, readable: Readable, pseudonyms: Pseudonyms, zone: str) -> Anonymity:
    """Counts the persons of a table of which an extract holds only some days: every day is read for it.

    Raises:
        The errors of `Source.batches` and `transform`.
    """
    table = readable.policy
    needed = {*table.quasi_identifiers, *table.sensitive, table.person, table.by_day}
    treatments = [table.columns[name].treatment for name in (*table.quasi_identifiers, *table.sensitive)]
    needed |= {treatment.per for treatment in treatments if isinstance(treatment, Shift)}
    needed |= {name for name in table.key if any(isinstance(treatment, Noise) for treatment in treatments)}
    documents = any(isinstance(treatment, Document) for treatment in treatments)  # these hold pseudonyms
    part = table.model_copy(update={"columns": {name: c for name, c in table.columns.items() if name in needed}})
    carried = {name: how for name, how in readable.columns.items() if name in needed}
    counter = Counter(table)
    for batch in source.batches(Readable(part, readable.schema, carried, readable.apart)):
        counter.take(transform(batch, part, pseudonyms, zone=zone, keep_keys=not documents))
    return counter.counted()
