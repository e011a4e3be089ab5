"""Tokens at the gateway: what each opens, how much and how long, and what the audit says of it."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import psycopg2
import pytest

from ds_pipelines import postgres
from ds_pipelines.errors import SettingsError, UnknownTokenError, UnpreparedGatewayError
from ds_pipelines.gateway import audit, database, grants
from ds_pipelines.gateway.database import Database
from ds_pipelines.gateway.grants import Wanted
from ds_pipelines.gateway.server.doorkeeper import BELIEVED_SECONDS
from ds_pipelines.gateway.server.limits import Rates
from ds_pipelines.gateway.tokens import ensure_token, read_token
from ds_pipelines.gateway.users import stated
from ds_pipelines_tests.gateway.scenario import DAYS, MONDAY, make_installation, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import SecretStr

    from ds_pipelines.gateway.audit import Line
    from ds_pipelines.settings import Settings

DAY = timedelta(days=1)
LIMIT = 5


def make(settings: Settings, name: str, *tables: str, **chosen: Any) -> str:
    """A token for extracts of some tables."""
    said: dict[str, Any] = {"kind": "extracts", "tables": frozenset(tables), "lifetime": DAY} | chosen
    return grants.create(Wanted(name, **said), settings)


@contextmanager
def asking(settings: Settings, token: str, **headers: str) -> Iterator[httpx.Client]:
    said = {"Authorization": f"Bearer {token}", **headers}
    with httpx.Client(base_url=settings.gateway_base, headers=said, trust_env=False) as client:
        yield client


def lines(settings: Settings, token: str) -> list[Line]:
    """What the audit says of a token's name."""
    return [line for _, line in Database(settings).run(lambda cursor: audit.read(cursor, named=token))]


# What a token opens


def test_a_token_for_a_table_opens_it_and_sees_no_other(served: Settings) -> None:
    with asking(served, make(served, "orders only", "orders")) as web:
        assert [each["table"] for each in web.get("/v1/extracts").json()] == ["orders"]
        assert web.get(f"/v1/extracts/orders/{MONDAY}").status_code == 200
        hidden, absent = web.get("/v1/extracts/customers"), web.get("/v1/extracts/invoices")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json()["detail"] == absent.json()["detail"].replace("invoices", "customers")


@pytest.mark.parametrize("path", ["", "/schema", "/days", f"/{MONDAY}"])
def test_every_route_of_a_hidden_table_answers_as_for_one_that_does_not_exist(served: Settings, path: str) -> None:
    with asking(served, make(served, f"routes {path}", "orders")) as web:
        hidden, absent = web.get(f"/v1/extracts/customers{path}"), web.get(f"/v1/extracts/customerx{path}")
    assert hidden.text.replace("customers", "customerx") == absent.text


def test_the_file_of_a_hidden_table_is_not_served_by_its_digest(served: Settings, web: httpx.Client) -> None:
    digest = web.get(f"/v1/extracts/customers/{MONDAY}").json()["digest"]
    with asking(served, make(served, "digests", "orders")) as narrow:
        assert narrow.get(f"/v1/files/{digest}").status_code == 404
        assert narrow.post("/v1/files", json=[digest]).status_code == 404
        assert narrow.get(f"/v1/files/{digest}").json() == narrow.get(f"/v1/files/{'0' * 64}").json()


@pytest.mark.parametrize(
    ("kind", "path"),
    [("scores", "/v1/extracts"), ("scores", "/v1/requests"), ("scores", "/metrics"), ("extracts", "/v1/scores"),
     ("extracts", "/metrics"), ("metrics", "/v1/extracts"), ("metrics", "/v1/scores")],
)  # fmt: skip
def test_a_token_of_one_kind_opens_nothing_of_another(served: Settings, kind: str, path: str) -> None:
    tables = frozenset({"orders"}) if kind != "metrics" else None
    with asking(served, make(served, f"{kind} {path}", kind=kind, tables=tables)) as web:
        answer = web.get(path)
    assert answer.status_code == 403
    assert f"This token is for {kind}" in answer.json()["detail"]


def test_no_token_is_both_for_extracts_and_for_scores(served: Settings) -> None:
    with (
        closing(postgres.connect("gateway_owner", served)) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.CheckViolation),
    ):
        cursor.execute("UPDATE tokens SET kind = 'extracts and scores'")


# How long


def test_a_revoked_token_is_refused_within_seconds(served: Settings) -> None:
    with asking(served, make(served, "leaving", "orders")) as web:
        assert web.get("/v1/extracts").status_code == 200
        grants.revoke("leaving", served)
        time.sleep(BELIEVED_SECONDS + 0.2)
        assert web.get("/v1/extracts").status_code == 401
    with pytest.raises(UnknownTokenError, match="There is no token 'leaving' to revoke"):
        grants.revoke("leaving", served)


def test_an_expired_token_is_refused_at_once_even_if_it_was_known(served: Settings) -> None:
    with asking(served, make(served, "short", "orders", lifetime=timedelta(seconds=1.5))) as web:
        assert web.get("/v1/extracts").status_code == 200
        time.sleep(1.6)
        assert web.get("/v1/extracts").status_code == 401


def test_the_lab_s_own_token_once_revoked_is_not_made_valid_again(installation: Settings) -> None:
    grants.prepare(installation)
    grants.revoke(grants.DEVELOPMENT, installation)
    grants.prepare(installation)
    assert [grant.state(datetime.now(UTC)) for grant in grants.listed(installation)] == ["revoked"]
    installation.gateway_token.unlink()
    grants.prepare(installation)
    assert [grant.state(datetime.now(UTC)) for grant in grants.listed(installation)] == ["revoked", "in force"]


def test_a_token_is_stored_as_a_hash_only(served: Settings) -> None:
    token = make(served, "stored", "orders")
    with closing(postgres.connect("gateway_owner", served)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tokens::text, hash FROM tokens WHERE name = 'stored'")
        text, digest = cursor.fetchone() or ("", b"")
    assert token not in text
    assert bytes(digest) == grants.hashed(token)


# How much


def test_a_token_s_rate_is_limited_and_told_when_to_come_again(served: Settings) -> None:
    with asking(served, make(served, "busy", "orders", requests_per_minute=LIMIT)) as web:
        answers = [web.get("/v1/extracts") for _ in range(LIMIT + 1)]
    assert [answer.status_code for answer in answers] == [200] * LIMIT + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60 / LIMIT


def test_a_rate_recovers_with_time() -> None:
    now = [0.0]
    rates = Rates(clock=lambda: now[0])
    assert [rates.take("ana", 2) > 0 for _ in range(3)] == [False, False, True]
    assert rates.take("ana", 2) == pytest.approx(30)
    assert rates.take("ben", 2) == 0
    now[0] = 30
    assert [rates.take("ana", 2) > 0 for _ in range(2)] == [False, True]


def test_a_token_s_bytes_a_day_are_limited_over_a_restart(installation: Settings) -> None:
    grants.prepare(installation)
    with serving(installation):
        with asking(installation, read_token(installation)) as web:
            manifest = web.get(f"/v1/extracts/orders/{MONDAY}").json()
        path, size = f"/v1/files/{manifest['digest']}", manifest["bytes"]
        token = make(installation, "hungry", "orders", bytes_per_day=2 * size)
        with asking(installation, token) as web:
            assert web.get(path).status_code == 200
    with serving(installation), asking(installation, token) as web:
        assert web.get(path).status_code == 200
        refused = web.get(path)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["Retry-After"]) <= 86_400
        assert "larger limit" in refused.json()["detail"]
        assert web.get(path, headers={"Range": "bytes=0-0"}).status_code == 429


# The audit


def test_the_audit_says_who_got_what(served: Settings, web: httpx.Client) -> None:
    manifest = web.get(f"/v1/extracts/orders/{MONDAY}").json()
    with asking(served, make(served, "audited", "orders")) as mine:
        mine.get("/v1/extracts/orders")
        mine.get(f"/v1/files/{manifest['digest']}", headers={"Range": "bytes=0-9"})
        mine.get("/v1/extracts/customers")
    listed, file, refused = lines(served, "audited")
    assert (listed.route, listed.table, listed.digest, listed.status) == ("/v1/extracts/{table}", "orders", None, 200)
    assert (file.route, file.table, file.digest) == ("/v1/files/{digest}", "orders", manifest["digest"])
    assert (file.bytes, file.status) == (10, 206)
    assert (refused.table, refused.bytes, refused.status) == (None, 0, 404)
    assert {line.user for line in (listed, file, refused)} == {"shared"}


def test_an_archive_is_a_line_for_each_of_its_files(served: Settings, web: httpx.Client) -> None:
    manifests = web.get("/v1/extracts/orders").json()
    with asking(served, make(served, "archived", "orders")) as mine:
        mine.post("/v1/files", json=[manifest["digest"] for manifest in manifests])
    said = {(line.digest, line.bytes) for line in lines(served, "archived")}
    assert said == {(manifest["digest"], manifest["bytes"]) for manifest in manifests}
    assert len(said) == len(DAYS)


@pytest.mark.parametrize("role", ["gateway_database", "gateway_owner"])
@pytest.mark.parametrize("statement", ["UPDATE audit SET bytes = 0", "DELETE FROM audit", "TRUNCATE audit"])
def test_no_role_changes_a_line_of_the_audit(served: Settings, role: postgres.Role, statement: str) -> None:
    with (
        closing(postgres.connect(role, served)) as connection,
        connection.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute(statement)


def test_the_gateway_s_role_makes_no_token(served: Settings) -> None:
    for statement in ("INSERT INTO tokens (name) VALUES ('mine')", "UPDATE tokens SET tables = NULL"):
        with (
            closing(postgres.connect("gateway_database", served)) as connection,
            connection.cursor() as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
        ):
            cursor.execute(statement)


def test_whom_the_proxy_names_counts_before_whom_the_client_states_and_only_from_the_proxy(
    tmp_path: Path, database: dict[str, SecretStr]
) -> None:
    headers = {"X-Forwarded-User": "ana", **stated("eve")}
    for proxy, said in (("127.0.0.1", ("ana", "proxy")), ("192.0.2.7", ("eve", "token"))):
        chosen = {"gateway_user_header": "X-Forwarded-User", "gateway_proxy": proxy}
        settings = make_installation(tmp_path / proxy, database, **chosen)
        with serving(settings), asking(settings, ensure_token(settings), **headers) as web:
            assert web.get("/v1/extracts").status_code == 200
        [line] = lines(settings, grants.DEVELOPMENT)
        assert (line.user, line.asserted_by) == said


# The database


def test_requests_tokens_and_audit_survive_a_restart(installation: Settings) -> None:
    wanted = {"table": "customers", "reason": "the newest state"}
    with serving(installation), asking(installation, read_token(installation)) as web:
        asked = web.post("/v1/requests", json=wanted).json()
        token = make(installation, "kept", "orders")
    with serving(installation):
        with asking(installation, read_token(installation)) as web:
            assert web.get("/v1/requests").json() == [asked]
        with asking(installation, token) as web:
            assert web.get("/v1/extracts").status_code == 200
    assert [line.route for line in lines(installation, grants.DEVELOPMENT)] == ["/v1/requests", "/v1/requests"]


def test_without_its_database_nothing_is_answered_and_health_says_so(installation: Settings, shared: Settings) -> None:
    with serving(installation), asking(installation, read_token(installation)) as web:
        assert web.get("/v1/extracts").status_code == 200
        with _away(installation, shared):
            time.sleep(BELIEVED_SECONDS + 0.2)
            assert (web.get("/health").status_code, web.get("/health/live").status_code) == (503, 200)
            away = web.get("/v1/extracts")
        assert away.status_code == 503
        assert away.headers["Retry-After"] == "5"
        assert "gateway_" not in away.text
        time.sleep(2.1)
        assert (web.get("/health").status_code, web.get("/v1/extracts").status_code) == (200, 200)


@contextmanager
def _away(settings: Settings, shared: Settings) -> Iterator[None]:
    """The gateway's database closes its connections, and takes no new ones."""
    assert settings.gateway_database_url is not None
    name = psycopg2.extensions.parse_dsn(settings.gateway_database_url.get_secret_value())["dbname"]
    with closing(psycopg2.connect(postgres.cluster("platform", shared).url("postgres", "postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            try:
                yield
            finally:
                cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_one_url_without_the_other_is_refused(installation: Settings) -> None:
    with pytest.raises(SettingsError, match="DS_GATEWAY_OWNER_URL"):
        database.ensure(installation.model_copy(update={"gateway_owner_url": None}))


def test_a_database_without_tables_says_what_to_do(installation: Settings) -> None:
    with pytest.raises(UnpreparedGatewayError, match="`ds-pipelines up`"):
        lines(installation, "anybody")
