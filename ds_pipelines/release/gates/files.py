"""Gates over the candidate's files: every byte is the one that was offered, and the model is of a form that is safe.

What belongs here: hashes, and the allow-list of formats. What does not: loading anything.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ds_pipelines.errors import UnsafeModelError
from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.manifest import EVIDENCE
from ds_pipelines.scoring import model as models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case, Offered


def hashes(case: Case) -> GateResult:
    """Every file that the manifest names has its SHA-256, and there is no other."""
    found = sorted(_differing(case.candidate))
    named = case.manifest.files
    return answer(
        "hashes",
        "the files that the manifest names, by their SHA-256, and no other",
        f"{', '.join(found)}: not what was offered" if found else None,
        f"{len(named)} files are byte for byte what was offered",
        files=len(named),
        bytes=sum(file.bytes for file in named.values()),
    )


def form(case: Case) -> GateResult:
    """The model is stored in a format that is on the platform's own list; what is in the file says so, not its name."""
    expected = f"a model stored as {' or '.join(models.MODEL_FILE)}, of parts on our list; never pickle"
    card = case.manifest.model
    if card is None:
        return answer("format", expected, None, "a computation, which has no model")
    known = {f"model/{models.MODEL_FILE[card.format]}", f"code/{case.manifest.code.file}", *EVIDENCE}
    strange = sorted(case.manifest.files.keys() - known)
    refused = f"{', '.join(strange)}: no file of a {card.format} model" if strange else None
    if refused is None:
        try:
            models.inspected(card, case.candidate.folder / "model")
        except UnsafeModelError as error:
            refused = str(error)
    return answer("format", expected, refused, f"{card.format}, of parts on our list", format=card.format)


def _differing(offered: Offered) -> Iterator[str]:
    folder, named = offered.folder, offered.manifest.files
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    yield from there.keys() - named.keys()
    for name, file in named.items():
        path = there.get(name)
        # A link leads to a file that somebody can change after this gate.
        if (
            path is None
            or path.is_symlink()
            or not path.is_file()
            or hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256
        ):
            yield name
