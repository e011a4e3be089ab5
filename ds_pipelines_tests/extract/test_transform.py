"""What each treatment does to values, and that keeping the keys changes nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds_pipelines.extract.policy import TablePolicy, load
from ds_pipelines.extract.pseudonyms import Pseudonyms
from ds_pipelines.extract.transform import transform
from ds_pipelines_tests.extract.scenario import SECRET, kept, policy_file

if TYPE_CHECKING:
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
