"""A script is run as it is, and all that it notes is in MLflow, whether it succeeds or not."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ds_pipelines import lab
from ds_pipelines.errors import (
    BrokenScriptError,
    ExperimentFailedError,
    UnsavableModelError,
    UnusableNoteError,
    UnusableParameterError,
)
from ds_pipelines.evidence import RunRecord
from ds_pipelines.lab.notes import Notes, noting
from ds_pipelines.settings import PROJECT, Settings, load_settings

if TYPE_CHECKING:
    from mlflow.entities import Run

Artifact = Callable[[str, str], Path]

LAB = "from ds_pipelines import lab\n"
DRAWING = LAB + (
    "from matplotlib.figure import Figure\n"
    "drawing = Figure()\n"
    "drawing.subplots().plot([1, 2])\n"
    "lab.figure(drawing, 'line')\n"
)
CUSTOMER = "Ada Lovelace of 12 St James's Square"
PNG = b"\x89PNG"


def write(settings: Settings, text: str, name: str = "idea") -> Path:
    path = settings.experiments / f"{name}.py"
    path.write_text(text)
    return path


def tracked(settings: Settings, run_id: str) -> Run:
    from mlflow import MlflowClient

    return MlflowClient(settings.tracking_base).get_run(run_id)


def latest(settings: Settings, experiment: str) -> Run:
    """The newest run of an experiment: a failed one has no record to ask."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_base)
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"], max_results=1)[0]


# ---------------------------------------------------------------- what is kept


def test_parameters_metrics_and_the_code_are_in_mlflow(bench: Settings, artifact: Artifact) -> None:
    path = write(bench, LAB + "lab.metric('auc', 0.5 + lab.param('lift', 0.25))\n", "kept")
    ran = lab.run("kept", settings=bench)
    run = tracked(bench, ran.record.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lift": "0.25"}
    assert run.data.metrics == {"auc": 0.75}
    assert run.data.tags["ds.experiment"] == "kept"
    assert run.data.tags["ds.code_digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert artifact(run.info.run_id, "code/kept.py").read_bytes() == path.read_bytes()


def test_the_record_is_returned_and_kept_with_the_run(bench: Settings, artifact: Artifact) -> None:
    write(bench, LAB + "lab.metric('auc', 0.75)\n", "recorded")
    ran = lab.run("recorded", settings=bench)
    assert ran.record.script == "recorded.py"
    assert ran.record.metrics == {"auc": 0.75}
    assert ran.record.url.endswith(f"/runs/{ran.record.run_id}")
    kept = artifact(ran.record.run_id, "evidence/run.json").read_text()
    assert RunRecord.model_validate_json(kept) == ran.record


def test_figures_are_returned_and_kept_as_png(bench: Settings, artifact: Artifact) -> None:
    ran = lab.run(write(bench, DRAWING), settings=bench)
    assert ran.figures["line"].startswith(PNG)
    assert artifact(ran.record.run_id, "plots/line.png").read_bytes() == ran.figures["line"]


def test_what_is_printed_is_shown_and_kept(
    bench: Settings, artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = lab.run(write(bench, "print('forty-two')\n"), settings=bench)
    assert "forty-two" in capsys.readouterr().out
    assert artifact(ran.record.run_id, "stdout.txt").read_text() == "forty-two\n"


def test_the_environment_is_kept(bench: Settings, artifact: Artifact) -> None:
    ran = lab.run(write(bench, ""), settings=bench)
    environment = json.loads(artifact(ran.record.run_id, "evidence/environment.json").read_text())
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert environment["packages"].keys() >= {"polars", "scikit-learn", "lightgbm", "mlflow"}
    assert environment["lock_sha256"] == hashlib.sha256((PROJECT / "requirements.lock").read_bytes()).hexdigest()
    assert environment["memory"] > 0
    assert ran.record.peak_memory is not None
    assert ran.record.peak_memory > 1_000_000


def test_no_address_and_no_password_of_a_database_is_kept(bench: Settings, artifact: Artifact) -> None:
    ran = lab.run(write(bench, DRAWING), settings=bench)
    files = [path for path in artifact(ran.record.run_id, "").rglob("*") if path.is_file()]
    assert len(files) >= 5
    assert not [path.name for path in files if b"postgresql://" in path.read_bytes()]


def test_a_run_of_dagsters_names_it(bench: Settings) -> None:
    ran = lab.run(write(bench, ""), settings=bench, dagster_run="run-of-dagsters")
    assert tracked(bench, ran.record.run_id).data.tags["ds.dagster_run"] == "run-of-dagsters"


def test_many_parameters_and_metrics_are_all_kept(bench: Settings) -> None:
    text = LAB + "for i in range(250): lab.param(f'p{i}', i)\nfor i in range(1500): lab.metric(f'm{i}', i)\n"
    ran = lab.run(write(bench, text), settings=bench)
    run = tracked(bench, ran.record.run_id)
    assert (len(run.data.params), len(run.data.metrics)) == (250, 1500)


def test_runs_of_one_process_do_not_see_each_others_notes(bench: Settings) -> None:
    lab.run(write(bench, LAB + "lab.metric('first', 1)\n", "one"), settings=bench)
    ran = lab.run(write(bench, LAB + "lab.metric('second', 2)\n", "two"), settings=bench)
    assert ran.record.metrics == {"second": 2.0}


def test_an_experiment_that_someone_deleted_in_mlflow_is_restored(bench: Settings) -> None:
    from mlflow import MlflowClient

    write(bench, "", "deleted")
    first = lab.run("deleted", settings=bench)
    MlflowClient(bench.tracking_base).delete_experiment(tracked(bench, first.record.run_id).info.experiment_id)
    second = lab.run("deleted", settings=bench)
    assert tracked(bench, second.record.run_id).info.status == "FINISHED"


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("default", "given", "value"),
    [
        ("True", "false", False),
        ("3", "5", 5),
        ("0.5", "2", 2.0),
        ("'a'", "b c", "b c"),
        ("date(2025, 1, 1)", "2025-06-30", "2025-06-30"),
    ],
)
def test_a_parameter_given_replaces_the_default_as_the_same_type(
    bench: Settings, default: str, given: str, value: object
) -> None:
    text = f"from datetime import date\n{LAB}x = lab.param('x', {default})\nassert type(x) is type({default})\n"
    ran = lab.run(write(bench, text), settings=bench, parameters={"x": given})
    assert ran.record.parameters == {"x": str(value)}


def test_a_parameter_of_another_type_fails_and_says_what_was_expected(bench: Settings) -> None:
    path = write(bench, LAB + "lab.param('trees', 100)\n")
    with pytest.raises(ExperimentFailedError, match=r"idea\.py, line 2.*'trees'.*a whole number"):
        lab.run(path, settings=bench, parameters={"trees": "many"})


def test_a_parameter_that_the_script_does_not_ask_for_fails_the_run(bench: Settings) -> None:
    path = write(bench, LAB + "lab.param('trees', 100)\n", "unasked")
    with pytest.raises(UnusableParameterError, match=r"'tress'.*which are trees"):
        lab.run(path, settings=bench, parameters={"tress": "5"})
    assert latest(bench, "unasked").info.status == "FAILED"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("lab.metric('auc', float('nan'))", "a finite number"),
        ("lab.metric('auc', 'high')", "a finite number"),
        ("lab.metric('a/b', 1)", "a name of letters"),
        ("lab.param('x', [1])", "a bool, int, float, str or date"),
        ("lab.figure('picture', 'x')", "a matplotlib figure"),
        ("lab.figure(None, '../x')", "a name of letters"),
    ],
)
def test_what_cannot_be_kept_is_refused_where_it_is_noted(bench: Settings, call: str, expected: str) -> None:
    with pytest.raises(ExperimentFailedError, match=f"line 2.*{expected}"):
        lab.run(write(bench, f"{LAB}{call}\n"), settings=bench)


# ---------------------------------------------------------------- failures


def test_a_failed_run_keeps_what_was_noted_and_says_where_it_failed(bench: Settings, artifact: Artifact) -> None:
    text = LAB + "lab.metric('auc', 0.75)\ndef f():\n    raise ValueError\n\nf()\n"
    with pytest.raises(ExperimentFailedError, match=r"failing\.py, line 4, ended with ValueError"):
        lab.run(write(bench, text, "failing"), settings=bench)
    run = latest(bench, "failing")
    assert run.info.status == "FAILED"
    assert run.data.metrics == {"auc": 0.75}
    failure = artifact(run.info.run_id, "failure.txt").read_text()
    assert "line 6" in failure
    assert "line 4, in f" in failure
    assert failure.endswith("ValueError\n")


def test_what_an_exception_says_stays_out_of_the_error_and_of_mlflow(bench: Settings, artifact: Artifact) -> None:
    text = f"rows = [{CUSTOMER[::-1]!r}]\nraise KeyError(rows[0][::-1])\n"
    with pytest.raises(ExperimentFailedError) as caught:
        lab.run(write(bench, text, "talkative"), settings=bench)
    assert CUSTOMER not in str(caught.value)
    assert caught.value.__context__ is None
    kept = artifact(latest(bench, "talkative").info.run_id, "")
    assert not [path for path in kept.rglob("*") if path.is_file() and CUSTOMER.encode() in path.read_bytes()]


def test_an_error_of_ours_keeps_its_words(bench: Settings) -> None:
    text = "from ds_pipelines.errors import UnknownDayError\nraise UnknownDayError('x', 'y', 'z')\n"
    with pytest.raises(ExperimentFailedError, match=r"UnknownDayError: There is no day x"):
        lab.run(write(bench, text), settings=bench)


def test_a_script_that_is_not_python_is_refused_with_its_line(bench: Settings) -> None:
    with pytest.raises(BrokenScriptError, match=r"broken\.py cannot be run: line 2 is not Python"):
        lab.run(write(bench, "x = 1\ny = (\n", "broken"), settings=bench)


@pytest.mark.parametrize(("leaving", "succeeds"), [("sys.exit()", True), ("sys.exit(0)", True), ("sys.exit(3)", False)])
def test_leaving_a_script_early_succeeds_only_with_status_zero(bench: Settings, leaving: str, succeeds: bool) -> None:
    path = write(bench, f"import sys\n{leaving}\n")
    if succeeds:
        lab.run(path, settings=bench)
    else:
        with pytest.raises(ExperimentFailedError, match="SystemExit"):
            lab.run(path, settings=bench)


def test_an_interrupted_run_is_marked_and_the_interruption_goes_on(bench: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        lab.run(write(bench, "raise KeyboardInterrupt\n", "interrupted"), settings=bench)
    assert latest(bench, "interrupted").info.status == "KILLED"


# ---------------------------------------------------------------- how a script is run


def test_modules_beside_a_script_are_kept_with_it_and_read_anew_by_the_next_run(
    bench: Settings, artifact: Artifact
) -> None:
    helper = bench.experiments / "_helper.py"
    path = write(bench, LAB + "from _helper import value\nlab.metric('value', value)\n")
    values = []
    for content in ("value = 1\n", "value = 222\n"):
        helper.write_text(content)
        ran = lab.run(path, settings=bench)
        values.append(ran.record.metrics["value"])
        assert artifact(ran.record.run_id, "code/_helper.py").read_text() == content
    assert values == [1, 222]
    assert str(bench.experiments) not in sys.path


def test_a_script_runs_by_itself_without_mlflow_and_says_what_it_notes(tmp_path: Path) -> None:
    text = DRAWING + (
        "lab.metric('auc', 0.5 + lab.param('lift', 0.25))\n"
        "import polars as pl\n"
        "lab.save(pl.DataFrame({'a': [1]}), 'things')\n"
        "y = [0, 1] * 200\n"
        "lab.verdict('Is it so?', y, {'a': y}, train_prevalence=0.5)\n"
        "import sys; assert 'mlflow' not in sys.modules\n"
    )
    path = tmp_path / "idea.py"
    path.write_text(text)
    environment = {**os.environ, "DS_TRACKING_ADDRESS": "http://127.0.0.1:1", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    for said in (
        "parameter lift = 0.25",
        "auc = 0.75",
        "figure line: kept when",
        "table things: 1 rows",
        "“Is it so?”",
    ):
        assert said in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["idea.py"]


# ---------------------------------------------------------------- MLflow is away


def without_mlflow(folder: Path, address: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, float, lab.Ran]:
    """What is said when MLflow does not answer, the seconds it took, and the run."""
    (folder / "experiments").mkdir()
    (folder / "experiments" / "idea.py").write_text(LAB + "lab.metric('auc', 0.75)\n")
    settings = load_settings(home=folder / "home", tracking_address=address, experiments=folder / "experiments")
    started = time.monotonic()
    ran = lab.run("idea", settings=settings)
    return capsys.readouterr().err, time.monotonic() - started, ran


def test_without_mlflow_a_run_succeeds_is_kept_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said, _, ran = without_mlflow(tmp_path, f"http://ada:secret@127.0.0.1:{port}", capsys)
    assert f"MLflow at http://127.0.0.1:{port} cannot record runs: no connection" in said
    assert "`ds-pipelines up`" in said
    assert "`ds-pipelines experiments replay`" in said
    assert "secret" not in said
    assert ran.record.metrics == {"auc": 0.75}
    kept = tmp_path / "home" / "spool" / ran.record.run_id / "artifacts" / "evidence" / "run.json"
    assert RunRecord.model_validate_json(kept.read_bytes()) == ran.record


def test_a_server_that_accepts_and_never_answers_is_given_up_within_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said, seconds, _ = without_mlflow(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", capsys)
    assert "it does not answer in time" in said
    assert seconds < 20


class SomethingElse(BaseHTTPRequestHandler):
    """A web server that is not MLflow."""

    def do_GET(self) -> None:
        self.send_error(404)


def test_another_program_at_mlflows_address_is_told_from_mlflow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), SomethingElse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said, _, _ = without_mlflow(tmp_path, f"http://127.0.0.1:{server.server_port}", capsys)
        server.shutdown()
    assert "cannot record runs: another program answers there" in said


# ---------------------------------------------------------------- models, tables, verdicts

MODEL = """
import numpy as np, polars as pl, lightgbm
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from ds_pipelines import lab

rng = np.random.default_rng(1)
x = rng.random((600, 2))
y = x[:, 0] + rng.random(600) > 1
features = pl.DataFrame(x, schema=["recency", "orders"])
model = {model}
fitted = model.fit(x, y)
scores = model.predict_proba(x)[:, 1]
held_out = features.select(
    pl.int_range(pl.len()).cast(pl.String).alias("customer_id"), pl.lit("2025-06-30").alias("as_of"),
    "recency", "orders", score=pl.Series(scores),
)
def save(predictions=held_out):
    lab.save(fitted, "again", features=features, predictions=predictions, target="an order", entity="customer_id")
{then}
"""
LIGHTGBM = "lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)"
PIPELINE = "make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression())"


def model_script(model: str, then: str = "save()") -> str:
    return MODEL.replace("{model}", model).replace("{then}", then)


def loaded_scores(card: dict[str, Any], folder: Path, rows: Any) -> Any:
    if card["format"] == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(folder / "model.lgb")).predict(rows)
    import skops.io

    return skops.io.load(folder / "model.skops", trusted=[]).predict_proba(rows)[:, 1]


@pytest.mark.parametrize(("model", "form"), [(LIGHTGBM, "lightgbm"), (PIPELINE, "skops")])
def test_a_model_is_kept_as_hashed_files_that_give_its_predictions_again(
    bench: Settings, artifact: Artifact, model: str, form: str
) -> None:
    import polars as pl

    ran = lab.run(write(bench, model_script(model)), settings=bench)
    card = json.loads(artifact(ran.record.run_id, "evidence/model.json").read_text())
    assert (card["format"], card["name"], card["entity"], card["target"]) == (form, "again", "customer_id", "an order")
    assert card["features"] == [{"name": "recency", "dtype": "Float64"}, {"name": "orders", "dtype": "Float64"}]

    folder = artifact(ran.record.run_id, card["artifact"])
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert {file["path"]: file["sha256"] for file in card["files"]} == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()
    }
    assert "pkl" not in "".join(found)

    held_out = pl.read_parquet(artifact(ran.record.run_id, card["predictions"]))
    rows = held_out.select("recency", "orders").to_numpy()
    assert abs(loaded_scores(card, folder, rows) - held_out["score"].to_numpy()).max() < 1e-12


def test_a_model_that_production_could_not_trust_fails_the_run_with_the_reason(bench: Settings) -> None:
    script = model_script(PIPELINE, "save(held_out.with_columns(score=1 - pl.col('score')))")
    with pytest.raises(ExperimentFailedError, match="scores that the stored model gives again"):
        lab.run(write(bench, script), settings=bench)


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("save(held_out.drop('as_of'))", "predictions with the columns customer_id, as_of, recency, orders, score"),
        ("save(); save()", "one model a run"),
        ("lab.save(fitted, 'again')", "a Polars frame, or a model with features"),
        (
            "from sklearn.dummy import DummyClassifier\n"
            "class Mine(DummyClassifier): ...\n"
            "fitted = Mine().fit(x, y)\nsave()",
            r"parts that skops knows, not .*Mine",
        ),
        ("fitted = object()\nsave()", "a LightGBM model, or a scikit-learn estimator"),
    ],
)
def test_a_model_that_production_could_not_trust_is_refused(tmp_path: Path, then: str, expected: str) -> None:
    with noting(Notes(tmp_path)), pytest.raises((UnsavableModelError, UnusableNoteError), match=expected):
        exec(model_script(PIPELINE, then), {"__name__": "__main__"})  # noqa: S102  as the run's process does


def test_a_table_is_kept_whole_with_its_first_rows_to_look_at(bench: Settings, artifact: Artifact) -> None:
    import polars as pl

    text = LAB + "import polars as pl\nlab.save(pl.DataFrame({'rank': range(30)}), 'top')\n"
    ran = lab.run(write(bench, text), settings=bench)
    assert pl.read_parquet(artifact(ran.record.run_id, "tables/top.parquet")).height == 30
    assert len(artifact(ran.record.run_id, "tables/top.preview.csv").read_text().splitlines()) == 21


VERDICT = """
import numpy as np
from ds_pipelines import lab
y = np.arange(400) % 2
scores = np.clip(y * 0.3 + np.random.default_rng(1).random(400) * 0.7, 0, 1)
lab.verdict("Is it so?", y, {"guess": scores}, train_prevalence=0.5)
"""


def test_a_verdict_is_in_the_record_the_tags_the_evidence_and_a_figure(bench: Settings, artifact: Artifact) -> None:
    ran = lab.run(write(bench, VERDICT), settings=bench)
    assert ran.verdict is not None
    assert (ran.verdict.answer, ran.record.verdict) == ("signal", "signal")
    assert tracked(bench, ran.record.run_id).data.tags["ds.verdict"] == "signal"
    assert ran.figures["verdict"].startswith(PNG)
    kept = artifact(ran.record.run_id, "evidence/verdict.json").read_text()
    assert type(ran.verdict).model_validate_json(kept) == ran.verdict


def test_a_run_has_one_verdict_so_that_trying_again_earns_nothing(bench: Settings) -> None:
    again = VERDICT.splitlines()[-1]
    with pytest.raises(ExperimentFailedError, match="one verdict a run"):
        lab.run(write(bench, f"{VERDICT}{again}\n"), settings=bench)
