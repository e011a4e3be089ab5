"""Errors of the exposed service: its database, its tokens, and what it cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path


class UnpreparedGatewayError(DsPipelinesError):
    """The gateway's database has no tables yet, and this process may not make them."""

    def __init__(self) -> None:
        super().__init__(
            "The gateway's database has no tables yet: expected those that its owner makes. Run `ds-pipelines up`, or "
            "`ds-pipelines gateway` with DS_GATEWAY_OWNER_URL set."
        )


class TokenScopeError(DsPipelinesError):
    """A token was to be made that may do nothing, or too much at once."""

    def __init__(self, kinds: Iterable[str]) -> None:
        asked = listing(kinds)
        super().__init__(
            f"A token for {asked} is not made: expected one kind. Extracts hold pseudonyms and scores the real keys of "
            "the same persons; a model joins them, and then the pseudonyms protect nobody. Make a token for each; for "
            "extracts and scores, for different people."
            if asked
            else "A token that may do nothing is not made: expected --extracts TABLE (or --all-extracts), --scores "
            "TABLE, --metrics or --release ACTION."
        )


class UnknownScopeError(DsPipelinesError):
    """A token was to be made for something that does not exist."""

    def __init__(self, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
        super().__init__(f"There are no {kind} of {listing(names)}; expected some of {listing(known)}.")


class TokenNameTakenError(DsPipelinesError):
    """A token of this name is in force."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a token {name!r} already; expected another name. Choose one, or revoke it first with "
            f"`ds-pipelines token revoke {name}`."
        )


class UnknownTokenError(DsPipelinesError):
    """No token of this name is in force."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no token {name!r} to revoke; expected one of {listing(known) or 'none, as none is in force'}."
        )


class TokenFileExistsError(DsPipelinesError):
    """A token was to be written over a file that is there."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists, and no token was made: expected a new file. Name another with --to.")


class UnknownRequestedTableError(DsPipelinesError):
    """A table was asked for that there is none of, or that the token may not see: both are told alike."""

    def __init__(self, table: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no table {table!r} that this token may ask for; expected one of {listing(known) or 'none'}. For "
            "another, ask who runs the gateway."
        )


class UnusableRequestError(DsPipelinesError):
    """A request for an extract cannot be carried out as it is worded."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The request cannot be used: {reason}.")


class UnknownRequestError(DsPipelinesError):
    """There is no such request of this token's."""

    def __init__(self) -> None:
        super().__init__("There is no such request of this token's; GET /v1/requests lists them.")


class TooManyRequestsOpenError(DsPipelinesError):
    """A token asks for more before what it asked for is done."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"This token has {most} requests waiting or running: expected fewer before it asks for more. Watch them "
            "under /v1/requests."
        )


class WrongKindOfTokenError(DsPipelinesError):
    """A valid token asks for what tokens of its kind do not open."""

    def __init__(self, kind: str, needed: str) -> None:
        super().__init__(
            f"This token is for {kind}: expected one for {needed}. No token is for both extracts and scores, because "
            "together they undo the pseudonyms; ask who runs the gateway for another."
        )


class UnknownScoresError(DsPipelinesError):
    """Nothing of these scores is delivered, for that day, or the token may not see them."""

    def __init__(self, table: str, day: date | None, known: Iterable[str]) -> None:
        wanted = f"{table!r} for {day}" if day else f"{table!r}"
        super().__init__(
            f"There are no scores {wanted} delivered. This token may read: {listing(known) or 'none'}; GET /v1/scores "
            "lists the days of each."
        )
