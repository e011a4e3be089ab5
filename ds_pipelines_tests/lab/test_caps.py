"""What an experiment can do to the machine, to the run's parent and to other runs: attacks, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ds_pipelines.caps import confine, groups, kernel
from ds_pipelines.errors import ExperimentTooLargeError
from ds_pipelines.evidence import Limits
from ds_pipelines.lab.admission import admitted, machine_memory, memory_of_all
from ds_pipelines.lab.launch import Ended, launch
from ds_pipelines.lab.output import BEGINNING, ENDING
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ds_pipelines.settings import Settings

    Launch = Callable[..., tuple[Ended, str]]

MIB, GIB = 1 << 20, 1 << 30
NONE_LEFT = ("groups", "namespaces", "landlock")
GROUPS = groups.possible()
needs_groups = pytest.mark.skipif(
    not {"memory", "pids"} <= set(GROUPS), reason="this account may make no control groups here"
)
needs_namespaces = pytest.mark.skipif(not confine.namespaces_possible(), reason="no namespaces here")
needs_scopes = pytest.mark.skipif(kernel.landlock_version() < 6, reason="Landlock does not scope signals here")
EACH_WAY = [
    pytest.param((), id="all there is"),
    pytest.param(("groups",), id="watchdog, own namespaces"),
    pytest.param(("groups", "namespaces"), id="watchdog over the tree"),
]

ALLOCATE = """
import mmap
held = []
for _ in range({gib} * 16):
    part = mmap.mmap(-1, 64 << 20)
    for page in range(0, len(part), 4096):
        part[page] = 1
    held.append(part)
print("got it all")
"""


@pytest.fixture
def calm(tmp_path: Path) -> Settings:
    """Settings of a machine of its own."""
    return load_settings(home=tmp_path / "home", experiment_processes=60)


@pytest.fixture
def run(calm: Settings, tmp_path: Path) -> Launch:
    """Launches code; gives how it ended and what was kept of its output."""

    def launched(code: str, *, without: tuple[str, ...] = (), **limits: float) -> tuple[Ended, str]:
        folder = tmp_path / f"run-{time.monotonic_ns()}"
        folder.mkdir()
        (folder / "script.py").write_text(code)
        output = folder.with_suffix(".txt")
        ended = launch(
            [sys.executable, "script.py"],
            limits=Limits(**{"seconds": 20, "memory": 256 * MIB, **limits}),  # type: ignore[arg-type]
            environment={"PATH": os.defpath},
            folder=folder, readable=[], writable=[], ports=[], output=output, settings=calm, without=without,
        )  # fmt: skip
        return ended, output.read_text(errors="replace")

    return launched


def processes_with(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_run_ends_with_its_code_and_says_what_it_took(run: Launch) -> None:
    ended, output = run("held = b'x' * (50 << 20); open('made', 'wb').write(held[:3 << 20]); print('hello'); exit(3)")
    assert (ended.code, ended.capped, output) == (3, None, "hello\n")
    assert 50 * MIB < ended.peak_memory < 90 * MIB
    assert 3 * MIB <= ended.written < 4 * MIB


@pytest.mark.parametrize("without", EACH_WAY)
def test_a_huge_allocation_is_ended_and_named(run: Launch, without: tuple[str, ...]) -> None:
    ended, output = run(ALLOCATE.format(gib=30), without=without, memory=GIB // 4)
    assert ended.code is None
    assert ended.capped == "memory: it needed more than its 0.2 GiB"
    assert "got it all" not in output
    assert "Ended by its cap on memory" in output


@pytest.mark.parametrize("without", EACH_WAY)
def test_many_processes_that_each_stay_small_are_counted_together(run: Launch, without: tuple[str, ...]) -> None:
    code = """
import os, time
for _ in range(12):
    if os.fork() == 0:
        held = bytearray(os.urandom(1 << 20) * 30)
        time.sleep(30)
time.sleep(30)
"""
    ended, _ = run(code, without=without)
    assert ended.capped == "memory: it needed more than its 0.2 GiB"
    assert ended.seconds < 15


@needs_groups
def test_a_fork_bomb_is_ended_and_named(run: Launch) -> None:
    code = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
    ended, _ = run(code)
    assert ended.capped == "processes: it started more than its 60"
    assert ended.seconds < 15


def test_too_many_processes_are_noticed_without_control_groups(run: Launch) -> None:
    code = """
import os, time
for _ in range(150):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
time.sleep(60)
"""
    ended, _ = run(code, without=("groups", "namespaces"), memory=GIB)
    assert ended.capped == "processes: it started more than its 60"


@pytest.mark.parametrize("without", EACH_WAY)
def test_an_endless_loop_is_ended_and_named(run: Launch, without: tuple[str, ...]) -> None:
    ended, _ = run("while True: pass", without=without, seconds=1)
    assert ended.capped == "time: it needed more than its 1 seconds"
    assert 1 <= ended.seconds < 5


@pytest.mark.parametrize("mode", ["one file", "many files", "a file that nobody sees"])
def test_a_script_that_fills_the_disk_is_ended_and_named(run: Launch, mode: str) -> None:
    code = f"""
import itertools, os, tempfile, time
mode, part, kept = {mode!r}, bytes(1 << 20), []
if mode == "one file":
    with open("full", "wb", buffering=0) as full:
        while full.write(part):
            pass
for number in itertools.count():
    if number < 400:
        kept.append(open(f"{{tempfile.gettempdir()}}/{{number}}", "wb"))
        kept[-1].write(part)
        kept[-1].flush()
        if mode == "a file that nobody sees":
            os.unlink(kept[-1].name)
    time.sleep(0.001)
"""
    ended, _ = run(code, disk=32 * MIB)
    assert ended.capped == "disk: it wrote more than its 32 MiB"
    assert ended.written <= 460 * MIB


def test_two_gigabytes_of_output_are_bounded_and_quick(run: Launch) -> None:
    code = """
import os, sys
print("the beginning", flush=True)
part = b"x" * 1023 + b"\\n"
part = part * 1024
for _ in range(2048):
    sys.stdout.buffer.write(part)
print("the end")
"""
    ended, output = run(code)
    assert (ended.code, ended.capped) == (0, None)
    assert ended.seconds < 15
    assert output.startswith("the beginning\n")
    assert output.endswith("the end\n")
    assert len(output) < BEGINNING + 2 * ENDING
    assert "bytes of output were left out here" in output


KILLER = """
import os, signal
victims = {victims}
reached = []
for victim in victims:
    try:
        os.kill(victim, signal.SIGKILL)
        reached.append(victim)
    except OSError as error:
        pass
print("reached", reached)
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
"""


@pytest.mark.parametrize(
    "without",
    [
        pytest.param((), id="all there is", marks=[needs_scopes, needs_namespaces]),
        pytest.param(("namespaces",), id="Landlock alone", marks=needs_scopes),
        pytest.param(("landlock",), id="namespaces alone", marks=needs_namespaces),
    ],
)
def test_a_run_cannot_end_what_started_it(run: Launch, without: tuple[str, ...]) -> None:
    # Only this process, which survives or the test fails; the killer's `kill(-1)` reaches its own run alone.
    probe, _ = run(
        f"import os\ntry:\n os.kill({os.getpid()}, 0)\n print('reached')\nexcept OSError: pass", without=without
    )
    assert probe.code == 0
    ended, output = run(KILLER.format(victims=[os.getpid()]), without=without)
    assert "reached []" in output or ended.code == -signal.SIGKILL
    assert ended.capped is None


@pytest.mark.parametrize("without", EACH_WAY)
def test_a_daemon_that_left_its_group_is_ended_with_the_run(run: Launch, without: tuple[str, ...]) -> None:
    mark = f"left-behind-{time.monotonic_ns()}"
    code = f"""
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(120)", {mark!r}])
    os._exit(0)
os.wait()
print("left")
"""
    ended, output = run(code, without=without)
    assert (ended.code, output) == (0, "left\n")
    assert processes_with(mark) == []


def test_a_run_ends_with_the_one_that_wanted_it(calm: Settings, tmp_path: Path) -> None:
    """As when Dagster ends a run's worker."""
    mark = f"orphan-{time.monotonic_ns()}"
    parent = f"""
import sys
from pathlib import Path
from ds_pipelines.evidence import Limits
from ds_pipelines.lab.launch import launch
from ds_pipelines.settings import load_settings
launch([sys.executable, "-c", "import time; time.sleep(120)", {mark!r}], environment={{}},
       limits=Limits(memory=1 << 28),
       folder=Path({str(tmp_path)!r}), readable=[], writable=[], ports=[],
       output=Path({str(tmp_path / "out.txt")!r}), settings=load_settings(home=Path({str(calm.home)!r})))
"""
    worker = subprocess.Popen([sys.executable, "-c", parent])
    wait_until(lambda: bool([pid for pid in processes_with(mark) if pid != worker.pid]))
    worker.kill()
    worker.wait()
    wait_until(lambda: processes_with(mark) == [])


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@needs_groups
def test_no_group_is_left(run: Launch) -> None:
    run("print('hello')")
    _, output = run("print(open('/proc/self/cgroup').read())")
    joined = [line.split(":", 2)[2] for line in output.splitlines() if groups.ALL in line]
    assert joined
    assert not list(Path("/sys/fs/cgroup").glob(f"*/**/{Path(joined[0]).name}"))


def test_several_at_once_are_promised_no_more_than_there_is(calm: Settings) -> None:
    most = memory_of_all(calm)
    with (
        admitted(None, calm, print) as first,
        admitted(None, calm, print) as second,
        admitted(GIB, calm, print) as third,
    ):
        assert third == GIB
        assert second < first
        assert first + second + third <= most < machine_memory()
    with admitted(most, calm, print) as all_of_it:
        assert all_of_it == most


def test_one_that_asks_for_what_others_hold_waits_for_them(calm: Settings) -> None:
    said: list[str] = []
    granted = threading.Event()

    def wait() -> None:
        with admitted(2 * GIB, calm, said.append):
            granted.set()

    with admitted(memory_of_all(calm) - GIB, calm, print):
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: bool(said))
        assert not granted.is_set()
    waiting.join(10)
    assert granted.is_set()
    assert said == ["Waits for 2.0 GiB of memory, which other experiments hold.\n"]


def test_one_that_asks_for_more_than_there_can_be_is_refused(run: Launch) -> None:
    with pytest.raises(ExperimentTooLargeError, match=r"asks for 4000\.0 GiB of memory"):
        run("", memory=4000 * GIB)


def test_a_run_gets_the_cores_it_asks_for(run: Launch) -> None:
    ended, output = run("import os; print(len(os.sched_getaffinity(0)))", cores=1)
    assert (ended.code, output) == (0, "1\n")
