"""Presidio's findings over a column of texts, faster.

What belongs here: which text goes which way, and putting together what the ways bring. What does not: what a finding
is; that is decided by Presidio's patterns and validators (`evaluation`), by phonenumbers (`phones`) and by Presidio's
rule for context words (`context`). The whole column is searched by wide gates in Polars; only where one opens is a
text looked at, token by token. Whatever is not understood takes Presidio's own path: a text with unusual letters or
digits, a recogniser unlike those that the gates were derived from, an engine with a language model or thresholds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl
from presidio_analyzer import PatternRecognizer

from ds_pipelines.errors import UnencodableTextError
from ds_pipelines.extract.free_text import phones
from ds_pipelines.extract.free_text.context import ContextWords
from ds_pipelines.extract.free_text.engine import LANGUAGE, build_engine
from ds_pipelines.extract.free_text.evaluation import Evaluation, retellable, without_duplicates
from ds_pipelines.extract.free_text.findings import FINDINGS, Finding
from ds_pipelines.extract.free_text.gates import BLANKS, DIGIT_RUN, gate_of, unusual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from presidio_analyzer import AnalyzerEngine, EntityRecognizer

    from ds_pipelines.extract.free_text.context import Scored

    Contextual = tuple[str, int, int, float, Sequence[str]]

NEVER = r"[^\s\S]"


class PatternFinder:
    """Finds what Presidio's `AnalyzerEngine` finds, over whole columns. Not thread-safe, like the engine itself."""

    def __init__(self, engine: AnalyzerEngine | None = None) -> None:
        self.engine = engine or build_engine()
        recognizers: Sequence[EntityRecognizer] = self.engine.registry.recognizers
        self._context = ContextWords(self.engine, LANGUAGE)
        self._on: dict[str, list[Evaluation]] = {"token": [], "digits": []}
        self._on_text: list[tuple[re.Pattern[str] | None, EntityRecognizer]] = []
        self._phones: list[tuple[phones.PhoneSearch, re.Pattern[str], EntityRecognizer]] = []
        self._all_presidio = not retellable(self.engine)
        in_tokens: list[str] = []
        in_texts: list[str] = []
        for recognizer in recognizers:
            gate = gate_of(recognizer)
            if gate is not None and gate.scope != "text":
                self._on[gate.scope].append(Evaluation(recognizer, gate))
                (in_tokens if gate.scope == "token" else in_texts).append(gate.anywhere)
            elif gate is not None:
                self._on_text.append((re.compile(gate.opens), recognizer))
                in_texts.append(gate.anywhere)
            elif phones.understood(recognizer):
                search = phones.PhoneSearch(tuple(recognizer.supported_regions))
                self._phones.append((search, re.compile(search.opens), recognizer))
                in_texts.append(search.opens)
            else:
                self._all_presidio |= not isinstance(recognizer, PatternRecognizer)
                self._on_text.append((None, recognizer))
                in_texts.append("")
        self._token_gate = f"[^{BLANKS}]*(?:{'|'.join(in_tokens) or NEVER})[^{BLANKS}]*"
        self._text_gate = "|".join(dict.fromkeys(in_texts or [NEVER]))
        self._digit_run = re.compile(DIGIT_RUN)

    def find(self, texts: pl.Series) -> pl.DataFrame:
        """Return what is found in each text of a string column; null texts hold nothing.

        Returns:
            A frame as described by `findings.FINDINGS`.
        """
        columns: tuple[list[int], list[str], list[int], list[int], list[float]] = ([], [], [], [], [])
        for row, text, tokens in self._looked_at(texts.cast(pl.String)):
            for finding in self._search(text, tokens):
                for column, value in zip(columns, (row, *finding), strict=True):
                    column.append(value)  # type: ignore[attr-defined]
        return pl.DataFrame(dict(zip(FINDINGS.names(), columns, strict=True)), schema=FINDINGS)

    def find_in(self, texts: Sequence[str | None]) -> list[list[Finding]]:
        """Return what is found in each of some texts, as Presidio's `analyze_iterator` would.

        Raises:
            UnencodableTextError: a text holds a lone surrogate; names its position.
        """
        found: list[list[Finding]] = [[] for _ in texts]
        for row, *finding in self.find(column_of(texts)).iter_rows():
            found[row].append(Finding(*finding))
        return found

    def opened(self, texts: pl.Series) -> pl.DataFrame:
        """Return the texts for which some gate opens: `row`, `text`, its `tokens`, whether it is `unusual`."""
        text = pl.col("text")
        gated = (
            texts.rename("text")
            .to_frame()
            .with_row_index("row")
            .lazy()
            .with_columns(tokens=text.str.extract_all(self._token_gate), unusual=text.str.contains(unusual()))
        )
        whole = text.str.contains(self._text_gate)
        return gated.filter((pl.col("tokens").list.len() > 0) | pl.col("unusual") | whole).collect()

    def _looked_at(self, texts: pl.Series) -> Iterator[tuple[int, str, list[str] | None]]:
        """Yield row, text and tokens of every text that may hold something; no tokens where all of Presidio is due."""
        if self._all_presidio:
            for row, text in enumerate(texts):
                if text is not None:
                    yield row, text, None
            return
        for row, text, tokens, is_unusual in self.opened(texts).iter_rows():
            yield row, text, None if is_unusual else tokens

    def _search(self, text: str, tokens: list[str] | None) -> list[Scored]:
        if tokens is None:
            results = self.engine.analyze(text, language=LANGUAGE)
            return [(one.entity_type, one.start, one.end, one.score) for one in results]
        found = [*self._in_tokens(text, tokens), *self._in_digits(text), *self._in_text(text), *self._numbers(text)]
        if not found:
            return []
        scored = self._context.enhance(text, found)
        return without_duplicates(scored) if len(scored) > 1 else scored

    def _in_tokens(self, text: str, tokens: list[str]) -> Iterator[Contextual]:
        end = 0
        for token in tokens:
            start = text.index(token, end)
            end = start + len(token)
            for evaluation in self._on["token"]:
                if evaluation.opens.search(token):
                    for entity, begin, stop, score in evaluation.run(token):
                        yield entity, start + begin, start + stop, score, evaluation.context

    def _in_digits(self, text: str) -> Iterator[Contextual]:
        for run in self._digit_run.finditer(text):
            start = max(run.start() - 1, 0)
            piece = text[start : run.end() + 1]
            for evaluation in self._on["digits"]:
                for entity, begin, stop, score in evaluation.run(piece):
                    yield entity, start + begin, start + stop, score, evaluation.context

    def _in_text(self, text: str) -> Iterator[Contextual]:
        for opens, recognizer in self._on_text:
            if opens is None or opens.search(text):
                yield from _own_analysis(recognizer, text)

    def _numbers(self, text: str) -> Iterator[Contextual]:
        for search, opens, recognizer in self._phones:
            if opens.search(text):
                spans = search.spans(text)
                if spans is None:
                    yield from _own_analysis(recognizer, text)
                else:
                    for start, end in spans:
                        yield recognizer.supported_entities[0], start, end, recognizer.SCORE, recognizer.context


def column_of(texts: Sequence[str | None]) -> pl.Series:
    """Return texts as a string column.

    Raises:
        UnencodableTextError: a text holds a lone surrogate; names its position.
    """
    try:
        return pl.Series("text", texts, dtype=pl.String)
    except UnicodeEncodeError as reason:
        unencodable = (row for row, text in enumerate(texts) if text is not None and not _encodable(text))
        raise UnencodableTextError(next(unencodable)) from reason


def _encodable(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)


def _own_analysis(recognizer: EntityRecognizer, text: str) -> Iterator[Contextual]:
    words = [word.lower() for word in recognizer.context or ()]
    for one in recognizer.analyze(text, recognizer.supported_entities, None):
        yield one.entity_type, one.start, one.end, one.score, words
