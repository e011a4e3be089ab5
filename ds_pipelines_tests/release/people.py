"""Who releases in the tests, with tokens of their own, and the way of a release until it is approved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from ds_pipelines.evidence import Acceptance, GateResult
from ds_pipelines.gateway import grants
from ds_pipelines.release import approval
from ds_pipelines.release.gates.every import record
from ds_pipelines.release.gates.names import GATES
from ds_pipelines.release.identity import Identity
from ds_pipelines.release.manifest import package_digest

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.settings import Settings

ANA, BEN, CAI = (Identity(user, user) for user in ("ana", "ben", "cai"))
"""The author, a colleague who approves, and one who deploys."""


def token_file(folder: Path, settings: Settings, *scopes: str, user: str = "ben", **wanted: object) -> Path:
    """A file with a token of a user for releases."""
    name = f"{user} {uuid4()}"
    kind = "release" if scopes else "extracts"
    asked = grants.Wanted(name, kind, None, timedelta(days=1), scopes=frozenset(scopes), user=user, **wanted)  # type: ignore[arg-type]
    path = folder / f"{uuid4()}.token"
    path.touch(0o600)
    path.write_text(grants.create(asked, settings))
    return path


def acceptance(manifest: ReleaseManifest, *, refused: tuple[str, ...] = (), code: str | None = None) -> Acceptance:
    """What the gates say of a release: that they let it through, but for those named."""
    return Acceptance(
        job=manifest.name,
        release=manifest.digest,
        gates=tuple(
            GateResult(gate=gate, passed=gate not in refused, words="as found", expected="as asked")
            for gate in GATES
        ),
        code=code or package_digest(),
        at=datetime.now(UTC),
    )


@dataclass(frozen=True)
class Way:
    """Takes releases along their way, as far as a test needs."""

    settings: Settings

    def accepted(self, manifest: ReleaseManifest) -> ReleaseManifest:
        """Lets the gates have said yes."""
        record(acceptance(manifest), self.settings, by=ANA.user)
        return manifest

    def approved(self, manifest: ReleaseManifest) -> ReleaseManifest:
        """And a colleague approve it."""
        approval.approve(self.accepted(manifest), BEN, self.settings, because="as it should be")
        return manifest
