"""JupyterLab is served on the experiments folder, behind a token, with `lab` ready."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from ds_pipelines.operate import jupyter
from ds_pipelines.operate.health import probe_service
from ds_pipelines.operate.services import SERVICES
from ds_pipelines.settings import Settings, load_settings
from ds_pipelines_tests.acceptance.stack import wait_until
from ds_pipelines_tests.gateway.scenario import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("jupyterlab", reason="the extra `jupyter` is not installed")
SECONDS = 60
ASK = "print('ready:', lab.table.__name__, 'experiment' in get_ipython().magics_manager.magics['cell'])"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("home")
    (home / "ideas").mkdir()
    (home / "ideas" / "churn.py").write_text('"""Who leaves?"""\n')
    settings = load_settings(home=home, experiments=home / "ideas", jupyter_port=free_port())
    with serving(settings):
        yield settings


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    arguments, variables = jupyter.command(settings)
    with (settings.home / "jupyter.log").open("wb") as log:
        server = subprocess.Popen(arguments, env=variables, stdout=log, stderr=log)
    try:
        wait_until(lambda: probe_service("jupyter", settings) is None, "JupyterLab answers", SECONDS)
        yield
    finally:
        server.terminate()
        server.wait(20)


def token(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"token {jupyter.token_file(settings).read_text()}"}


def url(settings: Settings, path: str) -> str:
    return f"http://{settings.host}:{settings.jupyter_port}/api/{path}"


def test_it_shows_the_experiments_to_who_has_the_token_and_nothing_to_others(served: Settings) -> None:
    assert httpx.get(url(served, "contents")).status_code == 403
    assert httpx.get(url(served, "contents"), headers={"Authorization": "token wrong"}).status_code == 403
    shown = httpx.get(url(served, "contents"), headers=token(served)).raise_for_status().json()
    assert [each["name"] for each in shown["content"]] == ["churn.py"]


def test_the_token_is_in_a_file_of_its_owner_and_in_no_argument_variable_or_log(served: Settings) -> None:
    path = jupyter.token_file(served)
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_text()
    assert len(secret) >= 40
    arguments, variables = jupyter.command(served)
    assert not [each for each in (*arguments, *variables.values()) if secret in each]
    assert secret not in (served.home / "jupyter.log").read_text()
    assert jupyter.ensure_token(served).read_text() == secret


def test_lab_is_ready_in_a_new_kernel(served: Settings, tmp_path: Path) -> None:
    from jupyter_client.manager import KernelManager

    manager = KernelManager()
    _, variables = jupyter.command(served)
    manager.start_kernel(env=variables, cwd=str(tmp_path))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        said: list[str] = []
        client.execute_interactive(
            ASK, timeout=SECONDS, output_hook=lambda message: said.append(message["content"].get("text", ""))
        )
        assert "ready: table True" in "".join(said)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_it_is_one_of_the_services_and_its_address_names_no_token(served: Settings) -> None:
    assert SERVICES["jupyter"].setting == "DS_JUPYTER_PORT"
    address = jupyter.address(served)
    assert str(served.jupyter_port) in address
    assert jupyter.token_file(served).read_text() not in address
