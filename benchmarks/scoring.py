"""What the benchmarks of scoring share: files of features, models in the formats that are scored, and measuring."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from ds_pipelines.evidence import Feature, ModelCard, ModelFile
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.scoring import model as models
from ds_pipelines.scoring.engines import batch
from ds_pipelines.settings import environment

if TYPE_CHECKING:
    from ds_pipelines.scoring.model import Model

JOB = JOBS["repurchase"]
NAMES = tuple(f"feature_{number}" for number in range(20))
TREES, LEAVES = 50, 31
Kind = Literal["linear", "lightgbm"]
FORMATS: dict[Kind, models.Format] = {"linear": "skops", "lightgbm": "lightgbm"}

MEASURED = """
import importlib, json, re, resource, sys, time
sys.path.insert(0, {project!r})
module = importlib.import_module({module!r})
side, folder, warm = getattr(module, {side!r}), {folder!r}, {warm!r}
side(warm)
before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
alone = side(folder)
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{
    "wall": time.monotonic() - began,
    "cpu": alone or after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "peak": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024,
}}))
"""


@dataclass(frozen=True)
class Took:
    """What one way of scoring took, once."""

    wall: float
    cpu: float
    """Of the whole, or of what the side measured alone."""
    peak: float
    """Resident memory at its highest, in MiB."""


def run(module: str, side: str, folder: Path, warm: Path) -> Took:
    """Runs a side in a process of its own on the features of `folder`, after once on those of `warm`.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    project = str(Path(__file__).parent.parent)
    program = MEASURED.format(project=project, module=module, side=side, folder=str(folder), warm=str(warm))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-2_000:]}")
    return Took(**json.loads(done.stdout.splitlines()[-1]))


def prepare(folder: Path, rows: int, models_from: Path | None = None) -> Path:
    """A folder with `features.parquet` of so many customers, in their order, and the models beside it."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    with pq.ParquetWriter(folder / "features.parquet", _features(rng, 0, 1).to_arrow().schema) as writer:
        for start in range(0, rows, batch.ROWS):
            writer.write_table(_features(rng, start, min(batch.ROWS, rows - start)).to_arrow())
    if models_from is None:
        _train(folder)
    else:
        for each in models_from.glob("model-*"):
            shutil.copytree(each, folder / each.name)
    return folder


def _features(rng: np.random.Generator, start: int, rows: int) -> pl.DataFrame:
    numbers = pl.DataFrame(rng.normal(3, 20, (rows, len(NAMES))).round(3), schema=list(NAMES))
    return numbers.insert_column(0, pl.Series("customer_id", np.arange(start, start + rows)))


def _train(folder: Path) -> None:
    import lightgbm
    import mlflow.lightgbm
    import mlflow.sklearn
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(4)
    rows = _features(rng, 0, 50_000).drop("customer_id").to_numpy()
    labels = (rows[:, 0] + rows[:, 1] + rng.normal(0, 30, len(rows)) > 0).astype(int)
    signature = ModelSignature(inputs=Schema([ColSpec("double", name) for name in NAMES]))
    common: dict[str, Any] = {"signature": signature, "pip_requirements": []}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    mlflow.sklearn.save_model(
        pipeline,
        str(folder / "model-linear"),
        serialization_format="skops",
        pyfunc_predict_fn="predict_proba",
        **common,
    )
    options = {"objective": "binary", "verbose": -1, "num_leaves": LEAVES, "seed": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, labels), num_boost_round=TREES)
    mlflow.lightgbm.save_model(booster, str(folder / "model-lightgbm"), **common)


def ours(folder: Path, kind: Kind) -> Model:
    """The model as production loads it."""
    form = FORMATS[kind]
    content = (folder / f"model-{kind}" / models.MODEL_FILE[form]).read_bytes()
    card = ModelCard(
        name="repurchase",
        format=form,
        artifact="model",
        files=(
            ModelFile(path=models.MODEL_FILE[form], sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)),
        ),
        features=tuple(Feature(name=name, dtype="Float64") for name in NAMES),
        target="an order within 30 days",
        entity="customer_id",
        predictions="evidence/predictions.parquet",
    )
    return models.restored(card, content)
