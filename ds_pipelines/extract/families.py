"""Families of values: what can be treated alike, whatever exact type PostgreSQL gives it.

What belongs here: their names. What does not: which type belongs to which (`types`), or what can be done to them
(`treatments`).
"""

from typing import Literal, TypeAlias, get_args

Family: TypeAlias = Literal[
    "text", "integer", "decimal", "float", "boolean", "date", "timestamp", "time", "uuid", "json", "binary", "printed",
    "list",
]  # fmt: skip
"""Printed values are of other types, and carried as the text that PostgreSQL prints."""

NUMBERS: frozenset[Family] = frozenset({"integer", "decimal", "float"})
TIMES: frozenset[Family] = frozenset({"date", "timestamp"})
ANY: frozenset[Family] = frozenset(get_args(Family))
