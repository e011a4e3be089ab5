"""What each service runs and may know, and that starting one leaves git's files alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.errors import PortTakenError
from ds_pipelines.operate.services import (
    SERVICES,
    UnknownServiceError,
    become,
    prepare_instance,
    require_free_port,
    services_of,
    workspace_file,
)
from ds_pipelines.operate.up import is_up, supervised
from ds_pipelines.settings import PROJECT, Settings, environment, load_settings
from ds_pipelines_tests.acceptance.stack import URL_VARIABLES, free_ports, lives, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2"  # noqa: S105
PRIVATE_TO_MLFLOW = {
    "BACKEND_STORE_URI_ENV_VAR": "_MLFLOW_SERVER_FILE_STORE",
    "ARTIFACT_ROOT_ENV_VAR": "_MLFLOW_SERVER_ARTIFACT_ROOT",
    "ARTIFACTS_DESTINATION_ENV_VAR": "_MLFLOW_SERVER_ARTIFACT_DESTINATION",
    "SERVE_ARTIFACTS_ENV_VAR": "_MLFLOW_SERVER_SERVE_ARTIFACTS",
}
WITH_PORTS = [service for service in SERVICES.values() if service.port is not None]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.fixture
def ported(settings: Settings) -> Settings:
    return settings.model_copy(update=dict(free_ports()))


@pytest.mark.parametrize("service", WITH_PORTS, ids=lambda service: service.name)
def test_a_taken_port_is_refused_with_the_setting_that_changes_it(service, taken: int, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, **{service.setting.removeprefix("DS_").lower(): taken})
    with pytest.raises(PortTakenError, match=rf"Port {taken} for {service.title} .* {service.setting}"):
        require_free_port(service, settings)


def test_a_port_that_somebody_has_just_left_is_free(taken: int, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, gateway_port=free_ports()["gateway_port"])
    with socket.create_server(("127.0.0.1", settings.gateway_port)) as server:
        client = socket.create_connection(server.getsockname())
        server.accept()[0].close()  # whoever closes first keeps the port waiting for late packets
        client.close()
    require_free_port(SERVICES["gateway"], settings)


def test_an_unknown_service_is_refused_with_those_there_are(settings: Settings) -> None:
    with pytest.raises(UnknownServiceError, match=r"no service 'grafana'; expected one of webserver, production"):
        become("grafana", settings)


def test_the_workspace_names_both_code_servers_where_they_listen(ported: Settings) -> None:
    prepare_instance(ported)
    assert yaml.safe_load(workspace_file(ported).read_text()) == {
        "load_from": [
            {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": name}}
            for name, port in (("exploration", ported.exploration_port), ("production", ported.production_port))
        ]
    }


def test_the_instance_s_file_is_git_s_and_what_dagster_writes_lies_elsewhere(settings: Settings) -> None:
    variables = prepare_instance(settings)
    assert variables["DAGSTER_HOME"] == str(settings.instance)
    assert not settings.instance.is_relative_to(PROJECT)
    assert (settings.instance / "dagster.yaml").read_bytes() == (PROJECT / "dagster_home" / "dagster.yaml").read_bytes()
    assert [path.name for path in (PROJECT / "dagster_home").iterdir()] == ["dagster.yaml"]


def test_dagster_s_storage_is_postgresql_by_the_driver_that_it_can_write_with(settings: Settings) -> None:
    assert prepare_instance(settings)["DS_DAGSTER_STORAGE"].startswith("postgresql+psycopg2://dagster@/dagster?")
    written = yaml.safe_load((settings.instance / "dagster.yaml").read_text())
    assert written["storage"] == {"postgres": {"postgres_url": {"env": "DS_DAGSTER_STORAGE"}}}
    assert written["telemetry"] == {"enabled": False}


@pytest.mark.parametrize(
    ("stage", "redacted"), [("development", "false"), ("acceptance", "true"), ("production", "true")]
)
def test_errors_of_user_code_reach_the_pages_only_in_development(stage: str, redacted: str, settings: Settings) -> None:
    variables = prepare_instance(settings.model_copy(update={"environment": stage}))
    assert variables["DAGSTER_REDACT_USER_CODE_ERRORS"] == redacted


def test_each_service_is_started_with_the_urls_of_those_databases_that_it_needs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = {
        setting: SecretStr(postgres.url(role, settings))
        for setting, role in (("gateway_database_url", "gateway_database"), ("gateway_owner_url", "gateway_owner"))
    }
    for name in URL_VARIABLES - {"DS_DAGSTER_URL"}:
        monkeypatch.setenv(name, f"postgresql://somebody:{SECRET}@warehouse/{name.lower()}")
    consumer = SecretStr(f"postgresql://consumer:{SECRET}@warehouse/serving")
    chosen = settings.model_copy(update={**gateway, "consumer_url": consumer})
    commands = {name: service.command(chosen) for name, service in SERVICES.items()}
    knowing = {name: URL_VARIABLES & set(variables) for name, (_, variables) in commands.items()}
    assert knowing.pop("production") == URL_VARIABLES - {"DS_DAGSTER_URL"}
    assert knowing.pop("gateway") == {"DS_GATEWAY_DATABASE_URL", "DS_CONSUMER_URL"}
    assert not any(knowing.values())
    assert not [name for name, (arguments, _) in commands.items() if SECRET in " ".join(arguments)]


def test_mlflow_s_private_variables_are_still_called_so() -> None:
    """We start the program that `mlflow server` would start; how it passes its options is no promise of MLflow's."""
    from mlflow.server import constants

    assert {name: getattr(constants, name) for name in PRIVATE_TO_MLFLOW} == PRIVATE_TO_MLFLOW


def test_the_variables_that_we_give_mlflow_are_these(settings: Settings) -> None:
    variables = SERVICES["mlflow"].command(settings)[1]
    assert set(PRIVATE_TO_MLFLOW.values()) <= set(variables)
    assert variables["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] == str(settings.artifacts)
    assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_a_service_whose_port_is_taken_ends_in_one_sentence(taken: int, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, gateway_port=taken)
    done = subprocess.run(
        [sys.executable, "-m", "ds_pipelines.cli", "serve", "gateway"],
        env=environment(**settings.as_environment()), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: Port {taken}")
    assert done.stderr.count("\n") == 1


def test_a_killed_supervisor_leaves_no_service_behind(ported: Settings) -> None:
    with supervised(ported) as supervisor:
        watched = psutil.Process(supervisor.pid)
        wait_until(lambda: len(watched.children()) == len(SERVICES), "the services start", 30)
        services = watched.children()
        os.kill(supervisor.pid, signal.SIGKILL)
        supervisor.wait()
        assert any(process.is_running() for process in services)
    assert not [process for process in services if lives(process)]


def test_acceptance_serves_its_gates_beside_production_and_nothing_else(settings: Settings) -> None:
    beside = settings.in_acceptance()
    assert list(services_of(beside)) == ["webserver", "production", "daemon"]
    assert list(services_of(settings)) == list(SERVICES)
    command, variables = SERVICES["production"].command(beside)
    assert "ds_pipelines.production.acceptance" in command
    assert variables["DAGSTER_HOME"] == str(beside.instance) != str(settings.instance)
    assert "/dagster_acceptance?" in variables["DS_DAGSTER_STORAGE"]
    assert yaml.safe_load(workspace_file(beside).read_text()) == {
        "load_from": [
            {"grpc_server": {"host": "127.0.0.1", "port": settings.production_port + 100,
                             "location_name": "production"}}
        ]
    }  # fmt: skip
    assert not is_up(beside)
