"""Names and small policies that the tests of the extract share."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BY_DAY = ("orders", "order_lines", "tickets")
BY_STATE = ("categories", "products", "customers")
DIRECT_IDENTIFIERS = ("full_name", "email", "phone", "street", "national_id")

SECRET = b"\x01" * 32
OTHER_SECRET = b"\x02" * 32

SPRING_FORWARD = date(2025, 3, 30)  # 23 hours in London
FALL_BACK = date(2025, 10, 26)  # 25 hours

VISITS_COLUMNS = {
    "visit_id": "{treatment: {pseudonym: visit}, description: The visit., because: Its number is on a slip.}",
    "at": "{treatment: keep, description: When., because: Many share it.}",
    "note": "{treatment: {free_text: withheld}, because: It may name anybody.}",
}


def policy_file(
    folder: Path, columns: dict[str, str], *, table: str = "visits", schema: str = "public",
    rows: str = "{by_day: at}", key: str = "[visit_id]",
) -> Path:  # fmt: skip
    """A policy of one table, as shop.yaml in a folder of its own; columns as YAML by name, from line 10 on."""
    lines = [
        "version: 1", f"schema: {schema}", "tables:", "",
        f"  {table}:", "    description: A table.", f"    rows: {rows}", f"    key: {key}", "    columns:",
        *(f"      {name}: {column}" for name, column in columns.items()),
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shop.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def kept(description: str = "A value.") -> str:
    """The YAML of a column that is kept."""
    return f"{{treatment: keep, description: {description}, because: For the test.}}"
