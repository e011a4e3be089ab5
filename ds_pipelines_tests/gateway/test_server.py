"""What the gateway answers, to whom, and what it never gives away."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import tarfile
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import polars as pl
import pytest

from ds_pipelines.errors import PortTakenError, SettingsError
from ds_pipelines.evidence import SnapshotManifest
from ds_pipelines.gateway.server import serve
from ds_pipelines.gateway.tokens import read_token
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.gateway.scenario import DAYS, FRIDAY, MONDAY, ORDERS, free_port, orders_of, publish, serving

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

NO_SUCH_DIGEST = hashlib.sha256(b"never published").hexdigest()


def first_file(web: httpx.Client) -> SnapshotManifest:
    return SnapshotManifest.model_validate(web.get(f"/v1/extracts/orders/{MONDAY}").json())


# Who may ask


def test_health_needs_no_token_and_says_only_ok(served: Settings) -> None:
    assert httpx.get(f"{served.gateway_base}/health", trust_env=False).json() == {"status": "ok"}


def test_the_description_of_the_routes_names_no_table(served: Settings) -> None:
    described = httpx.get(f"{served.gateway_base}/openapi.json", trust_env=False)
    assert described.status_code == 200
    assert "orders" not in described.text


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x"])
def test_without_the_token_every_path_gives_the_same_answer(served: Settings, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.format(token=read_token(served))}
    paths = [
        "/v1/extracts", "/v1/extracts/orders", "/v1/extracts/nothing", f"/v1/extracts/orders/{MONDAY}",
        "/v1/extracts/orders/no-day", f"/v1/files/{NO_SUCH_DIGEST}", "/v1/files/..%2f..%2fsettings.toml", "/nowhere",
    ]  # fmt: skip
    with httpx.Client(base_url=served.gateway_base, headers=headers, trust_env=False) as stranger:
        answers = [stranger.get(path) for path in paths] + [stranger.post("/v1/files", json=[NO_SUCH_DIGEST])]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["detail"].startswith("A valid token is needed, as `Authorization: Bearer <token>`")
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"


# What there is


def test_extracts_are_listed_with_their_days_and_rows(web: httpx.Client) -> None:
    listed = {summary["table"]: summary for summary in web.get("/v1/extracts").json()}
    assert listed["orders"] == {
        "table": "orders", "rows_of": "day", "first_day": "2025-03-03", "last_day": "2025-03-07", "days": 5, "rows": 15,
    }  # fmt: skip
    assert listed["customers"] == {
        "table": "customers", "rows_of": "state", "first_day": "2025-03-03", "last_day": "2025-03-07", "days": 2,
        "rows": 6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "days"),
    [
        ({}, DAYS),
        ({"since": DAYS[3]}, DAYS[3:]),
        ({"until": DAYS[1]}, DAYS[:2]),
        ({"since": DAYS[1], "until": DAYS[2]}, DAYS[1:3]),
        ({"since": FRIDAY + timedelta(days=1)}, ()),
    ],
)
def test_a_table_lists_its_manifests_between_two_days(web: httpx.Client, bounds: dict[str, str], days: object) -> None:
    manifests = web.get("/v1/extracts/orders", params={name: str(day) for name, day in bounds.items()}).json()
    assert tuple(SnapshotManifest.model_validate(manifest).day for manifest in manifests) == days


def test_a_day_gives_its_manifest(web: httpx.Client, served: Settings) -> None:
    assert first_file(web) == SnapshotStore(served.snapshots).manifest("orders", MONDAY)


def test_an_unknown_table_is_answered_with_those_there_are(web: httpx.Client) -> None:
    answer = web.get("/v1/extracts/invoices")
    assert answer.status_code == 404
    detail = answer.json()["detail"]
    assert detail.startswith("There is no extract of a table 'invoices'. Published are: ")
    assert "customers, orders" in detail


def test_an_unknown_day_is_answered_with_the_days_there_are(web: httpx.Client) -> None:
    answer = web.get("/v1/extracts/orders/2024-01-01")
    assert answer.status_code == 404
    assert "expected days from 2025-03-03 to 2025-03-07" in answer.json()["detail"]


def test_a_day_that_is_none_is_explained(web: httpx.Client) -> None:
    answer = web.get("/v1/extracts/orders/yesterday")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("The request cannot be used: day: a day is written as 2025-03-01")


def test_an_unknown_route_and_method_are_explained(web: httpx.Client) -> None:
    for answer, status in ((web.get("/v2"), 404), (web.delete("/v1/extracts/orders"), 405)):
        assert answer.status_code == status
        assert answer.json() == {"detail": "There is no such route. The routes are described at /docs."}


def test_a_damaged_manifest_is_named_and_other_tables_still_answer(installation: Settings) -> None:
    (installation.snapshots / "published" / "orders" / f"{MONDAY}.json").write_text("{")
    with serving(installation):
        headers = {"Authorization": f"Bearer {read_token(installation)}"}
        with httpx.Client(base_url=installation.gateway_base, headers=headers, trust_env=False) as web:
            damaged, whole = web.get("/v1/extracts/orders"), web.get("/v1/extracts/customers")
    assert damaged.status_code == 500
    assert "The manifest of 'orders' for 2025-03-03 is damaged" in damaged.json()["detail"]
    assert whole.status_code == 200


# Files


def test_a_file_is_what_its_digest_says_and_may_be_kept_for_ever(web: httpx.Client) -> None:
    manifest = first_file(web)
    answer = web.get(f"/v1/files/{manifest.digest}")
    assert hashlib.sha256(answer.content).hexdigest() == manifest.digest
    assert pl.read_parquet(io.BytesIO(answer.content)).equals(ORDERS[MONDAY])
    assert answer.headers["ETag"] == f'"{manifest.digest}"'
    assert answer.headers["Content-Length"] == str(manifest.bytes)
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"


def test_a_range_gives_these_bytes(web: httpx.Client) -> None:
    manifest = first_file(web)
    whole = web.get(f"/v1/files/{manifest.digest}").content
    part = web.get(f"/v1/files/{manifest.digest}", headers={"Range": "bytes=4-19"})
    end = web.get(f"/v1/files/{manifest.digest}", headers={"Range": "bytes=-8"})
    assert (part.status_code, part.content) == (206, whole[4:20])
    assert part.headers["Content-Range"] == f"bytes 4-19/{manifest.bytes}"
    assert (end.status_code, end.content) == (206, whole[-8:])


def test_a_file_can_be_asked_for_its_length_alone(web: httpx.Client) -> None:
    manifest = first_file(web)
    answer = web.head(f"/v1/files/{manifest.digest}")
    assert (answer.headers["Content-Length"], answer.headers["Accept-Ranges"]) == (str(manifest.bytes), "bytes")
    assert answer.content == b""


def test_a_range_beyond_the_file_is_refused(web: httpx.Client) -> None:
    manifest = first_file(web)
    answer = web.get(f"/v1/files/{manifest.digest}", headers={"Range": f"bytes={manifest.bytes}-"})
    assert answer.status_code == 416


def test_a_digest_that_nothing_names_is_not_served(web: httpx.Client) -> None:
    answer = web.get(f"/v1/files/{NO_SUCH_DIGEST}")
    assert answer.status_code == 404
    assert "expected one that a published extract names now" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fsecrets%2fgateway.token", "../secrets/gateway.token", "%2e%2e/%2e%2e/etc/passwd", "A" * 64, "0" * 63],
)
def test_no_path_leads_out_of_the_store(served: Settings, web: httpx.Client, name: str) -> None:
    url = httpx.URL(f"{served.gateway_base}/").copy_with(raw_path=f"/v1/files/{name}".encode())
    answer = web.get(url)
    assert answer.status_code in {404, 422}
    assert read_token(served) not in answer.text


def test_what_lies_in_the_store_unpublished_is_not_served(served: Settings, web: httpx.Client) -> None:
    store = SnapshotStore(served.snapshots)
    with store.stage() as stage:
        written = stage.write(orders_of(FRIDAY + timedelta(days=30)))
        assert web.get(f"/v1/files/{written.digest}").status_code == 404


def test_a_day_published_anew_is_served_at_once_and_its_former_file_no_more(
    served: Settings, web: httpx.Client
) -> None:
    former = publish(served, "corrected", {MONDAY: orders_of(MONDAY)[:1]})[MONDAY]
    assert web.get(f"/v1/files/{former.digest}").status_code == 200
    present = publish(served, "corrected", {MONDAY: orders_of(MONDAY)[:2]})[MONDAY]
    assert web.get("/v1/extracts/corrected").json()[0]["digest"] == present.digest
    assert web.get(f"/v1/files/{present.digest}").status_code == 200
    assert web.get(f"/v1/files/{former.digest}").status_code == 404


def test_many_files_come_as_one_archive_in_the_order_asked_for(web: httpx.Client) -> None:
    digests = [manifest["digest"] for manifest in web.get("/v1/extracts/orders").json()][::-1]
    answer = web.post("/v1/files", json=digests)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive]
        contents = [content.read() for _, content in members if content is not None]
    assert [name for name, _ in members] == digests
    assert [hashlib.sha256(content).hexdigest() for content in contents] == digests
    assert answer.headers["Content-Length"] == str(len(answer.content))


@pytest.mark.parametrize("asked", [[NO_SUCH_DIGEST], ["../../secrets"], [NO_SUCH_DIGEST] * 1001, {}, [None]])
def test_an_archive_of_what_cannot_be_is_refused(web: httpx.Client, asked: object) -> None:
    answer = web.post("/v1/files", json=asked)
    assert answer.status_code in {404, 422}
    assert isinstance(answer.json()["detail"], str)


# Running


def test_a_second_gateway_on_the_port_is_refused(served: Settings) -> None:
    with pytest.raises(PortTakenError, match=f"Port {served.gateway_port} for the gateway is taken.*DS_GATEWAY_PORT"):
        serve(served)


def test_an_address_of_another_machine_is_refused(served: Settings) -> None:
    with pytest.raises(SettingsError, match="DS_HOST or DS_GATEWAY_PORT"):
        serve(served.model_copy(update={"host": "192.0.2.1", "gateway_port": free_port()}))


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_however_it_ends_the_gateway_leaves_its_port_free(installation: Settings, sent: int, status: int) -> None:
    with serving(installation) as server:
        os.kill(server.pid, sent)
        assert server.wait(10) == status
        with serving(installation):
            pass
