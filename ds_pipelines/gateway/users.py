"""Whose name goes with what is asked of the gateway, and on whose word.

What belongs here: the words for it, what a name may be, and the header in which a client states one. What does not:
knowing users, which the proxies do that authenticate them, or whom to believe (`server.gate`).

There are two doors, and a proxy can stand before each. Whom the proxy before the gateway names is recorded as said by
the `proxy`. Whom a client states is recorded as said by its `token`: exploration states whom the proxy before Dagster's
pages named (`operate.attribution`), but the gateway sees only that whoever holds the token says so.
"""

from __future__ import annotations

import getpass
from typing import Literal
from urllib.parse import quote, unquote

AssertedBy = Literal["proxy", "token", "nobody"]
"""Who says that it was this user; nobody, where the user is `shared`."""
SHARED = "shared"
"""The user of what nobody says whose it is."""
HEADER = "DS-User"
"""In which a client states for whom it asks, percent-encoded."""
LONGEST = 200
"""Characters of a name."""


def of_this_account() -> str:
    """Who is logged in at this machine; `shared`, if nobody knows."""
    try:
        return name(getpass.getuser()) or SHARED
    except (KeyError, OSError):
        return SHARED


def name(said: str) -> str:
    """What can be a name of what was said; empty, if nothing can."""
    return "".join(each for each in said if each.isprintable()).strip()[:LONGEST]


def stated(user: str | None) -> dict[str, str]:
    """The headers by which a client states for whom it asks."""
    return {} if user is None else {HEADER: quote(user, safe="")}


def read(header: str) -> str:
    """The name that a client stated; empty, if it stated none."""
    return name(unquote(header))


def words(user: str, asserted_by: AssertedBy) -> str:
    """A user, and on whose word."""
    return user if asserted_by == "nobody" else f"{user} (says the {asserted_by})"
