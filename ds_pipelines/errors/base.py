"""The root of all errors of ours, and their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class DsPipelinesError(Exception):
    """Base of every error that the project raises on purpose; the command line prints it as one line, exit status 1."""


def listing(names: Iterable[str]) -> str:
    """Names for a message: sorted, comma-separated."""
    return ", ".join(sorted(names))
