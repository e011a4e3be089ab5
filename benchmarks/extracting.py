"""What the benchmarks of the extract share: a large shop, policies for it, and measuring a side in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ds_pipelines.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ds_pipelines.settings import Settings

LINES_A_CUSTOMER = 7.25
"""Order lines that the sample makes for each customer."""
_APART = 10**9
"""No key of the sample's is larger."""

MEASURED = """
import json, re, resource, sys, time
sys.path.insert(0, {project!r})
from {module} import {side}
from ds_pipelines.settings import load_settings
settings = load_settings()
{side}(settings, warm=True)
before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
said = {side}(settings, warm=False) or {{}}
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{
    "wall": time.monotonic() - began,
    "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "peak": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024,
    "said": said,
}}))
"""


@dataclass(frozen=True)
class Side:
    """What one way of doing it took, once."""

    wall: float
    cpu: float
    peak: float
    """Resident memory at its highest, in MiB, libraries included. (What `getrusage` says is inherited at the fork.)"""
    said: dict[str, float]


def run(module: str, side: str, settings: Settings) -> Side:
    """Runs a function of a benchmark in a process of its own, and measures it; its first call only loads libraries.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    program = MEASURED.format(project=str(Path(__file__).parent.parent), module=module, side=side)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment(**settings.as_environment()),
    )
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-2_000:]}")
    return Side(**json.loads(done.stdout.splitlines()[-1]))


def best(sides: Iterable[Side]) -> Side:
    """The one that was disturbed least: by CPU seconds, wall time and memory each."""
    every = list(sides)
    return Side(
        min(each.wall for each in every),
        min(each.cpu for each in every),
        min(each.peak for each in every),
        min(every, key=lambda each: each.cpu).said,
    )


def shop(home: Path, lines: int) -> Settings:
    """A shop of about so many order lines in a home of its own, with the benchmark's policy."""
    from ds_pipelines import sample
    from ds_pipelines.settings import load_settings

    home.mkdir(parents=True, exist_ok=True)
    sample.load(sample.generate(customers=max(int(lines / LINES_A_CUSTOMER), 100)), load_settings(home=home))
    settings = load_settings(home=home)
    policies = home / "policies"
    policies.mkdir(exist_ok=True)
    (policies / "shop.yaml").write_text(_policy((settings.policies / "shop.yaml").read_text()))
    return load_settings(home=home, policies=policies)


def multiply(settings: Settings, times: int) -> None:
    """Makes so many of every customer and order line, each with its own key and name."""
    from ds_pipelines import postgres

    columns = "product_id, placed_at, quantity, unit_price, discount, tax_rate, channel, ship_postcode, gift_message"
    people = "street, postcode, city, country, birth_date, national_id, card_digits, segment, newsletter, registered_at"
    with closing(postgres.connect("owner", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE order_lines DROP CONSTRAINT order_lines_order_id_fkey")
        cursor.execute(
            f"INSERT INTO customers SELECT customer_id + n * {_APART}, full_name || ' ' || n, n || email, "
            f"phone || n, {people} FROM customers, generate_series(1::bigint, {times - 1}) AS n"
        )
        cursor.execute(
            f"INSERT INTO order_lines SELECT order_line_id + n * {_APART}, order_id + n * {_APART}, "
            f"customer_id + n * {_APART}, {columns} FROM order_lines, generate_series(1::bigint, {times - 1}) AS n"
        )


def _policy(shop: str) -> str:
    """The shop's, with all order lines in one table: two pseudonyms, two generalisations, a drop, k-anonymity.

    The two are of lines and customers; orders keep their number, here and in their own table.
    """
    shop = shop.replace("{pseudonym: order}", "keep")
    start, end = shop.index("  order_lines:"), shop.index("  tickets:")
    lines = shop[start:end].replace("rows: {by_day: placed_at}", "rows: all")
    lines = lines.replace(
        "person: customer_id", "person: customer_id\n    quasi_identifiers: [ship_postcode]\n    k: 5"
    )
    before, _, after = lines.partition("      placed_at:")
    lines = f"{before}      placed_at:{after.replace('treatment: keep', 'treatment: {generalise: month}', 1)}"
    return shop[:start] + lines + shop[end:]
