"""A small shop's published extracts, and a real gateway that serves them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
import uuid
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import psycopg2
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.evidence import Column, SnapshotManifest, Withheld
from ds_pipelines.settings import Settings, environment, load_settings
from ds_pipelines.snapshots.store import SnapshotStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MONDAY = date(2025, 3, 3)
DAYS = tuple(MONDAY + timedelta(days=offset) for offset in range(5))
FRIDAY = DAYS[-1]
NEXT_WEEK = MONDAY + timedelta(days=7)

TREATMENTS = {"order_id": "pseudonym(order)", "customer_id": "pseudonym(customer)"}
WITHHELD = (Withheld(name="ship_city", explanation="narrows down who ordered"),)

CERTIFY = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway "
    "-addext subjectAltName=IP:127.0.0.1"
)  # fmt: skip
SERVE = """
from ds_pipelines.gateway.server import Offer, serve
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.settings import load_settings
serve(load_settings(), [Offer(job.table, job.name, job.description) for job in JOBS.values()])
"""


def orders_of(day: date) -> pl.DataFrame:
    """Three orders of a day, the middle one of a guest."""
    first = day.toordinal() * 10
    return pl.DataFrame(
        {
            "order_id": [f"{first + place:032x}" for place in range(3)],
            "customer_id": ["c" * 32, None, "d" * 32],
            "kind": ["sale", "sale", "return"],
            "paid": [Decimal("12.50"), Decimal("0.99"), Decimal("-12.50")],
        },
        schema_overrides={"paid": pl.Decimal(10, 2)},
    )


def customers_of(day: date) -> pl.DataFrame:
    """As many customers as days went by."""
    known = (day - MONDAY).days + 2
    return pl.DataFrame({"customer_id": [f"{place:032x}" for place in range(known)], "newsletter": [True] * known})


ORDERS = {day: orders_of(day) for day in DAYS}
CUSTOMERS = {day: customers_of(day) for day in (MONDAY, FRIDAY)}


def publish(
    settings: Settings, table: str, frames: Mapping[date, pl.DataFrame], **stated: Any
) -> dict[date, SnapshotManifest]:
    """Publishes frames of a table; `stated` replaces what the manifests say."""
    manifests = {}
    with SnapshotStore(settings.snapshots).stage() as stage:
        for day, frame in frames.items():
            written = stage.write(frame)
            said = {
                "table": table,
                "rows_of": "state" if table == "customers" else "day",
                "day": day,
                "rows": written.rows,
                "bytes": written.bytes,
                "digest": written.digest,
                "logical_digest": written.logical_digest,
                "columns": tuple(
                    Column(name=name, dtype=str(dtype), treatment=TREATMENTS.get(name, "keep"))
                    for name, dtype in frame.schema.items()
                ),
                "withheld": WITHHELD,
                "policy_digest": "0" * 64,
                "key_id": "key-1",
                "read_at": datetime(2025, 3, 10, 3, tzinfo=UTC),
                "published_at": datetime(2025, 3, 10, 4, tzinfo=UTC),
            }
            manifests[day] = SnapshotManifest(**said | stated)
        stage.publish(list(manifests.values()))
    return manifests


def make_installation(home: Path, urls: Mapping[str, SecretStr] | None = None, **chosen: Any) -> Settings:
    """A home with the scenario's extracts, and a port of its own for its gateway.

    The gateway's database is the one that is given, emptied; without one, it is embedded in the home.
    """
    settings = load_settings(home=home, gateway_port=free_port(), **urls or {}, **chosen)
    if urls:
        empty(settings)
    publish(settings, "orders", ORDERS)
    publish(settings, "customers", CUSTOMERS)
    return settings


def database_of_its_own(shared: Settings) -> dict[str, SecretStr]:
    """A new database for a gateway, in the platform cluster of these settings."""
    return _database("platform", {"gateway_owner_url": "gateway_owner", "gateway_database_url": "gateway"}, shared)


def serving_database_of_its_own(shared: Settings) -> dict[str, SecretStr]:
    """A new serving database, in the production cluster of these settings."""
    return _database("production", {"serving_url": "scoring", "consumer_url": "consumer"}, shared)


def _database(cluster_name: postgres.ClusterName, logins: Mapping[str, str], shared: Settings) -> dict[str, SecretStr]:
    """A new database of the first login, which the second may enter too; URLs by setting."""
    cluster, name = postgres.cluster(cluster_name, shared), f"test_{uuid.uuid4().hex[:12]}"
    owner, guest = logins.values()
    with closing(psycopg2.connect(cluster.url("postgres", "postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name} OWNER {owner}")
        connection.cursor().execute(f"GRANT CONNECT ON DATABASE {name} TO {guest}")
    return {setting: SecretStr(cluster.url(name, login)) for setting, login in logins.items()}


def empty(settings: Settings) -> None:
    """Drops everything from the gateway's database."""
    with closing(postgres.connect("gateway_owner", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP OWNED BY gateway_owner CASCADE")


def make_certificate(folder: Path) -> dict[str, Path]:
    """A certificate for 127.0.0.1 that nobody has signed, and its key, by their settings."""
    files = {"gateway_certificate": folder / "certificate.pem", "gateway_key": folder / "key.pem"}
    named = ["-out", str(files["gateway_certificate"]), "-keyout", str(files["gateway_key"])]
    subprocess.run([*CERTIFY.split(), *named], check=True, capture_output=True)
    return files


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway as a process of its own, until the block ends or stops it."""
    urls = {
        f"DS_{name.upper()}": url.get_secret_value()
        for name in ("gateway_database_url", "gateway_owner_url", "consumer_url")
        if (url := getattr(settings, name)) is not None
    }
    variables = environment(**settings.as_environment(), **urls)
    server = subprocess.Popen([sys.executable, "-c", SERVE], env=variables)
    try:
        _wait_until_healthy(settings, server)
        yield server
    finally:
        server.terminate()
        server.wait(10)


def trusting(settings: Settings) -> ssl.SSLContext | bool:
    """What a client needs to trust the gateway's own certificate, if it has one."""
    certificate = settings.gateway_certificate
    return True if certificate is None else ssl.create_default_context(cafile=str(certificate))


def _wait_until_healthy(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"{settings.gateway_base}/health", trust_env=False, verify=trusting(settings)).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the gateway does not answer")
