"""How often is a verdict wrong?

Chance: data sets without any relation must be called a signal in one of a hundred cases, however many model families
were fitted. Leaks: six kinds are planted into data sets whose target is noise, and the verdict must be invalid.
Signals: real but modest ones, honestly split, must be found, and not be called a leak. Size: the whole verdict, all
checks included, on 100,000 rows of 30 features. Chance and signals are tried with three to six classes as well.

The data are of many shapes: correlated, heavy-tailed, counts, categories, missing values; random splits, splits in time
with returning entities, splits by entity. Two families are really fitted to every data set.

Run: python -m benchmarks.verdict_error [--small] [--null 2000] [--leaks 300] [--signals 300] [--classes 500]
     [--rows 100000]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.report import conclude
from ds_pipelines.lab.judge import judge
from ds_pipelines.lab.split import read_split

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ds_pipelines.evidence import Verdict

    Floats = NDArray[np.float64]

LEVEL, BAND = 0.01, 0.006
LEAKS_CALLED, SIGNALS_FOUND, WRONGLY_INVALID, SECONDS = 0.95, 0.90, 0.02, 60.0
SEED = 20_260_101
PERMUTATIONS = 999


@dataclass
class Case:
    """One data set, split."""

    train: pl.DataFrame
    test: pl.DataFrame
    groups: str | None = None
    time: str | None = None
    classes: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """The columns that families learn from."""
        return [name for name in self.train.columns if name not in {"y", self.groups, self.time}]


def table(rows: int, rng: np.random.Generator, strength: float = 0.0) -> pl.DataFrame:
    """Features of one of several shapes, and a target that depends on two of them as strongly as said."""
    width = int(rng.integers(6, 16))
    mixing = rng.normal(size=(width, width)) * rng.choice([0.0, 0.4, 1.0])
    raw = rng.normal(size=(rows, width)) @ (np.eye(width) + mixing / np.sqrt(width))
    columns: dict[str, Any] = {}
    for place in range(width):
        values = raw[:, place]
        match rng.integers(0, 6):
            case 0:
                columns[f"heavy_{place}"] = np.exp(values)
            case 1:
                columns[f"count_{place}"] = np.floor(np.exp(values)).astype(np.int64)
            case 2:
                columns[f"kind_{place}"] = [f"k{int(v)}" for v in np.clip(values * 2 + 5, 0, 9)]
            case 3:
                gaps = np.where(rng.random(rows) < 0.1, np.nan, values)
                columns[f"gaps_{place}"] = gaps
            case _:
                columns[f"plain_{place}"] = values
    prevalence = rng.uniform(0.2, 0.5)
    push = strength * (raw[:, 0] / raw[:, 0].std() + raw[:, 1] / raw[:, 1].std())
    score = push + rng.logistic(size=rows)
    y = (score > np.quantile(score, 1 - prevalence)).astype(np.int64)
    frame = pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))
    # A modest signal can be seen at all: what it depends on is there.
    return frame.with_columns(driver=pl.Series(push / (strength or 1) + 0.3 * rng.normal(size=rows)), y=pl.Series(y))


def mean(column: pl.Series) -> float:
    return float(column.cast(pl.Float64).mean() or 0.0)  # type: ignore[arg-type]  # of numbers, a number


def spread(column: pl.Series) -> float:
    return float(column.cast(pl.Float64).std() or 1.0)  # type: ignore[arg-type]  # of numbers, a number


def halves(frame: pl.DataFrame, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    order = rng.permutation(frame.height)
    cut = frame.height // 2
    return frame[order[:cut]], frame[order[cut:]]


def honest(rng: np.random.Generator, strength: float, rows: int) -> Case:
    """An honest split: at random, by entity, or in time with entities that return."""
    frame = table(rows, rng, strength)
    match rng.integers(0, 4):
        case 0:
            return Case(*halves(frame, rng))
        case 3:
            return well_prepared(*halves(frame, rng), rng)
        case 1:
            entity = rng.integers(0, rows // 2, rows)
            known = entity < rows // 4
            frame = frame.with_columns(customer=pl.Series(entity))
            return Case(frame.filter(pl.Series(known)), frame.filter(pl.Series(~known)), groups="customer")
        case _:
            day = np.sort(rng.integers(0, 200, rows))
            frame = frame.with_columns(day=pl.Series(day), customer=pl.Series(rng.integers(0, rows, rows)))
            early = pl.col("day") < 100
            return Case(frame.filter(early), frame.filter(~early), groups="customer", time="day")


def well_prepared(train: pl.DataFrame, test: pl.DataFrame, rng: np.random.Generator) -> Case:
    """Scaled, filled and encoded as it should be: by what the training rows know."""
    place = "place", rng.integers(0, 60, train.height), rng.integers(0, 60, test.height)
    train, test = (
        side.with_columns(pl.Series(place[0], codes)) for side, codes in ((train, place[1]), (test, place[2]))
    )
    means = train.group_by("place").agg(encoded=(pl.col("y").sum() + 5 * mean(train["y"])) / (pl.len() + 5))
    numbers = [name for name, kind in train.schema.items() if kind == pl.Float64]
    low, high = (train.select(getattr(pl.col(numbers), side)()).row(0, named=True) for side in ("min", "max"))
    scale = bool(rng.random() < 0.5)

    def prepared(side: pl.DataFrame) -> pl.DataFrame:
        joined = side.join(means, on="place", how="left", maintain_order="left").drop("place")
        return joined.with_columns(
            (pl.col(name).fill_null(mean(train[name])) - (mean(train[name]) if scale else low[name]))
            / (spread(train[name]) if scale else high[name] - low[name])
            for name in numbers
        )

    return Case(prepared(train), prepared(test))


def of_classes(case: Case, strength: float, rng: np.random.Generator) -> Case:
    """The target becomes one of three to six classes: the positive one, and others at random or by the driver."""
    count = int(rng.integers(3, 7))
    cuts = np.cumsum(rng.dirichlet(np.full(count - 1, 20.0)))[:-1]
    pull = 0.5 * strength * int(rng.integers(0, 2))

    def cut(side: pl.DataFrame) -> pl.DataFrame:
        share = 1 / (1 + np.exp(-rng.logistic(size=side.height) - pull * side["driver"].to_numpy()))
        place = np.where(side["y"].to_numpy() == 1, 0, 1 + np.searchsorted(cuts, share))
        return side.with_columns(y=pl.Series(place))

    classes = tuple(str(place) for place in range(count))
    return replace(case, train=cut(case.train), test=cut(case.test), classes=classes)


# ---------------------------------------------------------------- six leaks


def duplicates(rng: np.random.Generator, rows: int) -> Case:
    """Some rows were recorded twice before the split."""
    frame = table(rows, rng)
    again = frame.sample(fraction=rng.uniform(0.1, 0.5), seed=int(rng.integers(1 << 30)))
    return Case(*halves(pl.concat([frame, again]), rng))


def near_duplicates(rng: np.random.Generator, rows: int) -> Case:
    """Some things were measured again: every continuous feature a little off, a category now and then another."""
    frame = table(rows, rng)
    again = frame.sample(fraction=rng.uniform(0.2, 0.8), seed=int(rng.integers(1 << 30)))
    noise = rng.uniform(0.001, 0.05)
    again = again.with_columns(
        pl.Series(name, again[name] + noise * spread(frame[name]) * rng.normal(size=again.height))
        for name, kind in frame.schema.items()
        if kind == pl.Float64
    )
    return Case(*halves(pl.concat([frame, again]), rng))


def entities_crossing(rng: np.random.Generator, rows: int) -> Case:
    """Several rows an entity, split at random."""
    frame = table(rows, rng)
    frame = frame.with_columns(customer=pl.Series(rng.integers(0, rows // int(rng.integers(2, 20)), rows)))
    return Case(*halves(frame, rng), groups="customer")


def time_crossing(rng: np.random.Generator, rows: int) -> Case:
    """Rows in time, split at random, or with an overlap of some days."""
    frame = table(rows, rng).with_columns(day=pl.Series(np.sort(rng.integers(0, 200, rows))))
    if rng.random() < 0.5:
        return Case(*halves(frame, rng), time="day")
    overlap = int(rng.integers(2, 40))
    return Case(frame.filter(pl.col("day") < 100 + overlap), frame.filter(pl.col("day") >= 100), time="day")


def target_in_a_feature(rng: np.random.Generator, rows: int) -> Case:
    """A feature is made of the target: the same with noise, coded otherwise, or missing where it is not known yet."""
    frame = table(rows, rng)
    y = frame["y"].to_numpy()
    match rng.integers(0, 4):
        case 0:
            told: Any = pl.Series(y + rng.uniform(0.05, 0.25) * rng.normal(size=len(y)))
        case 1:
            told = pl.Series(np.where(y == 1, rng.normal(size=len(y)) + rng.uniform(3.5, 6), rng.normal(size=len(y))))
        case 2:
            told = pl.Series([f"status {v}" for v in np.where(rng.random(len(y)) < 0.01, 1 - y, y)])
        case _:  # known of some of the positive ones only
            known = (y == 1) & (rng.random(len(y)) < rng.uniform(0.5, 1))
            told = pl.Series(np.where(known, rng.normal(size=len(y)), np.nan)).fill_nan(None)
    return Case(*halves(frame.with_columns(told.alias("told")), rng))


def preprocessed_together(rng: np.random.Generator, rows: int) -> Case:
    """Scaled, filled, or encoded by the target, before splitting."""
    frame = table(rows, rng)
    way = rng.integers(0, 5)
    numbers = [name for name, kind in frame.schema.items() if kind == pl.Float64]
    if way == 0:
        frame = frame.with_columns((pl.col(n) - pl.col(n).mean()) / pl.col(n).std(ddof=0) for n in numbers)
    elif way == 1:
        frame = frame.with_columns((pl.col(n) - pl.col(n).min()) / (pl.col(n).max() - pl.col(n).min()) for n in numbers)
    elif way == 2:
        holes = pl.Series(rng.random(rows) < 0.1)
        frame = frame.with_columns(pl.when(holes).then(None).otherwise(pl.col("driver")).alias("driver"))
        fill = pl.col("driver").mean() if rng.random() < 0.5 else pl.col("driver").median()
        frame = frame.with_columns(pl.col("driver").fill_null(fill))
    else:
        place = pl.Series("place", rng.integers(0, int(rng.integers(20, rows // 5)), rows))
        weight, prior = (0.0 if way == 3 else rng.uniform(1, 20)), mean(frame["y"])
        sums, count = pl.col("y").sum().over("place"), pl.len().over("place")
        encoded = (sums + weight * prior) / (count + weight)
        frame = frame.with_columns(place).with_columns(encoded.alias("place"))
    return Case(*halves(frame, rng))


LEAKS: tuple[Callable[[np.random.Generator, int], Case], ...] = (
    duplicates, near_duplicates, entities_crossing, time_crossing, target_in_a_feature, preprocessed_together,
)  # fmt: skip

# ---------------------------------------------------------------- judging


def verdict_of(case: Case, rng: np.random.Generator) -> Verdict:
    """Two families are fitted to the training rows and judged on the others, with all checks."""
    split = read_split(
        case.train, case.test, case.test["y"].to_numpy(), target="y", groups=case.groups, time=case.time, ordered=False,
        classes=case.classes,
    )  # fmt: skip
    groups = case.test[case.groups].to_numpy() if case.groups else None
    return judge(
        "Does it?", case.test["y"].to_numpy(), fitted(case), split=split, groups=groups,
        permutations=PERMUTATIONS, seed=int(rng.integers(1 << 31)),
    ).verdict  # fmt: skip


def fitted(case: Case) -> dict[str, Floats]:
    """Predictions of two families, learnt from the training rows."""
    import lightgbm
    from sklearn.naive_bayes import GaussianNB

    both = pl.concat([case.train, case.test]).select(case.features)
    matrix = both.with_columns(pl.col(pl.String).rank("dense")).cast(pl.Float64).fill_null(0).to_numpy()
    left, right, y = matrix[: case.train.height], matrix[case.train.height :], case.train["y"].to_numpy()
    aim = {"objective": "multiclass", "num_class": len(case.classes)} if case.classes else {"objective": "binary"}
    options = {**aim, "num_leaves": 6, "verbose": -1, "num_threads": 1, "max_bin": 31}
    booster = lightgbm.train(options, lightgbm.Dataset(left, y), num_boost_round=20)
    with warnings.catch_warnings(action="ignore"):
        bayes = GaussianNB().fit(left, y).predict_proba(right)
    bayes = np.where(np.isfinite(bayes), bayes, 1 / bayes.shape[1])
    said = bayes / bayes.sum(axis=1, keepdims=True) if case.classes else bayes[:, 1]
    return {"lightgbm": booster.predict(right, num_threads=1), "bayes": said}


def one(task: tuple[str, int]) -> tuple[str, str, str, str]:
    """Kind, what it was, the answer, and which checks failed."""
    kind, number = task
    rng = np.random.default_rng([SEED, number])
    rows = int(rng.integers(1_000, 2_500))
    if kind == "null":
        case, what = honest(rng, 0.0, rows), "null"
    elif kind == "signal":
        case, what = honest(rng, float(rng.uniform(0.25, 0.5)), 2 * rows), "signal"
    elif kind == "classes":  # every fifth one has a signal
        strength = float(rng.uniform(0.4, 0.7)) if number % 5 == 0 else 0.0
        case, what = of_classes(honest(rng, strength, 2 * rows), strength, rng), "null of classes"
        what = "signal of classes" if strength else what
    else:
        maker = LEAKS[number % len(LEAKS)]
        case, what = maker(rng, rows), maker.__name__
    verdict = verdict_of(case, rng)
    failed = ", ".join(check.name for check in verdict.checks if check.standing == "fails")
    return kind, what, verdict.answer, failed


def large(rows: int) -> float:
    """Seconds of the verdict on many rows."""
    rng = np.random.default_rng(SEED)
    values = rng.normal(size=(rows, 30))
    y = (values[:, 0] * 0.3 + rng.logistic(size=rows) > 1).astype(np.int64)
    frame = pl.DataFrame({f"x{place}": values[:, place] for place in range(30)}).with_columns(y=pl.Series(y))
    case = Case(*halves(frame.with_columns(customer=pl.Series(np.arange(rows))), rng), groups="customer")
    truth = case.test["y"].to_numpy()
    scores = {name: 1 / (1 + np.exp(-w * case.test["x0"].to_numpy())) for name, w in (("a", 0.3), ("b", 0.1))}
    started = time.monotonic()
    split = read_split(case.train, case.test, truth, target="y", groups="customer", time=None, ordered=False)
    subgroups = {"x1": case.test["x1"]}
    verdict = judge("Does it?", truth, scores, split=split, groups=case.test["customer"], subgroups=subgroups).verdict
    assert verdict.answer == "signal"
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--null", type=int, default=2_000)
    parser.add_argument("--leaks", type=int, default=300)
    parser.add_argument("--signals", type=int, default=300)
    parser.add_argument("--classes", type=int, default=500, help="data sets of several classes, every fifth a signal")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--small", action="store_true", help="a tenth of it all")
    options = parser.parse_args()
    part = 10 if options.small else 1
    asked = {"null": options.null, "leak": options.leaks, "signal": options.signals, "classes": options.classes}
    counts = {kind: count // part for kind, count in asked.items()}
    seconds = large(options.rows // part)
    offsets = {"null": 0, "leak": 1_000_000, "signal": 2_000_000, "classes": 3_000_000}
    tasks = [(kind, offsets[kind] + number) for kind, count in counts.items() for number in range(count)]
    with get_context("spawn").Pool(2) as pool:
        found = pool.map(one, tasks, chunksize=5)
    answers: dict[str, Counter[str]] = {"null of classes": Counter(), "signal of classes": Counter()}
    for _, what, answer, _ in found:
        answers.setdefault(what, Counter())[answer] += 1
    names = ("signal", "no signal", "undecided", "invalid")
    rows = [(what, *(str(counter[name]) for name in names)) for what, counter in answers.items()]
    wrong = Counter(failed for kind, _, answer, failed in found if kind != "leak" and answer == "invalid")
    for reason, count in wrong.items():
        print(f"honest data called invalid {count} times: {reason or 'too few rows'}")
    leaks = [answer for kind, _, answer, _ in found if kind == "leak"]
    chance = answers["null"]["signal"] / counts["null"]
    called = leaks.count("invalid") / len(leaks)
    power = answers["signal"]["signal"] / counts["signal"]
    accused = sum(wrong.values()) / (counts["null"] + counts["signal"] + counts["classes"])
    several, found_of_several = (
        answers[what]["signal"] / max(1, answers[what].total()) for what in ("null of classes", "signal of classes")
    )
    print(
        f"Chance called a signal: {100 * chance:.2f} %. Leaks called invalid: {100 * called:.1f} %. Signals found: "
        f"{100 * power:.1f} %. Of several classes: chance {100 * several:.2f} %, found {100 * found_of_several:.1f} %. "
        f"Honest data called invalid: {100 * accused:.2f} %. "
        f"{options.rows // part:,} rows: {seconds:.1f} s."
    )
    band = BAND * part**0.5
    of_several = answers["null of classes"].total()
    rarely = LEVEL + BAND * (counts["null"] / of_several) ** 0.5 * part**0.5 if of_several else 1.0
    conclude(
        "verdict_error",
        rows,
        header=("data", *names),
        figure=100 * chance,
        goal="1 % ± 0.6 of null a signal; ≥ 95 % of leaks invalid; ≥ 90 % of signals found; ≤ 60 s on 100,000 × 30",
        limit=f"{100 * called:.1f} % of leaks, {100 * power:.1f} % of signals, {100 * accused:.2f} % of honest data "
        f"accused, {seconds:.1f} s",
        holds=abs(chance - LEVEL) <= band
        and called >= LEAKS_CALLED
        and power >= SIGNALS_FOUND
        and several <= rarely
        and found_of_several >= (SIGNALS_FOUND if of_several else 0)
        and accused <= WRONGLY_INVALID
        and seconds <= SECONDS,
    )


if __name__ == "__main__":
    main()
