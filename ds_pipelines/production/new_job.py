"""Starting a scoring job from a release: its reviewed module, kept by hash, under another name.

What belongs here: which lines of a module make it the job it is, and writing the new one. What does not: what the job
computes; whoever starts one goes on from there, and has it reviewed and released as any other.

The new module is the released one, to the byte, but for the name, the serving table and the description. So a job that
differs in one feature differs in one line.
"""

from __future__ import annotations

import ast
import hashlib
import keyword
import re
from typing import TYPE_CHECKING

from ds_pipelines.errors import JobExistsError, JobNameError, ReleasedCodeMissingError
from ds_pipelines.settings import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.release.manifest import Code, ReleaseManifest
    from ds_pipelines.settings import Settings

JOBS = PACKAGE / "production" / "jobs"
LONGEST_NAME = 40
"""So that the names of the table, its views and their indexes fit into PostgreSQL's 63 characters."""


def start(name: str, manifest: ReleaseManifest, settings: Settings, *, folder: Path = JOBS) -> list[Path]:
    """Writes the module of a new job, and the independent definition beside it if the release has one.

    Args:
        name: Of the job.
        manifest: The release from which it starts.
        settings: Name the store of released files.
        folder: Where jobs lie.

    Returns:
        The files that were written.

    Raises:
        JobNameError: the name cannot be that of a module and a table.
        JobExistsError: there is a job of this name.
        ReleasedCodeMissingError: the module as it was released is nowhere.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
        raise JobNameError(name, LONGEST_NAME)
    module = folder / f"{name}.py"
    if module.exists():
        raise JobExistsError(name)
    files = {module: renamed(_released(manifest.code, manifest, settings), manifest.name, name)}
    if manifest.independent is not None:
        files[folder / f"{name}.sql"] = _released(manifest.independent, manifest, settings)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)


def renamed(source: str, old: str, new: str) -> str:
    """A job's module with another name, serving table and description, and no other change."""
    job = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and [target.id for target in node.targets if isinstance(target, ast.Name)] == ["JOB"]
    )
    said = {each.arg: ast.literal_eval(each.value) for each in job.keywords if each.arg in {"table", "description"}}
    table = said["table"].replace(old, new) if old in said["table"] else f"{new}_scores"
    values = {"name": new, "table": table, "description": f"As {old}: {said['description']}"}
    lines = source.splitlines(keepends=True)
    for each in sorted(job.keywords, key=lambda each: each.value.lineno, reverse=True):
        if each.arg in values:
            _replace(lines, each.value, f'"{_escaped(values[each.arg])}"')
    return "".join(lines)


def _replace(lines: list[str], node: ast.expr, text: str) -> None:
    """Puts a text where an expression stands."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = lines[first].encode()[: node.col_offset].decode()
    after = lines[last].encode()[node.end_col_offset :].decode()
    lines[first : last + 1] = [f"{before}{text}{after}"]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _released(code: Code, manifest: ReleaseManifest, settings: Settings) -> str:
    """A file of a release's code, as it was released: from the package, or from the release's own folder."""
    kept = (settings.registry_artifacts / where / manifest.digest / "code" for where in ("accepted", "offered"))
    for folder in (PACKAGE, *kept):
        path = folder / code.file
        if path.is_file() and hashlib.sha256(content := path.read_bytes()).hexdigest() == code.sha256:
            return content.decode()
    raise ReleasedCodeMissingError(manifest.name, code.file)
