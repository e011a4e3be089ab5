"""The transformation: a table as production has it becomes the table that the privacy policy allows.

What belongs here: carrying out each treatment on a frame. What does not: reading, checking that a treatment fits,
fitting it, and publishing. The extract and the scoring both call `transform`; they differ in the identifiers alone, so
a feature computed from either is the same. A row's result depends on that row alone: it does not matter in which
batches a table comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import polars_hash as plh

from ds_pipelines.errors import UnreadableValueError
from ds_pipelines.extract import coarse
from ds_pipelines.extract.documents import listed
from ds_pipelines.extract.generalisations import Bins, Limits, Noise, Period, Rare, Round, Shift, Truncate
from ds_pipelines.extract.treatments import Constant, Document, FreeText, Keep, Null, Pseudonym

if TYPE_CHECKING:
    from ds_pipelines.extract.masking import Masker
    from ds_pipelines.extract.policy import TablePolicy
    from ds_pipelines.extract.pseudonyms import Pseudonyms
    from ds_pipelines.extract.treatments import Treatment


def transform(
    frame: pl.DataFrame,
    table: TablePolicy,
    pseudonyms: Pseudonyms | None,
    *,
    zone: str,
    keep_keys: bool = False,
    masker: Masker | None = None,
) -> pl.DataFrame:
    """The visible columns of a table as the policy leaves them, in the policy's order; rows keep theirs.

    Args:
        frame: The visible columns as `Source.read` gives them.
        table: The decisions about the table, as `fitting.fitted` fills them in.
        pseudonyms: What replaces identifiers, and moves dates and makes noise; may be None if keys are kept and the
            table is not `keyed`.
        zone: The business's time zone, in which timestamps are generalised.
        keep_keys: Whether identifiers keep their real value. For scoring alone: nothing like it may be published.
        masker: What masks free text, as `Masker.of` makes it for the table; None if none of it is visible.

    Raises:
        UnreadableValueError: a value cannot be treated exactly.
    """
    columns = []
    for name, decision in table.visible.items():
        series, treatment = frame[name], decision.treatment
        match treatment:
            case Pseudonym() | Document() if not keep_keys:
                columns.append(_replaced(series, table, treatment, _required(pseudonyms)))
            case Keep() | Pseudonym():
                columns.append(series)
            case Null():
                columns.append(series.clear(frame.height))
            case Document():
                columns.append(_replaced(series, table, treatment, None))
            case Constant(value=value):
                columns.append(pl.Series(name, [value]).new_from_index(0, frame.height))
            case FreeText():
                columns.append(_masked(frame, series, table, masker))
            case Shift() | Noise():
                columns.append(_moved(frame, series, table, treatment, _required(pseudonyms)))
            case _:
                columns.append(_coarser(series, treatment, zone))
    return pl.DataFrame(columns)


def _required(pseudonyms: Pseudonyms | None) -> Pseudonyms:
    if pseudonyms is None:
        raise ValueError("identifiers need pseudonyms unless they are kept, and what is keyed needs them always")
    return pseudonyms


def _masked(frame: pl.DataFrame, series: pl.Series, table: TablePolicy, masker: Masker | None) -> pl.Series:
    if masker is None:
        raise ValueError("free text is withheld unless something masks it")
    return masker.masked(series, frame[table.person] if table.person else None)


def _replaced(
    series: pl.Series, table: TablePolicy, treatment: Pseudonym | Document, pseudonyms: Pseudonyms | None
) -> pl.Series:
    if isinstance(treatment, Document):
        try:
            return listed(series, treatment, pseudonyms.of if pseudonyms else None)
        except RecursionError:
            raise UnreadableValueError(table.name, series.name, "JSON that is nested less deeply") from None
    return _required(pseudonyms).of(series, treatment.domain, treatment.shape)


def _moved(
    frame: pl.DataFrame, series: pl.Series, table: TablePolicy, treatment: Shift | Noise, pseudonyms: Pseudonyms
) -> pl.Series:
    """What the secret moves: dates by their person, numbers by their row."""
    if isinstance(treatment, Noise):
        rows = frame.select(plh.hash_rows(*table.key, version=1).chash.blake3()).to_series()
        drawn = pseudonyms.draw(rows, f"noise:{table.name}.{series.name}", coarse.DRAWS)
        return coarse.noisy(series, drawn, treatment.scale)
    person = table.columns[treatment.per].treatment
    if not isinstance(person, Pseudonym):
        raise TypeError("a policy shifts by a pseudonym only")
    drawn = pseudonyms.draw(frame[treatment.per], f"shift:{person.domain}", 2 * treatment.days)
    moved = coarse.shifted(series, drawn, treatment.days)
    if not moved.dt.year().is_between(1, 9999).all():
        expected = f"days that stay in the years 1 to 9999 when they are moved by up to {treatment.days}"
        raise UnreadableValueError(table.name, series.name, expected)
    return moved


def _coarser(series: pl.Series, treatment: Treatment, zone: str) -> pl.Series:
    match treatment:
        case Truncate(characters=characters):
            return series.str.head(characters)
        case Period(period=period):
            return coarse.period(series, period, zone)
        case Round(to=to):
            return coarse.rounded(series, to)
        case Bins() if treatment.edges is not None:
            return coarse.binned(series, treatment)
        case Limits():
            return coarse.limited(series, treatment)
        case Rare(frequent=tuple(categories)):
            return coarse.frequent(series, categories)
        case unusable:
            raise ValueError(f"{unusable.label} is not in the extract, or must be fitted first")
