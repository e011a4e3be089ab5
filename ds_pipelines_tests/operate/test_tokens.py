"""The commands that make, list and revoke tokens, and read the audit, as a person calls them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ds_pipelines.cli import app
from ds_pipelines.errors import TokenFileExistsError, TokenNameTakenError, TokenScopeError, UnknownScopeError
from ds_pipelines.gateway import audit, grants
from ds_pipelines.gateway.database import Database
from ds_pipelines.settings import load_settings
from ds_pipelines_tests.gateway.scenario import database_of_its_own, empty

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

TOKEN = re.compile(r"ds_[A-Za-z0-9_-]{43}")


@pytest.fixture(scope="module")
def urls(home: Path) -> dict[str, SecretStr]:
    return database_of_its_own(load_settings(home=home))


@pytest.fixture
def place(urls: dict[str, SecretStr], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty home with an empty gateway's database; this process's environment points there."""
    place = load_settings(home=tmp_path / "home", **urls)
    empty(place)
    monkeypatch.setenv("DS_HOME", str(place.home))
    for name, url in urls.items():
        monkeypatch.setenv(f"DS_{name.upper()}", url.get_secret_value())
    return place


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["token", *arguments])


def test_a_token_is_printed_once_and_alone(place: Settings) -> None:
    done = call("create", "ana", "--extracts", "orders", "--extracts", "customers", "--days", "30")
    assert TOKEN.fullmatch(done.stdout.strip())
    [grant] = grants.listed(place)
    assert (grant.name, grant.kind, grant.tables) == ("ana", "extracts", {"orders", "customers"})
    assert done.stdout.strip() not in call("list").output


def test_a_token_is_written_where_only_its_owner_reads_it(place: Settings, tmp_path: Path) -> None:
    done = call("create", "ana", "--all-extracts", "--to", str(tmp_path / "ana.token"))
    assert not TOKEN.search(done.output)
    assert TOKEN.fullmatch((tmp_path / "ana.token").read_text().strip())
    assert (tmp_path / "ana.token").stat().st_mode & 0o777 == 0o600
    assert isinstance(
        call("create", "ben", "--metrics", "--to", str(tmp_path / "ana.token")).exception, TokenFileExistsError
    )
    assert [grant.name for grant in grants.listed(place)] == ["ana"]


def test_no_token_is_made_that_cannot_be_written_and_no_file_stays_without_one(place: Settings, tmp_path: Path) -> None:
    assert isinstance(call("create", "ana", "--metrics", "--to", str(tmp_path / "absent" / "token")).exception, OSError)
    assert grants.listed(place) == []
    call("create", "ana", "--metrics")
    refused = call("create", "ana", "--metrics", "--to", str(tmp_path / "token")).exception
    assert isinstance(refused, TokenNameTakenError)
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize(
    "arguments", [("--extracts", "orders", "--scores", "top_sellers"), ("--all-extracts", "--metrics")]
)
def test_a_token_for_both_kinds_is_refused_with_the_reason(place: Settings, arguments: tuple[str, ...]) -> None:
    refused = call("create", "both", *arguments).exception
    assert isinstance(refused, TokenScopeError)
    assert "then the pseudonyms protect nobody" in str(refused)
    assert isinstance(call("create", "none").exception, TokenScopeError)
    assert grants.listed(place) == []


@pytest.mark.parametrize("kind", ["extracts", "scores"])
def test_a_table_that_there_is_not_is_refused_with_those_there_are(place: Settings, kind: str) -> None:
    refused = call("create", "ana", f"--{kind}", "ordres").exception
    assert isinstance(refused, UnknownScopeError)
    assert {"extracts": "customers, ", "scores": "top_sellers"}[kind] in str(refused)


def test_scores_are_named_by_their_job_or_their_table(place: Settings) -> None:
    call("create", "crm", "--scores", "repurchase", "--scores", "top_sellers")
    assert grants.listed(place)[0].tables == {"repurchase_scores", "top_sellers"}


def test_a_name_is_free_again_once_its_token_is_revoked(place: Settings) -> None:
    call("create", "ana", "--metrics")
    assert isinstance(call("create", "ana", "--metrics").exception, TokenNameTakenError)
    assert "revoked" in call("revoke", "ana").output
    assert call("create", "ana", "--metrics").exit_code == 0
    told = call("list").output.splitlines()
    assert [("revoked" in line, "in force" in line) for line in told] == [(True, False), (False, True)]


def test_a_list_says_what_each_token_may_do_and_how_long(place: Settings) -> None:
    call("create", "ana", "--extracts", "orders", "--requests-per-minute", "60", "--gigabytes-per-day", "1.5")
    assert re.fullmatch(
        r"ana: extracts of orders; in force, until \d{4}-\d\d-\d\d; 60 requests a minute, 1\.5 GB a day\n",
        call("list").output,
    )


def test_the_audit_is_read_by_token_and_table(place: Settings) -> None:
    call("create", "ana", "--all-extracts")
    [grant] = grants.listed(place)
    lines = [
        audit.Line(grant.id, "ana", "carla", "proxy", "GET", "/v1/files/{digest}", "orders", "ab" * 32, 512, 200),
        audit.Line(grant.id, "ana", "shared", "nobody", "GET", "/v1/extracts", None, None, 20, 200),
    ]
    Database(place).run(lambda cursor: audit.add(cursor, lines))
    file, listing = (line.split("\t")[1:] for line in call("audit").output.splitlines())
    assert file == ["ana", "carla (says the proxy)", "GET /v1/files/{digest}", "orders", "abababababab", "512", "200"]
    assert listing == ["ana", "shared", "GET /v1/extracts", "-", "-", "20", "200"]
    assert len(call("audit", "--table", "orders").output.splitlines()) == 1
    assert call("audit", "--token", "ben").output == ""
