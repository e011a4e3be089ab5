"""Names and texts as SQL writes them.

What belongs here: quoting. What does not: what is asked for (`source`, `chunks`).
"""

from __future__ import annotations


def quoted(identifier: str) -> str:
    """An identifier in SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def qualified(schema: str, table: str) -> str:
    """A table in SQL."""
    return f"{quoted(schema)}.{quoted(table)}"


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"
