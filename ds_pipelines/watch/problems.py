"""Problems of production, from when they begin until they are over; each is told once at either end.

What belongs here: which problems are open, and the alert that each beginning and each recovery is. What does not:
finding them, and sending the alerts.

A problem is a kind and a subject, as the lateness of a job. Seen again while it is open, it is the same one, whoever
sees it and however often: the database has one open row of each. So nothing is told twice, after a restart neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg2.extensions

Kind = Literal["failure", "lateness", "drift", "promise"]
KINDS: tuple[Kind, ...] = ("failure", "lateness", "drift", "promise")
TITLES: dict[Kind, str] = {
    "failure": "Failed",
    "lateness": "Late",
    "drift": "Drifted",
    "promise": "Below its promise",
}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong. Its words name things and counts; never a value of a row, nor a secret."""

    kind: Kind
    subject: str
    """What it is about, as people call it."""
    words: str
    """What is wrong."""
    next_step: str
    link: str
    """The page on which one sees it."""


@dataclass(frozen=True)
class Well:
    """That something is as it should be."""

    kind: Kind
    subject: str
    words: str
    link: str


@dataclass(frozen=True)
class Open:
    """A problem that is not over."""

    id: int
    kind: Kind
    subject: str
    since: datetime
    title: str
    body: str


def begin(cursor: psycopg2.extensions.cursor, problem: Problem, environment: str) -> bool:
    """Opens a problem unless it is open already; whether it was opened."""
    cursor.execute(
        "INSERT INTO watch.problems (kind, subject) VALUES (%s, %s) "
        "ON CONFLICT (kind, subject) WHERE until IS NULL DO NOTHING RETURNING id",
        (problem.kind, problem.subject),
    )
    row = cursor.fetchone()
    if row is None:
        return False
    title = f"[{environment}] {TITLES[problem.kind]}: {problem.subject}"
    _tell(cursor, row[0], "began", title, f"{problem.words}\nNext step: {problem.next_step}\n{problem.link}")
    return True


def recover(cursor: psycopg2.extensions.cursor, well: Well, environment: str) -> bool:
    """Closes a problem if it is open; whether it was."""
    cursor.execute(
        "UPDATE watch.problems SET until = clock_timestamp() WHERE kind = %s AND subject = %s AND until IS NULL "
        "RETURNING id, since",
        (well.kind, well.subject),
    )
    row = cursor.fetchone()
    if row is None:
        return False
    number, since = row
    title = f"[{environment}] Recovered: {well.subject} ({TITLES[well.kind].lower()})"
    body = f"{well.words}\nIt began at {since:%Y-%m-%d %H:%M} UTC.\nNext step: none, this is over.\n{well.link}"
    _tell(cursor, number, "recovered", title, body)
    return True


def still_open(cursor: psycopg2.extensions.cursor) -> list[Open]:
    """What is wrong at the moment, the oldest first."""
    cursor.execute(
        "SELECT p.id, p.kind, p.subject, p.since, a.title, a.body FROM watch.problems p "
        "JOIN watch.alerts a ON a.problem = p.id AND a.event = 'began' WHERE p.until IS NULL ORDER BY p.since, p.id"
    )
    return [Open(*row) for row in cursor.fetchall()]


def _tell(cursor: psycopg2.extensions.cursor, problem: int, event: str, title: str, body: str) -> None:
    cursor.execute(
        "INSERT INTO watch.alerts (problem, event, title, body) VALUES (%s, %s, %s, %s)", (problem, event, title, body)
    )
