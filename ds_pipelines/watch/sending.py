"""Sending alerts: each to each channel, once.

What belongs here: what is still to be sent to whom, and trying again. What does not: what an alert says (`problems`),
and handing it over (`channels`).

What is due to a channel goes in one message. An attempt is noted before it is made, and its end after. So a channel
that refuses is tried again while the others are not, and no restart sends again what a channel took. Only if the
process dies in the instant between the two notes can nobody say whether the channel took the message; it is sent again
then, and says that it may be a repeat: an alert that comes twice is better than one that never comes. Who sends holds
the channel's lock: two daemons do not send the same.

Alerts from before a channel was first named do not go to it. One that no attempt brought through within a week is
dropped: it tells of another time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ds_pipelines.watch.state import remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg2.extensions

    from ds_pipelines.settings import Settings
    from ds_pipelines.watch.channels import Channel

AT_ONCE = 20
"""Alerts in one message; the rest is for the next round."""
REPEAT = "This may be a repeat: the last attempt was cut short, and whether it arrived is not known."

DUE_SQL = """
INSERT INTO watch.sendings (alert, channel)
SELECT a.id, c.id FROM watch.alerts a JOIN watch.channels c ON a.at >= c.since
WHERE c.id = %(channel)s AND a.at > clock_timestamp() - interval '7 days'
ON CONFLICT DO NOTHING;
SELECT a.id, a.title, a.body, a.event, s.answered
FROM watch.sendings s JOIN watch.alerts a ON a.id = s.alert
WHERE s.channel = %(channel)s AND s.sent_at IS NULL AND a.at > clock_timestamp() - interval '7 days'
    AND (s.attempted_at IS NULL OR NOT s.answered
         OR s.attempted_at < clock_timestamp() - least(interval '30 s' * 2 ^ (s.attempts - 1), interval '1 hour'))
ORDER BY a.id LIMIT %(most)s
"""


@dataclass(frozen=True)
class Due:
    """An alert that a channel has not got yet."""

    alert: int
    title: str
    body: str
    event: str
    answered: bool


@dataclass
class Sent:
    """What a round of sending came to, in alerts."""

    sent: int = 0
    refused: int = 0


def register(cursor: psycopg2.extensions.cursor, channels: Sequence[Channel]) -> None:
    """Makes channels known: what happens from now on is sent to them."""
    for channel in channels:
        cursor.execute("INSERT INTO watch.channels (id) VALUES (%s) ON CONFLICT DO NOTHING", (channel.mark,))


def send_due(channels: Sequence[Channel], settings: Settings) -> Sent:
    """Sends what is due to each channel; a channel that refuses is tried again, later and later.

    Raises:
        DatabaseUnreachableError: the watch's tables cannot be reached.
    """
    total = Sent()
    for channel in channels:
        with remembered(settings) as lock:
            lock.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"watch {channel.mark}",))
            if lock.fetchone() == (True,):
                _send(channel, settings, total)
    return total


def _send(channel: Channel, settings: Settings, total: Sent) -> None:
    with remembered(settings) as cursor:
        cursor.execute(DUE_SQL, {"channel": channel.mark, "most": AT_ONCE})
        due = [Due(*row) for row in cursor.fetchall()]
        numbers = [each.alert for each in due]
        cursor.execute(
            "UPDATE watch.sendings SET attempts = attempts + 1, attempted_at = clock_timestamp(), answered = false "
            "WHERE channel = %s AND alert = ANY(%s)",
            (channel.mark, numbers),
        )
    if not due:
        return
    taken = channel.send(*_message(due), good=all(each.event == "recovered" for each in due))
    with remembered(settings) as cursor:
        cursor.execute(
            "UPDATE watch.sendings SET answered = true, sent_at = CASE WHEN %s THEN clock_timestamp() END "
            "WHERE channel = %s AND alert = ANY(%s)",
            (taken, channel.mark, numbers),
        )
    if taken:
        total.sent += len(due)
    else:
        total.refused += len(due)


def _message(due: Sequence[Due]) -> tuple[str, str]:
    """Title and text of one message: services limit how many they take, and people how many they read."""
    repeat = "" if all(each.answered for each in due) else f"\n\n{REPEAT}"
    if len(due) == 1:
        return due[0].title, f"{due[0].body}\nAlert {due[0].alert}.{repeat}"
    title = f"{due[0].title}, and {len(due) - 1} more"
    return title, "\n\n".join(f"{each.title}\n{each.body}\nAlert {each.alert}." for each in due) + repeat
