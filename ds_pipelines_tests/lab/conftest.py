"""What the lab's tests share: MLflow on the embedded database, without its server, which takes 20 s to start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import postgres
from ds_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable


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
