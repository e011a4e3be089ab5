"""A release is in use only if another person approved exactly what the gates let through, and only once for each."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ds_pipelines.errors import (
    LedgerBrokenError,
    LedgerRefusedError,
    MissingSecretError,
    NoChampionError,
    NotApprovedError,
    NothingToRollBackError,
    NotPermittedError,
    NotWaivableError,
    ProposalRefusedError,
    ReleaseRefusedError,
    SelfApprovalError,
)
from ds_pipelines.gateway import grants
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release import approval, registered, registry, signing
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.gates.every import record
from ds_pipelines.release.identity import identify
from ds_pipelines.release.ledger import Ledger, champion_of
from ds_pipelines.release.propose import propose
from ds_pipelines_tests.release.people import ANA, BEN, CAI, Way, acceptance, token_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.release.conftest import Runs

REPURCHASE = JOBS["repurchase"]


@pytest.fixture
def way(tracked: Settings) -> Way:
    return Way(tracked)


@pytest.fixture
def offered(runs: Runs, tracked: Settings) -> Callable[..., ReleaseManifest]:
    """Offers a run's model as ana does; each run is a release of its own."""

    def made(**changes: object) -> ReleaseManifest:
        return manifests.load(propose(runs.lightgbm(**changes), REPURCHASE, tracked, by=ANA.user))

    return made


# ---------------------------------------------------------------- who


def test_a_token_names_its_user_for_what_it_was_made_for(tracked: Settings, tmp_path: Path) -> None:
    path = token_file(tmp_path, tracked, "release:approve", user="ben")
    assert identify("release:approve", tracked, path).user == "ben"
    with pytest.raises(NotPermittedError, match="release:deploy: expected one that was made for it"):
        identify("release:deploy", tracked, path)


def test_the_token_of_development_does_nothing_to_a_release(tracked: Settings) -> None:
    grants.prepare(tracked)
    with pytest.raises(NotPermittedError, match="Token 'development' does not allow release:deploy"):
        identify("release:deploy", tracked, tracked.gateway_token)


def test_a_token_that_is_revoked_or_made_up_names_nobody(tracked: Settings, tmp_path: Path) -> None:
    path = token_file(tmp_path, tracked, "release:approve", user="zoe")
    name = next(grant.name for grant in grants.listed(tracked) if grant.user == "zoe")
    grants.revoke(name, tracked)
    with pytest.raises(NotPermittedError, match="in force"):
        identify("release:approve", tracked, path)
    path.write_text(grants.new_token())
    with pytest.raises(NotPermittedError, match="in force"):
        identify("release:approve", tracked, path)


def test_a_token_that_others_can_read_is_refused(tracked: Settings, tmp_path: Path) -> None:
    path = token_file(tmp_path, tracked, "release:approve")
    path.chmod(0o644)
    with pytest.raises(MissingSecretError, match="others can read it"):
        identify("release:approve", tracked, path)
    with pytest.raises(MissingSecretError, match="--token-file"):
        identify("release:approve", tracked, tmp_path / "none")


# ---------------------------------------------------------------- offering


LACKING = {
    "no methodology review": ({"review": None}, "a signed methodology review"),
    "an unsigned one": ({"review": {"signed_by": None}}, "a methodology review that is signed"),
    "one with open questions": ({"review": {"answers": {}}}, "a methodology review that is signed"),
    "one of another verdict": ({"review": {"verdict_sha256": "0" * 64}}, "of this verdict and model"),
    "one of another model": ({"review": {"model_sha256": "0" * 64}}, "of this verdict and model"),
    "one by the author": ({"review": {"signed_by": "Ana"}}, "that another person signed"),
    "no reproduction": ({"again": None}, "a reproduction"),
    "one of another run": ({"again": {"run_id": "another"}}, "a reproduction of this run"),
    "one with today's data": ({"again": {"today": ("data",)}}, "restored in every part"),
    "one that differs": ({"again": {"answer": "differs"}}, "identical or equal within tolerance, not one that differs"),
    "one equal within an undeclared tolerance": (
        {"again": {"answer": "equal within tolerance"}},
        "since the run declared no tolerance",
    ),
    "one equal within a wider tolerance": (
        {"again": {"answer": "equal within tolerance", "tolerance": 1e-2}, "tolerance": 1e-6},
        "equal within 1e-06, which the run declared, not 0.01",
    ),
}


@pytest.mark.parametrize("case", LACKING)
def test_a_run_is_not_offered_with(case: str, runs: Runs, tracked: Settings) -> None:
    changes, expected = LACKING[case]
    before = len(Ledger(tracked).entries())
    with pytest.raises(ProposalRefusedError, match=expected):
        propose(runs.lightgbm(**changes), REPURCHASE, tracked, by=ANA.user)
    assert len(Ledger(tracked).entries()) == before


def test_a_reproduction_within_the_tolerance_declared_before_the_run_is_enough(
    offered: Callable[..., ReleaseManifest],
) -> None:
    manifest = offered(again={"answer": "equal within tolerance", "tolerance": 1e-6}, tolerance=1e-6)
    assert manifest.reproduction is not None
    assert (manifest.reproduction.answer, manifest.reproduction.tolerance) == ("equal within tolerance", 1e-6)


def test_the_manifest_tells_who_answers_for_the_method_and_the_ledger_who_offered(
    offered: Callable[..., ReleaseManifest], tracked: Settings
) -> None:
    manifest = offered(user="dov")
    assert manifest.review is not None
    assert (manifest.review.by, manifest.proposed_by, manifest.margin) == ("mia", "ana", REPURCHASE.margin)
    [entry] = Ledger(tracked).entries(release=manifest.digest)
    assert (entry.action, entry.actor, entry.evidence["authors"]) == ("proposed", "ana", ["ana", "dov"])


def test_a_condition_that_another_waives_with_a_reason_is_in_the_manifest(runs: Runs, tracked: Settings) -> None:
    run_id = runs.lightgbm(answer="undecided", again=None)
    for gate, reason in (("verdict", "the pilot starts with it"), ("reproduction", "its machine is gone")):
        with pytest.raises(ProposalRefusedError):
            propose(run_id, REPURCHASE, tracked, by=ANA.user)
        approval.waive_condition(run_id, "repurchase", gate, BEN, tracked, because=reason)
    manifest = manifests.load(propose(run_id, REPURCHASE, tracked, by=ANA.user))
    assert [(each.gate, each.by, each.because) for each in manifest.waivers] == [
        ("verdict", "ben", "the pilot starts with it"),
        ("reproduction", "ben", "its machine is gone"),
    ]


def test_the_author_cannot_waive_what_their_own_run_lacks(runs: Runs, tracked: Settings) -> None:
    run_id = runs.lightgbm(review=None)
    approval.waive_condition(run_id, "repurchase", "review", ANA, tracked, because="I know it is right")
    with pytest.raises(ProposalRefusedError, match="the waiver of review by another person"):
        propose(run_id, REPURCHASE, tracked, by=ANA.user)


@pytest.mark.parametrize("gate", ["hashes", "format", "faithful", "contract", "evidence"])
def test_what_proves_that_a_release_is_what_it_says_is_never_waived(
    gate: str, offered: Callable[..., ReleaseManifest], tracked: Settings
) -> None:
    with pytest.raises(NotWaivableError, match=f"'{gate}' cannot be waived"):
        approval.waive(offered(), gate, BEN, tracked, because="in a hurry")


# ---------------------------------------------------------------- approving


def test_what_the_gates_have_not_seen_or_refused_is_not_approved(
    offered: Callable[..., ReleaseManifest], tracked: Settings
) -> None:
    manifest = offered()
    with pytest.raises(NotApprovedError, match="one that the gates let through"):
        approval.approve(manifest, BEN, tracked)
    record(acceptance(manifest, refused=("backtest",)), tracked, by="ana")
    with pytest.raises(NotApprovedError, match="the last time it was refused at backtest"):
        approval.approve(manifest, BEN, tracked)


def test_an_acceptance_by_other_code_or_by_some_gates_only_is_stale(
    offered: Callable[..., ReleaseManifest], tracked: Settings
) -> None:
    manifest = offered()
    record(acceptance(manifest, code="0" * 64), tracked, by="ana")
    with pytest.raises(NotApprovedError, match="the code that runs now, which changed since"):
        approval.approve(manifest, BEN, tracked)
    whole = acceptance(manifest)
    record(whole.model_copy(update={"gates": whole.gates[:-1]}), tracked, by="ana")
    with pytest.raises(NotApprovedError, match="an answer of every gate, also of backtest"):
        approval.approve(manifest, BEN, tracked)


def test_a_release_that_nobody_offered_by_a_token_is_not_approved(runs: Runs, way: Way) -> None:
    manifest = way.accepted(manifests.load(propose(runs.lightgbm(), REPURCHASE, way.settings)))
    with pytest.raises(NotApprovedError, match="somebody offered by their token"):
        approval.approve(manifest, BEN, way.settings)


def test_no_author_approves_or_waives_under_whatever_spelling(
    offered: Callable[..., ReleaseManifest], way: Way
) -> None:
    manifest = way.accepted(offered(user="dov"))
    for author in (ANA, replace(ANA, user="ANA"), replace(ANA, user="dov")):
        with pytest.raises(SelfApprovalError, match="who is an author of it"):
            approval.approve(manifest, author, way.settings)
        with pytest.raises(SelfApprovalError):
            approval.waive(manifest, "backtest", author, way.settings, because="mine")


def test_who_was_an_author_stays_one_when_a_colleague_offers_it_again(runs: Runs, tracked: Settings, way: Way) -> None:
    run_id = runs.lightgbm()
    first = manifests.load(propose(run_id, REPURCHASE, tracked, by=ANA.user))
    again = manifests.load(propose(run_id, REPURCHASE, tracked, by=CAI.user))
    assert again.digest == first.digest
    with pytest.raises(SelfApprovalError):
        approval.approve(way.accepted(again), ANA, tracked)


def test_who_answers_for_the_method_may_also_approve(offered: Callable[..., ReleaseManifest], way: Way) -> None:
    entry = approval.approve(way.accepted(offered()), replace(BEN, user="mia"), way.settings)
    assert (entry.action, entry.actor) == ("approved", "mia")


# ---------------------------------------------------------------- deploying


def test_a_deployed_release_is_in_use_signed_and_the_ledger_says_on_what(
    offered: Callable[..., ReleaseManifest], way: Way
) -> None:
    manifest = way.approved(offered())
    champion = approval.deploy(manifest, REPURCHASE, CAI, way.settings)
    assert registry.champion(REPURCHASE, way.settings) == champion
    deployed = champion_of(Ledger(way.settings).entries("repurchase"))
    assert deployed is not None
    assert (deployed.release, deployed.actor, deployed.because) == (manifest.digest, "cai", "as it should be")
    signature = signing.signature_of(champion.folder)
    assert deployed.evidence["signature"] == registry.sha256_of(signature)
    assert deployed.evidence["files"] == {path: file.sha256 for path, file in manifest.files.items()}


def test_what_is_not_approved_or_was_rejected_since_is_not_deployed(
    offered: Callable[..., ReleaseManifest], way: Way
) -> None:
    manifest = way.accepted(offered())
    with pytest.raises(NotApprovedError, match="an approval of what the gates let through"):
        approval.deploy(manifest, REPURCHASE, CAI, way.settings)
    approval.approve(manifest, BEN, way.settings)
    approval.reject(manifest, BEN, way.settings, because="returns are counted twice")
    with pytest.raises(NotApprovedError, match="one that the gates let through"):
        approval.deploy(manifest, REPURCHASE, CAI, way.settings)


def test_an_approval_does_not_outlive_another_examination(offered: Callable[..., ReleaseManifest], way: Way) -> None:
    manifest = way.accepted(way.approved(offered()))
    with pytest.raises(NotApprovedError, match="not used yet"):
        approval.deploy(manifest, REPURCHASE, CAI, way.settings)


def test_an_approval_is_used_once(offered: Callable[..., ReleaseManifest], way: Way) -> None:
    first, second = way.approved(offered(seed=2)), way.approved(offered(seed=3))
    approval.deploy(first, REPURCHASE, CAI, way.settings)
    approval.deploy(second, REPURCHASE, CAI, way.settings)
    with pytest.raises(NotApprovedError, match="not used yet"):
        approval.deploy(first, REPURCHASE, CAI, way.settings)
    used = approval.standing(first, way.settings)._last("approved")
    assert used is not None
    with pytest.raises(LedgerRefusedError, match="used before"):
        Ledger(way.settings).append(
            "deployed", job="repurchase", release=first.digest, actor="cai", evidence={"approval": used.digest}
        )


def test_an_approval_of_another_release_does_not_count(offered: Callable[..., ReleaseManifest], way: Way) -> None:
    mine, other = way.accepted(offered(seed=2)), way.approved(offered(seed=3))
    replayed = next(each for each in approval.standing(other, way.settings).entries if each.action == "approved")
    Ledger(way.settings).append(
        "approved", job=mine.name, release=mine.digest, actor=replayed.actor, evidence=replayed.evidence
    )
    with pytest.raises(NotApprovedError, match="an approval of what the gates let through"):
        approval.deploy(mine, REPURCHASE, CAI, way.settings)


def test_a_deployment_that_was_interrupted_after_its_entry_is_finished_by_another(
    offered: Callable[..., ReleaseManifest], way: Way
) -> None:
    in_production = way.settings.model_copy(update={"environment": "production"})
    approval.deploy(way.approved(offered(seed=2)), REPURCHASE, CAI, way.settings)
    manifest = way.approved(offered(seed=3))
    now = approval.standing(manifest, way.settings)
    assert now.approved is not None
    Ledger(way.settings).append(
        "deployed", job="repurchase", release=manifest.digest, actor="cai", evidence={"approval": now.approved.digest}
    )
    with pytest.raises(ReleaseRefusedError, match="what the ledger says"):
        registry.champion(REPURCHASE, in_production)
    approval.deploy(manifest, REPURCHASE, CAI, way.settings)
    assert registry.champion(REPURCHASE, in_production).digest == manifest.digest


def test_production_uses_nothing_that_its_ledger_does_not_know(
    offered: Callable[..., ReleaseManifest], way: Way, tracked: Settings
) -> None:
    in_production = tracked.model_copy(update={"environment": "production"})
    approval.deploy(way.approved(offered(seed=2)), REPURCHASE, CAI, tracked)
    sneaked = offered(seed=3)
    registry.import_release(tracked.releases / sneaked.file_name, REPURCHASE, tracked)
    with pytest.raises(ReleaseRefusedError, match="what the ledger says"):
        registry.champion(REPURCHASE, in_production)


def test_with_a_changed_ledger_nothing_is_decided(
    offered: Callable[..., ReleaseManifest], way: Way, tmp_path: Path
) -> None:
    manifest = way.approved(offered())
    head = way.settings.ledger_head
    shutil.copy(head, tmp_path / "head")
    number, digest = head.read_text().split()
    head.write_text(f"{number} {digest[::-1]}\n")  # as if the database had been rewritten behind it
    try:
        for decide in (approval.deploy, approval.approve, approval.reject):
            arguments = (REPURCHASE,) if decide is approval.deploy else ()
            because = {"because": "because"} if decide is approval.reject else {}
            with pytest.raises(LedgerBrokenError):
                decide(manifest, *arguments, CAI, way.settings, **because)  # type: ignore[operator]
    finally:
        shutil.copy(tmp_path / "head", head)


# ---------------------------------------------------------------- signatures


def test_a_file_that_was_changed_with_its_hash_is_refused_by_its_signature(
    offered: Callable[..., ReleaseManifest], way: Way
) -> None:
    champion = approval.deploy(way.approved(offered()), REPURCHASE, CAI, way.settings)
    signature = signing.signature_of(champion.folder)
    whole = signature.read_bytes()
    for content in (b"{}", whole[: len(whole) // 2], whole.replace(b"payload", b"pay1oad")):
        signature.write_bytes(content)
        with pytest.raises(ReleaseRefusedError, match="its signature"):
            registry.champion(REPURCHASE, way.settings)
    signature.unlink()
    with pytest.raises(ReleaseRefusedError, match="its signature"):
        registry.champion(REPURCHASE, way.settings)
    signature.write_bytes(whole)
    (champion.folder / "release.yaml").write_text((champion.folder / "release.yaml").read_text() + "\n# another\n")
    with pytest.raises(ReleaseRefusedError, match="its signature"):
        registry.champion(REPURCHASE, way.settings)


def test_what_another_key_signed_is_refused(offered: Callable[..., ReleaseManifest], way: Way, tmp_path: Path) -> None:
    champion = approval.deploy(way.approved(offered()), REPURCHASE, CAI, way.settings)
    elsewhere = way.settings.model_copy(update={"home": tmp_path})
    signing.sign(champion.folder, elsewhere)
    with pytest.raises(ReleaseRefusedError, match="its signature"):
        registry.champion(REPURCHASE, way.settings)
    signing.sign(champion.folder, way.settings)
    assert registry.champion(REPURCHASE, way.settings) == champion


def test_where_only_the_public_half_lies_nothing_is_signed(way: Way, tmp_path: Path) -> None:
    verifier = way.settings.model_copy(update={"home": tmp_path})
    verifier.secrets.mkdir()
    shutil.copy(way.settings.release_public_key, verifier.release_public_key)
    with pytest.raises(MissingSecretError, match="only its public half"):
        signing.sign(tmp_path, verifier)


def test_the_private_half_is_its_owners_alone(offered: Callable[..., ReleaseManifest], way: Way) -> None:
    approval.deploy(way.approved(offered()), REPURCHASE, CAI, way.settings)
    assert way.settings.release_key.stat().st_mode & 0o077 == 0


# ---------------------------------------------------------------- leaving


def test_a_release_in_use_is_not_rejected(offered: Callable[..., ReleaseManifest], way: Way) -> None:
    manifest = way.approved(offered())
    approval.deploy(manifest, REPURCHASE, CAI, way.settings)
    with pytest.raises(NotApprovedError, match="a release that is not in use"):
        approval.reject(manifest, BEN, way.settings, because="late")


def test_a_retired_job_has_no_champion(offered: Callable[..., ReleaseManifest], way: Way) -> None:
    approval.deploy(way.approved(offered()), REPURCHASE, CAI, way.settings)
    approval.retire(REPURCHASE, CAI, way.settings, because="nobody reads it")
    assert registered.in_use("repurchase", way.settings) is None
    with pytest.raises(NoChampionError):
        registry.champion(REPURCHASE, way.settings)
    with pytest.raises(NothingToRollBackError):
        approval.retire(REPURCHASE, CAI, way.settings, because="nobody reads it")
