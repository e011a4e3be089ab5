"""What the lab's tests share: MLflow on the embedded database, without its server, which takes 20 s to start."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from ds_pipelines import postgres
from ds_pipelines.settings import Settings, environment, load_settings
from ds_pipelines_tests.gateway.scenario import database_of_its_own, free_port, make_installation, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def tracking_address(home: Path) -> str:
    """MLflow's backend store, addressed directly."""
    return postgres.sqlalchemy_url(postgres.url("mlflow", load_settings(home=home)))


@pytest.fixture
def artifact(tracking_address: str, tmp_path: Path) -> Callable[[str, str], Path]:
    """Downloads one artifact of a run, or a folder of them."""
    from mlflow import MlflowClient

    def download(run_id: str, path: str) -> Path:
        folder = tmp_path / "downloads" / run_id
        folder.mkdir(parents=True, exist_ok=True)
        return Path(MlflowClient(tracking_address).download_artifacts(run_id, path, str(folder)))

    return download


@pytest.fixture
def bench(home: Path, tracking_address: str, tmp_path: Path) -> Settings:
    """Settings of a data scientist with an empty experiments folder."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    return load_settings(home=home, tracking_address=tracking_address, experiments=folder)


@pytest.fixture(scope="session")
def installation(
    tmp_path_factory: pytest.TempPathFactory, shared: Settings, tracking_address: str
) -> Iterator[Settings]:
    """An installation whose gateway runs, with MLflow's database and an experiments folder of its own.

    All modules share it: a test that publishes gives its table a name of its own.
    """
    folder = tmp_path_factory.mktemp("installation")
    (folder / "experiments").mkdir()
    settings = make_installation(
        folder / "home", database_of_its_own(shared), tracking_address=tracking_address,
        experiments=folder / "experiments", listing_age=timedelta(0),
    )  # fmt: skip
    with serving(settings):
        yield settings


@pytest.fixture
def desk(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment of a data scientist beside that gateway."""
    for key, value in installation.as_environment().items():
        monkeypatch.setenv(key, value)
    return installation


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[str]:
    """MLflow's server on that database, for what can only be seen through it."""
    settings = load_settings(home=home, mlflow_port=free_port())
    command = [sys.executable, "-m", "ds_pipelines.cli", "serve", "mlflow"]
    process = subprocess.Popen(command, env=environment(**settings.as_environment()))
    try:
        deadline = time.monotonic() + 120
        while not _answers(settings.tracking_base):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield settings.tracking_base
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False
