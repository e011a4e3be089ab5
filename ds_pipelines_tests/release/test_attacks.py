"""Twelve attacks and mistakes: each is stopped at its gate, by name, before anything of the model could run."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import re
import shutil
import socket
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from ds_pipelines import postgres
from ds_pipelines.errors import (
    LedgerBrokenError,
    ManifestError,
    NotApprovedError,
    SelfApprovalError,
)
from ds_pipelines.production.jobs import JOBS, repurchase
from ds_pipelines.release import approval, registered
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.gates.confined import run
from ds_pipelines.release.gates.every import hearing
from ds_pipelines.release.ledger import Ledger
from ds_pipelines.release.manifest import REVIEW, code_of, contract_of
from ds_pipelines.release.propose import propose
from ds_pipelines.release.registry import import_release
from ds_pipelines_tests.release.conftest import signed_review
from ds_pipelines_tests.release.people import ANA, BEN, CAI, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ds_pipelines.evidence import GateResult, ModelFile
    from ds_pipelines.release.manifest import ReleaseManifest
    from ds_pipelines.scoring.job import ScoringJob
    from ds_pipelines.settings import Settings
    from ds_pipelines_tests.release.conftest import Runs

REPURCHASE = JOBS["repurchase"]
LOADING = {"budget", "delivery", "faithful", "backtest"}
"""The gates that load the model, in the confined process."""
SOURCE = Path(repurchase.__file__).read_text()
KNOWN_BY_THEN = '(pl.col("customer_id").is_not_null(), pl.col("on") <= day, pl.col("on") > day - YEAR)'
NUMBERS = count(1)


@pytest.fixture(scope="module")
def honest(runs: Runs, tracked: Settings) -> ReleaseManifest:
    """A release that any gate would let through."""
    return manifests.load(propose(runs.lightgbm(seed=4), REPURCHASE, tracked, by=ANA.user))


class Offer:
    """A release like the honest one but for what an attacker, or a mistake, has changed; its own digest is right."""

    def __init__(self, honest: ReleaseManifest, settings: Settings) -> None:
        self.manifest = honest.model_copy(update={"owner": f"team:attack-{next(NUMBERS)}"})
        self.settings = settings
        self._like = settings.registry_artifacts / "offered" / honest.digest

    @property
    def folder(self) -> Path:
        return self.settings.registry_artifacts / "offered" / self.manifest.digest

    def changed(self, **changes: Any) -> Offer:
        self.manifest = self.manifest.model_copy(update=changes)
        return self

    def with_model(self, content: bytes, **card: Any) -> Offer:
        assert self.manifest.model is not None
        [file] = self.manifest.model.files
        changed = _file(file, content)
        return self.changed(model=self.manifest.model.model_copy(update={"files": (changed,), **card}))

    def with_evidence(self, path: str, content: bytes) -> Offer:
        assert self.manifest.evidence is not None
        files = tuple(_file(each, content) if each.path == path else each for each in self.manifest.evidence.files)
        return self.changed(evidence=self.manifest.evidence.model_copy(update={"files": files}))

    def laid_out(self, **files: bytes) -> Offer:
        """Puts the files and the manifest in place; the ledger hears of it, as from an author."""
        shutil.copytree(self._like, self.folder, dirs_exist_ok=True)
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        manifests.dump(self.manifest, self.settings.releases / self.manifest.file_name)
        Ledger(self.settings).append(
            "proposed", job=self.manifest.name, release=self.manifest.digest, actor=ANA.user, evidence={}
        )
        return self


def _file(file: ModelFile, content: bytes) -> ModelFile:
    return file.model_copy(update={"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})


@pytest.fixture
def fresh(tracked: Settings, tmp_path: Path) -> Settings:
    """Acceptance, with a folder of manifests of its own."""
    return tracked.model_copy(update={"releases": tmp_path / "releases"}).in_acceptance()


@pytest.fixture
def offer(honest: ReleaseManifest, fresh: Settings) -> Offer:
    return Offer(honest, fresh)


def refusals(settings: Settings, job: ScoringJob = REPURCHASE) -> list[GateResult]:
    """The gates that refuse, in their order; the ledger says so too, and no gate that loads the model was asked."""
    with hearing(job, settings, by=ANA.user) as heard:
        for _ in heard.results():
            pass
    refusing = [each for each in heard.answers if not each.passed]
    assert refusing
    assert not LOADING & {each.gate for each in heard.answers}
    last = Ledger(settings).entries(job.name, heard.case.manifest.digest)[-1]
    assert (last.action, last.because) == ("refused", f"refused at {', '.join(each.gate for each in refusing)}")
    return refusing


def stopped_at(settings: Settings, job: ScoringJob = REPURCHASE) -> str:
    return refusals(settings, job)[0].gate


def variant(folder: Path, text: str) -> ScoringJob:
    """The job of a module of its own."""
    path = folder / "variant.py"
    path.write_text(text)
    specification = importlib.util.spec_from_file_location("variant", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    job: ScoringJob = module.JOB
    return job


# ---------------------------------------------------------------- the files


def test_a_flipped_byte_is_stopped_at_hashes(offer: Offer) -> None:
    model = offer.laid_out().folder / "model" / "model.lgb"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    [first, *_] = refusals(offer.settings)
    assert (first.gate, first.words) == ("hashes", "model/model.lgb: not what was offered")


def test_a_swapped_model_is_stopped_at_hashes(offer: Offer, runs: Runs, tracked: Settings) -> None:
    other = manifests.load(propose(runs.lightgbm(seed=5), REPURCHASE, tracked, by=ANA.user))
    good = (tracked.registry_artifacts / "offered" / other.digest / "model" / "model.lgb").read_bytes()
    offer.laid_out(**{"model/model.lgb": good})
    assert stopped_at(offer.settings) == "hashes"


def test_a_swapped_model_with_a_manifest_to_fit_it_was_offered_by_nobody(offer: Offer, fresh: Settings) -> None:
    offer.changed(owner="team:sneaked")
    shutil.copytree(offer._like, offer.folder, dirs_exist_ok=True)
    manifests.dump(offer.manifest, fresh.releases / offer.manifest.file_name)
    [refused] = refusals(fresh)
    assert refused.gate == "evidence"
    assert "nobody offered it" in refused.words


class Intruder:
    """Leaves a trace if anybody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("form", ["lightgbm", "skops"])
def test_a_pickle_whose_hash_is_right_is_stopped_at_format(form: str, offer: Offer, tmp_path: Path) -> None:
    content = pickle.dumps(Intruder(tmp_path / "trace"))
    name = {"lightgbm": "model.lgb", "skops": "model.skops"}[form]
    offer.with_model(content, format=form)
    assert offer.manifest.model is not None
    [file] = offer.manifest.model.files
    renamed = file.model_copy(update={"path": name})
    offer.changed(model=offer.manifest.model.model_copy(update={"files": (renamed,)}))
    offer.laid_out(**{f"model/{name}": content})
    if form == "skops":
        (offer.folder / "model" / "model.lgb").unlink()
    [refused] = refusals(offer.settings)
    assert refused.gate == "format"
    assert not (tmp_path / "trace").exists()


def test_a_manifest_that_declares_pickle_is_no_manifest(offer: Offer) -> None:
    assert offer.manifest.model is not None
    offer.changed(model=offer.manifest.model.model_copy(update={"format": "pickle"})).laid_out()
    with pytest.raises(ManifestError, match=r"model\.format"):
        stopped_at(offer.settings)


# ---------------------------------------------------------------- what was promised and shown


@pytest.fixture
def in_use(honest: ReleaseManifest, tracked: Settings) -> Iterator[None]:
    """The honest release is the champion."""
    import_release(tracked.releases / honest.file_name, REPURCHASE, tracked)
    yield
    registered.take_out_of_use("repurchase", tracked)


NARROWER = {
    "a column less": lambda columns: tuple(each for each in columns if each.name != "decile"),
    "another type": lambda columns: tuple(replace(each, type="integer") if each.name == "decile" else each
                                          for each in columns),
    "wider bounds": lambda columns: tuple(replace(each, most=2) if each.name == "score" else each for each in columns),
}  # fmt: skip


@pytest.mark.parametrize("case", NARROWER)
@pytest.mark.usefixtures("in_use")
def test_a_narrowed_contract_is_stopped_at_contract(case: str, offer: Offer) -> None:
    job = replace(REPURCHASE, columns=NARROWER[case](REPURCHASE.columns))
    offer.changed(contract=contract_of(job)).laid_out()
    [refused] = refusals(offer.settings, job)
    assert refused.gate == "contract"
    assert "narrower than what consumers have" in refused.words


def test_stale_evidence_is_stopped_at_evidence(offer: Offer) -> None:
    assert offer.manifest.model is not None
    assert offer.manifest.review is not None
    review = signed_review(str(offer.manifest.run_id), b"the verdict of last year", offer.manifest.model)
    content = review.model_dump_json().encode()
    told = offer.manifest.review.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    offer.with_evidence(REVIEW, content).changed(review=told).laid_out(**{REVIEW: content})
    [refused] = refusals(offer.settings)
    assert refused.gate == "evidence"
    assert "stale: the methodology review is of another verdict" in refused.words


def test_evidence_of_long_ago_is_stopped_at_evidence(offer: Offer) -> None:
    offer.laid_out()
    assert offer.settings.today is not None
    later = offer.settings.model_copy(update={"today": offer.settings.today.replace(year=2028)})
    [refused] = refusals(later)
    assert refused.gate == "evidence"
    assert "stale: the run read nothing of the last" in refused.words


# ---------------------------------------------------------------- the job


def test_a_feature_that_knows_the_future_is_stopped_at_no_leak(offer: Offer, tmp_path: Path) -> None:
    assert KNOWN_BY_THEN in SOURCE
    job = variant(tmp_path, SOURCE.replace(KNOWN_BY_THEN, '(pl.col("customer_id").is_not_null(),)'))
    offer.changed(code=code_of(job)).laid_out(**{"code/variant.py": (tmp_path / "variant.py").read_bytes()})
    _without_the_honest_module(offer)
    [refused] = refusals(offer.settings, job)
    assert refused.gate == "no leak"
    assert "it knows the future" in refused.words


def test_a_job_without_a_test_is_stopped_at_tests(offer: Offer, tmp_path: Path) -> None:
    untried = "".join(["chu", "rn"])  # no file of tests may say its name
    job = variant(tmp_path, SOURCE.replace('name="repurchase"', f'name="{untried}"'))
    offer.changed(name=untried, code=code_of(job))
    offer.laid_out(**{"code/variant.py": (tmp_path / "variant.py").read_bytes()})
    _without_the_honest_module(offer)
    [refused] = refusals(offer.settings, job)
    assert (refused.gate, refused.words) == ("tests", f"no test takes {untried}")


def _without_the_honest_module(offer: Offer) -> None:
    shutil.rmtree(offer.folder / "code" / "production")


def test_a_slow_model_is_stopped_at_budget_and_at_nothing_that_trusts_it(offer: Offer) -> None:
    slow = inflated((offer._like / "model" / "model.lgb").read_text(), 2_000)
    offer.with_model(slow).changed(budget_seconds=2).laid_out(**{"model/model.lgb": slow})
    with hearing(REPURCHASE, offer.settings, by=ANA.user) as heard:
        *before, last = heard.results()
    assert all(each.passed for each in before)
    assert (last.gate, last.passed) == ("budget", False)
    assert last.words.startswith("time: it needed")
    # Ended at its cap it could not tell the parts; otherwise the model's were too long by themselves.
    assert last.evidence.get("loading", 0) + last.evidence.get("scoring", last.evidence["process_seconds"]) > 2


def inflated(text: str, times: int) -> bytes:
    """A model with many times the trees, all of them like the first ones."""
    head, _, rest = text.partition("\nTree=0\n")
    trees, _, foot = f"Tree=0\n{rest}".partition("end of trees")
    blocks = [block for block in re.split(r"(?=^Tree=\d+$)", trees, flags=re.MULTILINE) if block]
    bodies = [block.partition("\n")[2] for block in blocks]
    many = [f"Tree={number}\n{bodies[number % len(bodies)]}" for number in range(len(bodies) * times)]
    sizes = " ".join(str(len(block)) for block in many)
    head = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", head, flags=re.MULTILINE)
    return f"{head}\n{''.join(many)}end of trees{foot}".encode()


PROBE = '''

def _probe(tables, day, zone):
    """Tries what a model that is more than data would try."""
    import socket
    from contextlib import suppress
    from pathlib import Path

    import psycopg2

    from ds_pipelines.errors import ReleaseRefusedError

    reached = []
    with suppress(OSError):
        Path({secret!r}).read_bytes()
        reached.append("a secret of the home")
    with suppress(OSError):
        Path({place!r}).write_text("was here")
        reached.append("a folder of others")
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", {port}), timeout=2)
        reached.append("a port")
    for database in ("serving", "serving_acceptance"):
        with suppress(psycopg2.Error):
            psycopg2.connect({url!r}.format(database)).close()
            reached.append(database)
    raise ReleaseRefusedError("probe", " and ".join(reached), "only that")


JOB = __import__("dataclasses").replace(JOB, compute=_probe)
'''


def test_what_loads_the_model_reaches_no_secret_no_folder_no_port_and_no_database_of_others(
    offer: Offer, tmp_path: Path
) -> None:
    secrets = offer.settings.secrets / "postgres" / "production"
    assert (secrets / "scoring.pgpass").read_bytes()
    sockets = postgres.cluster("production", offer.settings).sockets
    copied = "{{HOME}}/secrets/acceptance.pgpass"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = SOURCE + PROBE.format(
            secret=str(secrets / "scoring.pgpass"), place=str(tmp_path / "trace"), port=listener.getsockname()[1],
            url=f"postgresql://acceptance@/{{}}?host={sockets}&passfile={copied}",
        )  # fmt: skip
        text = text.replace("'.format(database)", "'.format(database).replace('{HOME}', str(Path.home()))")
        (tmp_path / "variant.py").write_text(text)
        job = variant(tmp_path, text)
        offer.changed(code=code_of(job)).laid_out(**{"code/variant.py": text.encode()})
        day = str(offer.settings.last_extractable_day())
        with hearing(job, offer.settings, by=ANA.user) as heard:
            told = run(heard.case, "day", seconds=120, memory=2 << 30, day=day).told
    assert "because of serving_acceptance: expected only that" in told["refused"]


# ---------------------------------------------------------------- where, and who


def test_development_is_stopped_at_environment(offer: Offer) -> None:
    offer.laid_out()
    [refused] = refusals(offer.settings.model_copy(update={"environment": "development"}))
    assert refused.gate == "environment"
    assert "this is development" in refused.words
    assert "would deliver into serving" in refused.words


def test_acceptance_that_would_deliver_to_production_is_stopped_at_environment(offer: Offer, tracked: Settings) -> None:
    offer.laid_out()
    production = SecretStr(postgres.url("serving", tracked))
    assert stopped_at(offer.settings.model_copy(update={"acceptance_url": production})) == "environment"


def test_an_author_who_approves_is_stopped_at_the_approval(offer: Offer) -> None:
    manifest = Way(offer.laid_out().settings).accepted(offer.manifest)
    with pytest.raises(SelfApprovalError, match="ana"):
        approval.approve(manifest, ANA, offer.settings)
    assert "approved" not in {each.action for each in Ledger(offer.settings).entries(release=manifest.digest)}


def test_a_replayed_approval_is_stopped_at_the_deployment(offer: Offer, honest: ReleaseManifest) -> None:
    way = Way(offer.laid_out().settings)
    way.approved(offer.manifest)
    replayed = next(
        each for each in Ledger(offer.settings).entries(release=offer.manifest.digest) if each.action == "approved"
    )
    other = way.accepted(Offer(honest, offer.settings).laid_out().manifest)
    Ledger(offer.settings).append(
        "approved", job=other.name, release=other.digest, actor=BEN.user, evidence=replayed.evidence
    )
    with pytest.raises(NotApprovedError, match="an approval of what the gates let through"):
        approval.deploy(other, REPURCHASE, CAI, offer.settings)


def test_an_edited_ledger_is_stopped_before_the_first_gate(offer: Offer) -> None:
    offer.laid_out()
    ledger = Ledger(offer.settings)
    last = ledger.entries()[-1]
    with pytest.raises(LedgerBrokenError, match=f"entry {last.number}"), _edited(last.number, offer.settings):
        stopped_at(offer.settings)
    assert ledger.verify()[-1] == last


class _edited:  # noqa: N801 - reads as what it does
    """For a while somebody else stands in an entry; only the owner can, with the triggers off."""

    def __init__(self, number: int, settings: Settings) -> None:
        self._number, self._settings = number, settings

    def __enter__(self) -> None:
        self._set("nobody")

    def __exit__(self, *_: object) -> None:
        self._set(ANA.user)

    def _set(self, actor: str) -> None:
        with closing(postgres.connect("ledger_owner", self._settings)) as connection, connection:
            cursor = connection.cursor()
            cursor.execute("ALTER TABLE entries DISABLE TRIGGER append_only")
            cursor.execute("UPDATE entries SET actor = %s WHERE number = %s", (actor, self._number))
            cursor.execute("ALTER TABLE entries ENABLE TRIGGER append_only")
