"""What people try on a service that is exposed: each is refused, and the others are served meanwhile."""

from __future__ import annotations

import secrets
import socket
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

import httpx
import polars as pl
import psutil
import pytest

from ds_pipelines.gateway import grants
from ds_pipelines.gateway.server.doorkeeper import GUESSES_PER_MINUTE
from ds_pipelines.gateway.server.gate import BODY_SECONDS, LARGEST_BODY
from ds_pipelines.gateway.server.running import HEADER_SECONDS, LARGEST_HEADERS
from ds_pipelines.gateway.tokens import read_token
from ds_pipelines_tests.gateway.scenario import MONDAY, publish, serving

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

SLOW = 300
"""Connections of somebody who dawdles: more than the server has by default."""
PATHS = ("/v1/extracts", "/v1/extracts/orders", "/v1/extracts/nothing", "/v1/requests", "/v1/scores", "/metrics", "/x")


def guess() -> str:
    return f"ds_{secrets.token_urlsafe(32)}"


def connect(settings: Settings) -> socket.socket:
    return socket.create_connection(("127.0.0.1", settings.gateway_port), timeout=30)


def said(connection: socket.socket) -> bytes:
    """What comes back until the connection is closed, or nothing more comes."""
    content = b""
    try:
        while part := connection.recv(1 << 16):
            content += part
            if b"\r\n\r\n" in content:
                break
    except OSError:
        pass
    return content


def head(settings: Settings, path: str = "/v1/extracts", method: str = "GET", **headers: str) -> bytes:
    lines = {"Host": "gateway", "Authorization": f"Bearer {read_token(settings)}", **headers}
    return f"{method} {path} HTTP/1.1\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in lines.items()).encode()


# Guessing tokens


def test_who_guesses_tokens_is_stopped_whatever_the_path_and_others_are_not(installation: Settings) -> None:
    with serving(installation), httpx.Client(base_url=installation.gateway_base, trust_env=False) as web:
        good = {"Authorization": f"Bearer {read_token(installation)}"}
        answers = []
        for number in range(GUESSES_PER_MINUTE + 10):
            wrong = {"Authorization": f"Bearer {guess()}"}
            answers.append(web.get(PATHS[number % len(PATHS)], headers=wrong))
            assert web.get("/v1/extracts", headers=good).status_code == 200
    refused, stopped = answers[:GUESSES_PER_MINUTE], answers[GUESSES_PER_MINUTE + 5 :]
    assert {answer.status_code for answer in refused} == {401}
    assert {answer.status_code for answer in stopped} == {429}
    assert len({answer.content for answer in refused}) == len({answer.content for answer in stopped}) == 1
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in stopped)


def test_what_has_not_the_form_of_a_token_is_not_looked_up_and_stops_nobody(served: Settings) -> None:
    with httpx.Client(base_url=served.gateway_base, trust_env=False) as web:
        for number in range(2 * GUESSES_PER_MINUTE):
            assert web.get("/v1/extracts", headers={"Authorization": f"Bearer {number}"}).status_code == 401
        assert web.get("/v1/extracts", headers={"Authorization": f"Bearer {guess()}"}).status_code == 401


# Too much at once


def test_huge_headers_are_refused(served: Settings, web: httpx.Client) -> None:
    with closing(connect(served)) as connection:
        with suppress(OSError):  # it may hang up while we are sending
            connection.sendall(head(served) + b"X-Huge: " + b"x" * (8 * LARGEST_HEADERS) + b"\r\n\r\n")
        answer = said(connection)
    assert answer == b"" or answer.split()[1] in {b"431", b"400"}
    assert web.get("/v1/extracts").status_code == 200


def test_many_headers_are_refused(served: Settings, web: httpx.Client) -> None:
    with closing(connect(served)) as connection:
        connection.sendall(head(served) + b"".join(b"X-%d: x\r\n" % number for number in range(2_000)) + b"\r\n")
        answer = said(connection)
    assert answer == b"" or answer.split()[1] in {b"431", b"400"}
    assert web.get("/v1/extracts").status_code == 200


@pytest.mark.parametrize("path", ["/v1/files", "/v1/requests", "/v1/extracts", "/nowhere"])
def test_huge_bodies_are_refused(web: httpx.Client, path: str) -> None:
    answer = web.post(path, content=b" " * (LARGEST_BODY + 1), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_huge_body_is_refused_as_it_comes_or_as_it_is_announced(served: Settings, web: httpx.Client) -> None:
    answer = web.post("/v1/files", content=(b" " * 4096 for _ in range(LARGEST_BODY // 4096 + 2)))
    assert answer.status_code == 413
    with closing(connect(served)) as connection:
        connection.sendall(head(served, "/v1/files", "POST", **{"Content-Length": str(10**10)}) + b"\r\n[")
        assert said(connection).split()[1] == b"413"


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 40])
def test_a_length_that_is_none_is_refused(served: Settings, web: httpx.Client, length: str) -> None:
    with closing(connect(served)) as connection:
        connection.sendall(head(served, "/v1/files", "POST", **{"Content-Length": length}) + b"\r\n[]")
        answer = said(connection)
    assert answer == b"" or answer.split()[1] in {b"400", b"413"}
    assert web.get("/v1/extracts").status_code == 200


# Slowly


def test_who_sends_slowly_keeps_nobody_out_and_is_hung_up_on(served: Settings, web: httpx.Client) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connect(served))) for _ in range(SLOW)]
        for number, connection in enumerate(opened):
            body = head(served, "/v1/files", "POST", **{"Content-Length": "100"}) + b"\r\n["
            connection.sendall(body if number % 2 else head(served)[:60])
        began = time.monotonic()
        assert web.get("/v1/extracts").status_code == 200
        assert time.monotonic() - began < 5
        answers = [said(connection) for connection in opened]
        assert time.monotonic() - began < max(HEADER_SECONDS, BODY_SECONDS) + 10
    assert {answer.split()[1] if answer else b"" for answer in answers[::2]} <= {b"", b"408"}
    assert {answer.split()[1] for answer in answers[1::2]} == {b"408"}


def test_who_reads_slowly_costs_no_memory(installation: Settings) -> None:
    large = pl.DataFrame({"order_id": [secrets.token_hex(16) for _ in range(600_000)]})
    manifest = publish(installation, "orders", {MONDAY: large})[MONDAY]
    readers, before = 40, 0
    assert readers * manifest.bytes > 400 << 20
    with serving(installation) as server, ExitStack() as stack:
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        for number in range(readers):
            connection = stack.enter_context(closing(connect(installation)))
            ranged = {"Range": "bytes=1-"} if number % 2 else {}
            connection.sendall(head(installation, f"/v1/files/{manifest.digest}", **ranged) + b"\r\n")
        time.sleep(2)
        grown = process.memory_info().rss - before
        headers = {"Authorization": f"Bearer {read_token(installation)}"}
        assert httpx.get(f"{installation.gateway_base}/v1/extracts", headers=headers, trust_env=False).is_success
    assert grown < 100 << 20


# Paths


@pytest.mark.parametrize(
    "path",
    ["/v1/extracts/..%2f..%2fsecrets", "/v1/extracts/%2e%2e", "/v1/extracts/orders%00", "/v1/extracts/orders/%00",
     "//v1/extracts", "/v1/extracts/orders/../../../etc/passwd", "/v1//extracts", "/v1/extracts/%ff", "/%",
     "/v1/extracts/" + "x" * 8_000],
)  # fmt: skip
def test_no_path_leads_anywhere_else(served: Settings, path: str) -> None:
    with closing(connect(served)) as connection:
        connection.sendall(head(served, path) + b"\r\n")
        answer = said(connection)
    assert answer.split()[1] in {b"400", b"404", b"414", b"422"}


def test_the_token_s_hash_opens_nothing(served: Settings) -> None:
    digest = grants.hashed(read_token(served)).hex()
    for token in (digest, f"ds_{digest[:43]}"):
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{served.gateway_base}/v1/extracts", headers=headers, trust_env=False).status_code == 401
