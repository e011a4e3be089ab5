"""What the text of an experiment tells: its description, the tables it reads, its header; read, never run.

What belongs here: Python, notebooks and R as text. What does not: which files there are and what they are called
(scripts.py).
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from ds_pipelines.errors import DsPipelinesError, HeaderError, UnreadableScriptError
from ds_pipelines.lab import header as headers
from ds_pipelines.lab.header import NONE, Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Kind = Literal["python", "notebook", "r"]

KINDS: dict[str, Kind] = {".py": "python", ".ipynb": "notebook", ".r": "r"}
"""By suffix, in lower case."""
LARGEST: dict[Kind, int] = {"python": 1 << 20, "notebook": 16 << 20, "r": 1 << 20}
"""Bytes that are read for what a file tells; of a larger one, only its header. Parsing takes a second for a MiB."""
HEAD = 64 << 10
PACKAGE, LAB = "ds_pipelines", "ds_pipelines.lab"
LONGEST_DESCRIPTION = 10_000

PYTHON_CELLS = re.compile(r"%%(experiment|time|timeit|capture|prun)\b")
"""Cell magics whose cell is Python."""
MAGIC = re.compile(r"^(\s*)(?:([\w.,\s]+=\s*)?[%!].*|\?.*|[\w.]+\?{1,2}\s*)$")
TIMED = re.compile(r"^(\s*(?:[\w.]+\s*=\s*)?)%(?:time|timeit)\s+(?!-)(.+)$")

R_COMMENT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\#[^\n]*""")
R_TABLES = (
    re.compile(r"""\blab_table\s*\(\s*(?:name\s*=\s*)?["']([A-Za-z0-9_]+)["']"""),
    re.compile(r"""["']ds-pipelines["']\s*,\s*(?:args\s*=\s*)?c\s*\(\s*["']table["']\s*,\s*["']([A-Za-z0-9_]+)["']"""),
    re.compile(r"""["'][^"'\n]*\bds-pipelines\s+table\s+([A-Za-z0-9_]+)"""),
)


@dataclass(frozen=True, slots=True)
class Source:
    """What the text of a file tells."""

    description: str = ""
    tables: tuple[str, ...] = ()
    header: Header = NONE
    problem: str | None = None
    """Why it cannot be run, with the line."""


@lru_cache(maxsize=8192)
def read(path: Path, kind: Kind, changed: int, size: int) -> Source:  # noqa: ARG001 - a changed file is read anew
    """What a file tells that was changed then and has this size; kept in memory, so that looking again is cheap."""
    try:
        if size > LARGEST[kind]:
            return _large(path, kind, size)
        return _READERS[kind](path.read_bytes())
    except DsPipelinesError as error:
        return Source(problem=str(error))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Source(problem=f"it cannot be read: {type(error).__name__}")


def _large(path: Path, kind: Kind, size: int) -> Source:
    words = f"At {size >> 20} MiB too large to be read for its description and tables; it can be run."
    if kind == "notebook":
        return Source(words)
    with path.open("rb") as file:
        top = file.read(HEAD).decode(errors="replace").rpartition("\n")[0]
    return Source(words, header=headers.parse(headers.blocks(top)[0]))


def _python(content: bytes) -> Source:
    try:
        tree = _tree(content)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "its text"
        raise UnreadableScriptError(where, f"is not Python: {error.msg}") from None
    lines, text = headers.blocks(_decoded(content))
    description = ast.get_docstring(tree) or _leading_comment(text)
    return Source(clean(description), _tables(tree), headers.parse(lines))


def _tree(code: bytes | str) -> ast.Module:
    with warnings.catch_warnings(action="ignore"):  # a script's own deprecations are shown when it runs
        return ast.parse(code)


def _decoded(content: bytes) -> str:
    """Python's text in the encoding that it states; some bytes that parse are refused by the tokenizer all the same."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        return content.decode(errors="replace")


def _notebook(content: bytes) -> Source:
    try:
        notebook = json.loads(content)
        cells = [(str(cell["cell_type"]), joined(cell["source"])) for cell in notebook["cells"]]
        metadata = notebook.get("metadata") or {}
        language = str((metadata.get("kernelspec") or metadata.get("language_info") or {}).get("language", "python"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UnreadableScriptError("its text", "is not a notebook (JSON of nbformat 4)") from None
    if language.lower() != "python":
        expected = "in Python; keep other languages as scripts"
        raise UnreadableScriptError(f"its kernel is for {clean(language)[:40]}: notebooks are run", expected)
    first_code = next((source for kind, source in cells if kind == "code"), "")
    lines = headers.blocks(first_code)[0]
    tree = ast.Module(body=list(_statements(cells)), type_ignores=[])
    header = headers.parse(lines, "line {} of the first code cell") if lines else _from_metadata(metadata)
    words = next((source for kind, source in cells if kind == "markdown"), ast.get_docstring(tree) or "")
    return Source(clean(words), _tables(tree), header)


def _from_metadata(metadata: dict[str, Any]) -> Header:
    values = metadata.get("experiment", {})
    if not isinstance(values, dict):
        raise HeaderError("the notebook's metadata", "its key 'experiment'", "an object of the header's keys")
    return headers.checked(values, {}, "the notebook's metadata")


def _statements(cells: Iterable[tuple[str, str]]) -> Iterator[ast.stmt]:
    for number, (kind, source) in enumerate(cells, 1):
        if kind != "code":
            continue
        try:
            yield from _cell(source).body
        except SyntaxError as error:
            where = f"cell {number}, line {error.lineno or 1},"
            raise UnreadableScriptError(where, f"is not Python: {error.msg}") from None


def _cell(source: str) -> ast.Module:
    """A cell as Python: as it is, or where that is none, without its magics."""
    try:
        return _tree(source)
    except SyntaxError:
        if source.lstrip().startswith("%%") and not PYTHON_CELLS.match(source.lstrip()):
            return ast.Module(body=[], type_ignores=[])
        return _tree("\n".join(map(_without_magic, source.splitlines())))


def _without_magic(line: str) -> str:
    if timed := TIMED.match(line):
        return timed.group(1) + timed.group(2)
    return f"{magic.group(1)}pass" if (magic := MAGIC.match(line)) else line


def joined(source: object) -> str:
    """The text of a cell, which notebooks hold as one text or a list of lines.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(source, str):
        return source
    if isinstance(source, list):
        return "".join(source)
    raise TypeError("neither text nor lines")


def _r(content: bytes) -> Source:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # R reads it in the encoding of its locale; for names of tables any will do
    if "\0" in text:
        raise UnreadableScriptError("its text", "is not R: it holds a NUL")
    lines, rest = headers.blocks(text)
    code = R_COMMENT.sub(lambda found: found.group(1) or "", rest)
    tables = {name for pattern in R_TABLES for name in pattern.findall(code)}
    return Source(clean(_leading_comment(rest)), tuple(sorted(tables)), headers.parse(lines))


def _leading_comment(text: str) -> str:
    """The comment with which a file begins, without a shebang, an encoding or what editors want to know."""
    words: list[str] = []
    for line in text.lstrip("\ufeff").splitlines():
        bare = line.strip()
        if not words and (not bare or re.match(r"#!|#.*(-\*-|coding[:=]|\bvim:)", bare)):
            continue
        if not bare.startswith("#"):
            break
        words.append(re.sub(r"^#+'? ?", "", bare))
    return "\n".join(words)


def clean(text: str) -> str:
    """Text that any page and database can hold: without halves of characters and control characters, and bounded."""
    whole = text.encode("utf-8", "replace").decode()
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", whole).strip()[:LONGEST_DESCRIPTION]


def _tables(tree: ast.Module) -> tuple[str, ...]:
    return tuple(sorted(set(_asked(tree))))


def _asked(tree: ast.Module) -> Iterator[str]:
    """Literal first arguments of `lab.table(…)`, under whatever name the script imports `lab` or `table`."""
    calls = {f"{LAB}.table"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            calls |= {f"{alias.asname or alias.name}.table" for alias in node.names if alias.name == "lab"}
        elif isinstance(node, ast.ImportFrom) and node.module == LAB:
            calls |= {alias.asname or alias.name for alias in node.names if alias.name == "table"}
        elif isinstance(node, ast.Import):
            calls |= {f"{alias.asname}.table" for alias in node.names if alias.name == LAB and alias.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _dotted(node.func) in calls:
            named = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
            for argument in (*node.args[:1], *named):
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def _dotted(node: ast.expr) -> str:
    """`a.b.c` for an expression of that form, else nothing; unparsing whole expressions would take seconds."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


_READERS = {"python": _python, "notebook": _notebook, "r": _r}
