"""The database driver, ADBC, without what it imports for writing.

What belongs here: that import. What does not: connecting and reading (`source`).

To recognise what `adbc_ingest` may be given, the driver imports `pyarrow.dataset`, and with it pandas: 49 MiB and 0.7 s
for each process that extracts, which only reads. So the driver is imported while an empty module stands in its place;
whoever needs the real one imports it as ever. For the same reason queries get their parameters as a Polars frame:
pyarrow imports pandas to look at a Python list.
"""

from __future__ import annotations

import sys
from types import ModuleType

_WRITING = "pyarrow.dataset"

_stands_in = _WRITING not in sys.modules
if _stands_in:
    sys.modules[_WRITING] = ModuleType(_WRITING)
try:
    import adbc_driver_postgresql.dbapi as adbc
finally:
    if _stands_in:
        del sys.modules[_WRITING]

__all__ = ["adbc"]
