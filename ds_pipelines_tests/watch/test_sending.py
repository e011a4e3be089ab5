"""Alerts to real receivers: each once, to each channel, whatever happens in between; and no secret in them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ds_pipelines.errors import MissingSecretError, UnusableChannelError
from ds_pipelines.settings import environment
from ds_pipelines.watch import channels
from ds_pipelines.watch.problems import Problem, Well, begin, recover, still_open
from ds_pipelines.watch.sending import REPEAT, Sent, register, send_due
from ds_pipelines.watch.state import remembered
from ds_pipelines_tests.watch.conftest import name_channels

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.watch.receivers import MailServer, Webhook

LATE = Problem("lateness", "repurchase", "Not delivered.", "Look at the run.", "http://pages/assets/serving/x")
IN_TIME = Well("lateness", "repurchase", "Delivered.", "http://pages/assets/serving/x")
BEGAN, RECOVERED = "[production] Late: repurchase", "[production] Recovered: repurchase (late)"

ROUND = """
import sys
from ds_pipelines.settings import load_settings
from ds_pipelines.watch import channels
from ds_pipelines.watch.sending import send_due
settings = load_settings()
print(send_due(channels.load(settings), settings).sent)
"""


def see(settings: Settings, *seen: Problem | Well) -> None:
    """What a round of the watch does with what it sees, before it sends."""
    with remembered(settings) as cursor:
        register(cursor, channels.load(settings))
        for each in seen:
            if isinstance(each, Problem):
                begin(cursor, each, "production")
            else:
                recover(cursor, each, "production")


def send(settings: Settings) -> Sent:
    return send_due(channels.load(settings), settings)


def titles(texts: list[str]) -> list[str]:
    return [text.partition("\n")[0] for text in texts]


def test_mail_and_webhook_are_told_what_is_wrong_where_and_what_to_do(
    watched: Settings, mail: MailServer, hook: Webhook
) -> None:
    name_channels(watched, mail.address, hook.address)
    see(watched, LATE)
    assert send(watched) == Sent(sent=2)
    for [text] in (mail.texts(), hook.texts()):
        assert text.startswith(BEGAN)
        assert LATE.words in text
        assert f"Next step: {LATE.next_step}" in text
        assert LATE.link in text


def test_a_problem_that_lasts_is_told_once_and_its_end_once(watched: Settings, mail: MailServer) -> None:
    name_channels(watched, mail.address)
    sent = []
    for seen in (LATE, LATE, LATE, IN_TIME, IN_TIME):
        see(watched, seen)
        sent.append(send(watched).sent)
    assert sent == [1, 0, 0, 1, 0]
    assert titles(mail.texts()) == [BEGAN, RECOVERED]


def test_a_problem_that_comes_back_is_told_again(watched: Settings, mail: MailServer) -> None:
    name_channels(watched, mail.address)
    see(watched, LATE, IN_TIME, LATE)
    assert send(watched) == Sent(sent=3)
    [text] = mail.texts()  # what is due at the same time is one message
    assert text.startswith(f"{BEGAN}, and 2 more")
    assert [line for line in text.splitlines()[1:] if line.startswith("[")] == [BEGAN, RECOVERED, BEGAN]
    with remembered(watched) as cursor:
        assert [each.subject for each in still_open(cursor)] == ["repurchase"]


def test_what_was_never_wrong_does_not_recover(watched: Settings, mail: MailServer) -> None:
    name_channels(watched, mail.address)
    see(watched, IN_TIME)
    assert send(watched) == Sent()


def test_a_new_process_sends_nothing_again(watched: Settings, mail: MailServer) -> None:
    name_channels(watched, mail.address)
    see(watched, LATE)
    sent = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", ROUND], env=environment(DS_HOME=str(watched.home)), check=True,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        sent.append(done.stdout.strip())
    assert sent == ["1", "0"]
    assert titles(mail.texts()) == [BEGAN]


def test_a_channel_that_refuses_is_tried_again_and_the_other_is_not(
    watched: Settings, mail: MailServer, hook: Webhook
) -> None:
    name_channels(watched, mail.address, hook.address)
    mail.refuses = True
    see(watched, LATE)
    assert send(watched) == Sent(sent=1, refused=1)
    assert send(watched) == Sent()  # not at once: the next attempt waits
    mail.refuses = False
    with remembered(watched) as cursor:
        cursor.execute("UPDATE watch.sendings SET attempted_at = attempted_at - interval '1 hour'")
    assert send(watched) == Sent(sent=1)
    assert titles(mail.texts()) == titles(hook.texts()) == [BEGAN]


def test_an_attempt_that_was_cut_short_is_made_again_and_says_so(watched: Settings, mail: MailServer) -> None:
    name_channels(watched, mail.address)
    see(watched, LATE)
    mail.refuses = True
    send(watched)
    with remembered(watched) as cursor:  # as a process leaves it that was killed during the attempt
        cursor.execute("UPDATE watch.sendings SET answered = false")
    mail.refuses = False
    send(watched)
    [text] = mail.texts()
    assert REPEAT in text


def test_a_channel_named_later_gets_nothing_of_before(watched: Settings, mail: MailServer, hook: Webhook) -> None:
    name_channels(watched, mail.address)
    see(watched, LATE)
    name_channels(watched, mail.address, hook.address)
    see(watched, IN_TIME)
    send(watched)
    assert titles(hook.texts()) == [RECOVERED]


def test_nothing_of_an_address_is_told_or_stored(
    watched: Settings, hook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.refuses = True
    name_channels(watched, hook.address)
    see(watched, LATE)
    send(watched)
    [channel] = channels.load(watched)
    with remembered(watched) as cursor:
        cursor.execute("SELECT string_agg(c::text || s::text, '') FROM watch.channels c, watch.sendings s")
        stored = str(cursor.fetchone())
    shown = "".join(capfd.readouterr()) + stored + repr(channel) + channel.name
    assert "s3cretToken" not in shown
    assert channel.mark in stored


def test_a_line_that_is_no_address_is_named_by_its_number_alone(watched: Settings) -> None:
    name_channels(watched, "hunter2://not an address")
    with pytest.raises(UnusableChannelError) as refused:
        channels.load(watched)
    assert "Line 2 of" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_file_that_others_can_read_is_refused(watched: Settings, hook: Webhook) -> None:
    name_channels(watched, hook.address)
    watched.alert_channels.chmod(0o644)
    with pytest.raises(MissingSecretError, match="chmod 600"):
        channels.load(watched)
