"""HTTP to the gateway: the token, patience, and one clear error for each way in which an answer fails.

What belongs here: sending, repeating, waiting as the gateway asks, and telling its answers from anybody else's. What
does not: what the questions mean (`gateway.client`).
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic import ValidationError

from ds_pipelines.errors import (
    GatewayAnswerError,
    GatewayBusyError,
    GatewayFailedError,
    GatewayForbidsError,
    GatewayRefusedError,
    GatewayUnreachableError,
    SettingsError,
)
from ds_pipelines.gateway.ages import words
from ds_pipelines.gateway.users import stated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import TypeAdapter

T = TypeVar("T")

PAUSES = (0.1, 0.4)
"""Seconds before the second and the third attempt."""
PATIENCE = 60.0
"""Seconds to wait in all when the gateway says that it has had enough for now."""
SAID_AT_MOST = 1000
"""Characters of an answer's explanation that are passed on."""
PASSED_ON = frozenset({
    httpx.codes.OK, httpx.codes.CREATED, httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY,
})  # fmt: skip
"""What the caller tells apart; any other answer is an error here."""

log = logging.getLogger(__name__)


class _Wait(Exception):  # noqa: N818 - a signal between two functions, and never seen outside
    """The gateway asks to come back later."""

    def __init__(self, seconds: float, said: str) -> None:
        self.seconds, self.said = seconds, said.rstrip(".")


class Transport:
    """Requests to one gateway. Nothing is contacted, or even prepared, before the first of them."""

    def __init__(self, url: str, token: str, user: str | None = None, certificate: Path | None = None) -> None:
        """Checks the URL.

        Args:
            url: Where the gateway is, as http://127.0.0.1:4280.
            token: Its bearer token.
            user: For whom is asked, if that is known.
            certificate: The gateway's own, if it serves here with one, trusted whoever signed it.

        Raises:
            SettingsError: the URL is none.
        """
        self._certificate = certificate
        self._base = base_of(url)
        self._headers = {"Authorization": f"Bearer {token}", **stated(user)}
        self.address = address_of(self._base)
        self.on_answer: Callable[[], None] = lambda: None
        """Called whenever the gateway answered."""

    @cached_property
    def http(self) -> httpx.Client:
        """The connections; whoever streams from them does so in `retrying` and with `expected`."""
        # trust_env=False: a proxy or .netrc of the environment must not see or replace the token. The system's own
        # certificate authorities (or those that SSL_CERT_FILE names) decide about https, and the gateway's own.
        return httpx.Client(
            base_url=self._base,
            headers=self._headers,
            timeout=httpx.Timeout(60, connect=5),
            trust_env=False,
            verify=self._trusted(),
        )

    def _trusted(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._certificate is not None:
            try:
                context.load_verify_locations(self._certificate)
            except OSError:  # that of OpenSSL is one, too
                raise SettingsError("DS_GATEWAY_CERTIFICATE", "a PEM file that can be read here") from None
        return context

    def close(self) -> None:
        """Closes the connections, if any were made."""
        if "http" in self.__dict__:
            self.http.close()

    def get(self, path: str) -> httpx.Response:
        """An answer, or the error that it stands for.

        Raises:
            GatewayUnreachableError, GatewayRefusedError, GatewayBusyError, GatewayAnswerError.
        """
        return self.retrying(lambda: self.expected(self.http.get(path)))

    def retrying(self, attempt: Callable[[], T]) -> T:
        """Repeats what can be repeated: three times while the connection fails, and whenever it is asked to wait.

        Time that runs out is not given again.

        Raises:
            GatewayUnreachableError: no attempt was answered.
            GatewayBusyError: the gateway asks to wait for longer than `PATIENCE`.
        """
        pauses, patience = iter(PAUSES), PATIENCE
        while True:
            try:
                return attempt()
            except httpx.TransportError as error:
                pause = None if isinstance(error, httpx.TimeoutException) else next(pauses, None)
                if pause is None:
                    raise GatewayUnreachableError(self.address, str(error) or type(error).__name__) from None
            except _Wait as wait:
                pause, patience = wait.seconds, patience - wait.seconds
                if patience < 0:
                    raise GatewayBusyError(self.address, wait.said, words(wait.seconds)) from None
                log.info("The gateway asks to wait %.0f s: the limits of its token are reached.", wait.seconds)
            time.sleep(pause)

    def expected(self, response: httpx.Response) -> httpx.Response:
        """The response, if it is one that the gateway gives and that its caller understands.

        Raises:
            GatewayRefusedError: the token is not known, or not for this.
            GatewayFailedError: the gateway, or what stands before it, cannot serve.
            GatewayAnswerError: anything else.
        """
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            raise GatewayRefusedError(self.address)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            response.read()
            raise _Wait(_seconds(response.headers.get("retry-after", "")), said(response))
        if status == httpx.codes.FORBIDDEN:
            response.read()
            raise GatewayForbidsError(self.address, said(response))
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            response.read()
            raise GatewayFailedError(self.address, status, said(response))
        if status not in PASSED_ON:
            raise GatewayAnswerError(self.address, f"status {status}")
        self.on_answer()
        return response

    def parse(self, adapter: TypeAdapter[T], response: httpx.Response) -> T:
        """What the answer holds.

        Raises:
            GatewayAnswerError: it is not what a gateway says.
        """
        if not response.is_success:
            raise GatewayAnswerError(self.address, f"status {response.status_code}")
        try:
            return adapter.validate_json(response.content)
        except ValidationError as error:
            raise GatewayAnswerError(
                self.address, f"{error.error_count()} parts of the answer are not as expected"
            ) from None


def base_of(url: str) -> httpx.URL:
    """A gateway's URL.

    Raises:
        SettingsError: it is none.
    """
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL:
        raise SettingsError("DS_GATEWAY_ADDRESS", "a URL, as http://127.0.0.1:4280") from None
    if base.scheme not in {"http", "https"} or not base.host:
        raise SettingsError("DS_GATEWAY_ADDRESS", "a URL that starts with http:// or https:// and names a host")
    return base


def address_of(base: httpx.URL) -> str:
    """What can be shown of it: a URL may hold a password."""
    return base.netloc.decode("ascii")


def said(response: httpx.Response) -> str:
    """The sentence by which the gateway explains an answer; of something else's page, nothing."""
    try:
        content: Any = json.loads(response.content)
    except ValueError:
        return ""
    detail = content.get("detail") if isinstance(content, dict) else None
    return "".join(each for each in detail[:SAID_AT_MOST] if each.isprintable()) if isinstance(detail, str) else ""


def _seconds(header: str) -> float:
    """Retry-After; one second where it says none, or names a date, which the gateway does not."""
    try:
        return max(0.1, float(header))
    except ValueError:
        return 1.0
