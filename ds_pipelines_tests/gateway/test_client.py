"""What development gets from the gateway: verified, kept, and explained when it is not to be had."""

from __future__ import annotations

import hashlib
import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines.errors import (
    ForgedSnapshotError,
    GatewayAnswerError,
    GatewayRefusedError,
    GatewayUnreachableError,
    MissingSecretError,
    SettingsError,
    UnknownExtractError,
    UnknownSnapshotError,
    UnpublishedDayError,
    UnusableCacheError,
)
from ds_pipelines.gateway import client
from ds_pipelines.gateway.client import Gateway, connect
from ds_pipelines.gateway.tokens import ensure_token
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.gateway.scenario import DAYS, MONDAY, NEXT_WEEK, ORDERS, free_port, orders_of, publish, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ds_pipelines.settings import Settings


@pytest.fixture
def gateway(served: Settings, tmp_path: Path) -> Iterator[Gateway]:
    """A client with an empty cache."""
    with Gateway(served.gateway_base, ensure_token(served), tmp_path / "cache") as gateway:
        yield gateway


def kept(cache: Path) -> list[Path]:
    """Every file of the cache but the listings, half-written ones too."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and "listings" not in path.parts)


def tamper(settings: Settings, digest: str, content: bytes) -> None:
    path = SnapshotStore(settings.snapshots).path(digest)
    path.chmod(0o600)
    path.write_bytes(content)


# What there is


def test_extracts_are_listed(gateway: Gateway) -> None:
    summaries = {summary.table: summary for summary in gateway.tables()}
    assert (summaries["orders"].first_day, summaries["orders"].days, summaries["orders"].rows) == (MONDAY, 5, 15)


def test_manifests_are_those_of_the_store(gateway: Gateway, served: Settings) -> None:
    store = SnapshotStore(served.snapshots)
    assert gateway.manifests("orders") == store.manifests("orders")
    assert gateway.manifest("orders", MONDAY) == store.manifest("orders", MONDAY)


@pytest.mark.parametrize("name", ["invoices", "orders/2025-03-03", "../orders", "..", "", "Ünïcode", "a b?c#d"])
def test_an_unknown_table_is_named_with_those_there_are(gateway: Gateway, name: str) -> None:
    with pytest.raises(UnknownExtractError) as raised:
        gateway.manifests(name)
    assert f"no extract of a table {name!r}" in str(raised.value)
    assert "customers, orders" in str(raised.value)


def test_an_unknown_day_is_named_with_those_there_are(gateway: Gateway) -> None:
    with pytest.raises(UnpublishedDayError, match=r"for 2025-03-10: expected days from 2025-03-03 to 2025-03-07"):
        gateway.manifest("orders", NEXT_WEEK)


# Files and the cache


def test_a_file_is_kept_under_its_digest_and_readable_by_its_owner_only(gateway: Gateway, tmp_path: Path) -> None:
    manifest = gateway.manifest("orders", MONDAY)
    path = gateway.fetch(manifest)
    assert path == tmp_path / "cache" / manifest.digest[:2] / f"{manifest.digest}.parquet"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == manifest.digest
    assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    assert pl.read_parquet(path).equals(ORDERS[MONDAY])


def test_many_files_come_in_their_order_whatever_is_there_already(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "AT_ONCE", 2)
    manifests = gateway.manifests("orders")
    gateway.fetch(manifests[2])
    paths = gateway.fetch_all([*manifests[::-1], manifests[0]])
    assert [pl.read_parquet(path)["order_id"][0] for path in paths] == [
        ORDERS[day]["order_id"][0] for day in [*DAYS[::-1], MONDAY]
    ]


def test_a_cache_that_cannot_be_made_is_named(served: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        Gateway(served.gateway_base, ensure_token(served), tmp_path / "file" / "cache") as gateway,
        pytest.raises(UnusableCacheError, match=r"file/cache cannot be made: .* set DS_HOME to a folder of yours"),
    ):
        gateway.tables()


def test_what_is_kept_needs_no_gateway(installation: Settings) -> None:
    with serving(installation), connect(installation) as gateway:
        manifests = gateway.manifests("orders")
        fetched = gateway.fetch_all(manifests)
    with connect(installation) as gateway:
        assert gateway.fetch_all(manifests) == fetched


def test_a_truncated_file_in_the_cache_is_fetched_again(gateway: Gateway) -> None:
    manifest = gateway.manifest("orders", MONDAY)
    path = gateway.fetch(manifest)
    path.write_bytes(path.read_bytes()[:-1])
    assert pl.read_parquet(gateway.fetch(manifest)).equals(ORDERS[MONDAY])


@pytest.mark.parametrize("change", ["flipped", "shorter", "longer"])
def test_a_file_changed_on_the_server_is_refused_and_not_kept(installation: Settings, change: str) -> None:
    with serving(installation), connect(installation) as gateway:
        first, second, third = gateway.manifests("orders")[:3]
        content = SnapshotStore(installation.snapshots).path(second.digest).read_bytes()
        tamper(
            installation,
            second.digest,
            {"flipped": content[:-9] + b"?" + content[-8:], "shorter": content[:-9], "longer": content * 3}[change],
        )
        with pytest.raises(ForgedSnapshotError, match=f"'orders' for {second.day} is not the one that was published"):
            gateway.fetch_all([first, second, third])
        assert [path.stem for path in kept(installation.cache)] == [first.digest]


def test_a_day_published_anew_since_it_was_listed_is_explained(served: Settings, gateway: Gateway) -> None:
    former = publish(served, "replaced", {MONDAY: orders_of(MONDAY)[:1]})[MONDAY]
    publish(served, "replaced", {MONDAY: orders_of(MONDAY)[:2]})
    with pytest.raises(UnknownSnapshotError, match=r"no file of 'replaced' for 2025-03-03.*List the extract again"):
        gateway.fetch(former)


def test_a_digest_never_becomes_a_path_out_of_the_cache(gateway: Gateway, tmp_path: Path) -> None:
    forged = gateway.manifest("orders", MONDAY).model_copy(update={"digest": "../../outside"})
    with pytest.raises(GatewayAnswerError):
        gateway.fetch(forged)
    assert not list(tmp_path.rglob("*outside*"))


# When it is not to be had


def test_a_restarted_gateway_is_not_noticed(installation: Settings) -> None:
    ensure_token(installation)
    with connect(installation) as gateway:
        for _ in range(2):
            with serving(installation):
                assert len(gateway.manifests("orders")) == 5


def test_a_gateway_that_is_away_is_named_with_its_settings_and_the_next_step(installation: Settings) -> None:
    ensure_token(installation)
    with connect(installation) as gateway, pytest.raises(GatewayUnreachableError) as raised:
        gateway.tables()
    for part in (
        f"127.0.0.1:{installation.gateway_port}",
        "Connection refused",
        "DS_GATEWAY_PORT",
        "`ds-pipelines up`",
    ):
        assert part in str(raised.value)


def test_a_wrong_token_is_explained_and_not_shown(served: Settings, tmp_path: Path) -> None:
    with Gateway(served.gateway_base, "ds_wrong", tmp_path) as gateway:
        for ask in (gateway.tables, lambda: gateway.manifests("orders"), lambda: gateway.manifest("orders", MONDAY)):
            with pytest.raises(GatewayRefusedError, match=r"secrets/gateway\.token.*DS_HOME") as raised:
                ask()
            assert "ds_wrong" not in str(raised.value)


def test_a_missing_token_is_explained(installation: Settings) -> None:
    with pytest.raises(MissingSecretError, match="DS_HOME"):
        connect(installation)


@pytest.mark.parametrize("address", ["localhost:4280", "http://", "http://host:port", "ftp://host"])
def test_an_address_that_is_none_is_explained(installation: Settings, address: str) -> None:
    ensure_token(installation)
    with pytest.raises(SettingsError, match="DS_GATEWAY_ADDRESS"):
        connect(installation.model_copy(update={"gateway_address": address}))


@contextmanager
def something_else(port: int) -> Iterator[None]:
    """Another HTTP service where the gateway should be: it gives a page for everything."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        do_POST = do_GET  # noqa: N815 — the library's name

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_another_service_in_its_place_is_recognised(gateway: Gateway, installation: Settings, tmp_path: Path) -> None:
    manifest, port = gateway.manifest("orders", MONDAY), free_port()
    with something_else(port), Gateway(f"http://127.0.0.1:{port}", "ds_token", tmp_path / "other") as other:
        for ask in (other.tables, lambda: other.manifests("orders"), lambda: other.fetch(manifest)):
            with pytest.raises(
                GatewayAnswerError, match=f"127.0.0.1:{port} answers, but not as this project's gateway"
            ):
                ask()
    assert kept(tmp_path / "other") == []
