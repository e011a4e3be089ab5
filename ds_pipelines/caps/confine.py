"""The walls around an experiment: the files, ports and processes it may reach, set before any of its code runs.

What belongs here: turning lists of paths and ports into the kernel's rules, with what this kernel offers. What does
not: which paths and ports (`lab.launch`), and caps (groups.py, warden.py).

Two walls, each used where the kernel allows it. *Landlock* (Linux 5.13; ports since 6.7, signals since 6.12) needs no
rights: what is not listed can be neither opened, nor connected to, nor signalled. *Namespaces* need root, or a kernel
that lets everybody make them: own process numbers, so that all of a run ends with its first process, an own /dev/shm,
and folders that hold sockets (which Landlock does not guard) hidden. Capabilities are dropped in any case, so that an
experiment started by root has no more than any other account.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.caps import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/nix/store", "/proc", "/sys",
    *(f"/etc/{name}" for name in (
        "alternatives", "ca-certificates", "crypto-policies", "fonts", "gai.conf", "group", "host.conf", "hostname",
        "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "machine-id", "magic",
        "mime.types", "nsswitch.conf", "os-release", "passwd", "pki/tls/certs", "protocols", "R", "resolv.conf",
        "services", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
    )),
)  # fmt: skip
"""What programs need of the system to run at all; nothing of it is secret."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - mounted anew for the run alone
HIDDEN = ("/tmp", "/var/tmp", "/run")  # noqa: S108
"""Folders in which services put their sockets; hidden where namespaces are possible."""


@dataclass(frozen=True)
class Walls:
    """What a run may reach."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    hidden: tuple[str, ...]
    """Folders of which only what is listed above is seen, where namespaces are possible."""
    ports: tuple[int, ...]
    """TCP ports that may be connected to, on any host."""
    scratch: str
    """The folder for temporary files; it takes the place of /tmp unless something else that is listed lies there."""
    shared_memory: int
    """Bytes for /dev/shm."""


def allowed_apart_from(path: str, excluded: Iterable[str]) -> list[str]:
    """The path, or, where something below it is excluded, everything else below it: rules can only allow."""
    real = os.path.realpath(path)
    below = [gone for gone in excluded if Path(gone).is_relative_to(real)]
    if not below:
        return [real]
    if real in below or not Path(real).is_dir():
        return []
    return [kept for entry in sorted(Path(real).iterdir()) for kept in allowed_apart_from(str(entry), below)]


def take_namespaces(walls: Walls) -> bool:
    """Own processes, mounts and shared memory for what this process starts next; whether the kernel allows it."""
    flags = kernel.NEW_MOUNTS | kernel.NEW_IPC | kernel.NEW_PIDS
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.unshare(flags)
    except OSError:
        try:
            kernel.unshare(flags | kernel.NEW_USER)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        except OSError:
            return False
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    _mount_shared_memory(walls.shared_memory)
    _hide(walls)
    return True


def _mount_shared_memory(size: int) -> None:
    if Path(SHARED_MEMORY).is_dir():
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("tmpfs", SHARED_MEMORY, "tmpfs", flags, f"size={size},mode=1777")


def _hide(walls: Walls) -> None:
    """Covers the hidden folders, and puts back into them what the run may reach."""
    hidden = _outermost(path for path in (*HIDDEN, *walls.hidden) if Path(path).is_dir() and path != "/")
    reachable = (*walls.readable, *walls.writable, *SYSTEM, walls.scratch)
    kept = _outermost(
        real for path in reachable if Path(real := os.path.realpath(path)).exists() and _within(real, hidden)
    )
    opened = {path: os.open(path, os.O_PATH) for path in (*kept, walls.scratch)}
    for folder in hidden:
        if folder not in kept:
            kernel.mount("tmpfs", folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    if not _within(HIDDEN[0], kept) and not any(_within(path, HIDDEN[:1]) for path in kept):
        # Else what lies in it could be written, for the right to write a folder is one to all that is mounted below.
        kernel.mount(f"/proc/self/fd/{opened[walls.scratch]}", HIDDEN[0], None, kernel.MS_BIND)
    for path in kept:
        descriptor = opened[path]
        place = Path(path)
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        kernel.mount(f"/proc/self/fd/{descriptor}", path, None, kernel.MS_BIND | kernel.MS_REC)
    for descriptor in opened.values():
        os.close(descriptor)


def _outermost(paths: Iterable[str]) -> list[str]:
    found: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths}):
        if not _within(path, found):
            found.append(path)
    return found


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def mount_processes() -> None:
    """In the first process of an own namespace: /proc shows that namespace alone."""
    with suppress(OSError):  # a container that hides parts of /proc; then it shows numbers that mean nothing here
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV)


def confine(walls: Walls, *, own_shared_memory: bool, landlock: bool) -> None:
    """Sets what this process, and all it starts, may reach; there is no way back."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    kernel.no_new_privileges()
    version = kernel.landlock_version() if landlock else 0
    if version:
        _restrict(walls, version, own_shared_memory=own_shared_memory)
    kernel.drop_capabilities()


def _restrict(walls: Walls, version: int, *, own_shared_memory: bool) -> None:
    handled = kernel.EVERYTHING_BY_ABI.get(version, kernel.EVERYTHING)
    network = kernel.BIND_TCP | kernel.CONNECT_TCP if version >= 4 else 0
    scoped = kernel.SCOPE_ABSTRACT_SOCKETS | kernel.SCOPE_SIGNALS if version >= 6 else 0
    ruleset = kernel.create_ruleset(handled, network, scoped, version)
    read = handled & (kernel.EXECUTE | kernel.READ_FILE | kernel.READ_DIR)
    write = handled & ~kernel.MAKE_DEVICES
    own = (SHARED_MEMORY,) if own_shared_memory else ()
    for paths, rights in (
        ((*SYSTEM, *walls.readable), read),
        (DEVICES, handled & (kernel.READ_FILE | kernel.WRITE_FILE | 1 << 15)),
        ((*walls.writable, walls.scratch, *own), write),
    ):
        for path in paths:
            with suppress(FileNotFoundError):
                kernel.allow_path(ruleset, path, rights if Path(path).is_dir() else rights & kernel.OF_FILES)
    if network:
        kernel.allow_port(ruleset, 0, kernel.BIND_TCP)
        for port in sorted(set(walls.ports)):
            kernel.allow_port(ruleset, port, kernel.CONNECT_TCP)
    kernel.restrict_self(ruleset)
    os.close(ruleset)


def unguarded(*, namespaces: bool) -> list[str]:
    """What an experiment can reach here all the same, in words for whoever runs the machine."""
    version = kernel.landlock_version()
    gaps = []
    if version < 1:
        gaps.append("read any file of this account")
    if version < 4:
        gaps.append("connect to any port")
    if version < 6 and not namespaces:
        gaps.append("end processes of this account")
    if not namespaces:
        gaps.append("connect to services by their socket in a folder (the databases ask for a password)")
    return gaps


def namespaces_possible() -> bool:
    """Whether a run gets namespaces of its own here; found by taking them in a process made for it."""
    pid = os.fork()
    if pid == 0:
        fine = False
        with suppress(OSError):
            fine = take_namespaces(Walls((), (), (), (), "/", 1 << 20))
        os._exit(0 if fine else 1)
    return os.waitpid(pid, 0)[1] == 0
