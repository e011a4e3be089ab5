"""Errors of settings, secrets, databases and ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class SettingsError(DsPipelinesError):
    """A setting is missing, unknown or malformed."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(
            f"Setting {name} is not usable: expected {expected}. "
            "Correct it in the environment or in settings.toml; `ds-pipelines doctor` lists all settings."
        )


class SettingsFileError(DsPipelinesError):
    """The file of an installation's settings is there and cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"Settings file {path} cannot be read: {reason}. Expected TOML, a line a setting, as "
            "first_day = 2025-01-01. Correct the file, or remove it."
        )


class MissingSecretError(DsPipelinesError):
    """A file that should hold a secret is missing, empty or readable by others."""

    def __init__(self, path: Path, reason: str, next_step: str) -> None:
        super().__init__(f"Secret file {path} is not usable: {reason}. {next_step}")


class DatabaseUnreachableError(DsPipelinesError):
    """A database does not answer; the URL itself is withheld because it may hold a password."""

    def __init__(self, role: str, reason: str, *, setting: str | None) -> None:
        where = f"the database named by {setting}" if setting else "the embedded database"
        step = (
            f"Check that the server runs and that {setting} is right"
            if setting
            else "Run `ds-pipelines doctor` for the cluster's log"
        )
        super().__init__(f"Role {role!r} cannot reach {where}: {reason}. {step}.")


class UnknownRoleError(DsPipelinesError):
    """A database role that does not exist was named."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no database role {name!r}; expected one of {listing(known)}.")


class ClusterError(DsPipelinesError):
    """An embedded PostgreSQL cluster cannot be made or started."""

    def __init__(self, name: str, reason: str, next_step: str) -> None:
        super().__init__(f"The embedded PostgreSQL cluster {name!r} did not start: {reason}. {next_step}")


class DiskFullError(DsPipelinesError):
    """Too little space to go on safely."""

    def __init__(self, path: Path, free_mib: int, needed_mib: int) -> None:
        super().__init__(
            f"Too little disk space at {path}: {free_mib} MiB free, {needed_mib} MiB needed. "
            "Free some space, or set DS_HOME to a folder on another disk."
        )


class PortTakenError(DsPipelinesError):
    """Another program listens where one of ours should."""

    def __init__(self, service: str, port: int, setting: str) -> None:
        super().__init__(
            f"Port {port} for {service} is taken by another program. "
            f"Stop that program, or choose another port with {setting}."
        )


class UnknownDayError(DsPipelinesError):
    """A day that the business does not have, or that cannot be read yet."""

    def __init__(self, day: str, first: str, last: str) -> None:
        super().__init__(
            f"There is no day {day} to work on: expected a day as YYYY-MM-DD from {first} to {last}. "
            "The bounds come from DS_FIRST_DAY, DS_TODAY and DS_EXTRACT_DELAY."
        )
