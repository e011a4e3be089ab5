"""Runs every benchmark, or those named, and writes what they found to RESULTS.md beside this file."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from ds_pipelines.settings import environment

FOLDER = Path(__file__).parent


def questions() -> dict[str, str]:
    """The first sentence of each benchmark's docstring by its name: a benchmark is a module that has a `main`."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text())
        if path.stem != "__main__" and any(
            isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body
        ):
            found[path.stem] = (ast.get_docstring(tree) or "").split("\n\n", 1)[0].replace("\n", " ")
    return found


def run_all() -> int:
    """Runs the benchmarks one after the other; returns how many did not reach their goal."""
    known = questions()
    wanted = sys.argv[1:] or list(known)
    sections, failed = [], 0
    for name in wanted:
        print(f"── {name}: {known[name]}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            env=environment(),
        )
        print(done.stdout, flush=True)
        failed += done.returncode != 0
        sections.append(f"## {name}\n\n{known[name]}\n\n```\n{done.stdout.strip()}\n```\n")
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    head = f"# Results\n\nMeasured on {datetime.now(UTC):%Y-%m-%d} by `make bench` on {machine}.\n"
    if set(wanted) == set(known):
        (FOLDER / "RESULTS.md").write_text("\n".join([head, *sections]))
    return failed


if __name__ == "__main__":
    sys.exit(1 if run_all() else 0)
