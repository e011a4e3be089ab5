"""Who does something to a release: the user of a token of the gateway's, presented by a file.

What belongs here: finding the token by its hash, and whether it may do what is wanted. What does not: making tokens
(`ds-pipelines token`), and what the ledger says of who did what before (`approval`).

A person may have several tokens and is one user. The lab's own token, `development`, opens extracts and nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ds_pipelines.errors import MissingSecretError, NotPermittedError
from ds_pipelines.gateway import database, grants

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings

Scope = Literal["release:propose", "release:approve", "release:deploy"]


@dataclass(frozen=True)
class Identity:
    """Who presented a token that is in force."""

    user: str
    token: str
    """The token's name."""

    def is_one_of(self, users: set[str]) -> bool:
        """Whether the user is among these, however they are written."""
        return self.user.casefold() in {user.casefold() for user in users}


def identify(scope: Scope, settings: Settings, token_file: Path | None = None) -> Identity:
    """The user of the token in a file.

    Args:
        scope: What is wanted.
        settings: Name the gateway's database, and the file where none is given.
        token_file: Holds the token, and is readable by its owner only.

    Raises:
        MissingSecretError: there is no such file, or others can read it.
        NotPermittedError: the token is not in force, or may do something else.
        DatabaseUnreachableError: the gateway's database does not answer.
    """
    token = _read(token_file or settings.release_token or settings.secrets / "release.token", scope)
    if database.knows_owner(settings):
        database.ensure(settings)
    tokens = database.Database(settings)
    try:
        grant = tokens.run(lambda cursor: grants.find(cursor, grants.hashed(token)))
    finally:
        tokens.close()
    if grant is None:
        raise NotPermittedError(scope, "the token", "one that is in force")
    if scope not in grant.scopes:
        raise NotPermittedError(scope, f"token {grant.name!r}", "one that was made for it")
    return Identity(grant.user, grant.name)


def _read(path: Path, scope: Scope) -> str:
    try:
        shared = path.stat().st_mode & 0o077
        token = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise MissingSecretError(
            path,
            "there is no such file",
            "Ask who runs the platform for a token (`ds-pipelines token create NAME "
            f"--release {scope.partition(':')[2]} --user YOU --to FILE`), and name its file with --token-file or "
            "DS_RELEASE_TOKEN.",
        ) from None
    if shared:
        raise MissingSecretError(path, "others can read it", f"Run `chmod 600 {path}`.")
    return token
