"""The bearer token by which development reads extracts: the gateway makes it, the lab reads it.

What belongs here: a token's form, and the file that holds the lab's own. What does not: comparing it, or sending it.
Nothing of the server is imported, so that the client's side can use it.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.errors import MissingSecretError

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings


FORM = re.compile(r"ds_[A-Za-z0-9_-]{43}")


def new_token() -> str:
    """256 random bits, in the form of a token."""
    return f"ds_{secrets.token_urlsafe(32)}"


def ensure_token(settings: Settings) -> str:
    """The token, made at first use in a file that only its owner can read; safe with several processes at once.

    Raises:
        MissingSecretError: there is a file, but it is empty or readable by others.
    """
    path = settings.gateway_token
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Written whole under another name and then linked: no reader finds it half written, and the first writer wins.
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".gateway-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{new_token()}\n")
            with suppress(FileExistsError):
                os.link(name, path)
        finally:
            Path(name).unlink()
    return read_token(settings)


def read_token(settings: Settings) -> str:
    """The token.

    Raises:
        MissingSecretError: there is no such file, or it is empty or readable by others.
    """
    path = settings.gateway_token
    try:
        shared = path.stat().st_mode & 0o077
        token = path.read_text().strip()
    except FileNotFoundError:
        raise MissingSecretError(
            path,
            "there is no such file",
            "On the gateway's machine `ds-pipelines up` makes it, in the folder that DS_HOME names; for a gateway "
            "elsewhere, ask who runs it for the token and write it there, readable by you only (chmod 600).",
        ) from None
    if shared:
        raise MissingSecretError(path, "others can read it", f"Run `chmod 600 {path}`.")
    if not token:
        raise MissingSecretError(path, "it is empty", "Remove it and run `ds-pipelines up`, which makes a new one.")
    return token
