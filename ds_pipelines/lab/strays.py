"""The working folder of a run: what lies there when a script starts, and what it has written when it ends.

What belongs here: laying the folder out, and taking out what was written. What does not: limits of what may be written
(launch.py), and what an artifact is.

The folder is the run's own, with links to everything that lies beside the script: it reads its neighbours as if it were
started there, and what it writes anew is the run's. Secrets, and files beyond `LARGEST`, are listed and stay behind.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from ds_pipelines.lab.private import is_secret_file, redacted

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.lab.layout import Layout

LARGEST = 100 << 20
"""Bytes of a file that is kept."""
MOST_BYTES = 1 << 30
"""Bytes of all files of a run that are kept."""
MOST_FILES = 1_000
LISTED = "files/not-kept.json"
SKIPPED = {"__pycache__", ".git", ".ipynb_checkpoints"}


def lay_out(layout: Layout, beside: Path) -> None:
    """Makes the working folder, with links to what lies beside a script."""
    layout.work.mkdir()
    for path in beside.iterdir():
        if path.name not in SKIPPED and not is_secret_file(path):
            (layout.work / path.name).symlink_to(path)


def take_out(layout: Layout) -> list[tuple[str, bytes]]:
    """Moves what was written to the artifacts, as `files/<path>`, the oldest first; returns what is kept.

    What stays behind is listed with size, digest and the reason. Doing it again adds what was left the first time.
    """
    kept: list[tuple[str, bytes]] = []
    left: list[dict[str, object]] = []
    total = 0
    for path in _written(layout.work):
        place, size = path.relative_to(layout.work).as_posix(), path.stat().st_size
        why = _why_not(path, size, total, len(kept))
        if why is not None:
            left.append({"path": place, "bytes": size, "sha256": _digest(path), "because": why})
            continue
        content = redacted(path.read_bytes())
        target = layout.artifacts / "files" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        path.unlink()
        total += size
        kept.append((f"files/{place}", content))
    if left:
        target = layout.artifacts / LISTED
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(left, indent=1), encoding="utf-8")
    shutil.rmtree(layout.work, ignore_errors=True)
    return kept


def _written(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    ours = [path for path in found if not SKIPPED & set(path.relative_to(folder).parts)]
    return sorted(ours, key=lambda path: (path.stat().st_mtime_ns, path.as_posix()))


def _why_not(path: Path, size: int, total: int, files: int) -> str | None:
    if is_secret_file(path):
        return "by its name it holds a secret"
    if size > LARGEST:
        return f"it is larger than {LARGEST >> 20} MiB"
    if total + size > MOST_BYTES:
        return f"with it, the files would be more than {MOST_BYTES >> 30} GiB"
    return f"there are more than {MOST_FILES:,} files" if files >= MOST_FILES else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
