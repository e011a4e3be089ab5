"""Errors of the exposed service and its client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError

if TYPE_CHECKING:
    from datetime import date


class GatewayUnreachableError(DsPipelinesError):
    """Nobody answers where the gateway should."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"The gateway does not answer at {address}: {reason}. Start it with `ds-pipelines up`, or name the right "
            "place with DS_GATEWAY_ADDRESS (or DS_HOST and DS_GATEWAY_PORT, if it runs on this machine)."
        )


class GatewayRefusedError(DsPipelinesError):
    """The gateway does not know the token."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"The gateway at {address} refuses the token: expected the one in secrets/gateway.token of the gateway's "
            "own DS_HOME. Set DS_HOME to that folder, or copy the token into the file of the same name in yours."
        )


class GatewayAnswerError(DsPipelinesError):
    """Something answers in the gateway's place, but not as the gateway does."""

    def __init__(self, address: str, answer: str) -> None:
        super().__init__(
            f"{address} answers, but not as this project's gateway of the same version: {answer}. "
            "See the gateway's log, or correct DS_GATEWAY_ADDRESS (or DS_HOST and DS_GATEWAY_PORT)."
        )


class ForgedSnapshotError(DsPipelinesError):
    """The gateway sent other bytes than those that were published."""

    def __init__(self, table: str, day: date) -> None:
        super().__init__(
            f"The file of {table!r} for {day} is not the one that was published: expected the size and SHA-256 of its "
            f"manifest. Nothing of it was kept. Materialize extract/{table} for that day again, and find out who "
            "changed the file."
        )
