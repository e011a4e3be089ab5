"""Whatever engine scores a day, the rows are the same to the last bit, in bounded batches and in the key's order."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from ds_pipelines.errors import EngineUnfitError, UnfitForModelError
from ds_pipelines.evidence import Feature, ModelCard, ModelFile
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.scoring import engines, model, score
from ds_pipelines.scoring.engines import batch
from ds_pipelines.scoring.folder import Folder
from ds_pipelines.scoring.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.scoring.model import Model
    from ds_pipelines.settings import Settings

REPURCHASE, TOP_SELLERS = JOBS["repurchase"], JOBS["top_sellers"]
DAY = date(2025, 7, 14)
ROWS, BATCH = 2_500, 400
NAMES = ("recency_days", "orders_total", "spend_total")


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of features of several batches, in no order."""
    monkeypatch.setattr(batch, "ROWS", BATCH)
    rng = np.random.default_rng(5)
    numbers = pl.DataFrame(rng.normal(size=(ROWS, 3)), schema=list(NAMES))
    path = tmp_path / "features.parquet"
    numbers.insert_column(0, pl.Series("customer_id", rng.permutation(ROWS))).write_parquet(path)
    return path


def saved(form: model.Format, content: bytes) -> Model:
    card = ModelCard(
        name="repurchase",
        format=form,
        artifact="model",
        files=(ModelFile(path=model.MODEL_FILE[form], sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)),),
        features=tuple(Feature(name=name, dtype="Float64") for name in NAMES),
        target="an order within 30 days",
        entity="customer_id",
        predictions="evidence/predictions.parquet",
    )
    return model.restored(card, content)


def logistic() -> Model:
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(6)
    rows = rng.normal(size=(300, 3))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, (rows[:, 0] > 0.2).astype(int))
    return saved("skops", bytes(skops.io.dumps(pipeline)))


def boosted() -> Model:
    import lightgbm

    rng = np.random.default_rng(7)
    rows = rng.normal(size=(300, 3))
    options = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 1}
    data = lightgbm.Dataset(rows, (rows[:, 0] > 0.2).astype(int))
    booster = lightgbm.train(options, data, num_boost_round=5)
    return saved("lightgbm", str(booster.model_to_string()).encode())


MODELS: dict[str, Callable[[], Model]] = {"a logistic regression": logistic, "LightGBM": boosted}


def scored(features: Path, using: Model, settings: Settings, folder: Path) -> tuple[pl.DataFrame, tuple[float, ...]]:
    folder.mkdir()
    spill, least = score.scores_of(features, REPURCHASE, using, settings, folder)
    return pl.concat(spill.pieces()), least


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_scored_in_batches_is_scored_as_a_whole(
    kind: str, features: Path, tmp_path: Path, settings: Settings
) -> None:
    using = MODELS[kind]()
    found, least = scored(features, using, settings, tmp_path / "local")
    whole = pl.read_parquet(features).sort("customer_id")
    assert found["customer_id"].to_list() == list(range(ROWS))
    assert np.array_equal(found["score"].to_numpy(), using.predict(whole.drop("customer_id")))
    assert list(least) == found["score"].sort().gather([ROWS * at // 10 for at in range(1, 10)]).to_list()


def test_two_workers_of_ray_give_the_same_bytes_and_refuse_the_same(
    features: Path, tmp_path: Path, settings: Settings
) -> None:
    ray: Any = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    on_ray = settings.model_copy(update={"engines": {"repurchase": "ray"}})
    unfit = tmp_path / "unfit.parquet"
    pl.read_parquet(features).with_columns(spend_total=float("nan")).write_parquet(unfit)
    using = boosted()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    try:
        there = scored(features, using, on_ray, tmp_path / "ray")
        with pytest.raises(UnfitForModelError) as refused:
            scored(unfit, using, on_ray, tmp_path / "refused")
    finally:
        ray.shutdown()
    here = scored(features, using, settings, tmp_path / "local")
    assert here[0].equals(there[0])
    assert here[0]["score"].to_numpy().tobytes() == there[0]["score"].to_numpy().tobytes()
    assert here[1] == there[1]
    assert "nan" not in str(refused.value).lower()


def test_the_settings_choose_an_engine_for_a_job(settings: Settings) -> None:
    from ds_pipelines.scoring.engines import local, ray

    chosen = settings.model_copy(update={"engines": {"repurchase": "ray"}})
    assert engines.of(REPURCHASE, settings) is local.scores
    assert engines.of(REPURCHASE, chosen) is ray.scores
    assert engines.of(dataclasses.replace(REPURCHASE, name="churn"), chosen) is local.scores


def test_an_engine_for_a_computation_is_refused(settings: Settings) -> None:
    chosen = settings.model_copy(update={"engines": {"top_sellers": "ray"}})
    with pytest.raises(EngineUnfitError, match="top_sellers"):
        score.score_day(TOP_SELLERS, DAY, chosen, release="r")


def test_rows_pass_in_batches_that_make_the_frame(
    features: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_order = tmp_path / "in-order.parquet"
    pl.read_parquet(features).sort("customer_id").write_parquet(in_order)
    (tmp_path / "work").mkdir()
    spill, _ = score.scores_of(in_order, REPURCHASE, boosted(), settings, tmp_path / "work")
    assert [piece.height for piece in spill.pieces()] == [BATCH] * (ROWS // BATCH) + [ROWS % BATCH]
    with score.score_day(TOP_SELLERS, DAY, settings, release="r") as made:
        assert pl.concat(made.batches()).equals(made.frame)
        assert made.rows == made.frame.height > 0


def test_nothing_of_a_day_stays_on_the_disk(settings: Settings) -> None:
    with score.score_day(TOP_SELLERS, DAY, settings, release="r"):
        (folder,) = settings.scoring.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not list(settings.scoring.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(settings: Settings) -> None:
    left = settings.scoring / "left"
    left.mkdir(parents=True)
    (left / "customers.arrow").touch()
    one = Folder(settings)
    other = Folder(settings)
    assert {*settings.scoring.iterdir()} == {one.path, other.path}
    one.remove()
    other.remove()


def test_pieces_in_any_order_come_back_in_the_keys(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rows = pl.DataFrame({"category": rng.choice(["a", "b", "ö", ""], 900), "rank": rng.permutation(900)})
    spill = Spill(tmp_path / "spill", ["category", "rank"])
    for start in range(0, 900, 130):
        spill.add(rows.slice(start, 130))
    spill.settle()
    assert pl.concat(spill.pieces()).equals(rows.sort("category", "rank"))
    assert spill.rows == 900
