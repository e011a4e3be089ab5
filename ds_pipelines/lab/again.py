"""Executing a past run again, with each part of it restored or as it is today.

What belongs here: laying out a run's folder from what the run recorded, and its process. What does not: whether the
outputs are the same (contents.py), and what follows (reproduce.py).

It goes the way of every run: the same child, the same limits, the same notes. Only its record goes nowhere.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ds_pipelines.errors import NotReproducibleError
from ds_pipelines.lab import pins, steady, strays
from ds_pipelines.lab.capture_environment import describe
from ds_pipelines.lab.child_environment import child_environment, recorded_variables
from ds_pipelines.lab.launch import launch
from ds_pipelines.lab.layout import LOOKS, Layout
from ds_pipelines.lab.own_environment import interpreter
from ds_pipelines.lab.private import is_secret_file
from ds_pipelines.lab.record import draft

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ds_pipelines.evidence import Part, RunEnvironment, RunRecord
    from ds_pipelines.lab.pins import Pin
    from ds_pipelines.settings import Settings

CODE = "code"
LOCK = "environment/requirements.lock"
DIFFERENCE = "uncommitted.diff"
CODE_ENDINGS = {".py", ".ipynb", ".R", ".r"}
THREADS = {
    "openmp": ("OMP_NUM_THREADS",),
    "blas": ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    "polars": ("POLARS_MAX_THREADS",),
}
"""Variables by which a library is told its threads."""


@dataclass(frozen=True)
class Again:
    """One execution, and what it left until its bench is closed."""

    record: RunRecord
    artifacts: Path
    python: Path
    failure: Mapping[str, Any] | None = None
    """What the script raised: its kind and line."""


@dataclass
class Bench:
    """Where one past run is executed again, as often as needed; made by `bench`."""

    record: RunRecord
    original: Path
    """The run's artifacts."""
    settings: Settings
    place: Path
    """A folder that nobody else uses."""
    executions: int = 0
    _pins: tuple[Pin, ...] | None = field(default=None, repr=False)

    def pins(self) -> tuple[Pin, ...]:
        """The snapshots that the run read, each verified.

        Raises:
            NotReproducibleError: one is gone.
        """
        if self._pins is None:
            self._pins = pins.restore(self.record.inputs, self.settings)
        return self._pins

    def execute(self, today: frozenset[Part] = frozenset(), steadied: str | None = None) -> Again:
        """Runs the script once more.

        Args:
            today: What is taken as it is today; everything else is restored.
            steadied: Which chance is taken out of it, as `steady.install` names them.

        Raises:
            NotReproducibleError: something that is to be restored is gone.
        """
        self.executions += 1
        layout = self._layout()
        script, bases = self._script(layout, "code" in today)
        settings = self.settings
        if "data" not in today and self.record.inputs:
            pins.write(self.pins(), layout.folder / "pins.json")
            settings = settings.model_copy(update={"pins": layout.folder / "pins.json"})
        python = self._python("environment" in today)
        variables = self._variables(layout, settings, today)
        if steadied is not None:
            (layout.folder / "steady").mkdir()
            variables |= steady.install(steadied, layout.folder / "steady")
        self._prepare(layout, script, bases)
        environment = self._environment(recorded_variables(variables), python)
        layout.environment.write_text(environment.model_dump_json(), encoding="utf-8")
        looks = settings.home / LOOKS
        looks.mkdir(parents=True, exist_ok=True, mode=0o700)
        ended = launch(
            [str(python), "-m", "ds_pipelines.lab.child", str(layout.folder)],
            limits=self.record.limits,
            environment=variables,
            folder=layout.folder,
            readable=[*_programs(python), *bases, self._beside(), layout.folder, settings.cache, *_secrets(settings)],
            writable=[layout.folder, settings.cache, looks],
            ports=[urlsplit(settings.gateway_base).port or settings.gateway_port],
            output=layout.output,
            settings=settings,
        )
        facts = {"code": ended.code, "capped": ended.capped, "seconds": ended.seconds}
        layout.ended.write_text(json.dumps(facts), encoding="utf-8")
        completed = draft(layout, url=layout.folder.as_uri())
        record = completed.record
        if completed.unasked and completed.failure is None and ended.code == 0:
            # All that the run recorded was given, also what it had only noticed of an estimator.
            record = record.model_copy(update={"status": "finished", "failure": None})
        return Again(record, layout.artifacts, python, completed.failure)

    def _layout(self) -> Layout:
        layout = Layout(self.place / str(self.executions))
        for folder in (layout.folder, layout.artifacts, layout.temporary):
            folder.mkdir(mode=0o700)
        return layout

    def _script(self, layout: Layout, as_today: bool) -> tuple[Path, list[Path]]:
        """The script to run, and the folders below which its helpers lie."""
        if as_today:
            script = self.settings.experiments / self.record.script
            if not script.is_file():
                raise NotReproducibleError("edited script", f"{self.record.script} is there no longer")
            return script, [self.settings.experiments]
        folder = layout.folder / "restored"
        restore_code(self.original / CODE, self.record, folder)
        script = folder / self.record.script
        if not script.is_file():
            script = folder / Path(self.record.script).name
        if not script.is_file():
            raise NotReproducibleError("unrecorded", f"{self.record.script} is not among the code that the run left")
        return script, [folder]

    def _python(self, as_today: bool) -> Path:
        environment = self.record.environment
        if as_today or environment is None:
            return Path(sys.executable)
        lock = self.original / LOCK
        locked = lock.read_bytes() if lock.is_file() else None
        return interpreter(environment.packages, environment.python, locked, self.settings)

    def _environment(self, variables: Mapping[str, str], python: Path) -> RunEnvironment:
        """What it runs on; an interpreter of its own was made to have what the run had."""
        here, then = describe(variables), self.record.environment
        if python == Path(sys.executable) or then is None:
            return here
        return here.model_copy(update={"packages": then.packages, "python": then.python})

    def _variables(self, layout: Layout, settings: Settings, today: frozenset[Part]) -> dict[str, str]:
        """All variables of the process: what the platform needs, the run's own, and its threads."""
        here = child_environment(settings, layout, of_a_server="variables" not in today)
        environment = self.record.environment
        if environment is None:
            return here
        own = recorded_variables(here).keys()
        recorded = recorded_variables(environment.variables)
        threads = {name for name in own | recorded.keys() if is_about_threads(name)}
        kept = {name: value for name, value in here.items() if name not in own}
        others = here if "variables" in today else recorded
        chosen = {name: others[name] for name in (own | recorded.keys()) - threads if name in others}
        source: Mapping[str, str] = here if "threads" in today else recorded
        chosen |= {name: source[name] for name in threads if name in source}
        if "threads" not in today and environment.processors != describe({}).processors:
            chosen = _threads(environment.threads, environment.processors) | chosen
        return kept | chosen

    def _prepare(self, layout: Layout, script: Path, bases: list[Path]) -> None:
        code = script.read_bytes()
        layout.code.write_bytes(code)
        strays.lay_out(layout, script.parent)
        self._link_neighbours(layout)
        record = self.record
        task = {
            "script": str(script),
            "place": record.script,
            "experiment": record.experiment,
            "kind": record.kind,
            "code_digest": hashlib.sha256(code).hexdigest(),
            "bases": [str(base) for base in bases],
            "parameters": record.parameters,
            "pipes": {},
            "dagster_run": None,
            "dagster_url": None,
            "user": None,
            "owner": record.owner,
            "question": record.question,
            "tolerance": record.tolerance,
            "limits": record.limits.model_dump(),
            "started_at": datetime.now(UTC).isoformat(),
        }
        layout.task.write_text(json.dumps(task), encoding="utf-8")

    def _link_neighbours(self, layout: Layout) -> None:
        """Files beside the script that are no code, as a table: no run records them, so today's are there."""
        for path in sorted(self._beside().iterdir()):
            link = layout.work / path.name
            if path.is_file() and path.suffix not in CODE_ENDINGS and not link.exists() and not is_secret_file(path):
                link.symlink_to(path)

    def _beside(self) -> Path:
        """The folder in which the script lies today, or would."""
        folder = (self.settings.experiments / self.record.script).parent
        return folder if folder.is_dir() else self.settings.experiments


@contextmanager
def bench(record: RunRecord, original: Path, settings: Settings) -> Iterator[Bench]:
    """A bench whose folder is removed at the end."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ds-again-") as place:
        yield Bench(record, original, settings, Path(place))


def restore_code(artifacts: Path, record: RunRecord, folder: Path) -> None:
    """Copies a run's code, each file verified by the digest that the run recorded.

    Raises:
        NotReproducibleError: a file is missing, or was changed since.
    """
    for path in sorted(artifacts.rglob("*")) if artifacts.is_dir() else ():
        name = path.relative_to(artifacts).as_posix()
        if path.is_file() and name != DIFFERENCE:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for name, digest in record.code.files.items():
        if not (folder / name).is_file():
            raise NotReproducibleError("unrecorded", f"{name} is not among the code that the run left")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise NotReproducibleError("unrecorded", f"{name} among the run's artifacts is not what the run recorded")


def is_about_threads(variable: str) -> bool:
    """Whether a variable tells a library how many threads to use."""
    return variable in steady.ONE_THREAD or variable.endswith(("_NUM_THREADS", "_MAX_THREADS"))


def _threads(threads: Mapping[str, int], processors: int) -> dict[str, str]:
    """Variables that give the libraries as many threads as they had, on a machine with other processors."""
    chosen = {name: str(number) for library, number in threads.items() for name in THREADS.get(library, ())}
    return {"LOKY_MAX_CPU_COUNT": str(processors)} | chosen


def _programs(python: Path) -> list[Path]:
    own = python.parent.parent
    return [*{Path(each).resolve() for each in (sys.prefix, sys.base_prefix, sys.executable)}, own]


def _secrets(settings: Settings) -> list[Path]:
    return [settings.gateway_token, settings.home / "settings.toml"]
