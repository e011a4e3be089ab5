"""How the service runs: its certificate, its figures, and what a wrong setting says."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from ds_pipelines.errors import SettingsError
from ds_pipelines.gateway import grants
from ds_pipelines.gateway.grants import Wanted
from ds_pipelines.gateway.server import serve
from ds_pipelines.gateway.tokens import read_token
from ds_pipelines.operate.health import probe_service
from ds_pipelines.settings import environment
from ds_pipelines_tests.gateway.scenario import MONDAY, make_certificate, make_installation, serving, trusting

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

LIST = """
from ds_pipelines.gateway.client import connect
from ds_pipelines.settings import load_settings
print(*[summary.table for summary in connect(load_settings()).tables()])
"""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def test_with_a_certificate_it_serves_https_and_nothing_else(
    tmp_path: Path, database: dict[str, SecretStr], certificate: dict[str, Path]
) -> None:
    settings = make_installation(tmp_path, database, **certificate)
    assert settings.gateway_base.startswith("https://")
    with serving(settings):
        headers = {"Authorization": f"Bearer {read_token(settings)}"}
        with httpx.Client(headers=headers, verify=trusting(settings), trust_env=False) as web:
            manifest = web.get(f"{settings.gateway_base}/v1/extracts/orders/{MONDAY}").json()
            file = web.get(f"{settings.gateway_base}/v1/files/{manifest['digest']}")
            assert len(file.content) == manifest["bytes"]
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{settings.gateway_port}/health", trust_env=False)
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{settings.gateway_base}/health", trust_env=False)
        assert probe_service("gateway", settings) is None
        elsewhere = settings.model_copy(
            update={"gateway_address": settings.gateway_base, "gateway_certificate": None, "gateway_key": None}
        )
        trusted = {"SSL_CERT_FILE": str(certificate["gateway_certificate"])}
        for client in (settings.as_environment(), elsewhere.as_environment() | trusted):
            listed = subprocess.run(
                [sys.executable, "-c", LIST], env=environment(**client), capture_output=True, text=True, check=True
            )
            assert listed.stdout.split() == ["customers", "orders"]


@pytest.mark.parametrize("wrong", ["no key", "no file", "another key"])
def test_a_certificate_that_cannot_be_used_is_refused_with_its_settings(
    wrong: str, installation: Settings, certificate: dict[str, Path]
) -> None:
    files: dict[str, Path | None] = {
        "no key": certificate | {"gateway_key": None},
        "no file": certificate | {"gateway_certificate": installation.home / "absent.pem"},
        "another key": certificate | {"gateway_key": certificate["gateway_certificate"]},
    }[wrong]  # type: ignore[assignment]
    with pytest.raises(SettingsError, match="DS_GATEWAY_CERTIFICATE or DS_GATEWAY_KEY"):
        serve(installation.model_copy(update=files))


def test_prometheus_reads_figures_that_name_no_table(served: Settings, web: httpx.Client) -> None:
    web.get(f"/v1/extracts/orders/{MONDAY}")
    web.get("/v1/extracts/nothing")
    token = grants.create(Wanted("prometheus", "metrics", None, None), served)
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{served.gateway_base}/metrics", headers=headers, trust_env=False)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    figures = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert int(figures['gateway_answers_total{route="/v1/extracts/{table}/{day}",status="200"}']) >= 1
    assert int(figures['gateway_answers_total{route="/v1/extracts/{table}",status="404"}']) >= 1
    assert 'gateway_seconds_bucket{route="/v1/extracts/{table}",le="+Inf"}' in figures
    assert not {"orders", "nothing", "development"} & set(answer.text.replace('"', " ").replace("/", " ").split())


def test_who_holds_no_token_reads_no_figures(served: Settings) -> None:
    assert httpx.get(f"{served.gateway_base}/metrics", trust_env=False).status_code == 401
