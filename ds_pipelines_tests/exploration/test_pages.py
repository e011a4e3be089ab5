"""The pages of an instance that loads only exploration, and of one that loads both locations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines.exploration.tables import SHOP
from ds_pipelines.settings import load_settings
from ds_pipelines_tests.exploration.pages import Pages, pages

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = "X-Forwarded-User"
ASSETS = """{ assetNodes {
  assetKey { path } dependencyKeys { path } description groupName isMaterializable isPartitioned
  repository { location { name } } } }"""
LAUNCH = """mutation ($tags: [ExecutionTag!]) {
  launchPipelineExecution(executionParams: {
    selector: {
      repositoryLocationName: "exploration", repositoryName: "__repository__", pipelineName: "fetch_tables",
      assetSelection: [{path: ["lab", "products"]}]
    }, runConfigData: "{}", mode: "default", executionMetadata: {tags: $tags}
  }) { __typename
       ... on LaunchRunSuccess { run { status tags { key value } } }
       ... on PythonError { message } } }"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Only exploration, behind a proxy that names its users."""
    folder = tmp_path_factory.mktemp("alone")
    with pages(load_settings(home=folder, webserver_user_header=HEADER), folder / "instance", "exploration") as served:
        yield served


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Both locations, and no proxy."""
    folder = tmp_path_factory.mktemp("together")
    with pages(load_settings(home=folder), folder / "instance", "exploration", "production") as served:
        yield served


def nodes(served: Pages) -> dict[str, dict[str, Any]]:
    """The lineage as the pages draw it."""
    return {"/".join(node["assetKey"]["path"]): node for node in served.ask(ASSETS)["assetNodes"]}


def above(node: dict[str, Any]) -> set[str]:
    return {"/".join(key["path"]) for key in node["dependencyKeys"]}


def launched(served: Pages, *, headers: dict[str, str] | None = None, **tags: str) -> str:
    """The user of a run that somebody launched."""
    given = [{"key": key, "value": value} for key, value in tags.items()]
    answer = served.ask(LAUNCH, headers, tags=given)["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    assert answer["run"]["status"] == "QUEUED"
    [user] = [tag["value"] for tag in answer["run"]["tags"] if tag["key"] == "user"]
    return str(user)


# The lineage


def test_alone_the_lineage_begins_with_the_extracts_and_has_no_gap(alone: Pages) -> None:
    lineage = nodes(alone)
    assert not set.union(*map(above, lineage.values())) - lineage.keys()
    for name in SHOP:
        assert above(lineage[f"lab/{name}"]) == {f"extract/{name}"}
        extract = lineage[f"extract/{name}"]
        assert not extract["isMaterializable"]
        assert "production publishes" in extract["description"]
        assert extract["groupName"] == "anonymized_extracts"


def test_together_every_extract_is_production_s_own_and_its_source_stands_above_it(together: Pages) -> None:
    lineage = nodes(together)
    for name in SHOP:
        extract = lineage[f"extract/{name}"]
        assert above(lineage[f"lab/{name}"]) == {f"extract/{name}"}
        assert above(extract) == {f"shop/{name}"}
        assert extract["isMaterializable"]
        assert extract["repository"]["location"]["name"] == "production"
        assert "Anonymized by the privacy policy" in extract["description"]


# Who launched a run


def test_a_run_says_whom_the_proxy_named_whatever_its_launcher_wrote(alone: Pages) -> None:
    assert launched(alone, headers={HEADER: "ada@example.com"}) == "ada@example.com"
    assert launched(alone, headers={HEADER: "ada"}, user="eve") == "ada"


@pytest.mark.parametrize("headers", [None, {HEADER: ""}])
def test_without_the_proxy_s_word_nobody_in_particular_launched_it(
    alone: Pages, headers: dict[str, str] | None
) -> None:
    assert launched(alone, headers=headers, user="eve") == "shared"


def test_a_header_that_no_setting_vouches_for_is_not_believed(together: Pages) -> None:
    assert launched(together, headers={HEADER: "eve"}) == "shared"


def test_a_name_is_cut_to_what_a_name_can_be(alone: Pages) -> None:
    assert launched(alone, headers={HEADER: "a\tda" + "a" * 500}) == "ada" + "a" * 197
