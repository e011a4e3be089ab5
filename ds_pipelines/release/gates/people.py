"""Gates over what people owe a job that runs every day: tests of it, and somebody who answers for it.

What belongs here: finding the tests of a job's module, and its owners. What does not: running the tests, which CI does
before anything is merged.
"""

from __future__ import annotations

import ast
import hashlib
import re
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from ds_pipelines.release.gates.case import answer
from ds_pipelines.settings import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case

TESTS = PROJECT / "ds_pipelines_tests"
CODEOWNERS = PROJECT / "CODEOWNERS"
OWNER = re.compile(r"team:[\w-]+|[^@\s]+@[^@\s]+")
"""As Dagster has owners: a team, or an address."""


def tests(case: Case) -> GateResult:
    """Some test of the project uses the job and asserts something about it."""
    found = dict(sorted(_tests_of(case.job.name, TESTS)))
    return answer(
        "tests",
        f"a test below {TESTS.name}/ that takes job {case.job.name} and asserts something of what it computes",
        None if found else f"no test takes {case.job.name}",
        f"{sum(len(names) for names in found.values())} tests in {len(found)} files take it",
        files={path.relative_to(TESTS).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found},
    )


def owners(case: Case) -> GateResult:
    """Somebody answers for the release, somebody reviews its module, and somebody reads what it delivers."""
    manifest = case.manifest
    reviewers = _reviewers(manifest.code.file, CODEOWNERS)
    refused = None
    if not OWNER.fullmatch(manifest.owner):
        refused = "the release has no owner"
    elif not reviewers:
        refused = f"{CODEOWNERS.name} names nobody for {manifest.code.file}"
    elif not manifest.consumers:
        refused = "the release names no consumers: nobody would be told when it fails"
    return answer(
        "owners",
        f"an owner (team:… or an address), reviewers in {CODEOWNERS.name}, and consumers",
        refused,
        f"{manifest.owner} answers for it",
        owner=manifest.owner,
        reviewers=reviewers,
        consumers=list(manifest.consumers),
    )


def _tests_of(job: str, folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Files of tests that take a job, and the names of their tests that assert something."""
    for path in folder.rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        if job not in text:
            continue
        tree = ast.parse(text)
        taken = {name for node in tree.body for name in _names_of(node, job)}
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _asserts(node, taken)]
        if names:
            yield path, names


def _names_of(node: ast.stmt, job: str) -> Iterator[str]:
    """The names by which a file of tests has the job: imported from its module, or found among all jobs."""
    if isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            if f"{node.module}.{alias.name}".endswith((f"jobs.{job}", f"jobs.{job}.JOB", f"jobs.{job}.{alias.name}")):
                yield alias.asname or alias.name
    elif isinstance(node, ast.Assign) and _says(node, job):
        yield from (part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name))


def _says(node: ast.AST, text: str) -> bool:
    return any(isinstance(part, ast.Constant) and part.value == text for part in ast.walk(node))


def _asserts(function: ast.FunctionDef, taken: set[str]) -> bool:
    used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    return function.name.startswith("test_") and asserts and bool(used & taken)


def _reviewers(module: str, file: Path) -> list[str]:
    """Whom CODEOWNERS names for a module of the package; its last line that matches counts."""
    if not file.is_file():
        return []
    found: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words and _matches(f"ds_pipelines/{module}", words[0]):
            found = words[1:]
    return found


def _matches(path: str, pattern: str) -> bool:
    pattern = pattern.lstrip("/")
    return path.startswith(pattern) if pattern.endswith("/") else fnmatch(path, pattern)
