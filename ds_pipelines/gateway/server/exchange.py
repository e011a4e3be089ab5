"""One request and its answer, as the gate and the routes know them.

What belongs here: who asks, and what of value the answer holds, for the audit. What does not: deciding anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ds_pipelines.errors import WrongKindOfTokenError
from ds_pipelines.gateway.users import SHARED

if TYPE_CHECKING:
    from starlette.requests import Request

    from ds_pipelines.gateway.grants import Grant, Kind
    from ds_pipelines.gateway.users import AssertedBy


@dataclass(frozen=True)
class Item:
    """A table, or a file of it, in an answer."""

    table: str
    digest: str | None = None
    bytes: int | None = None
    """None: as many as the whole answer has."""


@dataclass
class Exchange:
    """Who asks, and what they get."""

    grant: Grant
    user: str = SHARED
    asserted_by: AssertedBy = "nobody"
    items: list[Item] = field(default_factory=list)


def exchange_of(request: Request, kind: Kind) -> Exchange:
    """The exchange of a request that needs a token of this kind.

    Raises:
        WrongKindOfTokenError: it has one of another.
    """
    exchange: Exchange = request.state.exchange
    if exchange.grant.kind != kind:
        raise WrongKindOfTokenError(exchange.grant.kind, kind)
    return exchange
