"""A run is captured without a word in its script: code, environment, randomness, outputs; and no secret leaves."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ds_pipelines import lab
from ds_pipelines.errors import RunProcessError
from ds_pipelines.lab.private import is_secret_variable, redacted

if TYPE_CHECKING:
    from ds_pipelines.evidence import RunRecord
    from ds_pipelines.settings import Settings

Artifact = Callable[[str, str], Path]

TOKEN = "ghp_" + "a1B2" * 9
IDENTITY = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]


def ran(settings: Settings, text: str, name: str = "idea") -> RunRecord:
    path = settings.experiments / f"{name}.py"
    path.write_text(text)
    return lab.run(path, settings=settings).record


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def seeds(record: RunRecord) -> dict[str, str]:
    assert record.environment is not None
    return record.environment.seeds


# Code


def test_commit_uncommitted_changes_and_untracked_helpers_are_kept(bench: Settings, artifact: Artifact) -> None:
    folder = bench.experiments
    (folder / "_tracked.py").write_text("value = 1\n")
    (folder / ".env").write_text(f"TOKEN={TOKEN}\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / "_tracked.py").write_text("value = 2\n")
    (folder / ".env").write_text("TOKEN=other\n")
    (folder / "_new").mkdir()
    (folder / "_new" / "__init__.py").write_text("")
    (folder / "_new" / "part.py").write_text("value = 3\n")
    record = ran(bench, "import _tracked\nfrom _new.part import value\nassert _tracked.value + value == 5\n")
    assert record.code.commit == git(folder, "rev-parse", "HEAD")
    assert record.code.dirty
    assert record.code.files.keys() == {"idea.py", "_tracked.py", "_new/__init__.py", "_new/part.py"}
    code = artifact(record.run_id, "code")
    for place, digest in record.code.files.items():
        assert hashlib.sha256((code / place).read_bytes()).hexdigest() == digest
    difference = (code / "uncommitted.diff").read_text()
    assert "+value = 2" in difference
    assert "TOKEN" not in difference


def test_without_a_repository_the_code_is_kept_all_the_same(bench: Settings) -> None:
    record = ran(bench, "import json, polars\n")
    assert (record.code.commit, record.code.dirty) == (None, False)
    assert record.code.files == {"idea.py": record.code_digest}


def test_a_helper_is_kept_although_the_run_is_killed_right_after(bench: Settings, artifact: Artifact) -> None:
    (bench.experiments / "_helper.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(RunProcessError) as caught:
        ran(bench, "import _helper\n")
    run_id = str(caught.value).partition("/runs/")[2].partition(".")[0]
    assert artifact(run_id, "code/_helper.py").exists()


def test_a_script_in_a_folder_keeps_its_place(bench: Settings, artifact: Artifact) -> None:
    (bench.experiments / "mail").mkdir()
    record = ran(bench, "print(1)\n", "mail/opened")
    assert record.script == "mail/opened.py"
    assert artifact(record.run_id, "code/mail/opened.py").exists()


# Randomness and environment

RANDOM = """
import random
import numpy as np
random.seed(5)
random.random()
np.random.rand(2)
np.random.default_rng(7).random()
np.random.default_rng().random()
"""


def test_seeds_are_noted_and_what_has_none_is_said(bench: Settings) -> None:
    path = bench.experiments / "idea.py"
    path.write_text(RANDOM)
    done = lab.run(path, settings=bench)
    assert seeds(done.record) == {"python": "5", "numpy": "unseeded", "numpy.default_rng": "7, unseeded"}
    assert done.unseeded == ["numpy", "numpy.default_rng"]


def test_what_a_library_draws_while_it_is_imported_is_not_the_run_s(bench: Settings) -> None:
    assert seeds(ran(bench, "import scipy.stats, sklearn.ensemble\n")) == {}


def test_threads_packages_lock_and_variables_are_in_the_record(
    bench: Settings, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MODE", "bold")
    monkeypatch.setenv("MY_API_KEY", "hunter2")
    monkeypatch.setenv("SERVICE", "https://ada:hunter2@example.com")
    record = ran(bench, "import numpy, os\nassert 'MY_API_KEY' not in os.environ\nassert 'SERVICE' not in os.environ\n")
    environment = record.environment
    assert environment is not None
    assert environment.threads["openmp" if "openmp" in environment.threads else "blas"] >= 1
    assert (environment.variables["MODE"], environment.variables["OMP_NUM_THREADS"]) == ("bold", "1")
    assert "hunter2" not in record.model_dump_json()
    assert environment.packages["polars"]
    lock = artifact(record.run_id, "environment/requirements.lock").read_bytes()
    assert hashlib.sha256(lock).hexdigest() == environment.lock_sha256


# scikit-learn, LightGBM, matplotlib

LEARNING = """
import numpy as np, lightgbm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from ds_pipelines import lab
x = np.random.default_rng(1).random((200, 2))
y = (x[:, 0] > 0.5).astype(int)
model = LogisticRegression(C=0.5, random_state=3, solver="saga", max_iter=2_000).fit(x, y)
roc_auc_score(y, model.predict_proba(x)[:, 1])
model.score(x, y)
lightgbm.train({"objective": "binary", "seed": 9, "verbose": -1}, lightgbm.Dataset(x, y), 3,
               valid_sets=[lightgbm.Dataset(x, y)], valid_names=["held_out"])
lab.metric("roc_auc_score", 0.25)
"""


def test_parameters_and_metrics_of_the_libraries_are_noted_and_the_script_s_own_word_counts_more(
    bench: Settings, artifact: Artifact
) -> None:
    record = ran(bench, LEARNING)
    assert (record.parameters["LogisticRegression.C"], record.parameters["lightgbm.objective"]) == ("0.5", "binary")
    assert record.metrics["roc_auc_score"] == 0.25
    assert record.metrics["LogisticRegression.score"] > 0.9
    assert record.metrics["lightgbm.held_out.binary_logloss"] < 0.7
    assert seeds(record) == {"numpy.default_rng": "1", "LogisticRegression": "3", "lightgbm": "9"}
    kept = [path.name for path in artifact(record.run_id, "").rglob("*") if path.is_file()]
    assert not [name for name in kept if name.endswith((".pkl", "input_example.json"))]


def test_figures_that_are_shown_or_left_open_are_kept(bench: Settings, artifact: Artifact) -> None:
    text = (
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.figure('named').add_subplot().plot([2])\n"
    )
    record = ran(bench, text)
    assert [(each.artifact, each.kind) for each in record.outputs] == [
        ("plots/figure 1.png", "figure"), ("plots/named.png", "figure"), ("stdout.txt", "text"),
    ]  # fmt: skip
    for each in record.outputs:
        assert hashlib.sha256(artifact(record.run_id, each.artifact).read_bytes()).hexdigest() == each.sha256


# Files


def test_files_are_read_from_beside_the_script_and_those_it_writes_are_kept(
    bench: Settings, artifact: Artifact
) -> None:
    (bench.experiments / "given.txt").write_text("given")
    text = (
        "from pathlib import Path\nPath('out').mkdir()\nPath('out/a.txt').write_text(Path('given.txt').read_text())\n"
    )
    record = ran(bench, text)
    assert artifact(record.run_id, "files/out/a.txt").read_text() == "given"
    assert [each.artifact for each in record.outputs] == ["files/out/a.txt", "stdout.txt"]
    assert not (bench.experiments / "out").exists()


def test_secrets_and_large_files_stay_behind_and_are_listed(
    bench: Settings, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ds_pipelines.lab.strays.LARGEST", 1_000)
    text = (
        "from pathlib import Path\nPath('large.bin').write_bytes(b'x' * 2_000)\nPath('server.pem').write_text('k')\n"
        f"Path('told.txt').write_text('the token is {TOKEN}')\nprint('{TOKEN}')\n"
    )
    record = ran(bench, text)
    left = {each["path"]: each for each in json.loads(artifact(record.run_id, "files/not-kept.json").read_text())}
    assert left.keys() == {"large.bin", "server.pem"}
    assert left["large.bin"]["sha256"] == hashlib.sha256(b"x" * 2_000).hexdigest()
    kept = [path for path in artifact(record.run_id, "").rglob("*") if path.is_file()]
    assert {"told.txt", "idea.py", "stdout.txt"} <= {path.name for path in kept}
    assert not [path.name for path in kept if TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", ["DB_PASSWORD", "GITHUB_TOKEN", "AWS_REGION", "PGUSER", "api_key", "SENTRY_DSN"])
def test_variables_named_as_secrets_are_some(name: str) -> None:
    assert is_secret_variable(name, "x")


@pytest.mark.parametrize("name", ["MODE", "KEYBOARD", "PASSENGERS", "TOKENIZERS_PARALLELISM", "AUTHOR", "COMPASS"])
def test_variables_named_otherwise_are_none(name: str) -> None:
    assert not is_secret_variable(name, "x")


@pytest.mark.parametrize(
    "text", [TOKEN, "postgresql://ada:hunter2@host/db", 'password = "hunter2hunter"', "AKIA" + "A1" * 8]
)
def test_secrets_in_a_text_are_replaced_and_the_rest_stays(text: str) -> None:
    clean = redacted(f"before {text} after".encode()).decode()
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert "(secret withheld)" in clean
    assert redacted(b"nothing of the kind: x = 1\n") == b"nothing of the kind: x = 1\n"


# The same over MLflow's server


def test_a_server_gets_the_same_as_its_database(bench: Settings, server: str, artifact: Artifact) -> None:
    served = bench.model_copy(update={"tracking_address": server})
    text = "from ds_pipelines import lab\nlab.metric('auc', lab.param('lift', 0.75))\nopen('a b.txt', 'w').write('x')\n"
    records = [ran(each, text, name) for name, each in (("over_server", served), ("over_database", bench))]
    from mlflow import MlflowClient

    first, second = (MlflowClient(bench.tracking_base).get_run(record.run_id) for record in records)
    assert first.info.status == second.info.status == "FINISHED"
    assert (first.data.params, first.data.metrics) == (second.data.params, second.data.metrics)
    assert first.data.tags.keys() == second.data.tags.keys()
    answer = MlflowClient(server).list_artifacts(records[0].run_id, "files")
    assert [each.path for each in answer] == ["files/a b.txt"]


DRAWS_NOTHING = """
import numpy as np
from sklearn.linear_model import LogisticRegression
x = np.arange(20.0)[:, None]
LogisticRegression().fit(x, x[:, 0] > 9)
"""


def test_an_estimator_that_draws_nothing_is_not_said_to_lack_a_seed(bench: Settings) -> None:
    assert seeds(ran(bench, DRAWS_NOTHING)) == {}
