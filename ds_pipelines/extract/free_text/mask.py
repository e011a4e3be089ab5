"""Findings replaced by what they are: `[PERSON]`, `[EMAIL]`, over a column.

What belongs here: which of overlapping findings names the place, and the replacing. What does not: finding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from ds_pipelines.extract.free_text.findings import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

IN_WORD = re.compile(r"\w")
BEFORE = re.compile(r"\w['\u2019\u02bc]")
AFTER = re.compile(r"\w+|['\u2019\u02bc](?![sS]\b)\w+")
LABELS: Mapping[str, str] = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP",
    "DATE_TIME": "DATE",
}
LEAST_SCORE = 0.3
"""Findings below this score are Presidio's guesses without any context (any nine digits may be a passport)."""


def merged(*findings: pl.DataFrame, least_score: float = LEAST_SCORE) -> pl.DataFrame:
    """Return the places to mask: findings of one or more searches, overlapping ones joined, by text and place.

    A joined place spans all of its findings and bears the entity of the surest, then longest, then first of them.

    Args:
        findings: frames as described by `findings.FINDINGS`, over the same texts.
        least_score: findings below it are left out.
    """
    places = (
        pl.concat(findings)
        .filter(pl.col("score") >= least_score)
        .sort("text", "start", "end", maintain_order=True)
        .with_columns(reached=pl.col("end").cum_max().shift(1).over("text"))
        .with_columns(group=(pl.col("reached").is_null() | (pl.col("start") >= pl.col("reached"))).cum_sum())
        .with_columns(length=pl.col("end") - pl.col("start"))
    )
    surest = pl.col("entity").sort_by("score", "length", descending=True, maintain_order=True).first()
    joined = places.group_by("text", "group", maintain_order=True).agg(
        surest, pl.col("start").min(), pl.col("end").max(), pl.col("score").max()
    )
    return joined.select(FINDINGS.names()).cast(FINDINGS)


def whole_words(texts: pl.Series, places: pl.DataFrame) -> pl.DataFrame:
    """Return places that begin or end within a word grown over the whole of it, except for a possessive ending.

    What is left of a text are then words as they were written: masking makes none that was not there.
    """
    spans = [
        _grown(text, start, end)
        for text, start, end in zip(texts.gather(places["text"]), places["start"], places["end"], strict=True)
    ]
    grown = pl.DataFrame(spans, schema={"start": pl.UInt32, "end": pl.UInt32}, orient="row")
    return merged(places.with_columns(grown), least_score=0.0)


def _grown(text: str, start: int, end: int) -> tuple[int, int]:
    if IN_WORD.match(text[start]):
        while start and (IN_WORD.match(text[start - 1]) or BEFORE.fullmatch(text, max(start - 2, 0), start)):
            start -= 1
    while end < len(text) and IN_WORD.match(text[end - 1]):
        following = AFTER.match(text, end)
        if following is None:
            break
        end = following.end()
    return start, end


def masked(texts: pl.Series, places: pl.DataFrame) -> pl.Series:
    """Return the texts with every place replaced by its entity in brackets; null stays null.

    Args:
        texts: a string column.
        places: what to replace, as `merged` returns it: by text and place, not overlapping.
    """
    if places.is_empty():
        return texts
    frame = texts.rename("value").to_frame().with_row_index("text")
    pieces = (
        places.with_columns(
            begin=pl.col("end").shift(1, fill_value=0).over("text"),
            label="[" + pl.col("entity").replace(dict(LABELS)) + "]",
        )
        .join(frame, on="text", how="left", maintain_order="left")
        .with_columns(
            piece=pl.col("value").str.slice(pl.col("begin"), pl.col("start") - pl.col("begin")) + pl.col("label")
        )
        .group_by("text", maintain_order=True)
        .agg(pl.col("piece").str.join(""), pl.col("end").last(), pl.col("value").first())
        .select("text", replaced=pl.col("piece") + pl.col("value").str.slice(pl.col("end")))
    )
    result = frame.join(pieces, on="text", how="left", maintain_order="left")
    return result.select(pl.coalesce("replaced", "value").alias(texts.name)).to_series()
