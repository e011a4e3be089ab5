"""Is a run repeated identically, and if not, is the true cause named?

Forty runs of five model families on the sample shop's extracts are repeated, each on a fresh process: identical, or
with the true cause. Then eight causes are planted, one by one, and each must be named. Erasing and publishing anew are
the real ones; the other package is a wheel made here, in a real environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from benchmarks.gateway_throughput import running
from benchmarks.processes import free_ports
from benchmarks.report import conclude
from ds_pipelines.settings import PROJECT, adopt_environment, environment, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

    from ds_pipelines.evidence import Part, Reproduction
    from ds_pipelines.settings import Settings

DAYS, CUSTOMERS = 20, 1_500
PACKAGE = "ds_bench_rates"
FAMILIES = {
    "lightgbm": "LGBMClassifier(n_estimators=40, random_state=SEED, verbosity=-1)",
    "boosting": "HistGradientBoostingClassifier(max_iter=40, random_state=SEED)",
    "logistic": "LogisticRegression(C=1 + SEED, max_iter=300)",
    "ridge": "RidgeClassifier(alpha=1 + SEED)",
    "forest": "RandomForestClassifier(60, max_depth=8, random_state=SEED, n_jobs=2)",
}
"""Each as it is usually written; the forest works on two threads, whose sums have no fixed order."""
SCRIPT = '''"""Does an order's hour tell whether it is returned?"""
import numpy as np
import polars as pl
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from ds_pipelines import lab

SEED = lab.param("seed", 0)
orders = lab.table("orders").collect()
rng = np.random.default_rng(SEED)
placed = orders["placed_at"].dt
x = np.column_stack([placed.hour(), placed.weekday(), rng.normal(size=(orders.height, 6))])
y = (orders["kind"] == "return").to_numpy() | (x[:, 2] + x[:, 3] * x[:, 4] > 1)
model = {family}
model.fit(x, y)
score = model.predict_proba(x)[:, 1] if hasattr(model, "predict_proba") else model.decision_function(x)
lab.save(pl.DataFrame({{"order_id": orders["order_id"], "score": score}}), "scores")
lab.metric("spread", float(score.std()))
lab.metric("hits", float((score > score.mean()) @ y))
'''
PLAIN = "from ds_pipelines import lab\n"
COUNT = (
    PLAIN + "orders = lab.table('orders').collect()\nlab.save(orders, 'orders')\nlab.metric('orders', orders.height)\n"
)
PLANTED = {
    "edited helper": PLAIN + "from rates import RATE\nlab.metric('rate', RATE)\n",
    "missing seed": PLAIN + "import numpy as np\nlab.metric('drawn', np.random.default_rng().normal())\n",
    "threads": SCRIPT.format(family=FAMILIES["forest"].replace("60", "200")),
    "environment variable": PLAIN + "import os\nlab.metric('rate', float(os.environ.get('RATE', '2')))\n",
    "package version": PLAIN + f"from {PACKAGE} import RATE\nlab.metric('rate', RATE)\n",
    "reordered rows": COUNT,
    "changed data": COUNT,
    "erased data": COUNT,
}
"""What is planted, and the script that meets it."""
TRUE_CAUSE = {"forest": "threads"}
"""By family, what makes its runs differ if they do."""


@dataclass(frozen=True)
class Place:
    """An installation with published days, whose gateway runs."""

    settings: Settings
    days: tuple[date, ...]

    def run(self, name: str, text: str, **parameters: object) -> str:
        """Writes and runs a script; returns the run's id."""
        from ds_pipelines import lab

        path = self.settings.experiments / f"{name.replace(' ', '_')}.py"
        path.write_text(text)
        given = {key: str(value) for key, value in parameters.items()}
        return lab.run(path.stem, settings=self.settings, parameters=given, tell=lambda line: None).record.run_id  # noqa: ARG005

    def repeat(self, run_id: str, *today: Part) -> Reproduction:
        """Repeats a run."""
        from ds_pipelines.lab.reproduce import reproduce

        return reproduce(run_id, self.settings, today=today)


def prepare(home: Path) -> Settings:
    """The sample shop with some days extracted; MLflow on its database, without a server."""
    from ds_pipelines import postgres, sample
    from ds_pipelines.extract.publish import extract_days
    from ds_pipelines.gateway.tokens import ensure_token

    home.mkdir()
    (home / "experiments").mkdir()
    shop = sample.generate(customers=CUSTOMERS, seed=7)
    base = load_settings(home=home)
    sample.load(shop, base)
    settings = load_settings(
        home=home, first_day=shop.first_day, today=shop.last_day + timedelta(days=1), zone=shop.zone,
        experiments=home / "experiments", gateway_port=int(free_ports()["DS_GATEWAY_PORT"]),
        tracking_address=postgres.sqlalchemy_url(postgres.url("mlflow", base)), listing_age=timedelta(0),
    )  # fmt: skip
    extract_days("orders", shop.last_day - timedelta(days=DAYS), shop.last_day - timedelta(days=1), settings)
    ensure_token(settings)
    return settings


def forty(place: Place, runs: int) -> tuple[list[tuple[str, ...]], int]:
    """Each family's runs repeated; rows of the table, and how many were right."""
    rows: list[tuple[str, ...]] = []
    right = 0
    for family, code in FAMILIES.items():
        made = [
            place.run(f"hour_{family}", SCRIPT.format(family=code), seed=seed) for seed in range(runs // len(FAMILIES))
        ]
        began = time.monotonic()
        found = [place.repeat(run_id) for run_id in made]
        took = (time.monotonic() - began) / len(found)
        same = sum(each.answer == "identical" for each in found)
        named = sum(
            each.answer != "identical" and {cause.kind for cause in each.causes} == {TRUE_CAUSE.get(family)}
            for each in found
        )
        right += same + named
        told = f"{same} identical" + (f", {named} with its cause ({TRUE_CAUSE[family]})" if named else "")
        rows.append((f"{len(found)} × {family}", told, f"{took:.1f} s each", "all"))
        print(rows[-1], file=sys.stderr, flush=True)
        for each in found:
            if each.answer != "identical" and {cause.kind for cause in each.causes} != {TRUE_CAUSE.get(family)}:
                print(each.words, file=sys.stderr)
    return rows, right


def planted(place: Place) -> dict[str, Reproduction]:
    """What is said of each planted cause; those that spoil the data come last."""
    settings = place.settings
    (settings.experiments / "rates.py").write_text("RATE = 2\n")
    made = {kind: place.run(kind, text) for kind, text in PLANTED.items() if kind != "package version"}
    found = {kind: place.repeat(made[kind]) for kind in ("missing seed", "threads")}
    (settings.experiments / "rates.py").write_text("RATE = 3\n")
    found["edited helper"] = place.repeat(made["edited helper"], "code")
    adopt_environment(RATE="3")
    found["environment variable"] = place.repeat(made["environment variable"], "variables")
    found["package version"] = _other_package(place)
    _reorder(place, place.days[0])
    found["reordered rows"] = place.repeat(made["reordered rows"], "data")
    late = place.run("changed data", PLANTED["changed data"])
    _change(place, place.days[1])
    found["changed data"] = place.repeat(late, "data")
    _erase(place)
    found["erased data"] = place.repeat(made["erased data"])
    return found


def _reorder(place: Place, day: date) -> None:
    """Publishes a day anew, its rows from the last to the first."""
    import polars as pl

    from ds_pipelines.snapshots.store import SnapshotStore

    store = SnapshotStore(place.settings.snapshots)
    manifest = next(each for each in store.manifests("orders") if each.day == day)
    with store.stage() as stage:
        written = stage.write(pl.read_parquet(store.path(manifest.digest)).reverse())
        facts = {"bytes": written.bytes, "digest": written.digest, "logical_digest": written.logical_digest}
        stage.publish([manifest.model_copy(update=facts)])


def _change(place: Place, day: date) -> None:
    """Corrects orders of a day in production, and extracts it again."""
    from ds_pipelines import postgres
    from ds_pipelines.extract.publish import extract_day

    begin, end = place.settings.bounds(day)
    with closing(postgres.connect("owner", place.settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE orders SET kind = 'return' WHERE placed_at >= %s AND placed_at < %s", (begin, end))
    extract_day("orders", day, place.settings)


def _erase(place: Place) -> None:
    """Erases a customer of the last day."""
    from ds_pipelines import postgres
    from ds_pipelines.operate.erase import erase
    from ds_pipelines.production.jobs import JOBS

    begin, end = place.settings.bounds(place.days[-1])
    with closing(postgres.connect("owner", place.settings)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT customer_id FROM orders WHERE customer_id > 0 AND placed_at >= %s AND placed_at < %s LIMIT 1",
            (begin, end),
        )
        [(customer,)] = cursor.fetchall()
    erase(str(customer), place.settings, JOBS.values(), do_it=True)


def _other_package(place: Place) -> Reproduction:
    """Runs in an environment with version 1.0 of a package, and repeats from one that has 2.0."""
    from ds_pipelines.evidence import Reproduction
    from ds_pipelines.lab.capture_environment import installed
    from ds_pipelines.lab.own_environment import interpreter, name_of

    wheels = place.settings.home / "wheels"
    wheels.mkdir()
    adopt_environment(UV_FIND_LINKS=str(wheels))
    for version in ("1.0", "2.0"):
        _wheel(wheels, version)
    lock = (PROJECT / "requirements.lock").read_bytes()
    pythons = [
        interpreter({**installed(), name_of(PACKAGE): version}, platform.python_version(), lock, place.settings)
        for version in ("1.0", "2.0")
    ]
    script = place.settings.experiments / "package_version.py"
    script.write_text(PLANTED["package version"])
    path = os.pathsep.join([str(Path(sys.executable).parent), environment().get("PATH", os.defpath)])
    variables = environment(**place.settings.as_environment(), PATH=path)
    command = ["-m", "ds_pipelines.cli"]
    subprocess.run([pythons[0], *command, "run", script.stem], env=variables, check=True, capture_output=True)
    repeated = subprocess.run(
        [pythons[1], *command, "reproduce", script.stem, "--today", "environment", "--json"], env=variables,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if not repeated.stdout:
        raise RuntimeError(repeated.stderr)
    return Reproduction.model_validate(json.loads(repeated.stdout))


def _wheel(folder: Path, version: str) -> None:
    facts = f"{PACKAGE}-{version}.dist-info"
    with ZipFile(folder / f"{PACKAGE}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{PACKAGE}.py", f"RATE = {version}\n")
        archive.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/RECORD", "")


def _rows(found: dict[str, Reproduction], judged: Callable[[str, Reproduction], bool]) -> Iterable[tuple[str, ...]]:
    for kind, each in found.items():
        causes = ", ".join(cause.kind for cause in each.causes)
        shown = "right" if judged(kind, each) else "WRONG"
        yield (f"planted: {kind}", f"{each.answer}: {causes}", f"{each.seconds:.1f} s, {each.executions} runs", shown)


def named(kind: str, found: Reproduction) -> bool:
    """Whether the planted cause, and no other, was named."""
    return found.answer != "identical" and {cause.kind for cause in found.causes} == {kind}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=40, help="How many, over the five families")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ds-bench-", ignore_cleanup_errors=True) as folder:
        settings = prepare(Path(folder) / "home")
        adopt_environment(**settings.as_environment())
        last = settings.last_extractable_day()
        place = Place(settings, tuple(last - timedelta(days=back) for back in range(10, 0, -1)))
        command = [sys.executable, "-m", "ds_pipelines.cli", "gateway"]
        with running(command, settings.gateway_port, Path(folder) / "gateway.out", **settings.as_environment()):
            rows, right = forty(place, chosen.runs)
            found = planted(place)
    rows += _rows(found, named)
    right += sum(named(kind, each) for kind, each in found.items())
    total = chosen.runs + len(PLANTED)
    conclude(
        "reproduce",
        rows,
        header=("what", "answer", "took", "goal"),
        figure=right,
        goal=f"{chosen.runs} runs identical or with the true cause, {len(PLANTED)} planted causes named",
        limit=f"{total} of {total}",
        holds=right == total,
    )


if __name__ == "__main__":
    main()
