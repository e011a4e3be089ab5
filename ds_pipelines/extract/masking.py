"""Free text of one table, masked: what the policy opts in to, with everything that the database knows of its persons.

What belongs here: gathering who is known and what is sought, once for a table, and masking columns with it. What does
not: finding (`free_text`), and proving that nothing is left (`search`).

Masked are, in this order of strength: what the row's own person is known by, what any person is known by, what
Presidio's recognisers, those of the policy and its model find; and every value that the exact search before publication
would find, so that it finds none. A text's result depends on the text, on whose row it is in, and on whom production
knows at that moment; not on other rows. Extract and scoring use the same masker. It holds personal data: it stays in
memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.errors import AbsentColumnError, AbsentTableError, UnfitTreatmentError
from ds_pipelines.evidence import ResidualRisk, SpellingRecall
from ds_pipelines.extract.search import MOST_SHARED, Sought, Within, identifying_values, starts
from ds_pipelines.extract.source import Readable
from ds_pipelines.extract.treatments import Pseudonym
from ds_pipelines.extract.types import Carried, carried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ds_pipelines.extract.free_text.known import KnownPersons
    from ds_pipelines.extract.free_text.patterns import PatternFinder
    from ds_pipelines.extract.policy import KnownBy, Policy, TablePolicy
    from ds_pipelines.extract.source import Source

IDENTIFIER = "IDENTIFIER"
"""What is found by the exact search alone."""
_EXACT = 0.85
"""Its score: any other search says more of what it is."""
SAMPLE = 200
"""Persons of whom the residual risk is measured."""
_KNOWN = ("PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "ADDRESS")
"""What is found of known persons."""
_KNOWABLE = ("text", "integer", "uuid")


@dataclass(frozen=True)
class Home:
    """A table of persons."""

    known: KnownPersons
    owns: bool
    """Whether rows of the masked table are somebody's of here."""


class Masker:
    """Masks the free text of one table. Not for several threads at once."""

    def __init__(
        self, finder: PatternFinder, homes: Sequence[Home], sought: Sequence[Sought], *, least_score: float
    ) -> None:
        """As `of` makes it: what finds patterns, who is known, and what else must not be left."""
        from ds_pipelines.extract.free_text import mask

        self._finder = finder
        self._homes = homes
        self._sought = sought
        self._least_score = least_score
        entities = {*finder.engine.get_supported_entities(), *_KNOWN, IDENTIFIER}
        self._labels = {f"[{mask.LABELS.get(entity, entity)}]": "[]" for entity in sorted(entities)}

    @classmethod
    def of(cls, policy: Policy, table: Readable, source: Source) -> Masker | None:
        """What masks a table's free text; None if none of it is visible. Everybody who is known is read for it.

        Raises:
            AbsentTableError, AbsentColumnError, UnfitTreatmentError: somebody should be known by what is not there.
            RecognizerError, LanguageModelError: what the policy adds to the search cannot be used.
            SourceRefusedError: the role may not read who is known.
        """
        if not table.policy.masked:
            return None
        from ds_pipelines.extract.free_text.patterns import PatternFinder

        homes, sought = [], list(_own_identifiers(table, source))
        for home in policy.tables.values():
            if home.known_by is not None:
                persons = _read(policy, home, home.known_by, source)
                sought += [Sought.of(persons[_KEY]), *_telling(persons.drop(_KEY), home)]
                homes.append(_home(persons, home, home.known_by, table.policy, policy.free_text.not_names))
            elif home.of_persons and (readable := source.identifying(policy, home.name)) is not None:
                sought += _telling(source.read(readable), home)
        finder = PatternFinder(_engine(policy))
        return cls(finder, homes, sought, least_score=policy.free_text.least_score)

    def masked(self, texts: pl.Series, owners: pl.Series | None = None) -> pl.Series:
        """The texts with what identifies somebody replaced by what it is, as `[PERSON]`; null stays null.

        Args:
            texts: A column of texts.
            owners: The real key of each row's own person; None if rows are nobody's.
        """
        from ds_pipelines.extract.free_text import mask

        whose = pl.Series("owner", [None], pl.String).new_from_index(0, texts.len()) if owners is None else owners
        rows = pl.DataFrame({"text": texts, "owner": whose.cast(pl.String)})
        each = rows.drop_nulls("text").unique(maintain_order=True)
        places = self.places(each["text"], each["owner"])
        made = each.with_columns(made=mask.masked(each["text"], places))
        joined = rows.join(made, on=["text", "owner"], how="left", nulls_equal=True, maintain_order="left")
        return joined["made"].alias(texts.name)

    def places(self, texts: pl.Series, owners: pl.Series | None = None) -> pl.DataFrame:
        """What is masked in some texts, as `free_text.mask.merged` returns it; `owners` are keys as texts."""
        from ds_pipelines.extract.free_text import mask

        distinct = texts.unique(maintain_order=True)
        found = self._finder.find(distinct).filter(pl.col("score") >= self._least_score)
        places = [_of_every(pl.concat([found, self._exact(distinct)]), distinct, texts)]
        places += [home.known.find(texts, owners if home.owns else None) for home in self._homes]
        return mask.whole_words(texts, mask.merged(*places, least_score=0.0))

    def without_labels(self, texts: pl.Series) -> pl.Series:
        """Masked texts without the words that masking put there."""
        return texts.str.replace_many(self._labels)

    def naming_their_own(self, texts: pl.Series, owners: pl.Series) -> int:
        """How many texts still hold a word of the name of their row's own person."""
        from ds_pipelines.extract.free_text.folding import quick_words, words_of

        count = 0
        for home in (home for home in self._homes if home.owns):
            for text, names in zip(texts, home.known.names_of(owners.cast(pl.String)), strict=True):
                if text and names and not {*names}.isdisjoint(quick_words(text)):
                    count += not {*names}.isdisjoint(word.folded for word in words_of(text))
        return count

    def residual(self, persons: int = SAMPLE) -> ResidualRisk:
        """What is missed of so many of the source's own persons, and masked of ordinary sentences."""
        from ds_pipelines.extract.free_text import residual

        sentences = pl.Series(residual.ordinary_sentences())
        ordinary = residual.measure(sentences, residual.GOLD.to_frame(), self.places(sentences))
        sample = self._sample(persons)
        texts, gold = residual.probe(sample["name"].to_list())
        owners = sample["key"].repeat_by(len(residual.SPELLINGS)).explode()
        anywhere = residual.measure(texts, gold, self.places(texts))
        own = residual.measure(texts, gold, self.places(texts, owners)) if sample["owns"].any() else None
        return ResidualRisk(
            persons=sample.height,
            recall=tuple(
                SpellingRecall(
                    written_as=written_as,
                    own=None if own is None else own.recall(written_as),
                    others=anywhere.recall(written_as),
                )
                for written_as in (residual.SPELLINGS if sample.height else ())
            ),
            ordinary_words=ordinary.tokens,
            masked_per_thousand=ordinary.per_thousand,
        )

    def _sample(self, wanted: int) -> pl.DataFrame:
        """Some persons with a name of two words or more: `key`, `name`, and whether rows may be theirs."""
        name = pl.col("names").list.first().str.strip_chars()
        persons = [
            home.known.persons.select("key", name=name, owns=pl.lit(home.owns))
            .filter(pl.col("name").str.contains(r"\S\s+\S"))
            .sort("key")
            for home in self._homes
        ]
        owning = [each for each in persons if each["owns"].any()] or persons
        everybody = pl.concat([pl.DataFrame(schema={"key": pl.String, "name": pl.String, "owns": pl.Boolean}), *owning])
        return everybody.gather_every(max(everybody.height // wanted, 1)).head(wanted)

    def _exact(self, texts: pl.Series) -> pl.DataFrame:
        """Where the values are that the exact search would find."""
        from ds_pipelines.extract.free_text.findings import FINDINGS

        lower = [text.lower() for text in texts]
        within = Within(pl.Series("text", sorted({*lower}), pl.String))
        values: dict[str, set[str]] = {}
        for sought in self._sought:
            for text, value in within.hits(sought):
                values.setdefault(text, set()).add(value)
        rows = [
            (row, IDENTIFIER, start, end, _EXACT)
            for row, text in enumerate(lower)
            for start, end in _spans(texts[row], values.get(text, ()))
        ]
        return pl.DataFrame(rows, schema=FINDINGS, orient="row")


_KEY = "\x00key"
"""No column of PostgreSQL's can have this name."""


def _engine(policy: Policy) -> object:
    from ds_pipelines.extract.free_text.engine import build_engine, custom_recognizers, default_recognizers

    configured = [
        {
            "name": recogniser.name,
            "supported_entity": recogniser.name,
            "patterns": [
                {"name": f"{recogniser.name} {number}", "regex": pattern.regex, "score": pattern.score}
                for number, pattern in enumerate(recogniser.patterns, start=1)
            ],
            "deny_list": list(recogniser.words),
            "context": list(recogniser.context),
        }
        for recogniser in policy.free_text.recognisers
    ]
    return build_engine([*default_recognizers(), *custom_recognizers(configured)], policy.free_text.model)


def _read(policy: Policy, home: TablePolicy, known_by: KnownBy, source: Source) -> pl.DataFrame:
    """Everybody of a table of persons, by what they are known, and their key as text."""
    live = source.live_tables(policy.database_schema)
    if home.name not in live:
        raise AbsentTableError(home.name, policy.database_schema)
    columns = live[home.name].columns
    needed = (str(home.person), *known_by.columns)
    if absent := [name for name in needed if name not in columns]:
        raise AbsentColumnError(home.name, absent)
    read: dict[str, Carried] = {}
    for name in needed:
        how = carried(columns[name])
        if not isinstance(how, Carried) or how.family not in _KNOWABLE:
            raise UnfitTreatmentError(home.name, name, treatment="known_by", type_=columns[name].type, fits=_KNOWABLE)
        read[name] = how
    persons = source.read(Readable(home, policy.database_schema, read))
    key = persons[str(home.person)].cast(pl.String).alias(_KEY)
    return persons.select(known_by.columns).with_columns(key)


def _home(
    persons: pl.DataFrame, home: TablePolicy, known_by: KnownBy, table: TablePolicy, not_names: Sequence[str]
) -> Home:
    from ds_pipelines.extract.free_text.known import KnownPersons, PersonColumns

    columns = PersonColumns(_KEY, known_by.names, known_by.emails, known_by.phones, known_by.addresses)
    return Home(KnownPersons.of(persons, columns, not_names), owns=_domain(home) == _domain(table))


def _domain(table: TablePolicy) -> str | None:
    """Whose rows a table has."""
    treatment = table.columns[table.person].treatment if table.person else None
    return treatment.domain if isinstance(treatment, Pseudonym) else None


def _own_identifiers(table: Readable, source: Source) -> Iterator[Sought]:
    """The real values of the table's pseudonym columns, of all its rows: any row's text may hold any of them."""
    names = [name for name, column in table.policy.visible.items() if isinstance(column.treatment, Pseudonym)]
    if not names:
        return
    narrow = replace(table, columns={name: table.columns[name] for name in names})
    parts: dict[str, list[pl.Series]] = {name: [] for name in names}
    for batch in source.batches(narrow):
        for name in names:
            parts[name].append(batch[name].drop_nulls().unique())
    for series in parts.values():
        if series:
            yield Sought.of(pl.concat(series).unique())


def _telling(persons: pl.DataFrame, home: TablePolicy) -> Iterator[Sought]:
    """What the exact search seeks of some persons, without what so many share that it identifies none."""
    for values in identifying_values(persons, home):
        counted = values.cast(pl.String).drop_nulls().rename("value").value_counts()
        yield Sought.of(counted.filter(pl.col("count") <= MOST_SHARED)["value"])


def _of_every(found: pl.DataFrame, distinct: pl.Series, texts: pl.Series) -> pl.DataFrame:
    """Findings in distinct texts as findings in each of the texts that equal them."""
    of = pl.DataFrame({"written": distinct}).with_row_index("text")
    where = pl.DataFrame({"written": texts}).with_row_index("row").join(of, on="written", how="inner")
    every = found.join(where.select("row", "text"), on="text", how="inner", maintain_order="left")
    return every.with_columns(text=pl.col("row")).select(found.columns)


def _spans(text: str, values: set[str] | tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Where a text holds values, in any case."""
    if not values:
        return
    places: Sequence[int] = range(len(text))
    lower = text.lower()
    if len(lower) != len(text):  # the lower case of some letters is longer
        lower = "".join(letter.lower() for letter in text)
        places = [place for place, letter in enumerate(text) for _ in letter.lower()]
    for value in values:
        for start in starts(lower, value):
            yield places[start], places[start + len(value) - 1] + 1
