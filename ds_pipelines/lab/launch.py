"""Starting the process of a run: within its walls, under its caps, its output bounded.

What belongs here: what a run may take and reach, by settings, header and caller, and its output. What does not: the
mechanisms (`caps`), and what a run is, or what is recorded of it (`lab.run`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from ds_pipelines.caps import groups
from ds_pipelines.caps.confine import allowed_apart_from
from ds_pipelines.errors import WardenLostError
from ds_pipelines.lab.admission import admitted, memory_of_all
from ds_pipelines.lab.output import Output
from ds_pipelines.settings import PACKAGE, PROJECT, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from ds_pipelines.evidence import Limits
    from ds_pipelines.settings import Settings

PROGRAM = "import sys; sys.path.append({root!r}); from ds_pipelines.caps.warden import main; main()"
AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
"""Variables that name files of certificate authorities."""
PATIENCE_SECONDS = 30.0
"""For the warden to end everything once nobody wants the run any more."""


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it took."""

    code: int | None
    """Its exit status, negative for a signal; None where it was ended at a cap."""
    capped: str | None
    """The cap that it reached, as a sentence without data."""
    seconds: float
    peak_memory: int
    """Of all its processes together, in bytes."""
    written: int
    """Bytes on disk, more than there were at its start."""


def launch(
    command: Sequence[str],
    *,
    limits: Limits,
    environment: Mapping[str, str],
    folder: Path,
    readable: Iterable[Path],
    writable: Iterable[Path],
    ports: Iterable[int],
    output: Path,
    on_output: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
    settings: Settings | None = None,
    without: Collection[str] = (),
) -> Ended:
    """Runs a command in its own process tree to its end or to a cap, and leaves nothing of it running.

    Args:
        command: The program and its arguments.
        limits: What it may take; what is None there is as the settings say.
        environment: All variables that it gets; TMPDIR is added.
        folder: Its working folder, which it may write.
        readable: Files and folders it may read, beside Python's and the system's. Never read, whatever is listed: the
            home, apart from what is listed inside it, and a file listed there by itself.
        writable: Files and folders it may write as well.
        ports: TCP ports it may connect to, beside those of `experiment_ports`.
        output: The file that gets its standard output and error, bounded: of very much, the middle is left out.
        on_output: Called with each line, or what there is of it, as it comes; bounded alike.
        pass_fds: Descriptors that it inherits.
        settings: By default what the environment says.
        without: Mechanisms not to use, of `groups`, `landlock`, `namespaces`.

    Raises:
        ExperimentTooLargeError: it asks for more memory than experiments may have here.
        WardenLostError: the process that watches it was ended from outside.
    """
    settings = settings or load_settings()
    folder = folder.absolute()
    name = uuid4().hex
    scratch = folder / ".tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    with Output(output, on_output) as kept, admitted(limits.memory, settings, kept.say) as memory:
        task = {
            "command": list(command),
            "environment": {**environment, "TMPDIR": str(scratch)},
            "folder": str(folder),
            "name": name,
            "seconds": _least(limits.seconds, settings.experiment_minutes * 60),
            "memory": memory,
            "memory_of_all": memory_of_all(settings),
            "disk": _least(limits.disk, settings.experiment_disk),
            "processes": settings.experiment_processes,
            "cores": _least(limits.cores, settings.experiment_cores),
            "walls": _walls(
                settings,
                readable=(*_program(command), *_certificates(environment), *readable),
                writable=(folder, *writable),
                ports=ports,
                scratch=scratch,
                memory=memory,
            ),
            "without": sorted(without),
            "keep": list(pass_fds),
        }
        try:
            ended = _wait(task, kept, pass_fds)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if ended is None:
            left = groups.make(name)
            left.end()
            left.remove()
            raise WardenLostError("somebody ended it, or it could not set the caps")
        if ended.capped:
            kept.say(f"Ended by its cap on {ended.capped}.\n")
    return ended


def _least(asked: float | None, most: float | None) -> float | None:
    return min((number for number in (asked, most) if number is not None), default=None)


def _walls(
    settings: Settings,
    *,
    readable: Iterable[Path],
    writable: Iterable[Path],
    ports: Iterable[int],
    scratch: Path,
    memory: int,
) -> dict[str, object]:
    """What the run may reach; what is kept from it is left out of the folders that hold it."""
    home, secrets = os.path.realpath(settings.home), os.path.realpath(settings.secrets)
    settings.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    # What `lab.table` needs; it comes from the home, of which nothing is allowed that is not listed by itself.
    of_lab = [settings.home / "settings.toml", settings.gateway_token]
    if settings.gateway_certificate is not None:
        of_lab.append(settings.gateway_certificate)
    listed = [str(path.absolute()) for path in (*of_lab, *readable)]
    inside = [path for path in listed if path != home and _lies_in(path, home)]
    allowed = [path for path in inside if Path(path).is_file() or not _lies_in(path, secrets)]
    return {
        "readable": [
            *(kept for path in listed if path not in inside for kept in allowed_apart_from(path, [home])),
            *(kept for path in allowed for kept in allowed_apart_from(path, [secrets])),
        ],
        "writable": [str(path.absolute()) for path in (settings.cache, *writable)],
        "hidden": [str(Path.home()), home],
        "ports": [*ports, *settings.experiment_ports, *_ports_of(settings)],
        "scratch": str(scratch),
        "shared_memory": memory // 2,
    }


def _certificates(environment: Mapping[str, str]) -> list[Path]:
    """Whom the run's own variables say to trust: a company's authority often lies in somebody's home."""
    return [Path(environment[name]) for name in AUTHORITIES if environment.get(name)]


def _lies_in(path: str, folder: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(folder)


def _program(command: Sequence[str]) -> Iterator[Path]:
    """Python, its environment, this package, and the program itself where it is another one."""
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
        yield Path(prefix)
        yield Path(os.path.realpath(prefix))
    yield Path(os.path.realpath(sys.executable)).parent.parent
    yield PACKAGE
    yield PROJECT / "pyproject.toml"
    found = shutil.which(command[0])
    if found is not None:
        yield Path(found)
        yield Path(os.path.realpath(found))


def _ports_of(settings: Settings) -> Iterator[int]:
    """Those of the services that an experiment speaks with."""
    for address in (settings.gateway_base, settings.tracking_base):
        parts = urlsplit(address)
        if parts.scheme in {"http", "https"}:
            yield parts.port or (443 if parts.scheme == "https" else 80)


def _wait(task: Mapping[str, object], kept: Output, pass_fds: Sequence[int]) -> Ended | None:
    """Starts the warden, keeps what the run prints, and returns the report; None if there is none."""
    told, report = os.pipe()
    program = PROGRAM.format(root=str(PROJECT))
    with _closing(told, report) as close:
        warden = subprocess.Popen(
            (sys.executable, "-I", "-S", "-c", program, str(report)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(report, *pass_fds),
            start_new_session=True,
            env={},
        )
        close(report)
        assert warden.stdin is not None  # noqa: S101 - asked for above
        assert warden.stdout is not None  # noqa: S101
        reader = threading.Thread(target=kept.read, args=(warden.stdout,), daemon=True)
        try:
            with suppress(BrokenPipeError):
                warden.stdin.write(json.dumps(task).encode() + b"\n")
                warden.stdin.flush()
            reader.start()
            line = _read_all(told)
        finally:
            with suppress(BrokenPipeError):
                warden.stdin.close()  # tells the warden to end everything, if it has not yet
            warden.wait(PATIENCE_SECONDS)
            reader.join(PATIENCE_SECONDS)
            warden.stdout.close()
    return Ended(**json.loads(line)) if line else None


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    return b"".join(parts)


@contextmanager
def _closing(*descriptors: int) -> Iterator[Callable[[int], None]]:
    """Descriptors that are closed at the end, or before by calling what it gives."""
    left = set(descriptors)

    def close(descriptor: int) -> None:
        left.discard(descriptor)
        os.close(descriptor)

    try:
        yield close
    finally:
        for descriptor in left:
            os.close(descriptor)
