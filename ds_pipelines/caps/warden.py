"""The small process that starts an experiment, watches what it takes, and ends all of it.

What belongs here: one run's life, from the walls around it to the last of its processes. What does not: choosing its
caps, and what becomes of its output (`lab.launch`), which starts this as a program and tells it its task as JSON on
standard input. That stream stays open: when it ends, whoever wanted the run is gone, and the run is ended, too.

Nothing is imported but the standard library, so that it starts in milliseconds and takes little memory itself.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ds_pipelines.caps import confine, groups, kernel, tree
from ds_pipelines.caps.holding import WATCH_SECONDS

DISK_SECONDS = 0.2
LEAST_FREE = 256 << 20
"""Bytes that stay free on the disk, whatever a run may write."""
GIB = 1 << 30
NICENESS = 5
"""Services of the platform on the same machine come first."""
FIRST_VICTIM = 500
"""Of the kernel's score for whom to end when memory runs out: a run rather than a service."""
OWN_PROCESSES = 2
"""That wait for a run's command, and are not the run's."""
CANNOT_START = 127


@dataclass
class Task:
    """What to run, and within what; the fields of the JSON."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    name: str
    seconds: float
    memory: int
    memory_of_all: int
    disk: int
    processes: int
    cores: int | None
    walls: dict[str, Any]
    without: list[str] = field(default_factory=list)
    """Mechanisms not to use, of `groups`, `landlock`, `namespaces`."""
    keep: list[int] = field(default_factory=list)
    """Descriptors that the run inherits."""


class Watch:
    """What the run has taken so far, and the first cap that it reached."""

    def __init__(self, task: Task, group: groups.Group) -> None:
        self._task, self._group = task, group
        self._started = time.monotonic()
        self._disk_due = 0.0
        self._written_places = [*task.walls["writable"], task.walls["scratch"]]
        self._before = self._on_disk()
        self._ended_before = groups.ended_on_this_machine()
        self.peak = 0
        self.written = 0

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self._started

    def capped(self) -> str | None:
        """The sentence about the cap that is reached now."""
        task = self._task
        processes = [] if self._group.caps_memory and self._group.caps_processes else tree.descendants(os.getpid())
        memory = self._group.memory() if self._group.caps_memory else tree.memory(processes, task.memory // 2)
        self.peak = max(self.peak, memory)
        if self._group.out_of_memory():  # what the kernel ended holds nothing any more
            return _out_of_memory(task, max(self.peak, self._group.most_memory()))
        if memory > task.memory:
            return _out_of_memory(task, memory)
        count = sum(process.threads for process in processes)
        if count > task.processes or self._group.refused_processes():
            return f"processes: it started more than its {task.processes:,}"
        if self.seconds > task.seconds:
            return f"time: it needed more than its {_duration(task.seconds)}"
        return self._disk_capped()

    def _disk_capped(self) -> str | None:
        if time.monotonic() < self._disk_due:
            return None
        began = time.monotonic()
        self.written = max(self.written, self._on_disk() - self._before)
        # A folder of very many files takes long to look through; that must not become the machine's main work.
        self._disk_due = time.monotonic() + max(DISK_SECONDS, 10 * (time.monotonic() - began))
        if self.written >= self._task.disk:  # a single file cannot grow beyond it
            return f"disk: it wrote more than its {_gib(self._task.disk)}"
        status = os.statvfs(self._task.folder)
        if status.f_bavail * status.f_frsize < LEAST_FREE:
            return "disk: hardly anything is free on the machine's disk"
        return None

    def _on_disk(self) -> int:
        members = [tree.Process(pid, 0, 0, 0) for pid in self._group.members()] or tree.descendants(os.getpid())
        return sum(_bytes_below(place) for place in self._written_places) + tree.unlinked(members)

    def last_look(self, code: int | None) -> str | None:
        """What is known once it has ended: a cap that was reached between two looks, and the exact figures."""
        unit = 1 if sys.platform == "darwin" else 1024
        self.peak = max(self.peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)
        self._disk_due = 0.0
        if self._group.out_of_memory():
            return _out_of_memory(self._task, max(self.peak, self._group.most_memory()))
        # Without a group nothing tells whom the kernel ended, but who was killed while it ended somebody, was it.
        if (
            code == -signal.SIGKILL
            and not self._group.caps_memory
            and groups.ended_on_this_machine() > self._ended_before
        ):
            return "memory: the kernel ended it, because its container or the machine had none left"
        if self._group.refused_processes():
            return f"processes: it started more than its {self._task.processes:,}"
        return self._disk_capped()


def _out_of_memory(task: Task, memory: int) -> str:
    if memory > 0.7 * task.memory or task.memory >= task.memory_of_all:
        return f"memory: it needed more than its {_gib(task.memory)}"
    return f"memory: experiments together needed more than their {_gib(task.memory_of_all)}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} seconds"


def _bytes_below(folder: str) -> int:
    """On disk; a file written in part counts its part."""
    total, folders = 0, [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    with suppress(OSError):
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        else:
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total


def run(task: Task, report: int) -> dict[str, Any]:
    """Runs the task to its end, or to the cap that it reaches; what remains of it is ended in any case."""
    walls = confine.Walls(**{name: _frozen(value) for name, value in task.walls.items()})
    group = groups.Group() if "groups" in task.without else groups.make(task.name, memory_of_all=task.memory_of_all)
    group.limit(task.memory, task.processes + OWN_PROCESSES)
    namespaces = "namespaces" not in task.without and confine.namespaces_possible()
    ended, told = os.pipe()
    watch = Watch(task, group)
    child = os.fork()
    if child == 0:
        os.close(report)
        os.close(ended)
        _be_the_run(task, walls, group, told, namespaces=namespaces)
    os.close(told)
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    capped, told_code = _watch(watch, ended)
    if group.folders:
        group.end()
    tree.end(os.getpid())
    capped = capped or watch.last_look(told_code)
    if group.folders:
        group.remove()
    return {
        "code": told_code,
        "capped": capped,
        "seconds": round(watch.seconds, 3),
        "peak_memory": watch.peak,
        "written": max(0, watch.written),
    }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _watch(watch: Watch, ended: int) -> tuple[str | None, int | None]:
    """Until the run's first process ends, it reaches a cap, or nobody wants it any more; its code, if it has one."""
    while True:
        ready, _, _ = select.select([0, ended], [], [], WATCH_SECONDS)
        if ended in ready:
            told = os.read(ended, 32)
            return None, int(told) if told else -signal.SIGKILL
        if 0 in ready and not os.read(0, 4096):
            return None, None
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        capped = watch.capped()
        if capped is not None:
            return capped, None


def _be_the_run(task: Task, walls: confine.Walls, group: groups.Group, told: int, *, namespaces: bool) -> NoReturn:
    """In the new process: takes its place in group and namespaces, builds the walls, and starts the command."""
    try:
        _end_with_parent()
        os.setsid()
        group.join(os.getpid())
        os.nice(NICENESS)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123 - pathlib is not loaded
            score.write(str(FIRST_VICTIM))
        _take_cores(task.cores)
        if namespaces:
            confine.take_namespaces(walls)
            _end_with_parent()  # a user namespace of its own made the kernel forget it
            first = os.fork()
            if first:
                _wait(first, None)
                os._exit(0)
            _end_with_parent()
            confine.mount_processes()
        limit = min(task.disk, 2**62)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        confine.confine(walls, own_shared_memory=namespaces, landlock="landlock" not in task.without)
        command = os.fork()
        if command == 0:
            _execute(task)
        _wait(command, told)
        os._exit(0)
    except BaseException as error:  # whatever it is, this process must not go on as a second warden
        os.write(2, f"The run could not be started: {error}\n".encode())
        os.write(told, str(CANNOT_START).encode())
        os._exit(CANNOT_START)


def _end_with_parent() -> None:
    with suppress(OSError):  # only Linux knows this; elsewhere a lost warden leaves its run behind
        kernel.end_with_parent(signal.SIGKILL)


def _wait(child: int, told: int | None) -> None:
    """Waits for a child, and meanwhile for orphans that became children; tells the child's code."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            if told is not None:
                os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
            return


def _take_cores(cores: int | None) -> None:
    """The last ones: what pins itself to cores mostly takes the first."""
    if cores is not None and hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, available[-cores:])


def _execute(task: Task) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    for descriptor in task.keep:
        os.set_inheritable(descriptor, True)
    os.chdir(task.folder)
    os.execvpe(task.command[0], task.command, task.environment)  # noqa: S606


def main() -> None:
    """Reads the task and writes the report to the descriptor that the first argument names."""
    report = int(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of standard input says it all
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1 << 20)
        if not part:
            return
        line += part
    task = Task(**json.loads(line))
    for descriptor in (report, *task.keep):
        os.set_inheritable(descriptor, False)
    with suppress(OSError):
        kernel.adopt_orphans()
    os.write(report, json.dumps(run(task, report)).encode())
