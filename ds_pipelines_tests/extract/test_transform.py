"""What each treatment does to values, and that keeping the keys changes nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isnan
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.errors import UnreadableValueError
from ds_pipelines.extract.policy import TablePolicy, load
from ds_pipelines.extract.pseudonyms import Pseudonyms
from ds_pipelines.extract.transform import transform
from ds_pipelines_tests.extract.scenario import SECRET, kept, policy_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PSEUDONYMS = Pseudonyms(SECRET)
LONDON = "Europe/London"
INSTANT = pl.Datetime("us", "UTC")
EVENING = datetime.combine(date(2025, 6, 30), time(23, 59))
MONEY = pl.Decimal(10, 2)


def table(folder: Path, **treatments: str) -> TablePolicy:
    columns = {
        name: f"{{treatment: {treatment}, description: D., because: B.}}" for name, treatment in treatments.items()
    }
    path = policy_file(folder, {"id": kept()} | columns, rows="all", key="[id]", table="things")
    return load(path).table("things")


def treated(folder: Path, treatment: str, values: pl.Series, zone: str = LONDON) -> pl.Series:
    frame = pl.DataFrame([pl.Series("id", range(len(values)), dtype=pl.Int64), values.alias("c")])
    return transform(frame, table(folder, c=treatment), PSEUDONYMS, zone=zone)["c"]


@pytest.mark.parametrize(
    ("treatment", "dtype", "values", "expected"),
    [
        ("keep", pl.Int16, [1, None], [1, None]),
        ("{truncate: 2}", pl.String, ["SW1A 1AA", "N", "", None, "Ωμέγα"], ["SW", "N", "", None, "Ωμ"]),
        ("{generalise: year}", pl.Date, [date(1980, 5, 17), None], [date(1980, 1, 1), None]),
        ("{generalise: quarter}", pl.Date, [date(1980, 5, 17)], [date(1980, 4, 1)]),
        ("{generalise: month}", pl.Date, [date(1960, 2, 29)], [date(1960, 2, 1)]),
        ("{generalise: month}", pl.Datetime("us"), [EVENING], [date(2025, 6, 1)]),
        ("{generalise: {round: 10}}", pl.Int32, [-15, -5, 4, 5, 14, None], [-10, 0, 0, 10, 10, None]),
        ("{generalise: {round: 10}}", pl.Int16, [32_767], [32_770]),
        ("{generalise: {round: 5}}", MONEY, [Decimal("-2.51"), Decimal("2.49")], [Decimal("-5"), Decimal(0)]),
        ("{generalise: {round: 5}}", MONEY, [Decimal("2.50"), None], [Decimal(5), None]),
        ("{generalise: {round: 5}}", pl.Float64, [2.5, -2.5, None], [5.0, 0.0, None]),
        ("{generalise: {bins: [18, 30]}}", pl.Int64, [17, 18, 30, None],
         ["below 18", "18 to below 30", "30 and above", None]),
        ("{generalise: {bins: [0.1]}}", MONEY, [Decimal("0.09"), Decimal("0.10")], ["below 0.1", "0.1 and above"]),
        ("{generalise: {bins: [0.1]}}", pl.Float64, [0.1, float("nan")], ["0.1 and above", None]),
    ],
)  # fmt: skip
def test_a_treatment_leaves_exactly_this(
    tmp_path: Path, treatment: str, dtype: Any, values: list[Any], expected: list[Any]
) -> None:
    assert treated(tmp_path, treatment, pl.Series(values, dtype=dtype)).to_list() == expected


@pytest.mark.parametrize(
    ("treatment", "dtype", "values", "expected"),
    [
        ("null", pl.Int16, [1, None], [None, None]),
        ("{constant: 0}", pl.String, ["x", None], [0, 0]),
        ("{constant: hidden}", pl.Int64, [1, None], ["hidden", "hidden"]),
        ("{generalise: {top: 100}}", pl.Int16, [99, 101, -5, None], [99, 100, -5, None]),
        ("{generalise: {top: 99.5, bottom: 0.5}}", pl.Int32, [100, 0, 7], [99, 1, 7]),
        ("{generalise: {bottom: 40000}}", pl.Int16, [1], [40_000]),
        ("{generalise: {top: 9.999}}", MONEY, [Decimal("10.00"), Decimal("9.99")], [Decimal("9.99"), Decimal("9.99")]),
        ("{generalise: {bottom: -1, top: 2.5}}", pl.Float64, [float("nan"), -9.0, 1.5, None], [2.5, -1.0, 1.5, None]),
        ("{rare: {below: 2, frequent: [tea, coffee]}}", pl.String, ["tea", "absinthe", None], ["tea", "other", None]),
        ("{json: {keep: [a, b.c]}}", pl.String,
         ['{"a": 1.50, "b": {"c": "ü", "d": 1}, "e": 2}', '{"e": 1}', None, "[]"],
         ['{"a": 1.50, "b": {"c": "ü"}}', None, None, None]),
        ("{json: {keep: [a.*], drop: [a.name, a.kin]}}", pl.String,
         ['{"a": {"name": "Ada", "age": 1e400, "kin": {"n": 1}, "l": [], "o": {}}}'],
         ['{"a": {"age": 1e400, "l": [], "o": {}}}']),
        ("{json: {keep: [items.price, tags]}}", pl.String,
         ['{"items": [{"price": 1, "to": "Ada"}, {"to": "Bo"}, {"price": null}], "tags": ["x", {"y": 1}, true]}'],
         ['{"items": [{"price": 1}, {"price": null}], "tags": ["x", true]}']),
        ("{json: {keep: [a]}}", pl.String, ['{"a": {"secret": 1}}', '{"a": "\\ud800"}', '{"a": 1, "a": 2}'],
         [None, '{"a": "\\ud800"}', '{"a": 2}']),
    ],
)  # fmt: skip
def test_what_is_withheld_limited_or_listed(
    tmp_path: Path, treatment: str, dtype: Any, values: list[Any], expected: list[Any]
) -> None:
    assert treated(tmp_path, treatment, pl.Series(values, dtype=dtype)).to_list() == expected


def test_identifiers_in_json_join_those_in_columns(tmp_path: Path) -> None:
    policy = table(
        tmp_path, customer="{pseudonym: customer}", note="{json: {pseudonym: {by: customer, to.id: customer}}}"
    )
    notes = ['{"by": 12, "to": [{"id": "12", "n": 1}, {"id": null}, {"id": true}]}', None]
    frame = pl.DataFrame({"id": [1, 2], "customer": [12, 13], "note": notes})
    made = transform(frame, policy, PSEUDONYMS, zone=LONDON)
    who = made["customer"][0]
    assert made["note"].to_list() == [f'{{"by": "{who}", "to": [{{"id": "{who}"}}, {{"id": null}}]}}', None]
    real = transform(frame, policy, None, zone=LONDON, keep_keys=True)
    assert real["note"].to_list() == ['{"by": 12, "to": [{"id": "12"}, {"id": null}]}', None]


def test_json_that_is_nested_too_deeply_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableValueError, match=r"things\.c holds .* nested less deeply"):
        treated(tmp_path, "{json: {keep: [a.*]}}", pl.Series(['{"a": ' * 2000 + "1" + "}" * 2000]))


def shifting(folder: Path, days: int = 30) -> TablePolicy:
    shift = f"{{shift: {{days: {days}, per: who}}}}"
    return table(folder, who="{pseudonym: customer}", day=shift, at=shift)


PERSONS_DATES = st.lists(
    st.tuples(st.integers(1, 9), st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.datetimes(
        datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2100-01-01"))),
    min_size=1, max_size=20,
)  # fmt: skip


@given(rows=PERSONS_DATES, days=st.integers(1, 400))
def test_a_persons_dates_keep_their_intervals_and_never_their_place(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, date, datetime]], days: int
) -> None:
    frame = pl.DataFrame(
        [(0, who, day, at.replace(tzinfo=UTC)) for who, day, at in rows],
        {"id": pl.Int64, "who": pl.Int64, "day": pl.Date, "at": INSTANT}, orient="row",
    )  # fmt: skip
    policy = shifting(tmp_path_factory.mktemp("shift"), days)
    made = transform(frame, policy, PSEUDONYMS, zone=LONDON)
    moved = (made["day"] - frame["day"]).dt.total_days()
    assert moved.is_between(-days, days).all()
    assert 0 not in moved
    assert (made["at"] - frame["at"]).to_list() == [timedelta(days=each) for each in moved]
    by_person = pl.DataFrame({"who": frame["who"], "moved": moved}).group_by("who").agg(pl.col("moved").n_unique())
    assert by_person["moved"].max() == 1
    real = transform(frame, policy, PSEUDONYMS, zone=LONDON, keep_keys=True)
    assert real.drop("who").equals(made.drop("who"))


def test_nobodys_dates_are_withheld_and_unholdable_ones_refused(tmp_path: Path) -> None:
    schema = {"id": pl.Int64, "who": pl.Int64, "day": pl.Date, "at": pl.Datetime("us")}
    rows = [(1, None, date(2025, 1, 1), None), (2, 7, None, EVENING)]
    made = transform(pl.DataFrame(rows, schema, orient="row"), shifting(tmp_path), PSEUDONYMS, zone=LONDON)
    assert made["day"].to_list() == [None, None]
    assert made["at"][0] is None
    assert made["at"][1].time() == EVENING.time()
    for edge in (date.min, date.max):
        ends = pl.DataFrame([(n, n, edge, None) for n in range(50)], schema, orient="row")
        with pytest.raises(UnreadableValueError, match=r"things\.day .* stay in the years 1 to 9999"):
            transform(ends, shifting(tmp_path), PSEUDONYMS, zone=LONDON)


def test_noise_is_of_its_scale_and_the_same_for_the_same_row(tmp_path: Path) -> None:
    policy = table(tmp_path, a="{noise: {scale: 5}}", b="{noise: {scale: 5}}", c="{noise: {scale: 0.05}}")
    rows = 20_000
    frame = pl.DataFrame({"id": range(rows)}).with_columns(
        a=pl.lit(100.0), b=pl.lit(100, dtype=pl.Int16), c=pl.lit(Decimal("7.00"), dtype=MONEY)
    )
    made = transform(frame, policy, PSEUDONYMS, zone=LONDON)
    sizes = (made["a"] - 100).abs()
    assert 4.8 < sizes.mean() < 5.2
    assert abs((made["a"] - 100).median()) < 0.15
    assert 4.7 < (made["b"] - 100).abs().mean() < 5.2
    assert (made.dtypes[2], made.dtypes[3]) == (pl.Int64, pl.Decimal(38, 2))
    assert made["a"].n_unique() > 0.99 * rows
    assert abs(pl.select(pl.corr(made["a"], made["b"])).item()) < 0.03
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)
    assert transform(shuffled, policy, PSEUDONYMS, zone=LONDON).sort("id").equals(made)
    assert transform(frame, policy, PSEUDONYMS, zone=LONDON, keep_keys=True).equals(made)
    ends = pl.DataFrame({"id": [1, 2], "a": [1.0, None], "b": [2**63 - 1, -(2**63)], "c": [None, None]}).cast(
        {"c": MONEY}
    )
    assert transform(ends, policy, PSEUDONYMS, zone=LONDON)["b"].dtype == pl.Int64


def test_an_instant_is_generalised_in_the_businesss_zone(tmp_path: Path) -> None:
    summer_midnight = pl.Series([datetime(2025, 6, 30, 23, 0, tzinfo=UTC)], dtype=INSTANT)
    assert treated(tmp_path, "{generalise: month}", summer_midnight).to_list() == [date(2025, 7, 1)]
    assert treated(tmp_path, "{generalise: month}", summer_midnight, "UTC").to_list() == [date(2025, 6, 1)]


def test_an_empty_table_keeps_its_types(tmp_path: Path) -> None:
    policy = table(tmp_path, a="{pseudonym: thing}", b="{generalise: year}", c="{generalise: {bins: [1]}}")
    schema = {"id": pl.Int64(), "a": pl.Int64(), "b": INSTANT, "c": MONEY}
    made = transform(pl.DataFrame(schema=schema), policy, PSEUDONYMS, zone=LONDON)
    assert made.schema == {"id": pl.Int64(), "a": pl.String(), "b": pl.Date(), "c": pl.String()}
    assert made.height == 0


def test_the_same_customer_joins_two_tables_whatever_types_hold_it(tmp_path: Path) -> None:
    policy = table(tmp_path, customer="{pseudonym: customer}")
    as_number = pl.DataFrame({"id": [1, 2], "customer": [11, 12]})
    as_text = pl.DataFrame({"id": [5, 6], "customer": ["12", "13"]})
    left, right = (transform(frame, policy, PSEUDONYMS, zone=LONDON) for frame in (as_number, as_text))
    assert left.join(right, on="customer").select("id", "id_right").rows() == [(2, 5)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> TablePolicy:
    return table(
        tmp_path_factory.mktemp("mixed"),
        customer="{pseudonym: customer}",
        at="{generalise: month}",
        text="{truncate: 2}",
        paid="{generalise: {round: 5}}",
    )


ROW = st.tuples(
    st.integers(-(2**62), 2**62),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.integers(-700_000, 2_900_000).map(lambda days: datetime(1970, 1, 1, 23, 30, tzinfo=UTC) + timedelta(days)),
    st.none() | st.text(max_size=8),
    st.none() | st.decimals(-999, 999, places=2),
)


@given(rows=st.lists(ROW))
def test_with_kept_keys_every_other_column_is_the_same(mixed: TablePolicy, rows: list[tuple[Any, ...]]) -> None:
    schema = {"id": pl.Int64(), "customer": pl.Int64(), "at": INSTANT, "text": pl.String(), "paid": MONEY}
    frame = pl.DataFrame(rows, schema, orient="row")
    real = transform(frame, mixed, None, zone=LONDON, keep_keys=True)
    made = transform(frame, mixed, PSEUDONYMS, zone=LONDON)
    assert real.columns == made.columns
    assert real.drop("customer").equals(made.drop("customer"))
    assert real["customer"].equals(frame["customer"])
    assert made["customer"].equals(PSEUDONYMS.of(frame["customer"], "customer"))


def test_identifiers_are_never_left_real_by_an_oversight(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1], "customer": [2]})
    with pytest.raises(ValueError, match="identifiers need pseudonyms"):
        transform(frame, table(tmp_path, customer="{pseudonym: customer}"), None, zone=LONDON)


EVERYTHING = {
    "who": "{pseudonym: {domain: customer, as: bigint}}",
    "code": "{pseudonym: {domain: code, as: uuid}}",
    "born": "{generalise: year}",
    "day": "{shift: {days: 9, per: who}}",
    "paid": "{generalise: {round: 5}}",
    "age": "{generalise: {bins: [18, 65]}}",
    "sum": "{generalise: {top: 50, bottom: -50}}",
    "city": "{rare: {below: 9, frequent: [York]}}",
    "area": "{truncate: 1}",
    "rate": "{noise: {scale: 3}}",
    "more": "{json: {keep: [a], pseudonym: {b: order}}}",
    "none": "null",
    "same": "{constant: 1}",
}
EVERY_ROW = st.tuples(
    st.none() | st.integers(0, 99),
    st.none() | st.text(max_size=4),
    st.none() | st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.none() | st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.none() | st.decimals(-999, 999, places=2),
    st.none() | st.integers(0, 120),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.sampled_from(["York", "Leeds"]),
    st.none() | st.text(max_size=4),
    st.none() | st.floats(),
    st.none() | st.sampled_from(['{"a": 1, "b": 7}', "[]", '{"b": "x", "c": 1}']),
    st.none() | st.booleans(),
    st.none() | st.integers(0, 9),
)
EVERY_TYPE = {
    "id": pl.Int64, "who": pl.Int32, "code": pl.String, "born": pl.Date, "day": pl.Date, "paid": MONEY, "age": pl.Int16,
    "sum": pl.Int32, "city": pl.String, "area": pl.String, "rate": pl.Float64, "more": pl.String, "none": pl.Boolean,
    "same": pl.Int64,
}  # fmt: skip


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> TablePolicy:
    return table(tmp_path_factory.mktemp("everything"), **EVERYTHING)


@given(rows=st.lists(EVERY_ROW, max_size=12), cut=st.integers(0, 12))
def test_where_batches_end_changes_no_result(everything: TablePolicy, rows: list[tuple[Any, ...]], cut: int) -> None:
    frame = pl.DataFrame([(number, *row) for number, row in enumerate(rows)], EVERY_TYPE, orient="row")
    frame = frame.with_columns(none=pl.lit(None, dtype=pl.Boolean))  # as it is read
    whole = transform(frame, everything, PSEUDONYMS, zone=LONDON)
    parts = [transform(part, everything, PSEUDONYMS, zone=LONDON) for part in (frame[:cut], frame[cut:])]
    assert pl.concat(parts).equals(whole)
    assert whole.columns == frame.columns


MAY_STAY: dict[str, Callable[[Any], bool]] = {
    "born": lambda value: (value.month, value.day) == (1, 1),
    "paid": lambda value: value % 5 == 0,
    "sum": lambda value: -50 <= value <= 50,
    "city": lambda value: value == "York",
    "area": lambda value: len(value) <= 1,
    "rate": lambda value: isnan(value) or abs(value) > 1e6,  # too large for the noise to show
    "same": lambda value: value == 1,
}
"""Which values a treatment may leave as they are; any other treatment than `keep` leaves none."""


@given(rows=st.lists(EVERY_ROW, max_size=12))
def test_no_value_stays_as_it_was_by_accident(everything: TablePolicy, rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame([(number, *row) for number, row in enumerate(rows)], EVERY_TYPE, orient="row")
    frame = frame.with_columns(none=pl.lit(None, dtype=pl.Boolean))
    made = transform(frame, everything, PSEUDONYMS, zone=LONDON)
    for name in EVERYTHING:
        for before, after in zip(frame[name], made[name], strict=True):
            if before is not None and str(before) == str(after):
                assert MAY_STAY.get(name, lambda _: False)(before), (name, before)


JOINING = {
    "text": "{pseudonym: customer}", "bigint": "{pseudonym: {domain: customer, as: bigint}}",
    "uuid": "{pseudonym: {domain: customer, as: uuid}}",
}  # fmt: skip
KEYS = st.lists(st.none() | st.integers(-(2**31), 2**31 - 1) | st.integers(0, 9), max_size=15)


@pytest.mark.parametrize("shape", JOINING)
@given(left=KEYS, right=KEYS)
def test_rows_that_join_before_join_after_and_no_others(
    tmp_path_factory: pytest.TempPathFactory, shape: str, left: list[int | None], right: list[int | None]
) -> None:
    policy = table(tmp_path_factory.mktemp("join"), customer=JOINING[shape])
    frames = [
        pl.DataFrame({"id": range(len(keys)), "customer": pl.Series(keys, dtype=pl.Int64)}) for keys in (left, right)
    ]
    as_text = frames[1].with_columns(pl.col("customer").cast(pl.String))  # one table has them as text
    made = [transform(frame, policy, PSEUDONYMS, zone=LONDON) for frame in (frames[0], as_text)]
    before, after = (one.join(other, on="customer").select("id", "id_right") for one, other in (frames, made))
    assert sorted(after.rows()) == sorted(before.rows())


@pytest.mark.parametrize("column", EVERYTHING)
def test_no_treatment_leaves_a_column_as_it_was(everything: TablePolicy, column: str) -> None:
    rows = 200
    frame = pl.DataFrame({
        "id": range(rows), "who": range(rows), "code": [f"c{n}" for n in range(rows)],
        "born": [date(1950, 2, 3) + timedelta(97 * n) for n in range(rows)], "day": [date(2025, 1, 1)] * rows,
        "paid": [Decimal(n) / 100 for n in range(rows)], "age": range(rows), "sum": range(rows),
        "city": ["York", "Leeds"] * 100, "area": ["SW1A"] * rows, "rate": [1.0] * rows,
        "more": ['{"a": 1, "b": 7}'] * rows, "none": [None] * rows, "same": range(rows),
    }, EVERY_TYPE)  # fmt: skip
    made = transform(frame, everything, PSEUDONYMS, zone=LONDON)
    before, after = (each.get_column(column).cast(pl.String) for each in (frame, made))
    if column == "none":
        assert made[column].null_count() == rows
    elif column in ("who", "code", "day", "area", "rate", "more"):
        assert not (before == after).any()
    else:
        assert not before.equals(after)
