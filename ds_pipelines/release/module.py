"""The reviewed module that a release keeps: production scores with it, whatever the code beside it has become since.

What belongs here: making a scoring job of a released module. What does not: verifying its hash (`registry`).
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from ds_pipelines.errors import ReleaseRefusedError
from ds_pipelines.release.manifest import code_of, contract_of
from ds_pipelines.scoring.job import ScoringJob

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.release.manifest import ReleaseManifest


def job_of(manifest: ReleaseManifest, job: ScoringJob, folder: Path) -> ScoringJob:
    """The scoring job as it was released.

    Args:
        manifest: The release, whose files were verified.
        job: As production's code has it now; given back if that is what was released.
        folder: The release's.

    Raises:
        ReleaseRefusedError: the module does not define the job that the manifest describes.
    """
    path = folder / "code" / manifest.code.file
    released = job if code_of(job).sha256 == manifest.code.sha256 else _defined(manifest, path)
    told = (manifest.name, manifest.kind, manifest.contract)
    if (released.name, released.kind, contract_of(released)) != told:
        raise ReleaseRefusedError(manifest.name, "its module", "the job and the contract that its manifest describes")
    return released


def _defined(manifest: ReleaseManifest, path: Path) -> ScoringJob:
    name = f"ds_pipelines_released_{manifest.code.sha256[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        # Not through importlib, which would leave compiled code in the release's folder, where nothing else belongs.
        code = compile(path.read_bytes(), str(path), "exec")
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)  # noqa: S102 - its bytes were verified to be those that were reviewed
        except BaseException:
            del sys.modules[name]
            raise
    job = getattr(sys.modules[name], "JOB", None)
    if not isinstance(job, ScoringJob):
        raise ReleaseRefusedError(manifest.name, manifest.code.file, "a module that defines JOB, a scoring job")
    return job
