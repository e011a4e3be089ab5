"""Runs every benchmark, or those named, and writes what they found to RESULTS.md beside this file."""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from ds_pipelines.settings import environment

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
HEAD = "# Results\n\nWritten by `make bench`; what is not run anew keeps its last result. Each goal is for two cores.\n"


def questions() -> dict[str, str]:
    """The first sentence of each benchmark's docstring by its name: a benchmark is a module that has a `main`."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text())
        has_main = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
        if path.stem != "__main__" and has_main:
            found[path.stem] = (ast.get_docstring(tree) or "").split("\n\n", 1)[0].replace("\n", " ")
    return found


def run_all() -> int:
    """Runs the benchmarks one after the other; returns how many did not reach their goal."""
    known = questions()
    sections, failed = _sections(), 0
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    for name in sys.argv[1:] or known:
        print(f"── {name}: {known[name]}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment())
        print(done.stdout, flush=True)
        failed += done.returncode != 0
        when = f"{datetime.now(UTC):%Y-%m-%d}, {machine}"
        sections[name] = f"{known[name]}\n\n{when}:\n\n```\n{done.stdout.strip()}\n```\n"
    RESULTS.write_text("\n".join([HEAD, *(f"## {name}\n\n{sections[name]}" for name in sorted(sections))]))
    return failed


def _sections() -> dict[str, str]:
    """What the file says of each benchmark by its name."""
    if not RESULTS.exists():
        return {}
    parts = re.split(r"^## (\w+)\n\n", RESULTS.read_text(), flags=re.MULTILINE)[1:]
    return {name: f"{text.rstrip()}\n" for name, text in zip(parts[::2], parts[1::2], strict=True)}


if __name__ == "__main__":
    sys.exit(1 if run_all() else 0)
