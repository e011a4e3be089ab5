"""A watch that remembers nothing yet, and receivers to tell."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import postgres
from ds_pipelines_tests.watch.receivers import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.watch.receivers import MailServer, Webhook


@pytest.fixture
def watched(shared: Settings) -> Settings:
    """Settings of a home in which nothing was watched yet, and no channel is named."""
    with closing(postgres.connect("registry", shared)) as connection, connection:
        connection.cursor().execute("DROP SCHEMA IF EXISTS watch CASCADE")
    shared.alert_channels.unlink(missing_ok=True)
    return shared


@pytest.fixture
def receivers() -> Iterator[tuple[MailServer, Webhook]]:
    with receiving() as listening:
        yield listening


@pytest.fixture
def mail(receivers: tuple[MailServer, Webhook]) -> MailServer:
    return receivers[0]


@pytest.fixture
def hook(receivers: tuple[MailServer, Webhook]) -> Webhook:
    return receivers[1]


def name_channels(settings: Settings, *addresses: str) -> None:
    """Writes the file of channels as an operator would."""
    settings.alert_channels.parent.mkdir(parents=True, exist_ok=True)
    settings.alert_channels.touch(mode=0o600)
    settings.alert_channels.write_text("# who is told\n" + "\n".join(addresses) + "\n")
