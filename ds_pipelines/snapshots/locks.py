"""Who may change the store at the same time: any number of extracts, or one operation that rewrites what is published.

What belongs here: that lock. What does not: the lock by which a stage shows that its process lives (`store`).

An extract that began before an erasure or a change of keys would publish afterwards what it had read before. So each
holds the store, together with other extracts, from before it reads the secret until it has published; an erasure, a
change of keys and the removal of old days wait for them, and they for it. The kernel drops a killed process's lock.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ds_pipelines.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def publishing(extract: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Makes a function that publishes, and takes settings as an argument, hold the store together with others."""

    @wraps(extract)
    def held(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        settings = next(each for each in (*args, *kwargs.values()) if isinstance(each, Settings))
        with _held(settings, fcntl.LOCK_SH):
            return extract(*args, **kwargs)

    return held


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Holds the store while nobody publishes; waits for those who do."""
    with _held(settings, fcntl.LOCK_EX):
        yield


@contextmanager
def _held(settings: Settings, how: int) -> Iterator[None]:
    settings.snapshots.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(settings.snapshots, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
