"""Pseudonyms: keyed stand-ins for identifiers, the same for the same identifier wherever it stands.

What belongs here: the secret's file, the keys derived from it, and the function from identifiers to pseudonyms. What
does not: which columns are identifiers; the policy says so.

Each identity domain has its own key, BLAKE2b(secret, domain). A pseudonym is the first 128 bits of BLAKE3(key ‖ value)
in hex; a key in front is safe with BLAKE3, which knows no length extension, and keys are equally long, so that key and
value cannot be told apart wrongly. A number and the text of its decimal digits are the same identifier; nothing else is
normalised, neither case nor blanks nor leading zeros. Null stays null. A domain may ask for another shape: a UUID holds
120 of these bits, a bigint 63.

Two identifiers could share a pseudonym. Of n identifiers, n²/2¹²⁹ is the probability that any two do, n²/2¹²¹ for
UUIDs: about 10⁻²¹ for a billion, which is never. For bigints it is n²/2⁶⁴: 5·10⁻⁸ for a million, 5 in 10,000 for a
hundred million, 5 % for a billion. So each publication counts: as many bigint pseudonyms as identifiers, or it fails.

The keys reach Polars as the value of a series, never as a literal: expressions print themselves in plans and errors.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import polars_hash as plh

from ds_pipelines.errors import CollidingPseudonymsError, MissingSecretError
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from ds_pipelines.extract.treatments import Shape
    from ds_pipelines.settings import Settings

SECRET_BYTES = 32
KEY_BYTES = 24
"""Of a domain's key: in hex it leaves room for a usual identifier in the one block that BLAKE3 hashes at a time."""
CHARACTERS = 32
"""Of a pseudonym, 4 bits each."""

_REPEATED = 2
"""Where each identifier stands so often on average, hashing them once and joining is faster than hashing them all."""


class Pseudonyms:
    """The pseudonyms that one secret gives. Does not show the secret, however it is printed."""

    __slots__ = ("_keys", "_secret", "key_id")

    key_id: str
    """Tells secrets apart without telling anything about them."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"a secret has at least {SECRET_BYTES} bytes")
        self._secret = secret
        self._keys: dict[str, pl.Series] = {}
        self.key_id = hashlib.blake2b(key=secret, person=b"ds key id", digest_size=6).hexdigest()

    @property
    def generation(self) -> str:
        """The folder of manifests that a change to this secret publishes."""
        return f"published-{self.key_id}"

    def __repr__(self) -> str:
        return f"Pseudonyms(key_id={self.key_id!r})"

    def of(self, identifiers: pl.Series, domain: str, shape: Shape = "text") -> pl.Series:
        """The pseudonyms of a column of identifiers, under the same name.

        Args:
            identifiers: Integers or text, shape (n,).
            domain: What they identify, as customer.
            shape: What the pseudonyms look like.

        Returns:
            Text of 32 hexadecimal digits, 64-bit integers that are not negative, or UUIDs of version 8 as text; null
            where the identifier is, shape (n,).
        """
        if not (identifiers.dtype.is_integer() or identifiers.dtype == pl.String):
            raise TypeError(f"identifiers are integers or text, not {identifiers.dtype}")
        distinct = identifiers.unique()
        if distinct.len() * _REPEATED > identifiers.len():
            return self._shaped(identifiers, domain, shape)
        known = pl.DataFrame({"identifier": distinct, "made": self._shaped(distinct, domain, shape)})
        every = identifiers.to_frame("identifier")
        made = every.join(known, on="identifier", how="left", nulls_equal=True, maintain_order="left")["made"]
        return made.alias(identifiers.name)

    def draw(self, values: pl.Series, purpose: str, below: int) -> pl.Series:
        """A number from 0 for each value, evenly spread below a bound; the same for the same value and purpose.

        A purpose holds a colon, which no domain does: nothing that is drawn tells of a pseudonym.
        """
        return values.to_frame().select((_number(self._hashed(purpose)) % below).alias(values.name)).to_series()

    def _shaped(self, identifiers: pl.Series, domain: str, shape: Shape) -> pl.Series:
        hashed = self._hashed(domain)
        match shape:
            case "text":
                shaped = hashed.str.head(CHARACTERS)
            case "bigint":
                shaped = (_number(hashed) // 2).cast(pl.Int64)
            case "uuid":
                parts = (
                    hashed.str.slice(start, length) for start, length in ((0, 8), (8, 4), (13, 3), (17, 3), (20, 12))
                )
                shaped = pl.format("{}-{}-8{}-8{}-{}", *parts)
        return identifiers.to_frame().select(shaped.alias(identifiers.name)).to_series()

    def _hashed(self, domain: str) -> pl.Expr:
        """Of the first column; not of a literal, of which the batch that the driver made is never freed."""
        hashed: pl.Expr = plh.concat_str([pl.lit(self._key(domain)), pl.first().cast(pl.String)]).chash.blake3()
        return hashed

    def _key(self, domain: str) -> pl.Series:
        if domain not in self._keys:
            derived = hashlib.blake2b(domain.encode(), key=self._secret, person=b"ds pseudonym", digest_size=KEY_BYTES)
            key = derived.hexdigest()
            self._keys[domain] = pl.Series("key", [key])
        return self._keys[domain]


def require_distinct(identifiers: pl.Series, made: pl.Series, table: str, treatment: str) -> None:
    """Whether there are as many pseudonyms as identifiers.

    Raises:
        CollidingPseudonymsError: there are fewer.
    """
    if made.n_unique() != identifiers.n_unique():
        raise CollidingPseudonymsError(table, identifiers.name, treatment)


def _number(hashed: pl.Expr) -> pl.Expr:
    """The first 64 bits."""
    return hashed.str.head(16).str.to_integer(base=16, dtype=pl.UInt64)


def ensure_key(settings: Settings) -> Path:
    """The file of the secret, made at the first need.

    Raises:
        MissingSecretError: it is missing although extracts were published with it; a new one would tear them apart.
    """
    path = settings.pseudonym_key
    if path.exists():
        return path
    if SnapshotStore(settings.snapshots).tables():
        raise MissingSecretError(
            path,
            "it is missing, and extracts were published with it: a new one would give everybody other pseudonyms",
            "Restore it from a backup; or remove the snapshots, so that all days are extracted anew.",
        )
    new_secret(path)
    return path


def new_secret(path: Path) -> None:
    """Makes a secret in a file that its owner alone may read: whole, and not if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Linked into place whole: no other process ever sees it half-written, and the first one to make it wins.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()


def load_key(path: Path) -> bytes:
    """The secret in a file of hexadecimal digits.

    Raises:
        MissingSecretError: the file is missing, short, malformed, or readable by others than its owner.
    """
    new = "Restore it from a backup: another secret gives everybody other pseudonyms."
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise MissingSecretError(path, f"it cannot be read ({error.strerror})", new) from None
    except UnicodeDecodeError:
        text = ""
    if mode & 0o077:
        raise MissingSecretError(path, "others than its owner can read it", f"Run `chmod 600 {path}`.")
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) < SECRET_BYTES:
        raise MissingSecretError(path, f"it does not hold {SECRET_BYTES} bytes in hexadecimal digits", new)
    return secret


def load(settings: Settings) -> Pseudonyms:
    """The pseudonyms of this installation.

    Raises:
        MissingSecretError: as `ensure_key` and `load_key`.
    """
    current = Pseudonyms(load_key(ensure_key(settings)))
    if settings.next_pseudonym_key.exists():  # a change of keys was interrupted: before its one step, or after it
        following = Pseudonyms(load_key(settings.next_pseudonym_key))
        if SnapshotStore(settings.snapshots).generation == following.generation:
            return following
    return current
