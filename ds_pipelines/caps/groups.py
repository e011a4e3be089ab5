"""Control groups, version 1 or 2: caps that the kernel itself enforces on a whole tree of processes.

What belongs here: finding a place in the hierarchies where this account may make a group, and what is read from and
written to it. What does not: deciding when a run has taken too much (warden.py).

A machine may have all controllers in version 1, all in version 2, or some in each; so a group here is a set of folders,
one a controller, and one in version 2's hierarchy, which can end all members at once even where it controls nothing.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ALL = "experiments"
"""The group around all experiments of this account: what they may take together."""
KINDS = ("memory", "pids")
ENDING_SECONDS = 10.0


@dataclass
class Group:
    """The folders of one group, by controller; `unified` is the one in version 2's hierarchy."""

    folders: dict[str, Path] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def caps_memory(self) -> bool:
        """Whether the kernel holds its memory."""
        return "memory" in self.folders

    @property
    def caps_processes(self) -> bool:
        """Whether the kernel holds the number of its processes."""
        return "pids" in self.folders

    def limit(self, memory: int | None, processes: int | None) -> None:
        """Sets the caps that the group has the controllers for."""
        if memory is not None and self.caps_memory:
            names = ("memory.max", "memory.swap.max") if self.versions["memory"] == 2 else _LIMITS_1
            values = (memory, 0) if self.versions["memory"] == 2 else (memory, memory)
            for name, value in zip(names, values, strict=True):
                with suppress(OSError):  # the kernel may not account for swap
                    (self.folders["memory"] / name).write_text(str(value))
        if processes is not None and self.caps_processes:
            (self.folders["pids"] / "pids.max").write_text(str(processes))

    def join(self, pid: int) -> None:
        """Makes a process a member; what it starts will be, too."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))

    def memory(self) -> int:
        """Bytes its members hold now, without the cache of files, which the kernel takes back when it is needed."""
        wanted = ("anon ", "shmem ") if self.versions["memory"] == 2 else ("total_rss ", "total_shmem ")
        lines = (self.folders["memory"] / "memory.stat").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(wanted))

    def most_memory(self) -> int:
        """The most bytes its members ever held, with the cache of files; 0 where the kernel does not say."""
        name = "memory.peak" if self.versions["memory"] == 2 else "memory.max_usage_in_bytes"
        try:
            return int((self.folders["memory"] / name).read_text())
        except OSError:
            return 0

    def out_of_memory(self) -> int:
        """How many members the kernel ended because there was no memory left."""
        return self._events("memory", "memory.events" if self.versions.get("memory") == 2 else "memory.oom_control")

    def refused_processes(self) -> int:
        """How often a member could not start another process."""
        return self._events("pids", "pids.events")

    def _events(self, kind: str, name: str) -> int:
        if kind not in self.folders:
            return 0
        for line in (self.folders[kind] / name).read_text().splitlines():
            word, _, count = line.partition(" ")
            if word in {"oom_kill", "max"} and not (kind == "memory" and word == "max"):
                return int(count)
        return 0

    def end(self) -> None:
        """Ends all members, those too that are being started meanwhile."""
        self.limit(None, 0)
        until = time.monotonic() + ENDING_SECONDS
        while (members := self.members()) and time.monotonic() < until:
            with suppress(OSError, KeyError):
                (self.folders["unified"] / "cgroup.kill").write_text("1")
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _reap()
            time.sleep(0.01)

    def members(self) -> set[int]:
        """The processes in it, the ended ones that nobody has waited for among them."""
        found: set[int] = set()
        for folder in set(self.folders.values()):
            with suppress(OSError):
                found.update(int(pid) for pid in (folder / "cgroup.procs").read_text().split())
        return found

    def remove(self) -> None:
        """Removes the group; it must be empty."""
        for folder in set(self.folders.values()):
            for _ in range(50):
                try:
                    folder.rmdir()
                except OSError:  # the last member is still leaving
                    time.sleep(0.01)
                else:
                    break


_LIMITS_1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")


def make(name: str, *, memory_of_all: int | None = None) -> Group:
    """A group for one run below the one of all runs, with as many controllers as this account may use here."""
    group = Group()
    for kind, version, parent in _places():
        with suppress(OSError):
            around = parent / f"ds-{os.getuid()}-{ALL}"
            around.mkdir(exist_ok=True)
            if version == 2 and kind != "unified":
                (around / "cgroup.subtree_control").write_text(f"+{kind}")
            if kind == "memory":
                Group({kind: around}, {kind: version}).limit(memory_of_all, None)
            folder = around / name
            folder.mkdir(exist_ok=True)
            if kind == "unified" or (folder / ("pids.max" if kind == "pids" else _limit_file(version))).exists():
                group.folders[kind], group.versions[kind] = folder, version
    _sweep(group)
    return group


def _limit_file(version: int) -> str:
    return "memory.max" if version == 2 else "memory.limit_in_bytes"


def ended_on_this_machine() -> int:
    """How many processes the kernel has ended so far because memory ran out; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def possible() -> dict[str, int]:
    """Which controllers a run would get here, with their versions; found by making a group and joining it."""
    group = make(f"probe-{os.getpid()}")
    pid = os.fork()
    if pid == 0:
        try:
            group.join(os.getpid())
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    group.remove()
    return dict(group.versions) if status == 0 else {}


def _places() -> list[tuple[str, int, Path]]:
    """Where groups of this process may have children: (controller, version, folder)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return []
    places = []
    for line in lines:
        _, names, path = line.split(":", 2)
        for kind in set(names.split(",")) & set(KINDS):
            roots = [Path(m[1]) for m in mounts if m[2] == "cgroup" and kind in m[3].split(",")]
            places += [(kind, 1, place) for root in roots[:1] for place in [_own(root, path)] if place]
        if not names:
            roots = [Path(m[1]) for m in mounts if m[2] == "cgroup2"]
            places += [entry for root in roots[:1] for entry in _unified(root, path)]
    return places


def _own(root: Path, path: str) -> Path | None:
    """This process's own group, without those of runs that it may itself be in."""
    parts = [part for part in path.split("/") if part]
    marks = [number for number, part in enumerate(parts) if part.startswith("ds-") and part.endswith(ALL)]
    own = root.joinpath(*parts[: marks[0]] if marks else parts)
    if not own.is_dir():
        own = root  # a container that sees only its own part of the hierarchy
    return own if os.access(own, os.W_OK) else None


def _unified(root: Path, path: str) -> list[tuple[str, int, Path]]:
    """Version 2 hands a controller to groups without processes only: the nearest ancestor that has it to hand out."""
    above = root.joinpath(*[part for part in path.split("/") if part])
    for folder in (above, *above.parents):
        control = folder / "cgroup.subtree_control"
        if not folder.is_relative_to(root) or not control.is_file():
            break
        kinds = [kind for kind in KINDS if kind in control.read_text().split()]
        if kinds and os.access(folder, os.W_OK):
            return [*((kind, 2, folder) for kind in kinds), ("unified", 2, folder)]
    own = _own(root, path)
    return [("unified", 2, own)] if own else []


def _sweep(group: Group) -> None:
    """Removes the groups of runs whose machine or warden was lost."""
    for folder in set(group.folders.values()):
        for left in folder.parent.iterdir():
            if left.is_dir() and left != folder:
                with suppress(OSError):  # it has members: it runs
                    if time.time() - left.stat().st_mtime > 60:
                        left.rmdir()


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
