"""Whether a policy fits a live table: what it does not name, or cannot treat, is refused before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
import yaml

from ds_pipelines.errors import (
    AbsentColumnError,
    AbsentTableError,
    ChangedTypeError,
    UndeclaredColumnError,
    UndeclaredTableError,
    UnfitDayColumnError,
    UnfitTreatmentError,
    UnsupportedTypeError,
)
from ds_pipelines.extract.catalogue import LiveTable, check, check_table
from ds_pipelines.extract.policy import load
from ds_pipelines.extract.types import LiveColumn
from ds_pipelines_tests.extract.scenario import VISITS_COLUMNS, policy_file

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.extract.policy import Policy


def live(name: str, base: str, *, required: bool = True, modifier: int = -1) -> LiveColumn:
    return LiveColumn(name, base, base, modifier, required)


VISITS = {
    "visit_id": live("visit_id", "bigint"),
    "at": live("at", "timestamp with time zone"),
    "note": live("note", "text"),
}


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return load(policy_file(tmp_path, VISITS_COLUMNS))


def test_a_fitting_policy_gives_the_visible_columns_in_its_order(policy: Policy) -> None:
    check(policy, {"visits": LiveTable(VISITS)})
    assert list(check_table(policy.table("visits"), VISITS)) == ["visit_id", "at"]


def test_a_column_without_a_decision_is_refused(policy: Policy) -> None:
    with pytest.raises(UndeclaredColumnError, match=r"'visits' has columns .* does not name: iban, phone"):
        check_table(policy.table("visits"), VISITS | {name: live(name, "text") for name in ("phone", "iban")})


def test_a_decision_about_a_column_that_is_gone_is_refused(policy: Policy) -> None:
    with pytest.raises(AbsentColumnError, match="'visits' does not have: note"):
        check_table(policy.table("visits"), {name: column for name, column in VISITS.items() if name != "note"})


def test_a_table_without_a_decision_is_refused_when_the_whole_schema_is_checked(policy: Policy) -> None:
    with pytest.raises(UndeclaredTableError, match="'salaries'"):
        check(policy, {"visits": LiveTable(VISITS), "salaries": LiveTable({})})


def test_a_decision_about_a_table_that_is_gone_is_refused(policy: Policy) -> None:
    with pytest.raises(AbsentTableError, match=r"'visits', and schema 'public'"):
        check(policy, {})


@pytest.mark.parametrize("base", ["money", "tsvector", "tsquery", "xid", "hstore", "shop.mood", "money[]"])
def test_a_type_that_cannot_be_carried_exactly_is_refused_by_name(policy: Policy, base: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"visits\.visit_id is of type "):
        check_table(policy.table("visits"), VISITS | {"visit_id": live("visit_id", base)})


@pytest.mark.parametrize(
    ("modifier", "expected"),  # typmods as PostgreSQL 18 gives them
    [
        (655366, (10, 2)),
        (-1, (38, 18)),
        (264194, (6, 0)),  # numeric(4,-2)
        (196617, (5, 5)),  # numeric(3,5)
        (3276806, (38, 2)),  # numeric(50,2)
        (2621484, None),  # numeric(40,40)
    ],
)
def test_a_numeric_has_room_for_38_digits(tmp_path: Path, modifier: int, expected: tuple[int, int] | None) -> None:
    columns = VISITS_COLUMNS | {"visit_id": "{treatment: keep, description: D., because: B.}"}
    visits = load(policy_file(tmp_path, columns)).table("visits")
    column = live("visit_id", "numeric", modifier=modifier)
    if expected is None:
        with pytest.raises(UnsupportedTypeError, match="more than 38 digits after the point"):
            check_table(visits, VISITS | {"visit_id": column})
    else:
        assert check_table(visits, VISITS | {"visit_id": column})["visit_id"].dtype == pl.Decimal(*expected)


def test_a_changed_type_is_refused_with_what_was_decided_on(tmp_path: Path) -> None:
    columns = VISITS_COLUMNS | {"c": "{type: integer, treatment: keep, description: D., because: B.}"}
    visits = load(policy_file(tmp_path, columns)).table("visits")
    assert "c" in check_table(visits, VISITS | {"c": live("c", "integer")})
    with pytest.raises(ChangedTypeError, match=r"visits\.c is of type text, and the privacy policy decided on integer"):
        check_table(visits, VISITS | {"c": live("c", "text")})


def test_a_refused_column_is_drafted_as_withheld(policy: Policy) -> None:
    with pytest.raises(UndeclaredColumnError) as refusal:
        check_table(policy.table("visits"), VISITS | {"Bank no": live("Bank no", "character(22)")})
    draft = str(refusal.value).rpartition("\n")[2]
    assert yaml.safe_load(draft) == {
        "Bank no": {"type": "character(22)", "treatment": "drop", "because": "Nobody has decided yet."}
    }


def test_views_and_heirs_without_columns_of_their_own_need_no_decision(policy: Policy) -> None:
    heir = LiveTable(VISITS, parents=("visits",))
    heirs_heir = LiveTable(VISITS, parents=("late",))
    check(policy, {"visits": LiveTable(VISITS), "v": LiveTable({}, view=True), "late": heir, "later": heirs_heir})
    wider = LiveTable(VISITS | {"name": live("name", "text")}, parents=("visits",))
    with pytest.raises(UndeclaredTableError, match="'named'"):
        check(policy, {"visits": LiveTable(VISITS), "named": wider})


@pytest.mark.parametrize(
    ("treatment", "base", "expected"),
    [
        ("{pseudonym: visit}", "boolean", "needs integer, printed, text, uuid"),
        ("{truncate: 2}", "bigint", r"type bigint, and treatment truncate\(2\) needs text"),
        ("{generalise: month}", "text", "needs date, timestamp"),
        ("{generalise: {round: 10}}", "date", "needs decimal, float, integer"),
        ("{generalise: {bins: [1]}}", "text", "needs decimal, float, integer"),
        ("{free_text: withheld}", "integer", "needs text"),
        ("{rare: {below: 5}}", "integer", "needs text"),
        ("{shift: {days: 9, per: visit_id}}", "text", "needs date, timestamp"),
        ("{noise: {scale: 1}}", "text", "needs decimal, float, integer"),
        ("{generalise: {top: 1}}", "date", "needs decimal, float, integer"),
        ("{json: {keep: [a]}}", "text", "needs json"),
        ("{truncate: 2}", "integer[]", "needs text"),
    ],
)
def test_a_treatment_that_does_not_fit_the_type_is_refused(
    tmp_path: Path, treatment: str, base: str, expected: str
) -> None:
    columns = VISITS_COLUMNS | {"c": f"{{treatment: {treatment}, description: D., because: B.}}"}
    visits = load(policy_file(tmp_path, columns)).table("visits")
    with pytest.raises(UnfitTreatmentError, match=expected):
        check_table(visits, VISITS | {"c": live("c", base)})


def test_a_dropped_column_may_be_of_any_type(tmp_path: Path) -> None:
    columns = VISITS_COLUMNS | {"c": "{treatment: drop, because: B.}"}
    visits = load(policy_file(tmp_path, columns)).table("visits")
    assert "c" not in check_table(visits, VISITS | {"c": live("c", "tsvector")})


@pytest.mark.parametrize(
    "column", [live("at", "timestamp with time zone", required=False), live("at", "timestamp without time zone")]
)
def test_a_day_is_told_by_an_instant_that_is_never_missing(policy: Policy, column: LiveColumn) -> None:
    with pytest.raises(UnfitDayColumnError, match=r"visits\.at .* cannot tell the day of a row"):
        check_table(policy.table("visits"), VISITS | {"at": column})
