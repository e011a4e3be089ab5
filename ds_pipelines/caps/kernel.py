"""System calls that Python has no names for: Landlock, namespaces, mounts, capabilities.

What belongs here: the calls and their numbers, each a function that raises OSError. What does not: what to do with them
(confine.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULE_PATH, RULE_PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_DEVICES = 1 << 6 | 1 << 11
EVERYTHING_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
EVERYTHING = (1 << 16) - 1
"""Since version 5 of Landlock."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15
"""Rights that a file has, which is no folder."""
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS = 0x00020000, 0x08000000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18

_PDEATHSIG, _DUMPABLE, _SUBREAPER, _NO_NEW_PRIVILEGES, _BOUNDING_DROP, _AMBIENT = 1, 4, 36, 38, 24, 47
_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
_CAPABILITIES_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _require_linux() -> None:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _called(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(number: int, *arguments: object) -> int:
    _require_linux()
    return _called(int(_libc.syscall(ctypes.c_long(number), *arguments)))


def landlock_version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    try:
        return _syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def create_ruleset(files: int, network: int, scoped: int, version: int) -> int:
    """A descriptor of rules that handle these rights."""
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("=QQQ", files, network, scoped)[:size]
    return _syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))


def allow_path(ruleset: int, path: str, rights: int) -> None:
    """Allows rights on a file, or on a folder and all below it."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, descriptor)
        _syscall(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(RULE_PATH), rule, ctypes.c_uint(0))
    finally:
        os.close(descriptor)


def allow_port(ruleset: int, port: int, rights: int) -> None:
    """Allows to connect to a TCP port, or to bind it; 0 stands for any that the kernel gives."""
    rule = struct.pack("=QQ", rights, port)
    _syscall(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(RULE_PORT), rule, ctypes.c_uint(0))


def restrict_self(ruleset: int) -> None:
    """From now on, and for whatever this process starts, only what the rules allow; nothing lifts it again."""
    no_new_privileges()
    _syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))


def unshare(flags: int) -> None:
    """Gives this process namespaces of its own."""
    _require_linux()
    _called(int(_libc.unshare(ctypes.c_int(flags))))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mounts something."""
    _require_linux()
    of_kind = kind.encode() if kind else None
    where = (os.fsencode(source), os.fsencode(target), of_kind)
    _called(int(_libc.mount(*where, ctypes.c_ulong(flags), options.encode() or None)))


def _prctl(option: int, argument: int = 0, second: int = 0) -> int:
    _require_linux()
    return _called(int(_libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(second), 0, 0)))


def end_with_parent(signal_number: int) -> None:
    """This process gets a signal when its parent is gone."""
    _prctl(_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Descendants whose parents end become children of this process."""
    _prctl(_SUBREAPER, 1)


def no_new_privileges() -> None:
    """No program that is executed from now on gives more rights than this process has."""
    _prctl(_NO_NEW_PRIVILEGES, 1)


def drop_capabilities() -> None:
    """Makes root as any other account: no override of permissions, no mounting, no tracing of others."""
    for capability in range(64):
        try:
            _prctl(_BOUNDING_DROP, capability)
        except OSError:  # past the last one, or this account has none to drop
            break
    number = _CAPSET.get(os.uname().machine)
    if number is not None:
        _prctl(_AMBIENT, 4)
        _syscall(number, struct.pack("=Ii", _CAPABILITIES_3, 0), bytes(24))
