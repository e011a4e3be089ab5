"""`ds-pipelines up` and `doctor`, over everything that really runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from ds_pipelines.operate.services import SERVICES, require_free_port
from ds_pipelines_tests.acceptance.stack import URL_VARIABLES, Stack, lives, running, shared, variables, wait_until
from ds_pipelines_tests.locations import GROUPS

if TYPE_CHECKING:
    from typing import Any

pytestmark = pytest.mark.stack

ASSETS = """{ assetNodes { assetKey { path } groupName repository { location { name } } } }"""
SCHEDULES = """{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
  ... on RepositoryLocation { repositories { schedules { name scheduleState { status } } } } } } } } }"""
LAUNCH = """mutation ($asset: [String!]!) { launchRun(executionParams: {
  mode: "default", runConfigData: {}, selector: {
    repositoryLocationName: "production", repositoryName: "__repository__", jobName: "__ASSET_JOB",
    assetSelection: [{ path: $asset }] } }) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status assetMaterializations {
  assetKey { path } metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
RELOAD = """mutation { reloadRepositoryLocation(repositoryLocationName: "exploration") { __typename } }"""
TELEMETRY = {"DAGSTER_DISABLE_TELEMETRY": "yes", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Stack:
    return running(request)


@pytest.fixture
def stopped(request: pytest.FixtureRequest) -> Stack:
    stopped = shared(request)
    stopped.stop()
    return stopped


def variables_of(stack: Stack) -> list[tuple[str, dict[str, str]]]:
    """The environment of each process of each service."""
    return [(name, found) for name in SERVICES for process in stack.service(name) if (found := variables(process))]


def test_up_says_when_all_is_healthy_and_where_it_is(stack: Stack) -> None:
    assert "All healthy" in stack.said()
    for address in (
        stack.settings.webserver_base, f"{stack.settings.gateway_base}/docs", stack.settings.tracking_base,
    ):  # fmt: skip
        assert address in stack.said()
        assert httpx.get(address, timeout=20).is_success


def test_the_doctor_finds_all_well_while_everything_runs(stack: Stack) -> None:
    examined = stack.command("doctor")
    assert "All is well." in examined.stdout
    assert examined.returncode == 0


def test_a_second_stack_in_the_same_home_is_refused(stack: Stack) -> None:
    second = stack.command("up")
    assert second.returncode == 1
    assert "are up already" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_lineage_has_every_asset_once_in_groups_of_both_locations(stack: Stack) -> None:
    nodes: list[dict[str, Any]] = stack.ask(ASSETS)["assetNodes"]
    defined = [node for node in nodes if node["groupName"] != "default"]
    assert set(Counter("/".join(node["assetKey"]["path"]) for node in defined).values()) == {1}
    assert {node["groupName"] for node in defined} == GROUPS
    assert {node["repository"]["location"]["name"] for node in defined} == {"exploration", "production"}


def test_in_development_nothing_of_production_s_starts_by_itself(stack: Stack) -> None:
    entries = stack.ask(SCHEDULES)["workspaceOrError"]["locationEntries"]
    states = {
        schedule["name"]: schedule["scheduleState"]["status"]
        for entry in entries
        for repository in entry["locationOrLoadError"]["repositories"]
        for schedule in repository["schedules"]
    }
    assert states == {
        "daily_extract_at_five": "STOPPED",
        "reproduce_released_nightly": "RUNNING",
        "weekly_report_on_mondays": "STOPPED",
    }


def test_only_production_knows_the_url_of_a_database_and_the_gateway_those_of_its_own(stack: Stack) -> None:
    assert {name for name, _ in variables_of(stack)} == set(SERVICES)
    knowing = {name: URL_VARIABLES & set(found) for name, found in variables_of(stack) if URL_VARIABLES & set(found)}
    assert knowing.keys() == {"production", "gateway"}
    assert knowing["gateway"] <= {"DS_GATEWAY_DATABASE_URL", "DS_CONSUMER_URL"}


def test_the_secret_of_a_url_is_in_no_log_and_no_file_of_ours(stack: Stack) -> None:
    files = [path for folder in ("logs", "run", "home") for path in (stack.home / folder).rglob("*") if path.is_file()]
    assert files
    password = urlsplit(stack.consumer_url).password
    assert password
    assert not [path for path in (*files, stack.output) if password.encode() in path.read_bytes()]


def test_no_service_sends_telemetry(stack: Stack) -> None:
    for name, found in variables_of(stack):
        assert TELEMETRY.items() <= found.items(), name
    assert not list(stack.home.rglob(".telemetry"))


def test_a_run_launched_from_the_pages_is_recorded_in_postgresql(stack: Stack) -> None:
    launched = stack.ask(LAUNCH, asset=["extract", "categories"])["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    wait_until(lambda: stack.ask(RUN, run=run_id)["runOrError"]["status"] in {"SUCCESS", "FAILURE"}, "the run", 120)
    run = stack.ask(RUN, run=run_id)["runOrError"]
    assert run["status"] == "SUCCESS"
    [materialized] = run["assetMaterializations"]
    assert {entry["label"]: entry.get("intValue") for entry in materialized["metadataEntries"]}["dagster/row_count"] > 0
    count = "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND run_id = "
    assert stack.command("psql", "dagster", "-c", f"{count}'{run_id}'").stdout.split()[2] == "1"
    assert not list(stack.home.rglob("*.db"))


def test_reloading_the_location_finds_a_new_experiment(stack: Stack) -> None:
    (stack.settings.experiments / "new_idea.py").write_text('"""A new idea."""\n')
    assert stack.ask(RELOAD)["reloadRepositoryLocation"]["__typename"] == "WorkspaceLocationEntry"
    assert ["experiments", "new_idea"] in [node["assetKey"]["path"] for node in stack.ask(ASSETS)["assetNodes"]]


def test_a_killed_service_is_started_again(stack: Stack) -> None:
    [gateway] = stack.service("gateway")
    gateway.kill()
    wait_until(lambda: stack.service("gateway") and gateway not in stack.service("gateway"), "a new gateway", 30)
    wait_until(lambda: answers(f"{stack.settings.gateway_base}/health"), "the gateway answers", 60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def test_ctrl_c_stops_every_process_and_the_databases(stack: Stack) -> None:
    before, databases = stack.processes(), stack.databases()
    assert len(databases) == 2
    assert stack.stop() == 0
    assert not [process for process in (*before, *databases) if lives(process)]
    assert not stack.databases()
    for service in SERVICES.values():
        require_free_port(service, stack.settings)


def test_the_doctor_says_what_to_do_when_nothing_runs(stopped: Stack) -> None:
    examined = stopped.command("doctor")
    assert examined.returncode == 1
    assert examined.stdout.count("start everything with") == len(SERVICES)
    assert "does not answer" in examined.stdout
    assert not stopped.databases()
