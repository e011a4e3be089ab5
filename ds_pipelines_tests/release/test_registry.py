"""A release is taken over only if it is what its manifest says, and production computes what it was judged by."""

from __future__ import annotations

import importlib.util
import pickle
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.errors import (
    DatabaseUnreachableError,
    NoChampionError,
    ReleaseRefusedError,
    UnfaithfulReleaseError,
    UnsafeModelError,
)
from ds_pipelines.production.jobs import JOBS, repurchase
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.propose import propose, propose_computation
from ds_pipelines.release.registry import champion, import_release
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.scoring.score import score_day
from ds_pipelines_tests.release.conftest import HELD_OUT, Experiment, Runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings

REPURCHASE, TOP_SELLERS = JOBS["repurchase"], JOBS["top_sellers"]


@pytest.fixture(scope="session")
def manifest_path(runs: Runs, tracked: Settings) -> Path:
    return propose(runs.lightgbm(), REPURCHASE, tracked)


@pytest.fixture
def fresh(tracked: Settings, tmp_path: Path) -> Settings:
    """Settings with an empty folder of manifests; the registry is shared, as production's is."""
    return tracked.model_copy(update={"releases": tmp_path / "releases"})


def offer(manifest: ReleaseManifest, settings: Settings, *, like: ReleaseManifest) -> Path:
    """Offers a manifest whose own digest is right, with the files of another one."""
    offered = settings.registry_artifacts / "offered"
    shutil.copytree(offered / like.digest, offered / manifest.digest, dirs_exist_ok=True)
    path = settings.releases / manifest.file_name
    manifests.dump(manifest, path)
    return path


def versions(settings: Settings, name: str) -> int:
    with closing(postgres.connect("registry", settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM model_versions WHERE name = %s", (name,))
        ((count,),) = cursor.fetchall()
        return int(count)


def test_nothing_is_in_use_before_an_import(settings: Settings) -> None:
    with pytest.raises(NoChampionError, match="of 'nothing'"):
        champion(replace(TOP_SELLERS, name="nothing"), settings)


def test_a_registry_that_does_not_answer_is_named_without_its_url(settings: Settings) -> None:
    url = SecretStr("postgresql://registry:hidden@127.0.0.1:9/registry")
    with pytest.raises(DatabaseUnreachableError, match="DS_REGISTRY_URL") as refused:
        champion(TOP_SELLERS, settings.model_copy(update={"registry_url": url}))
    assert "hidden" not in str(refused.value)


def test_an_imported_release_is_in_use_and_was_shown_to_be_faithful(
    manifest_path: Path, tracked: Settings, experiment: Experiment
) -> None:
    manifest = manifests.load(manifest_path)
    imported = import_release(manifest_path, REPURCHASE, tracked)
    assert imported.faithful is not None
    assert (imported.faithful.rows, imported.faithful.days) == (experiment.held_out.height, 1)
    assert imported.faithful.difference <= 1e-9
    in_use = champion(REPURCHASE, tracked)
    assert (in_use.digest, in_use.manifest) == (manifest.digest, manifest)


def test_a_logistic_regression_is_released_alike(runs: Runs, tracked: Settings) -> None:
    imported = import_release(propose(runs.logistic(), REPURCHASE, tracked), REPURCHASE, tracked)
    assert imported.faithful is not None
    assert champion(REPURCHASE, tracked).digest == imported.champion.digest


def test_the_release_in_use_scores_every_customer_of_a_day(manifest_path: Path, tracked: Settings) -> None:
    import_release(manifest_path, REPURCHASE, tracked)
    used = champion(REPURCHASE, tracked)
    scored = score_day(REPURCHASE, HELD_OUT, tracked, release=used.digest, model=used.model())
    facts = {"release": used.digest, "inputs": scored.inputs, "began": begin(tracked)}
    receipt = deliver(scored.frame, REPURCHASE, HELD_OUT, settings=tracked, **facts)
    with closing(postgres.connect("scoring", tracked)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT customer_id) FROM orders WHERE kind = 'sale' AND "
            "placed_at < (%s::date + 1)::timestamp AT TIME ZONE 'Europe/London'",
            (HELD_OUT,),
        )
        assert cursor.fetchall() == [(receipt.rows,)]
    assert scored.frame["release"].unique().to_list() == [used.digest]


def test_importing_again_changes_nothing(manifest_path: Path, tracked: Settings) -> None:
    first = import_release(manifest_path, REPURCHASE, tracked)
    before = versions(tracked, "repurchase")
    again = import_release(manifest_path, REPURCHASE, tracked)
    assert again.champion == first.champion
    assert again.faithful is None
    assert versions(tracked, "repurchase") == before


def test_importing_an_older_manifest_goes_back_to_it(manifest_path: Path, runs: Runs, tracked: Settings) -> None:
    older = import_release(manifest_path, REPURCHASE, tracked).champion
    newer = import_release(propose(runs.lightgbm(seed=3), REPURCHASE, tracked), REPURCHASE, tracked).champion
    assert champion(REPURCHASE, tracked) == newer
    import_release(manifest_path, REPURCHASE, tracked)
    assert champion(REPURCHASE, tracked) == older


def test_a_computation_is_released_without_a_model(tracked: Settings) -> None:
    imported = import_release(propose_computation(TOP_SELLERS, tracked), TOP_SELLERS, tracked)
    assert champion(TOP_SELLERS, tracked) == imported.champion
    assert imported.champion.model() is None


def test_a_changed_file_among_those_offered_is_refused_by_name(manifest_path: Path, fresh: Settings) -> None:
    original = manifests.load(manifest_path)
    path = offer(changed := original.model_copy(update={"owner": "a"}), fresh, like=original)
    model = fresh.registry_artifacts / "offered" / changed.digest / "model" / "model.lgb"
    model.write_bytes(model.read_bytes().replace(b"leaf_value=", b"leaf_value=9", 1))
    with pytest.raises(ReleaseRefusedError, match=r"model/model\.lgb.*SHA-256"):
        import_release(path, REPURCHASE, fresh)


def test_a_missing_file_among_those_offered_is_refused_by_name(manifest_path: Path, fresh: Settings) -> None:
    original = manifests.load(manifest_path)
    path = offer(changed := original.model_copy(update={"owner": "b"}), fresh, like=original)
    (fresh.registry_artifacts / "offered" / changed.digest / "evidence" / "inputs.json").unlink()
    with pytest.raises(ReleaseRefusedError, match=r"evidence/inputs\.json"):
        import_release(path, REPURCHASE, fresh)


class Intruder:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (type(self.trace).touch, (self.trace,))


PICKLES = {
    "named as one": ("lightgbm", "model.pkl", ReleaseRefusedError),
    "named as LightGBM's text": ("lightgbm", "model.lgb", UnsafeModelError),
    "named as skops": ("skops", "model.skops", UnsafeModelError),
}


@pytest.mark.parametrize("case", PICKLES)
def test_a_pickle_whose_hash_is_right_is_refused_by_name_and_not_loaded(
    case: str, manifest_path: Path, fresh: Settings, runs: Runs, tmp_path: Path
) -> None:
    form, name, refusal = PICKLES[case]
    content = pickle.dumps(Intruder(tmp_path / "trace"))
    original = manifests.load(manifest_path)
    card = runs.card(form, name, content, "run")
    card = card.model_copy(update={"files": card.files[1:]})
    path = offer(changed := original.model_copy(update={"model": card}), fresh, like=original)
    (fresh.registry_artifacts / "offered" / changed.digest / "model" / name).write_bytes(content)
    with pytest.raises(refusal, match=name.replace(".", r"\.")):
        import_release(path, REPURCHASE, fresh)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("answer", ["no signal", "undecided", "invalid"])
def test_a_release_without_signal_is_refused(answer: Any, manifest_path: Path, fresh: Settings) -> None:
    original = manifests.load(manifest_path)
    assert original.evidence is not None
    evidence = original.evidence.model_copy(update={"answer": answer})
    path = offer(original.model_copy(update={"evidence": evidence}), fresh, like=original)
    with pytest.raises(ReleaseRefusedError, match=f"signal, not {answer}"):
        import_release(path, REPURCHASE, fresh)


@pytest.fixture
def own_job(tmp_path: Path) -> Callable[[str], ScoringJob]:
    """Writes a variant of the module of `repurchase` to a file of its own, and gives its job."""

    def made(text: str) -> ScoringJob:
        path = tmp_path / "variant.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("variant", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        job: ScoringJob = module.JOB
        return replace(job, name="variant")

    return made


SOURCE = Path(repurchase.__file__).read_text()


def test_changed_code_is_refused_by_file_at_the_import(
    own_job: Callable[[str], ScoringJob], runs: Runs, fresh: Settings
) -> None:
    path = propose(runs.lightgbm(), own_job(SOURCE), fresh)
    changed = own_job(SOURCE + "\n# reviewed by nobody\n")
    with pytest.raises(ReleaseRefusedError, match=r"variant\.py.*the code that was released"):
        import_release(path, changed, fresh)


def test_production_scores_with_the_module_that_was_released_whatever_became_of_it(
    own_job: Callable[[str], ScoringJob], runs: Runs, fresh: Settings
) -> None:
    text = SOURCE.replace('name="repurchase"', 'name="kept"')
    job = replace(own_job(text), name="kept")
    import_release(propose(runs.lightgbm(), job, fresh), job, fresh)
    changed = replace(own_job(text.replace("timedelta(minutes=10)", "timedelta(minutes=99)")), name="kept")
    used = champion(changed, fresh)
    assert used.job.budget == job.budget != changed.budget
    released = Path(used.job.compute.__code__.co_filename)
    assert released == used.folder / "code" / "variant.py"
    assert released.read_text() == text


def test_a_changed_contract_is_refused(manifest_path: Path, tracked: Settings) -> None:
    wider = replace(REPURCHASE, columns=(*REPURCHASE.columns[:2], replace(REPURCHASE.columns[2], most=2)))
    with pytest.raises(ReleaseRefusedError, match="its contract"):
        import_release(manifest_path, wider, tracked)


UNFAITHFUL = {
    "another window": ('(pl.col("on") > day - MONTH)', '(pl.col("on") >= day - MONTH)', "orders_30d"),
    "days of another zone": ("convert_time_zone(zone)", 'convert_time_zone("Pacific/Auckland")', "its population"),
    "returns as purchases": ('pl.col("quantity") > 0', 'pl.col("quantity") != 0', "spend_total"),
    "another population": ('pl.col("kind") == "sale"', 'pl.col("kind") == "return"', "its population"),
    "another name": ('"orders_90d",', 'pl.col("orders_90d").alias("orders_3m"),', "its features"),
}


@pytest.mark.parametrize("case", UNFAITHFUL)
def test_features_that_differ_from_the_experiments_are_refused_by_name(
    case: str, own_job: Callable[[str], ScoringJob], runs: Runs, fresh: Settings
) -> None:
    old, new, named = UNFAITHFUL[case]
    assert old in SOURCE
    job = own_job(SOURCE.replace(old, new))
    path = propose(runs.lightgbm(), job, fresh)
    with pytest.raises(UnfaithfulReleaseError, match=named):
        import_release(path, job, fresh)


def test_scores_that_the_model_does_not_give_are_refused(runs: Runs, fresh: Settings, experiment: Experiment) -> None:
    flattered = experiment.held_out.with_columns(score=pl.lit(0.9))
    path = propose(runs.lightgbm(predictions=flattered), REPURCHASE, fresh)
    with pytest.raises(UnfaithfulReleaseError, match="the score on 2025-05-01"):
        import_release(path, REPURCHASE, fresh)


def test_a_refused_release_leaves_the_one_in_use(
    manifest_path: Path, runs: Runs, fresh: Settings, experiment: Experiment
) -> None:
    used = import_release(manifest_path, REPURCHASE, fresh).champion
    flattered = experiment.held_out.with_columns(score=pl.lit(0.8))
    with pytest.raises(UnfaithfulReleaseError):
        import_release(propose(runs.lightgbm(predictions=flattered), REPURCHASE, fresh), REPURCHASE, fresh)
    assert champion(REPURCHASE, fresh) == used


def test_a_file_changed_after_the_import_is_refused_before_it_is_used(
    runs: Runs, fresh: Settings, own_job: Callable[[str], ScoringJob]
) -> None:
    job = own_job(SOURCE + "\n# to be tampered with\n")
    used = import_release(propose(runs.lightgbm(), job, fresh), job, fresh).champion
    model = used.folder / "model" / "model.lgb"
    model.write_bytes(model.read_bytes() + b"\n")
    with pytest.raises(ReleaseRefusedError, match=r"model/model\.lgb"):
        champion(job, fresh)
    (used.folder / "model" / "helper.py").write_text("")
    with pytest.raises(ReleaseRefusedError, match=r"model/helper\.py"):
        champion(job, fresh)
