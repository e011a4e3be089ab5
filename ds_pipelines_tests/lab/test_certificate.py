"""An experiment, within its walls, reads tables from a gateway that serves https with a certificate of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import lab
from ds_pipelines.errors import ExperimentFailedError
from ds_pipelines_tests.gateway.scenario import (
    ORDERS,
    database_of_its_own,
    make_certificate,
    make_installation,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings

READS = "from ds_pipelines import lab\nlab.metric('rows', lab.table('orders').collect().height)\n"
ROWS = sum(frame.height for frame in ORDERS.values())


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, shared: Settings, tracking_address: str) -> Iterator[Settings]:
    """A gateway with a certificate that nobody has signed, on this machine."""
    folder = tmp_path_factory.mktemp("home")
    chosen = {
        "tracking_address": tracking_address, "experiments": folder / "ideas",
        **make_certificate(tmp_path_factory.mktemp("certificate")),
    }  # fmt: skip
    settings = make_installation(folder, database_of_its_own(shared), **chosen)
    settings.experiments.mkdir()
    (settings.experiments / "reads.py").write_text(READS)
    with serving(settings):
        assert settings.gateway_base.startswith("https://")
        yield settings


def without_cache(settings: Settings) -> Settings:
    shutil.rmtree(settings.cache, ignore_errors=True)
    return settings


def elsewhere(settings: Settings) -> Settings:
    """The same gateway as somebody sees it who does not run it."""
    changed = {"gateway_address": settings.gateway_base, "gateway_certificate": None, "gateway_key": None}
    return without_cache(settings.model_copy(update=changed))


def test_the_gateway_s_own_certificate_is_trusted_where_it_runs(certified: Settings) -> None:
    ran = lab.run("reads", settings=without_cache(certified))
    assert ran.record.metrics == {"rows": ROWS}
    assert {each.table for each in ran.record.inputs} == {"orders"}


def test_elsewhere_a_variable_names_the_authority_although_it_lies_in_a_hidden_folder(
    certified: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certified.home / "company.pem"  # of the home nothing is seen that is not named
    shutil.copy(str(certified.gateway_certificate), authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert lab.run("reads", settings=elsewhere(certified)).record.metrics == {"rows": ROWS}


def test_a_certificate_that_nobody_vouches_for_is_refused_and_that_is_said(certified: Settings) -> None:
    with pytest.raises(ExperimentFailedError, match=r"(?i)certificate"):
        lab.run("reads", settings=elsewhere(certified))


def test_the_gateway_s_key_is_not_in_reach(certified: Settings, tmp_path: Path) -> None:
    path = tmp_path / "curious.py"
    path.write_text(f"open({str(certified.gateway_key)!r}).read()\n")
    with pytest.raises(ExperimentFailedError, match=r"FileNotFoundError|PermissionError"):
        lab.run(path, settings=certified)
