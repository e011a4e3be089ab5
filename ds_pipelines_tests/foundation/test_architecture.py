"""Who may import whom, what a code location may load, and who reads the environment."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ds_pipelines.settings import PACKAGE, PROJECT, scrubbed_environment

HEAVY = {
    "mlflow", "sklearn", "lightgbm", "matplotlib", "pandas", "pandera", "presidio_analyzer", "spacy", "skops", "scipy",
    "granian", "fastapi", "supervisor", "psycopg2", "adbc_driver_postgresql",
}  # fmt: skip
LOCATIONS = ("exploration.definitions", "production.definitions", "production.acceptance")


def loaded(location: str, home: Path) -> set[str]:
    """Imports a location's definitions in a fresh interpreter; the top-level modules that this loaded."""
    program = (
        f"import json, sys; import ds_pipelines.{location} as d; d.defs.resolve_all_asset_specs();"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:ds_pipelines", "-c", program],
        capture_output=True, text=True, check=False, cwd="/", env=scrubbed_environment(DS_HOME=str(home)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("location", LOCATIONS)
def test_each_location_loads_alone_and_imports_nothing_heavy(location: str, tmp_path: Path) -> None:
    assert not loaded(location, tmp_path) & HEAVY


@pytest.mark.parametrize("location", LOCATIONS)
def test_loading_a_location_contacts_and_makes_nothing(location: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    loaded(location, home)
    assert not home.exists()


def test_the_rooms_import_each_other_as_the_house_says() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        capture_output=True, text=True, check=False, cwd=PROJECT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv", "putenv", "environb"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert readers == {"settings.py"}
