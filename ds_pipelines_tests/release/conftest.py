"""What an experiment leaves behind: published snapshots, and runs in MLflow with a model that was trained on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from ds_pipelines import postgres
from ds_pipelines.evidence import (
    Assumption,
    DummyBaseline,
    FamilyResult,
    Feature,
    ModelCard,
    ModelFile,
    Reproduction,
    Review,
    RunInput,
    RunRecord,
    Verdict,
)
from ds_pipelines.production.jobs import JOBS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ds_pipelines.settings import Settings

REPURCHASE = JOBS["repurchase"]
TRAINED_ON, HELD_OUT = date(2025, 3, 31), date(2025, 5, 1)
TABLES = ("orders", "order_lines", "customers")


@dataclass(frozen=True)
class Experiment:
    """What the runs of one experiment have in common."""

    inputs: tuple[RunInput, ...]
    features: pl.DataFrame
    """Of the day that was trained on, with `bought`."""
    held_out: pl.DataFrame

    @property
    def names(self) -> list[str]:
        return [name for name in self.held_out.columns if name not in {"customer_id", "as_of"}]


@pytest.fixture(scope="session")
def tracked(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with MLflow's tracking database in place of its server, and a folder of manifests of their own."""
    tracking = postgres.sqlalchemy_url(postgres.url("mlflow", settings))
    releases = tmp_path_factory.mktemp("releases")
    return settings.model_copy(update={"tracking_address": tracking, "releases": releases})


@pytest.fixture(scope="session")
def experiment(tracked: Settings) -> Experiment:
    """Snapshots until the day after the held-out one, and what an experiment reads from them."""
    return publish_and_read(tracked)


def publish_and_read(tracked: Settings) -> Experiment:
    """As `experiment`, in any installation."""
    from ds_pipelines.extract import publish
    from ds_pipelines.snapshots.store import SnapshotStore

    manifests = [publish.extract_state("customers", tracked)]
    for table in ("orders", "order_lines"):
        manifests += publish.extract_days(table, tracked.first_day, HELD_OUT + timedelta(days=1), tracked)
    store = SnapshotStore(tracked.snapshots)
    tables = {
        table: pl.scan_parquet([store.path(each.digest) for each in manifests if each.table == table])
        for table in TABLES
    }
    known = REPURCHASE.compute(tables, TRAINED_ON, tracked.zone).sort("customer_id").collect()
    later = tables["orders"].filter(pl.col("placed_at") >= tracked.bounds(TRAINED_ON)[1]).collect()["customer_id"]
    held_out = REPURCHASE.compute(tables, HELD_OUT, tracked.zone).sort("customer_id").collect()
    return Experiment(
        inputs=tuple(RunInput(table=each.table, day=each.day, digest=each.digest) for each in manifests),
        features=known.with_columns(bought=pl.col("customer_id").is_in(later.implode())),
        held_out=held_out.select("customer_id", pl.lit(HELD_OUT).alias("as_of"), pl.exclude("customer_id")),
    )


@dataclass(frozen=True)
class Runs:
    """Makes runs of the experiment in MLflow."""

    experiment: Experiment
    settings: Settings
    folder: Path

    def lightgbm(self, seed: int = 1, **changes: Any) -> str:
        """A run that kept a LightGBM model; gives its id."""
        import lightgbm

        inputs = self.experiment.features.select(self.experiment.names).to_numpy()
        options = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": seed}
        options["learning_rate"] = 0.1 / seed
        data = lightgbm.Dataset(inputs, self.experiment.features["bought"].to_numpy())
        booster = lightgbm.train(options, data, num_boost_round=10)
        scores = booster.predict(self.experiment.held_out.select(self.experiment.names).to_numpy())
        return self.run("lightgbm", "model.lgb", booster.model_to_string().encode(), scores, **changes)

    def logistic(self, **changes: Any) -> str:
        """A run that kept a logistic regression; gives its id."""
        import skops.io
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        inputs = self.experiment.features.select(self.experiment.names).to_numpy()
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        pipeline.fit(inputs, self.experiment.features["bought"].to_numpy().astype(int))
        scores = pipeline.predict_proba(self.experiment.held_out.select(self.experiment.names).to_numpy())[:, 1]
        return self.run("skops", "model.skops", skops.io.dumps(pipeline), scores, **changes)

    def run(
        self, form: Any, name: str, content: bytes, scores: Any, *, answer: Any = "signal", predictions: Any = None,
        inputs: tuple[RunInput, ...] | None = None, review: Mapping[str, Any] | None = MappingProxyType({}),
        again: Mapping[str, Any] | None = MappingProxyType({}), **record: Any,
    ) -> str:  # fmt: skip
        """A run with these files.

        `answer`, `review` and `again` None leave out the verdict, the methodology review, the reproduction; otherwise
        they change it. The others replace what was held out or read, or change the run's own record.
        """
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.settings.tracking_base)
        if (found := client.get_experiment_by_name("repurchase")) is None:
            experiment_id = client.create_experiment("repurchase", artifact_location=self.folder.as_uri())
        else:
            experiment_id = found.experiment_id
        run_id = str(client.create_run(experiment_id).info.run_id)
        if predictions is None:
            predictions = self.experiment.held_out.with_columns(score=pl.Series(scores))
        files = {
            f"model/{name}": content,
            "model/MLmodel": f"run_id: {run_id}\n".encode(),
            "evidence/model.json": self.card(form, name, content, run_id).model_dump_json().encode(),
            "evidence/run.json": self.record(run_id, inputs, **record).model_dump_json().encode(),
        }
        if answer is not None:
            files["evidence/verdict.json"] = verdict(answer).model_dump_json().encode()
        if review is not None:
            signed = signed_review(
                run_id, files["evidence/verdict.json"] if answer else b"", self.card(form, name, content, run_id)
            )
            files["evidence/review.json"] = signed.model_copy(update=dict(review)).model_dump_json().encode()
        if again is not None:
            files["evidence/reproduction.json"] = (
                reproduction(run_id).model_copy(update=dict(again)).model_dump_json().encode()
            )
        local = self.folder / "local" / run_id
        for path, data in files.items():
            (local / path).parent.mkdir(parents=True, exist_ok=True)
            (local / path).write_bytes(data)
        predictions.write_parquet(local / "evidence/predictions.parquet")
        client.log_artifacts(run_id, str(local))
        client.set_terminated(run_id)
        return run_id

    def card(self, form: Any, name: str, content: bytes, run_id: str) -> ModelCard:
        beside = f"run_id: {run_id}\n".encode()
        return ModelCard(
            name="repurchase",
            format=form,
            artifact="model",
            files=tuple(
                ModelFile(path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
                for path, data in (("MLmodel", beside), (name, content))
            ),
            features=tuple(
                Feature(name=name, dtype=str(self.experiment.held_out.schema[name])) for name in self.experiment.names
            ),
            target="an order within 30 days",
            entity="customer_id",
            predictions="evidence/predictions.parquet",
        )

    def record(self, run_id: str, inputs: tuple[RunInput, ...] | None = None, **changes: Any) -> RunRecord:
        made = RunRecord(
            run_id=run_id,
            experiment="repurchase",
            script="repurchase.py",
            code_digest="0" * 64,
            inputs=inputs or self.experiment.inputs,
            parameters={},
            metrics={},
            verdict="signal",
            started_at=datetime.now(UTC),
            seconds=1.0,
            url="http://127.0.0.1/",
        )
        return made.model_copy(update=changes)


@pytest.fixture(scope="module", autouse=True)
def nothing_in_use(settings: Settings) -> None:
    """A module begins with an empty registry: it is one for all tests, and their files lie in different places."""
    from mlflow import MlflowClient

    registry = MlflowClient(postgres.sqlalchemy_url(postgres.url("registry", settings)))
    for model in registry.search_registered_models():
        registry.delete_registered_model(model.name)


@pytest.fixture(scope="session")
def runs(experiment: Experiment, tracked: Settings, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(experiment, tracked, tmp_path_factory.mktemp("artifacts"))


def signed_review(run_id: str, verdict: bytes, card: ModelCard) -> Review:
    """A methodology review that somebody signed."""
    return Review(
        run_id=run_id,
        method="trees",
        assumptions=(Assumption(key="known_in_time", sentence="Known in time.", standing="open", evidence="Ask."),),
        answers={"known_in_time": "looked at each feature"},
        signed_by="mia",
        signed_at=datetime.now(UTC),
        verdict_sha256=hashlib.sha256(verdict).hexdigest(),
        model_sha256=hashlib.sha256("".join(sorted(file.sha256 for file in card.files)).encode()).hexdigest(),
    )


def reproduction(run_id: str) -> Reproduction:
    """A repetition that gave the same."""
    return Reproduction(
        run_id=run_id,
        experiment="repurchase",
        answer="identical",
        words="As before.",
        tolerance=1e-9,
        at=datetime.now(UTC),
        seconds=1.0,
    )


def verdict(answer: Any) -> Verdict:
    """A verdict with this answer."""
    return Verdict(
        answer=answer,
        question="Who buys again within 30 days?",
        words="As judged.",
        statistic="max ROC AUC",
        p=0.0005,
        level=0.01,
        resolution=0.0005,
        permutations=2000,
        best="lightgbm",
        effect=0.21,
        families=(
            FamilyResult(name="logistic", auc=0.69, low=0.61, high=0.76, log_loss=0.5, brier=0.2, skill=0.05),
            FamilyResult(name="lightgbm", auc=0.71, low=0.64, high=0.78, log_loss=0.5, brier=0.2, skill=0.06),
        ),
        confidence=0.99,
        baseline=DummyBaseline(prevalence=0.3, log_loss=0.6, brier=0.21),
        smallest_effect=0.02,
        material_effect=0.1,
        rows=180,
        rows_given=180,
        positives=60,
        blocks=1,
        seed=0,
        assumptions=(),
    )
