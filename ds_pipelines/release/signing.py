"""Signatures of releases: production uses only what was signed at its deployment, by a key that nothing sends anywhere.

What belongs here: the key, signing a release's folder, and holding a folder to its signature. What does not: what a
release must have been through before it is signed (`approval`).

The signature is model-signing's (Sigstore's format, with an elliptic-curve key of our own, offline). It covers
manifest, model and code. The evidence is left out, because an erasure may remove held-out rows of a person; the
manifest has its hashes.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import MissingSecretError, ReleaseRefusedError

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

LEFT_OUT = ("evidence",)


def signature_of(folder: Path) -> Path:
    """The file of a release folder's signature, beside it."""
    return folder.with_name(f"{folder.name}.sig")


def sign(folder: Path, settings: Settings) -> Path:
    """Signs a release's folder with production's key, which is made at first use.

    Raises:
        MissingSecretError: only the public half of the key is here: this installation verifies, and signs nothing.
    """
    from model_signing import signing

    _ensure_key(settings)
    target = signature_of(folder)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    config = signing.Config().use_elliptic_key_signer(private_key=settings.release_key)
    config.set_hashing_config(_hashing()).sign(folder, draft)
    draft.replace(target)
    return target


def verify(name: str, folder: Path, settings: Settings) -> None:
    """Holds a release's folder to its signature.

    Raises:
        ReleaseRefusedError: there is none, it is another key's, or a file is not what was signed.
    """
    from model_signing import verifying

    signature, key = signature_of(folder), settings.release_public_key
    if not signature.is_file() or not key.is_file():
        raise ReleaseRefusedError(name, "its signature", "one that was made by production's key when it was deployed")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
        config.set_hashing_config(_hashing()).verify(folder, signature)
    except Exception as error:
        # The library has no class of its own for this: bad signatures, files and formats come as what they come.
        del error
        raise ReleaseRefusedError(name, "its signature", "the files that production's key signed") from None


def _hashing() -> Any:
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=LEFT_OUT)


def _ensure_key(settings: Settings) -> None:
    """Makes both halves of the key where there is neither; the private one is readable by its owner only."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if settings.release_key.exists():
        return
    if settings.release_public_key.exists():
        step = "Deploy where the private half lies, or remove the public one to begin with a new key."
        raise MissingSecretError(settings.release_key, "only its public half is here, and that signs nothing", step)
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    settings.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, content in ((settings.release_public_key, public), (settings.release_key, private)):
        descriptor, draft = tempfile.mkstemp(dir=settings.secrets, prefix=".release-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        with suppress(FileExistsError):
            os.link(draft, path)
        Path(draft).unlink()
