"""A gateway that runs for all tests of this folder that do not harm it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from ds_pipelines.gateway.tokens import read_token
from ds_pipelines_tests.gateway.scenario import database_of_its_own, make_installation, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, shared: Settings) -> Iterator[Settings]:
    """An installation whose gateway runs; tests publish more into it, but change nothing that is there."""
    settings = make_installation(tmp_path_factory.mktemp("home"), database_of_its_own(shared))
    with serving(settings):
        yield settings


@pytest.fixture
def installation(tmp_path: Path, database: dict[str, SecretStr]) -> Settings:
    """An installation of the test's own; its gateway is the test's to start."""
    return make_installation(tmp_path / "home", database)


@pytest.fixture
def web(served: Settings) -> Iterator[httpx.Client]:
    """HTTP to the gateway with the right token."""
    headers = {"Authorization": f"Bearer {read_token(served)}"}
    with httpx.Client(base_url=served.gateway_base, headers=headers, trust_env=False) as client:
        yield client
