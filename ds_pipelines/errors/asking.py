"""Errors of the gateway's client: of reaching it, of asking it, and of writing what came to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path


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


class UnusableCacheError(DsPipelinesError):
    """What is fetched cannot be kept."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"The lab's cache {folder} cannot be made: {reason}; expected a folder in which this account may write. "
            "Correct its rights, or set DS_HOME to a folder of yours."
        )


class GatewayFailedError(GatewayUnreachableError):
    """The gateway answers that it cannot serve now, or something before it answers in its place."""

    def __init__(self, address: str, status: int, said: str) -> None:
        DsPipelinesError.__init__(
            self,
            f"The gateway at {address} cannot serve now: status {status}{_after(said)}. "
            "Try again later; its log, and `ds-pipelines doctor` on its machine, say what is wrong.",
        )


class GatewayForbidsError(GatewayRefusedError):
    """The gateway knows the token, which is for something else."""

    def __init__(self, address: str, said: str) -> None:
        DsPipelinesError.__init__(
            self,
            f"The gateway at {address} does not answer this with this token: {said.rstrip('.') or 'it is for others'}. "
            "Expected a token for extracts in secrets/gateway.token of your DS_HOME.",
        )


class GatewayBusyError(DsPipelinesError):
    """The gateway limits how much one token may ask for, and the limit is reached."""

    def __init__(self, address: str, said: str, wait: str) -> None:
        super().__init__(
            f"The gateway at {address} has had enough of this token for now: {said or 'a limit is reached'}. Expected "
            f"fewer questions, or days; try again in {wait}, or have the token's limits raised by who runs the gateway."
        )


class RequestRefusedError(DsPipelinesError):
    """The gateway does not take a request."""

    def __init__(self, table: str, answer: str) -> None:
        super().__init__(f"The request for {table!r} is refused: {answer}")


class UnusableReasonError(DsPipelinesError):
    """A request says too little, or too much, of what it is for."""

    def __init__(self, table: str, shortest: int, longest: int) -> None:
        super().__init__(
            f"A request for {table!r} needs a reason: expected {shortest} to {longest} characters that say what the "
            'data is needed for, as because="repurchase within 30 days, first quarter".'
        )


class NoSuchRequestError(DsPipelinesError):
    """There is no request of this id, or it is another token's."""

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no such request: expected one of {listing(known) or 'none, nothing was asked for yet'}. "
            "`ds-pipelines requests list` shows them."
        )


class RequestFailedError(DsPipelinesError):
    """Production could not publish what was asked for."""

    def __init__(self, request: str, table: str, message: str) -> None:
        super().__init__(
            f"Request {request} for {table!r} failed in production: {message.rstrip('.') or 'it does not say why'}. "
            "Ask again when the cause is gone, or ask who runs production; `ds-pipelines requests show` has the rest."
        )


class StillWaitingError(DsPipelinesError):
    """What was asked for has not come within the time that its asker would wait."""

    def __init__(self, request: str, table: str, standing: str, waited: str) -> None:
        super().__init__(
            f"Request {request} for {table!r} is not done after {waited}: {standing}. It goes on without you, and need "
            f"not be asked again: see `ds-pipelines requests show {request}`, and come back when it is done."
        )


class UnknownFileKindError(DsPipelinesError):
    """A file's name does not say in which form to write it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path.name!r} does not say what kind of file to write: expected .parquet or .csv at the end."
        )


class NoSuchFolderError(DsPipelinesError):
    """A file should be written where there is no folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"There is no folder {folder}: expected one that exists. Make it, or name another file.")


class NestedColumnError(DsPipelinesError):
    """A column holds lists, for which CSV has no form."""

    def __init__(self, table: str, columns: Iterable[str]) -> None:
        super().__init__(
            f"Columns of {table!r} hold lists or structures, which CSV cannot: {listing(columns)}. "
            "Write Parquet, or leave them out with --columns."
        )


def _after(said: str) -> str:
    return f", {said.rstrip('.')}" if said else ""
