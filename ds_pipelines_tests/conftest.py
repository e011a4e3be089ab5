"""What tests share: a home of their own with embedded PostgreSQL, and a small shop in it. Nothing is mocked."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from ds_pipelines.settings import PROJECT, Settings, load_settings, quiet_libraries
from ds_pipelines_tests.gateway.scenario import database_of_its_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from ds_pipelines.sample import Shop

quiet_libraries()
hypothesis.settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's
hypothesis.settings.load_profile("any machine")
for _name in [name for name in os.environ if name.startswith("DS_")]:
    del os.environ[_name]

SHARED_DATA = PROJECT.parent / "shared" / "data"
CUSTOMERS = 400


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-rounds", type=int, default=10, help="How often the chaos tests kill what they watch.")
    parser.addoption("--screenshots", metavar="URL", help="Take the README's pictures from the pages that run there.")


@pytest.fixture
def chaos_rounds(request: pytest.FixtureRequest) -> int:
    """How often a chaos test kills what it watches."""
    return int(request.config.getoption("--chaos-rounds"))


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home whose path is short enough for sockets, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="ds-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        from ds_pipelines import postgres

        for name in ("production", "platform"):
            postgres._handle(name, Path(folder) / "postgres", Path(folder) / "secrets" / "postgres").release()


@pytest.fixture(scope="session")
def shared(home: Path) -> Settings:
    """Settings of the home whose cluster the gateways of all tests share."""
    return load_settings(home=home)


@pytest.fixture(scope="session")
def database(shared: Settings) -> dict[str, SecretStr]:
    """The database of all gateways that tests start for themselves, one after the other."""
    return database_of_its_own(shared)


@pytest.fixture(scope="session")
def shop(home: Path) -> Shop:
    """A small generated shop, loaded into the shop database."""
    from ds_pipelines import sample

    generated = sample.generate(customers=CUSTOMERS, seed=7)
    sample.load(generated, load_settings(home=home))
    return generated


@pytest.fixture(scope="session")
def settings(home: Path, shop: Shop) -> Settings:
    """Settings of an installation that holds the small shop: its days, its today."""
    return load_settings(home=home, first_day=shop.first_day, today=shop.last_day + timedelta(days=1), zone=shop.zone)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real test data; a test that asks for it skips, saying so, where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real test data (../shared/data) is not on this machine")
    return SHARED_DATA
