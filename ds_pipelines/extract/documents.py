"""JSON documents: what of them the policy lists, and nothing else.

What belongs here: taking documents apart by path and writing what is left, numbers digit by digit. What does not: what
is listed (`treatments.Document`), and making pseudonyms.

A document is written as PostgreSQL prints jsonb. Of a key that occurs twice, which json allows, the last one counts, as
in jsonb.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ds_pipelines.extract.treatments import Document

    Replace = Callable[[pl.Series, str], pl.Series]
    """From identifiers and their domain to pseudonyms."""
    Path = tuple[str, ...]


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


@dataclass(frozen=True)
class _Identifier:
    """A value that is to be replaced."""

    domain: str
    text: str


_KEEP, _EVERYTHING, _WITHHOLD = "", "*", "-"
"""What becomes of a path that no domain names; no domain is called so."""
_NOTHING = object()


def listed(documents: pl.Series, treatment: Document, replace: Replace | None) -> pl.Series:
    """What the treatment lists of each document; null where nothing is left, shape (n,).

    Args:
        documents: JSON as text, shape (n,).
        treatment: The listed paths.
        replace: What makes pseudonyms; None: identifiers keep their real value.

    Raises:
        RecursionError: a document is nested about a thousand times.
    """
    rules = _rules(treatment)
    left = [_NOTHING if text is None else _left(_read(text), (), _WITHHOLD, rules) for text in documents]
    stand_ins: dict[_Identifier, str] = {}
    if replace is not None:
        stand_ins = _stand_ins(left, replace)
    texts = [None if value is _NOTHING else _text(value, stand_ins) for value in left]
    return pl.Series(documents.name, texts, dtype=pl.String)


def _read(text: str) -> Any:
    return json.loads(text, parse_float=_Number, parse_int=_Number)


def _rules(treatment: Document) -> dict[Path, str]:
    rules = {_path(path): _KEEP for path in treatment.keep if not path.endswith(".*")}
    rules |= {_path(path.removesuffix(".*")): _EVERYTHING for path in treatment.keep if path.endswith(".*")}
    rules |= {_path(path): _WITHHOLD for path in treatment.drop}
    return rules | {_path(path): domain for path, domain in treatment.pseudonym.items()}


def _path(written: str) -> Path:
    return tuple(written.split("."))


def _left(value: Any, path: Path, above: str, rules: dict[Path, str]) -> Any:
    """What is left of a value; nothing of an object or array of which nothing is left."""
    rule = rules.get(path, _EVERYTHING if above == _EVERYTHING else _WITHHOLD)
    if isinstance(value, dict):
        members = {key: _left(each, (*path, key), rule, rules) for key, each in value.items()}
        value = {key: each for key, each in members.items() if each is not _NOTHING}
        return value if value or rule == _EVERYTHING else _NOTHING
    if isinstance(value, list):
        value = [left for each in value if (left := _left(each, path, above, rules)) is not _NOTHING]
        return value if value or rule in (_KEEP, _EVERYTHING) else _NOTHING
    if rule in (_KEEP, _EVERYTHING) or (value is None and rule != _WITHHOLD):
        return value
    if rule == _WITHHOLD or isinstance(value, bool):
        return _NOTHING
    return _Identifier(rule, value)


def _stand_ins(values: Iterable[Any], replace: Replace) -> dict[_Identifier, str]:
    by_domain: dict[str, set[_Identifier]] = {}
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Identifier):
            by_domain.setdefault(value.domain, set()).add(value)
        elif isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    made: dict[_Identifier, str] = {}
    for domain, identifiers in by_domain.items():
        found = list(identifiers)
        # A lone surrogate, which JSON can escape and no text can hold, is itself as its escape.
        real = pl.Series([each.text.encode(errors="backslashreplace").decode() for each in found], dtype=pl.String)
        made |= zip(found, replace(real, domain), strict=True)
    return made


def _text(value: Any, stand_ins: dict[_Identifier, str]) -> str:
    match value:
        case _Identifier(text=real):
            return _text(stand_ins.get(value, real), stand_ins)
        case _Number():
            return str(value)
        case dict():
            members = (f"{_text(key, stand_ins)}: {_text(each, stand_ins)}" for key, each in value.items())
            return f"{{{', '.join(members)}}}"
        case list():
            return f"[{', '.join(_text(each, stand_ins) for each in value)}]"
        case str() if not value.isascii():
            plain = json.dumps(value, ensure_ascii=False)
            return json.dumps(value) if any("\ud800" <= each <= "\udfff" for each in plain) else plain
        case _:
            return json.dumps(value)
