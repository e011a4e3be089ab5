"""The channels by which people are told: mail, Slack, Teams, webhooks and whatever else apprise knows.

What belongs here: reading the addresses from their file, and handing one message to one of them. What does not: which
messages there are, and whether one was sent before.

An address holds the password or the token by which it is used. So it comes from a file that only its owner can read,
is never told, and is remembered by a mark from which it cannot be computed. What apprise says of a failure may quote
the address or the message: it goes nowhere.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ds_pipelines.errors import MissingSecretError, UnusableChannelError

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

MARK = 16
"""Bytes of a channel's mark."""


@dataclass(frozen=True)
class Channel:
    """One address."""

    line: int
    service: str
    """What kind of service it is, as apprise calls it."""
    mark: str
    _plugin: Any = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """How it is told of."""
        return f"{self.service} (line {self.line})"

    def send(self, title: str, body: str, *, good: bool = False) -> bool:
        """Hands over one message; whether the service took it."""
        from apprise import NotifyFormat, NotifyType

        kind = NotifyType.SUCCESS if good else NotifyType.WARNING
        try:
            return bool(self._plugin.notify(title=title, body=body, notify_type=kind, body_format=NotifyFormat.TEXT))
        except Exception:
            return False


def load(settings: Settings) -> list[Channel]:
    """The channels of the file that the settings name; none if there is no such file.

    Raises:
        MissingSecretError: others than the file's owner can read it.
        UnusableChannelError: a line is no address; it is not quoted.
    """
    path = settings.alert_channels
    try:
        shared, text = path.stat().st_mode & 0o077, path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    if shared:
        raise MissingSecretError(path, "others can read it", f"Run `chmod 600 {path}`.")
    channels: dict[str, Channel] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        address = line.strip()
        if not address or address.startswith("#"):
            continue
        plugin = _plugin(address)
        if plugin is None:
            raise UnusableChannelError(path, number)
        channel = Channel(number, str(plugin.service_name), _mark(address, str(settings.home)), plugin)
        channels.setdefault(channel.mark, channel)
    return list(channels.values())


def _plugin(address: str) -> Any:
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    # No picture of theirs from the web in our messages.
    asset = apprise.AppriseAsset(
        app_id="ds-pipelines", app_desc="ds-pipelines", app_url="", image_url_mask="", image_url_logo="",
        async_mode=False, secure_logging=True,
    )  # fmt: skip
    return apprise.Apprise.instantiate(address, asset=asset)


@lru_cache(maxsize=64)
def _mark(address: str, salt: str) -> str:
    """The same for the same address; slow, so that nobody who reads it can try passwords against it."""
    return hashlib.scrypt(address.encode(), salt=salt.encode(), n=1 << 14, r=8, p=1, dklen=MARK).hex()
