"""The token: made once, private, and explained when it is not there."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ds_pipelines.errors import MissingSecretError
from ds_pipelines.gateway.tokens import ensure_token, read_token
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path)


def test_it_is_made_once_and_only_its_owner_can_read_it(settings: Settings) -> None:
    token = ensure_token(settings)
    assert re.fullmatch(r"ds_[A-Za-z0-9_-]{43}", token)
    assert ensure_token(settings) == read_token(settings) == token
    assert settings.gateway_token.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.secrets.iterdir()] == ["gateway.token"]


def test_who_starts_at_the_same_time_gets_the_same_one(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as executor:
        tokens = {future.result() for future in [executor.submit(ensure_token, settings) for _ in range(8)]}
    assert len(tokens) == 1


def test_a_missing_one_is_named_with_how_to_get_it(settings: Settings) -> None:
    with pytest.raises(MissingSecretError) as raised:
        read_token(settings)
    for part in (str(settings.gateway_token), "DS_HOME", "ds-pipelines up"):
        assert part in str(raised.value)


def test_one_that_others_can_read_is_refused(settings: Settings) -> None:
    ensure_token(settings)
    settings.gateway_token.chmod(0o640)
    with pytest.raises(MissingSecretError, match="others can read it"):
        ensure_token(settings)


def test_an_empty_one_is_refused(settings: Settings) -> None:
    ensure_token(settings)
    settings.gateway_token.write_text("\n")
    with pytest.raises(MissingSecretError, match="it is empty"):
        read_token(settings)
