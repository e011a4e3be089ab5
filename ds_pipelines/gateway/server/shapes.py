"""What routes take: days and digests, in exactly one spelling.

What belongs here: types of parameters, and what every guarded route can answer besides. What does not: routes.
"""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _day(said: Any) -> Any:
    """A day as 2025-03-01 and no other way; pydantic would take seconds since 1970, too."""
    if isinstance(said, str) and not _DAY.fullmatch(said):
        raise ValueError("a day is written as 2025-03-01")
    return said


Day = Annotated[date, BeforeValidator(_day)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="The digest of a manifest")]


def problem(description: str) -> dict[str, Any]:
    """The description of an answer that says why there is no other; JSON, whatever else the route answers with."""
    schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: problem(description)
    for status, description in {
        401: "No valid token",
        403: "A token of another kind",
        404: "There is no such thing, or not for this token",
        422: "The request cannot be used",
        429: "Too much; Retry-After says how long to wait",
        503: "The gateway's database does not answer",
    }.items()
}
"""What every guarded route may answer."""
BODY_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: problem("The body cannot be read"),
    408: problem("The body did not arrive in time"),
    413: problem("The body is too large"),
}
