"""How fast are a large file and listings, against nginx serving the file; and is every byte right for 50 at once?

Both servers take turns, and the median of the rounds counts. The client is one and the same: a socket that throws away
what it reads. The limit is nginx with sendfile. Every answer of the gateway has passed its token and its audit.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.processes import free_ports
from benchmarks.report import conclude
from ds_pipelines.settings import environment, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.settings import Settings

MEGABYTES, DAYS, CLIENTS, SECONDS = 300, 365, 50, 5.0
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log; {user}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


class NginxMissingError(RuntimeError):
    """There is nothing to compare with."""

    def __init__(self) -> None:
        super().__init__("nginx is not installed, so there is nothing to compare with; on Debian: nginx-light")


def publish(settings: Settings, megabytes: int) -> str:
    """One table with a large file, and three of a small one for each day of a year; the large one's digest."""
    import numpy as np
    import polars as pl

    from ds_pipelines.evidence import Column, SnapshotManifest
    from ds_pipelines.snapshots.store import SnapshotStore

    rows, batches = megabytes * 125_000 // 30, 30
    drawn = np.random.default_rng(7)
    large = (pl.DataFrame({"number": drawn.integers(2**62, size=rows)}) for _ in range(batches))
    small = pl.DataFrame({"number": range(100)})
    columns = tuple(Column(name=f"column_{place}", dtype="Int64", treatment="keep") for place in range(12))
    with SnapshotStore(settings.snapshots).stage() as stage:
        files = {
            "large": stage.write_batches({"number": pl.Int64()}, large, unlike=["number"]),
            "small": stage.write(small),
        }

        def manifest(table: str, day: date, size: str) -> SnapshotManifest:
            return SnapshotManifest(
                table=table, rows_of="day", day=day, rows=files[size].rows, bytes=files[size].bytes,
                digest=files[size].digest, logical_digest=files[size].logical_digest, columns=columns,
                policy_digest="0" * 64, key_id="key", read_at=datetime.now(UTC), published_at=datetime.now(UTC),
            )  # fmt: skip

        first = date(2025, 1, 1)
        stage.publish([manifest("large", first, "large")])
        for table in ("orders", "order_lines", "visits"):
            stage.publish([manifest(table, first + timedelta(days=number), "small") for number in range(DAYS)])
        return files["large"].digest


@contextmanager
def running(command: list[str], port: int, log: Path, **variables: str) -> Iterator[psutil.Process]:
    """A server, from when it listens."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment(**variables))
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2_000:]}") from None
                time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


class Client:
    """HTTP over one connection, with as little of its own as possible."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._head = f" HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n"
        self._buffer = bytearray(1 << 20)

    def get(self, path: str, *headers: str, digest: bool = False) -> tuple[int, str]:
        """Bytes of the body, and their SHA-256 if that is wanted."""
        asked = "".join(f"{header}\r\n" for header in headers)
        self._socket.sendall(f"GET {path}{self._head}{asked}\r\n".encode())
        view, filled = memoryview(self._buffer), 0
        while (end := self._buffer.find(b"\r\n\r\n", 0, filled)) < 0:
            filled += self._receive(view[filled:])
        head = bytes(self._buffer[:end]).decode().lower()
        assert head.split()[1] in {"200", "206"}, head
        length = int(head.partition("content-length:")[2].split()[0])
        seen, hashed = filled - end - 4, hashlib.sha256(view[end + 4 : filled] if digest else b"")
        while seen < length:
            count = self._receive(view)
            seen += count
            if digest:
                hashed.update(view[:count])
        return seen, hashed.hexdigest()

    def _receive(self, into: memoryview) -> int:
        count = self._socket.recv_into(into)
        assert count, "the connection was closed"
        return count

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()


def rate(port: int, path: str, token: str, *headers: str) -> float:
    """Megabytes a second of one download."""
    with contextlib.closing(Client(port, token)) as client:
        began = time.perf_counter()
        seen, _ = client.get(path, *headers)
        return seen / 1e6 / (time.perf_counter() - began)


def together(port: int, path: str, token: str, server: psutil.Process) -> tuple[set[str], float, float]:
    """Fifty downloads at once: the digests of what came, megabytes a second, and MiB by which the server grew."""
    before, peak, over = server.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], server.memory_info().rss)

    def download(_: int) -> tuple[int, str]:
        with contextlib.closing(Client(port, token)) as client:
            return client.get(path, digest=True)

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        came = list(clients.map(download, range(CLIENTS)))
    seconds = time.perf_counter() - began
    over.set()
    watching.join()
    return {digest for _, digest in came}, sum(seen for seen, _ in came) / 1e6 / seconds, (peak[0] - before) / 2**20


def listings(port: int, path: str, token: str, connections: int = 4) -> tuple[float, float, float]:
    """Listings a second, and the median and 99th percentile of their milliseconds; asked by a process of its own."""
    program = f"from benchmarks import gateway_throughput as b; b.ask({port}, {path!r}, {connections})"
    done = subprocess.run(
        [sys.executable, "-c", program], input=token, capture_output=True, text=True, check=True, env=environment()
    )
    per_second, median, worst = map(float, done.stdout.split())
    return per_second, median, worst


def ask(port: int, path: str, connections: int) -> None:
    """Some connections that each ask again as soon as they are answered, for some seconds."""
    token, took = sys.stdin.read(), list[float]()
    until = time.perf_counter() + SECONDS

    def keep_asking() -> None:
        with contextlib.closing(Client(port, token)) as client:
            while (began := time.perf_counter()) < until:
                client.get(path)
                took.append((time.perf_counter() - began) * 1e3)

    threads = [threading.Thread(target=keep_asking) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(took) / SECONDS, statistics.median(took), sorted(took)[int(len(took) * 0.99)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--rounds", type=int, default=10)
    chosen = parser.parse_args()
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        raise NginxMissingError
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        _measure(Path(folder), nginx, chosen.megabytes, chosen.rounds)


def _measure(folder: Path, nginx: str, megabytes: int, rounds: int) -> None:
    from ds_pipelines.gateway import grants

    ports = free_ports()
    ours, theirs = int(ports["DS_GATEWAY_PORT"]), int(ports["DS_MLFLOW_PORT"])
    settings = load_settings(home=folder / "home", gateway_port=ours)
    digest = publish(settings, megabytes)
    token = grants.create(grants.Wanted("benchmark", "extracts", None, None, 10**8, 10**16), settings)
    configuration = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    objects = settings.snapshots / "objects"
    configuration.write_text(NGINX.format(folder=folder, user=user, port=theirs, root=objects))
    command = [sys.executable, "-m", "ds_pipelines.cli", "gateway"]
    with (
        running([nginx, "-c", str(configuration)], theirs, folder / "nginx.out"),
        running(command, ours, folder / "gateway.out", **settings.as_environment()) as gateway,
    ):
        file, there = f"/v1/files/{digest}", f"/{digest[:2]}/{digest}.parquet"
        downloads = {
            "nginx": partial(rate, theirs, there, token),
            "gateway": partial(rate, ours, file, token),
            "gateway, as a range": partial(rate, ours, file, token, "Range: bytes=0-"),
        }
        sides: dict[str, list[float]] = {name: [] for name in downloads}
        for number in range(3 * rounds):  # each begins a third of the rounds
            name = list(downloads)[(number + number // 3) % 3]
            sides[name].append(downloads[name]())
        came, at_once, grown = together(ours, file, token, gateway)
        asked = {path: listings(ours, path, token) for path in ("/v1/extracts", "/v1/extracts/orders/days")}
    _conclude(sides, right=came == {digest}, at_once=at_once, grown=grown, asked=asked)


def _conclude(
    sides: dict[str, list[float]],
    *,
    right: bool,
    at_once: float,
    grown: float,
    asked: dict[str, tuple[float, float, float]],
) -> None:
    medians = {name: statistics.median(rates) for name, rates in sides.items()}
    ratio, ranged = (medians[name] / medians["nginx"] for name in ("gateway", "gateway, as a range"))
    rows = [
        (f"{name}: 1 file", f"{medians[name]:,.0f} MB/s", f"{min(rates):,.0f} to {max(rates):,.0f}", goal)
        for (name, rates), goal in zip(sides.items(), ("the limit", ">= 0.5 x", ">= 0.5 x"), strict=True)
    ]
    rows.append((f"gateway: {CLIENTS} at once", f"{at_once:,.0f} MB/s", f"{grown:.0f} MiB more", "<= 64 MiB more"))
    rows.append((f"gateway: {CLIENTS} digests", "right" if right else "WRONG", "", "every byte right"))
    rows += [
        (path, f"{per_second:,.0f}/s", f"median {median:.1f}, p99 {worst:.1f} ms", ">= 500/s, p99 <= 10 x median")
        for path, (per_second, median, worst) in asked.items()
    ]
    quick = all(per_second >= 500 and worst <= 10 * median for per_second, median, worst in asked.values())
    print(f"{ratio:.2f} x nginx, {ranged:.2f} x as a range; load {os.getloadavg()[0]:.1f}")
    conclude(
        "gateway_throughput",
        rows,
        header=("side", "figure", "spread", "goal"),
        figure=ratio,
        goal="a 300 MB file >= 0.5 x nginx, 50 at once right and in <= 64 MiB more; 500 listings a second",
        limit=f"nginx {medians['nginx']:,.0f} MB/s",
        holds=min(ratio, ranged) >= 0.5 and right and grown <= 64 and quick,
    )


if __name__ == "__main__":
    main()
