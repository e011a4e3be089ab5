"""What must not leave with a run: secrets in variables, in files and in texts, by how they are named and look.

What belongs here: recognising them. What does not: personal data, which the privacy policy took out before, and whose
retention a run's record answers for.

Patterns find what is written as secrets usually are, no more: a password in prose stays. What is found is withheld and
that is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePath

WITHHELD = "(secret withheld)"

NAMES = re.compile(
    r"password|passwd|passphrase|secret|credential|apikey"
    r"|(^|_)(pass|pw|pat|dsn|auth|authorization|tokens?|creds?|keys?|key_?id|cookies?|sessions?|private)(_|$)"
    r"|connection_?string|^(pg|aws_|azure_|google_application|vault_|ssh_)",
    re.IGNORECASE,
)
"""Variables that hold secrets; an address with a password in it shows by its value."""

FILES = re.compile(
    r"^(\.env(\..*)?|\.netrc|\.pgpass|\.htpasswd|\.npmrc|\.pypirc|id_(rsa|dsa|ecdsa|ed25519)|credentials(\..*)?"
    r"|.*\.(pem|key|p12|pfx|jks|keystore|kdbx|token))$",
    re.IGNORECASE,
)
"""Files that hold secrets, by their name."""

TEXTS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,}|hf_\w{20,})"
    r"|\bA(KIA|SIA)[A-Z0-9]{16}\b"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"
    r"|(?<=://)[^\s/:@\"']*:[^\s/@\"']+(?=@)"
    r"|(?i:(?<=bearer )[\w.~+/-]{16,}=*)"
    r"|(?i:\b\w*(?:password|passwd|secret|token|api_?key|access_?key)\w*[\"']?\s*[:=]\s*[\"'])(?P<quoted>[^\"'\s]{8,})(?=[\"'])",
    re.DOTALL,
)
"""Secrets within texts: private keys, tokens of well-known services, passwords in URLs, and literals named as such."""


def is_secret_variable(name: str, value: str) -> bool:
    """Whether a variable may hold a secret."""
    return NAMES.search(name) is not None or TEXTS.search(value) is not None


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold none."""
    return {name: value for name, value in variables.items() if not is_secret_variable(name, value)}


def is_secret_file(path: PurePath) -> bool:
    """Whether a file holds secrets, by its name."""
    return FILES.match(path.name) is not None


def redacted(content: bytes) -> bytes:
    """A text with its secrets replaced; what is no text, or holds none, stays as it is, byte by byte."""
    if b"\0" in content[:8192]:
        return content
    text = content.decode("utf-8", errors="surrogateescape")
    return TEXTS.sub(_mask, text).encode("utf-8", errors="surrogateescape")


def _mask(found: re.Match[str]) -> str:
    quoted = found.group("quoted")
    return WITHHELD if quoted is None else found.group().removesuffix(quoted) + WITHHELD
