"""Tables that nobody shall have: decided on by one line, never read, and told wherever somebody asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ds_pipelines.errors import AbsentTableError, NotExtractedError, PolicyError, UndeclaredTableError
from ds_pipelines.extract import catalogue, source
from ds_pipelines.extract.difference import difference
from ds_pipelines.extract.inspection import inspect
from ds_pipelines.extract.policy import load, to_yaml
from ds_pipelines.extract.propose.draft import propose
from ds_pipelines.extract.publish import extract_state
from ds_pipelines_tests.extract.scenario import VISITS_COLUMNS, kept, policy_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ds_pipelines.extract.policy import Policy
    from ds_pipelines.settings import Settings

    Sql = Callable[[str], list[tuple[object, ...]]]

NOBODY = "not_extracted:\n  salaries: What somebody earns is nobody's business.\n"


def deciding(folder: Path, more: str = NOBODY, **options: str) -> Policy:
    path = policy_file(folder, VISITS_COLUMNS, **options)
    path.write_text(path.read_text() + more)
    return load(path)


def test_it_is_read_and_written(tmp_path: Path) -> None:
    policy = deciding(tmp_path)
    assert policy.not_extracted == {"salaries": "What somebody earns is nobody's business."}
    (tmp_path / "shop.yaml").write_text(to_yaml(policy))
    assert load(tmp_path / "shop.yaml") == policy
    assert policy.digest != deciding(tmp_path, "").digest


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("not_extracted:\n  visits: No.\n", "table 'visits' is named under `tables` and under `not_extracted`"),
        ("not_extracted:\n  salaries:\n", "line 14, key not_extracted.salaries: string should have at least 1"),
        ("not_extracted: [salaries]\n", "line 13, key not_extracted: "),
    ],
)
def test_it_needs_a_reason_and_no_other_decision(tmp_path: Path, more: str, problem: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        deciding(tmp_path, more)
    assert problem in str(refusal.value)


def test_a_table_of_which_nothing_is_visible_is_sent_there(tmp_path: Path) -> None:
    columns = {"name": "{treatment: drop, because: No.}"}
    with pytest.raises(PolicyError, match=r"none of its columns would be in the extract; .*`not_extracted`"):
        load(policy_file(tmp_path, columns, rows="all", key="none"))


def test_a_policy_that_decides_on_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("version: 1\ntables: {}\n")
    with pytest.raises(PolicyError, match="it decides on no table"):
        load(tmp_path / "shop.yaml")


def test_everything_is_decided_and_the_table_is_refused_with_its_reason(
    place: Settings, sql: Any, tmp_path: Path
) -> None:
    sql("CREATE TABLE visits (visit_id int PRIMARY KEY, at timestamptz NOT NULL, note text)")
    sql("CREATE TABLE salaries (earned int)")
    policy = deciding(tmp_path, schema=sql.schema)
    assert inspect(policy, place).misfits == ()
    catalogue.check(policy, source.live_tables(place, sql.schema))
    with pytest.raises(NotExtractedError, match=r"'salaries' under `not_extracted`: .*nobody's business\. Nobody gets"):
        extract_state("salaries", place.model_copy(update={"policies": tmp_path}))
    sql("DROP TABLE salaries")
    [misfit] = inspect(policy, place).misfits
    assert (misfit.table, type(misfit.error)) == ("salaries", AbsentTableError)
    with pytest.raises(AbsentTableError, match="'salaries'"):
        catalogue.check(policy, source.live_tables(place, sql.schema))


def test_what_is_asked_for_and_undecided_is_told_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UndeclaredTableError, match=r"policy propose <table>` drafts .* `not_extracted`"):
        deciding(tmp_path).table("bonuses")


def test_its_rows_are_not_read_with_those_of_the_table_from_which_it_inherits(
    place: Settings, sql: Any, tmp_path: Path
) -> None:
    sql("""
        CREATE TABLE visits (id int); INSERT INTO visits VALUES (1);
        CREATE TABLE salaries () INHERITS (visits); INSERT INTO salaries VALUES (2)
    """)
    path = policy_file(tmp_path, {"id": kept()}, schema=sql.schema, rows="all", key="[id]")
    with source.connect("extract", place) as session:
        assert session.read(session.readable(load(path), "visits"))["id"].sort().to_list() == [1, 2]
        path.write_text(path.read_text() + NOBODY)
        assert session.read(session.readable(load(path), "visits"))["id"].to_list() == [1]


def test_a_draft_names_there_what_it_would_withhold_whole(place: Settings, sql: Any, tmp_path: Path) -> None:
    sql("CREATE TABLE visits (id int PRIMARY KEY); CREATE TABLE secrets (password text, remark text)")
    draft = propose(place, schema=sql.schema)
    (tmp_path / "shop.yaml").write_text(draft.yaml)
    policy = load(tmp_path / "shop.yaml")
    assert (list(policy.tables), list(policy.not_extracted)) == (["visits"], ["secrets"])
    alone = propose(place, schema=sql.schema, tables=["secrets"])
    assert (alone.policy.tables, list(alone.policy.not_extracted)) == ({}, ["secrets"])
    assert "# secrets: Each of its columns would be withheld." in alone.entries("secrets")
    assert list(yaml.safe_load(alone.entries("secrets", ["remark"]))["secrets"]["columns"]) == ["remark"]


def test_a_change_of_it_is_told(tmp_path: Path) -> None:
    def told(before: Policy, after: Policy) -> list[str]:
        return [str(change) for change in difference(before, after)]

    without, with_it = deciding(tmp_path, ""), deciding(tmp_path)
    other = deciding(tmp_path, "not_extracted:\n  salaries: Not now.\n")
    assert told(without, with_it) == ["words: salaries: nobody shall have the table"]
    assert told(with_it, without) == ["gone: salaries: not extracted before, and not named any more"]
    assert told(with_it, other) == ["words: salaries: another reason why nobody shall have the table"]
    instead = deciding(tmp_path, "not_extracted:\n  visits: Not now.\n", table="calls")
    assert "withheld now: visits: nobody shall have the table" in told(without, instead)
