"""What is proved of an extract before it is published, each proof with its words and figures.

What belongs here: the list of proofs, and what makes each hold. What does not: measuring (`search`, `anonymity`,
`patterns`, `references`, `disclosure`), and publishing.

A proof that fails stops the publication. What only informs, as the difference between successive days, always holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from ds_pipelines.evidence import ResidualRisk
    from ds_pipelines.extract.anonymity import Anonymity
    from ds_pipelines.extract.disclosure import Difference, Sequences
    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.references import References
    from ds_pipelines.extract.search import Search

PROOFS = {
    "rows": "As many rows are published as were read, on the days that were asked for.",
    "order": "Rows are in the order of their pseudonyms, and nothing of production's own order is left.",
    "nobody_named": "No name, e-mail, phone, address or identifier of the source is in a published text.",
    "patterns": "Presidio finds no e-mail, card, account or number of a person in a sample of the published texts.",
    "free_text": "Masked free text names nobody in a row of their own; what masking misses is measured and told.",
    "k_anonymity": "At least k persons of the source share each published combination of quasi-identifiers.",
    "foreign_keys": "Every foreign key of the source that is in the extract can be followed there.",
    "over_time": "What successive extracts reveal by their difference, and people by their sequence; for information.",
}
"""Every proof by name, in the order of the report."""


LEAST_TO_TELL = 0.9
"""A spelling of names of which less is masked is told in words."""


@dataclass(frozen=True)
class Proof:
    """One proof of one extract."""

    name: str
    passed: bool
    found: str
    """In words; never a value of the data."""
    figures: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Proofs:
    """All proofs of what one extract is about to publish together."""

    table: str
    first: date
    last: date
    rows: int
    proofs: tuple[Proof, ...]
    report: Path | None = None
    """The page that says all of it, once it is written."""

    @property
    def failed(self) -> dict[str, str]:
        """What was found, by the name of each proof that failed."""
        return {proof.name: proof.found for proof in self.proofs if not proof.passed}


def rows(read: int, written: int) -> Proof:
    """As many as were read."""
    return Proof(
        "rows", read == written, f"{read:,} rows read, {written:,} written", {"read": read, "written": written}
    )


def order(table: TablePolicy, by: Sequence[str]) -> Proof:
    """What the writing made certain: a file whose rows do not ascend is never finished."""
    pseudonym = table.columns[by[0]].treatment.kind == "pseudonym"
    words = "in the order of their pseudonyms" if pseudonym else "in the order of their key; the table has no pseudonym"
    return Proof("order", passed=True, found=f"Rows are {words}: {', '.join(by)}")


def nobody_named(search: Search) -> Proof:
    """Nothing that identifies is in a text."""
    figures = {"values sought": search.sought, "texts searched": search.searched, "found": sum(search.found.values())}
    if search.found:
        where = ", ".join(f"{name} ({count} texts)" for name, count in sorted(search.found.items()))
        return Proof(
            "nobody_named", passed=False, found=f"What identifies somebody is in column {where}", figures=figures
        )
    words = f"0 found in {search.searched:,} distinct texts; {search.sought:,} values of people were sought"
    if search.unreadable:
        words += f". Not sought, because the role may not read them: those of {', '.join(sorted(search.unreadable))}"
    return Proof("nobody_named", passed=True, found=words, figures=figures)


def patterns(looked_at: int, certain: dict[str, int], uncertain: dict[str, int]) -> Proof:
    """Nothing has the confirmed form of something personal."""
    figures = {"texts": looked_at, "certain": sum(certain.values()), "uncertain": sum(uncertain.values())}
    told = {f"certain {kind}": count for kind, count in certain.items()} | uncertain
    words = ", ".join(f"{kind} {count}" for kind, count in sorted(told.items())) or "nothing"
    return Proof("patterns", not certain, f"In {looked_at:,} texts that could hold one: {words}", figures)


def free_text(table: TablePolicy, search: Search, residual: ResidualRisk | None) -> Proof:
    """No name of the row's own person is left, not even alone; what else may be left was measured."""
    if residual is None:
        return Proof("free_text", passed=True, found="The extract has no free text")
    figures: dict[str, int | float] = {"own names left": search.own_names_left, "persons measured": residual.persons}
    figures |= {f"recall of {each.written_as}": round(each.others, 3) for each in residual.recall}
    figures |= {
        f"recall of {each.written_as}, own": round(each.own, 3) for each in residual.recall if each.own is not None
    }
    figures["masked per 1000 ordinary words"] = round(residual.masked_per_thousand, 3)
    words = (
        f"{', '.join(table.masked)}: a name of the row's own person is left in {search.own_names_left} texts; "
        f"{residual.masked_per_thousand:.2f} of 1,000 ordinary words are masked"
    )
    if full := next(iter(residual.recall), None):
        told = [f"{full.others:.1%} of {residual.persons} persons are masked where their {full.written_as} is written"]
        told += [
            f"{each.others:.1%} ({each.written_as})" for each in residual.recall[1:] if each.others < LEAST_TO_TELL
        ]
        words += f"; anywhere, {', '.join(told)}"
    return Proof("free_text", search.own_names_left == 0, words, figures)


def k_anonymity(measured: Anonymity | None, most_blanked: float) -> Proof:
    """Enough persons share each combination, and not too many had to be blanked for it."""
    if measured is None:
        return Proof("k_anonymity", passed=True, found="The policy declares no quasi-identifiers for this table")
    figures: dict[str, int | float] = {
        "k": measured.k, "persons": measured.persons, "combinations": measured.classes.height,
        "smallest before": measured.smallest, "share blanked": round(measured.share_blanked, 4),
    }  # fmt: skip
    words = (
        f"{measured.safe.height:,} of {measured.classes.height:,} combinations of {', '.join(measured.columns)} are "
        f"shared by at least {measured.k} of {measured.persons:,} persons; the others are blanked, which are "
        f"{measured.share_blanked:.1%} of the persons (allowed: {most_blanked:.0%})"
    )
    if measured.least_diverse is not None:
        figures["least diverse"] = measured.least_diverse
        words += f"; each has at least {measured.least_diverse} values of every sensitive column"
    return Proof("k_anonymity", measured.share_blanked <= most_blanked, words, figures)


def foreign_keys(references: References) -> Proof:
    """Equal values stay equal, because both ends are treated alike; and what was published of them was compared."""
    followed, unlike, outside = references.followed, references.unlike, references.outside
    broken = [each for each in followed if each.broken]
    compared, missing = sum(each.compared for each in followed), sum(each.missing for each in followed)
    figures = {
        "followed": len(followed), "broken": len(unlike) + len(broken), "not in the extract": len(outside),
        "values compared": compared, "values that lead nowhere": missing,
    }  # fmt: skip
    words = f"{len(followed)} hold in the extract, {len(outside)} lead to what is not in it"
    if not followed and not unlike and not outside:
        words = "The table has none"
    if unlike:
        named = ", ".join(f"{', '.join(key.columns)} to {key.parent}" for key in unlike)
        words += f"; treated otherwise than what they refer to: {named}"
    if compared:
        words += f"; {compared:,} different values were sought in what is published of the other tables"
        open_ = [each for each in followed if each.missing and not each.broken]
        words += ", and all are there" if not missing else ""
        words += "".join(f"; {each.name}: {each.missing:,} lead to rows that are not published" for each in open_)
    words += "".join(f"; {each.name}: {each.missing:,} lead nowhere although {each.broken}" for each in broken)
    return Proof("foreign_keys", not unlike and not broken, words, figures)


def over_time(difference: Difference | None, followed: Sequences | None) -> Proof:
    """Told, not judged."""
    words: list[str] = []
    figures: dict[str, int | float] = {}
    if difference is not None:
        words.append(
            f"Against the extract of {difference.before}, {difference.appeared:,} of {difference.of:,} keys are new "
            f"and {difference.disappeared:,} are gone: who holds both extracts knows which"
        )
        figures |= {"appeared": difference.appeared, "disappeared": difference.disappeared, "compared": difference.of}
    if followed is not None:
        words.append(
            f"{followed.share:.1%} of {followed.persons:,} persons are told from all others by the days on which they "
            f"occur in {', '.join(followed.tables)}, over {followed.days} days"
        )
        figures |= {"persons followed": followed.persons, "unique sequences": followed.unique}
    return Proof("over_time", passed=True, found="; ".join(words) or "Nothing to compare with yet", figures=figures)
