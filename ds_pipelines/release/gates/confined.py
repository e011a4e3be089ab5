"""Loading a candidate's model, where it can do nothing but compute: in a process of its own, under caps, behind walls.

What belongs here: that process's task, home, walls and caps, and its answer. What does not: the mechanisms (`caps`),
and what it computes (`child`).

It gets a home of its own with copies of the few secrets that the scoring needs, and may write nothing else. It logs in
as acceptance does: it reads the shop and writes `serving_acceptance`. It connects to no port but the databases', so
what it reads has nowhere to go.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ds_pipelines import postgres
from ds_pipelines.caps.confine import allowed_apart_from
from ds_pipelines.errors import ConfinedProcessError
from ds_pipelines.settings import PACKAGE, PROJECT, scrubbed_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ds_pipelines.release.gates.case import Case, Offered
    from ds_pipelines.settings import Settings

WARDEN = "import sys; sys.path.append({root!r}); from ds_pipelines.caps.warden import main; main()"
ROLES: Mapping[postgres.Role, str] = {"scoring": "DS_SCORING_URL", "serving": "DS_ACCEPTANCE_URL"}
"""The databases that it reaches, and the variables that name them to it."""
PAST = "past.parquet"
"""The file with scores of past days: `candidate` and perhaps `champion`, beside `outcome`."""
DISK = 20 << 30
PROCESSES = 500
PATIENCE_SECONDS = 30.0
"""For the warden to end everything once it has its report."""
SAID = 2_000
"""Characters of what it printed that are kept for an error."""


@dataclass(frozen=True)
class Answer:
    """How a confined process ended."""

    told: Mapping[str, Any]
    """What it found; empty if it was ended before."""
    capped: str | None
    """The cap that it reached, as a sentence without data."""
    seconds: float
    peak_memory: int
    folder: Path
    """Where it put files."""


def run(case: Case, task: str, *, seconds: float, memory: int, **details: Any) -> Answer:
    """Runs one task of `child` on the candidate, and leaves nothing of it running.

    Args:
        case: Whose candidate, and what it needs.
        task: Its name in `child.TASKS`.
        seconds: It may take.
        memory: It may take, in bytes, with all that it starts.
        details: What else the task is told; JSON.

    Raises:
        ConfinedProcessError: it ended by a mistake, not by a refusal or a cap; or the machine cannot hold it.
    """
    folder = case.work / task
    folder.mkdir(mode=0o700)
    home = _home(case.settings, folder)
    releases = [each for each in (case.candidate, case.champion) if each is not None]
    told = {"candidate": str(case.candidate.folder), "digest": case.manifest.digest, **details}
    (folder / "task.json").write_text(json.dumps(told))
    manifests = {"candidate": case.manifest} | ({"champion": case.champion.manifest} if case.champion else {})
    for name, manifest in manifests.items():
        (folder / f"{name}.json").write_text(manifest.model_dump_json())
    with tempfile.TemporaryDirectory(prefix="ds-acceptance-") as scratch:
        report, said = _watched(
            {
                "command": [sys.executable, "-m", "ds_pipelines.release.gates.child", task, str(folder)],
                "environment": {**_variables(case.settings, home), "TMPDIR": scratch},
                "folder": str(folder),
                "name": f"acceptance-{os.getpid()}-{task}",
                "seconds": seconds,
                "memory": memory,
                "memory_of_all": memory,
                "disk": DISK,
                "processes": PROCESSES,
                "cores": None,
                "walls": _walls(case.settings, folder, Path(scratch), releases, memory),
            }
        )
    if report is None:
        raise ConfinedProcessError(case.job.name, task, "the process that watches it was lost")
    answer = folder / "answer.json"
    found = json.loads(answer.read_text()) if answer.is_file() and not report["capped"] else {}
    if not found and not report["capped"]:
        raise ConfinedProcessError(case.job.name, task, said or f"it ended with status {report['code']}")
    return Answer(found, report["capped"], report["seconds"], report["peak_memory"], folder)


def _home(settings: Settings, folder: Path) -> Path:
    """A home of its own: copies of what the scoring reads there, and a way to the snapshots."""
    home = folder / "home"
    (home / "secrets").mkdir(parents=True, mode=0o700)
    for path in (settings.pseudonym_key, settings.tombstone_key):
        if path.is_file():
            shutil.copy2(path, home / "secrets" / path.name)
    if settings.erased.is_dir():
        shutil.copytree(settings.erased, home / "erased")
    for role in ROLES:
        access = postgres.access(role, settings)
        if _embedded(role, settings):
            held = postgres.cluster(access.cluster, settings)
            shutil.copy2(held.passfile(access.login), home / "secrets" / f"{access.login}.pgpass")
    (home / "snapshots").symlink_to(settings.snapshots.resolve(), target_is_directory=True)
    return home


def _variables(settings: Settings, home: Path) -> dict[str, str]:
    urls = {}
    for role, name in ROLES.items():
        url = postgres.libpq_url(postgres.url(role, settings))
        if _embedded(role, settings):
            login = postgres.access(role, settings).login
            url = f"{url.partition('&passfile=')[0]}&passfile={quote(str(home / 'secrets' / f'{login}.pgpass'))}"
        urls[name] = url
    chosen = settings.model_copy(update={"home": home}).as_environment()
    kept = {name: value for name, value in scrubbed_environment().items() if not name.startswith(("DS_", "DAGSTER"))}
    return kept | chosen | urls | {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "HOME": str(home)}


def _embedded(role: postgres.Role, settings: Settings) -> bool:
    return "passfile=" in postgres.url(role, settings) and "host=%2F" not in postgres.url(role, settings)


def _walls(
    settings: Settings, folder: Path, scratch: Path, releases: Sequence[Offered], memory: int
) -> dict[str, object]:
    outside = os.path.realpath(settings.home)
    programs = [Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent.parent]
    wanted = [*programs, PACKAGE, settings.policies, *(PROJECT.glob("pyproject.toml"))]
    inside = [*(each.folder for each in releases), settings.snapshots, *_sockets(settings)]
    return {
        "readable": [
            *(kept for path in wanted for kept in allowed_apart_from(str(path), [outside])),
            *(os.path.realpath(path) for path in inside),
        ],
        "listed": [str(PROJECT)],
        "writable": [str(folder)],
        "hidden": [str(Path.home()), outside],
        "ports": sorted(set(_ports(settings))),
        "scratch": str(scratch),
        "shared_memory": memory // 2,
    }


def _sockets(settings: Settings) -> Iterator[Path]:
    """Folders of the sockets of embedded databases; Landlock does not guard them, but they are hidden otherwise."""
    for role in ROLES:
        if _embedded(role, settings):
            yield postgres.cluster(postgres.access(role, settings).cluster, settings).sockets


def _ports(settings: Settings) -> Iterator[int]:
    from psycopg2 import extensions

    for role in ROLES:
        parts: dict[str, Any] = extensions.parse_dsn(postgres.libpq_url(postgres.url(role, settings)))
        if not str(parts.get("host", "")).startswith("/"):
            yield int(parts.get("port", 5432))


def _watched(task: Mapping[str, object]) -> tuple[dict[str, Any] | None, str]:
    """Starts the warden; its report, None if there is none, and the end of what the process printed."""
    told, report = os.pipe()
    program = WARDEN.format(root=str(PROJECT))
    try:
        warden = subprocess.Popen(
            (sys.executable, "-I", "-S", "-c", program, str(report)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(report,),
            start_new_session=True, env={},
        )  # fmt: skip
    finally:
        os.close(report)
    said: list[bytes] = []
    assert warden.stdin is not None  # noqa: S101 - asked for above
    assert warden.stdout is not None  # noqa: S101
    reader = threading.Thread(target=lambda: said.append(warden.stdout.read()), daemon=True)  # type: ignore[union-attr]
    reader.start()
    try:
        warden.stdin.write(json.dumps(task).encode() + b"\n")
        warden.stdin.flush()
        with os.fdopen(told, "rb") as answers:
            line = answers.read()
    finally:
        warden.stdin.close()  # tells the warden to end everything, if it has not yet
        warden.wait(PATIENCE_SECONDS)
        reader.join(PATIENCE_SECONDS)
        warden.stdout.close()
    return (json.loads(line) if line else None), b"".join(said).decode(errors="replace").strip()[-SAID:]
