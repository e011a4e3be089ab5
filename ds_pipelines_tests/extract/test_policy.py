"""The policy's file: what it may say, and errors that point at the line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ds_pipelines.errors import PolicyError, UndeclaredTableError
from ds_pipelines.extract.policy import SHOP, Policy, load, to_yaml
from ds_pipelines.sample.schema import COLUMNS
from ds_pipelines.settings import load_settings
from ds_pipelines_tests.extract.scenario import VISITS_COLUMNS, kept, policy_file

if TYPE_CHECKING:
    from pathlib import Path

KEPT = kept()


@pytest.fixture(scope="module")
def shop_policy() -> Policy:
    return load(load_settings().policies / SHOP)


def test_the_shops_policy_names_every_table_and_column_of_the_shop(shop_policy: Policy) -> None:
    named = {name: set(table.columns) for name, table in shop_policy.tables.items()}
    assert named == {name: set(columns) for name, columns in COLUMNS.items()}


def test_the_shops_policy_extracts_orders_lines_and_tickets_by_day(shop_policy: Policy) -> None:
    by_day = {name: table.by_day for name, table in shop_policy.tables.items() if table.by_day}
    assert by_day == {"orders": "placed_at", "order_lines": "placed_at", "tickets": "opened_at"}


def test_an_identifier_of_the_shop_has_the_same_domain_in_every_table(shop_policy: Policy) -> None:
    labels = {
        (name, column.treatment.label)
        for table in shop_policy.tables.values()
        for name, column in table.columns.items()
        if name in ("customer_id", "order_id", "order_line_id", "ticket_id")
    }
    assert labels == {
        ("customer_id", "pseudonym(customer)"),
        ("order_id", "pseudonym(order)"),
        ("order_line_id", "pseudonym(order_line)"),
        ("ticket_id", "pseudonym(ticket)"),
    }


def test_nothing_that_says_who_somebody_is_is_visible(shop_policy: Policy) -> None:
    hidden = set(shop_policy.table("customers").withheld)
    assert hidden == {"full_name", "email", "phone", "street", "city", "national_id", "card_digits"}
    assert set(shop_policy.table("tickets").withheld) == {"body"}
    assert set(shop_policy.table("orders").withheld) == {"ship_city"}
    assert set(shop_policy.table("order_lines").withheld) == {"gift_message"}


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("keep", "keep"),
        ("drop", "drop"),
        ("{pseudonym: customer}", "pseudonym(customer)"),
        ("{generalise: quarter}", "generalise(quarter)"),
        ("{generalise: {round: 10}}", "generalise(round 10)"),
        ("{generalise: {bins: [0, 2.5, 18]}}", "generalise(bins 0, 2.5, 18)"),
        ("{truncate: 2}", "truncate(2)"),
        ("{free_text: withheld}", "free_text(withheld)"),
        ("null", "null"),
        ("{constant: 0}", "constant(0)"),
        ("{pseudonym: {domain: customer, as: bigint}}", "pseudonym(customer as bigint)"),
        ("{pseudonym: {domain: customer, as: text}}", "pseudonym(customer)"),
        ("{generalise: {bins: {quantiles: 4}}}", "generalise(bins by 4 quantiles)"),
        ("{generalise: {top: 100}}", "generalise(top 100)"),
        ("{generalise: {bottom: 0, top: {quantile: 0.99}}}", "generalise(bottom 0, top quantile 0.99)"),
        ("{rare: {below: 20}}", "generalise(rarer than 20 to other)"),
        ("{shift: {days: 30, per: who}}", "shift(30 days per who)"),
        ("{noise: {scale: 2.5}}", "noise(scale 2.5)"),
        (
            "{json: {keep: [a.b, c.*], drop: [c.d], pseudonym: {e: customer}}}",
            "json(keep a.b, c.*; drop c.d; pseudonym(customer) e)",
        ),
    ],
)
def test_every_treatment_is_read_back_as_people_write_it(tmp_path: Path, written: str, label: str) -> None:
    column = f"{{treatment: {written}, description: D., because: B.}}"
    who = "{treatment: {pseudonym: visit}, description: D., because: B.}"
    path = policy_file(tmp_path, {"id": KEPT, "at": KEPT, "c": column, "who": who}, key="[id]")
    policy = load(path)
    assert policy.table("visits").columns["c"].treatment.label == label
    path.write_text(to_yaml(policy))
    assert load(path) == policy
    assert load(path).digest == policy.digest


@pytest.mark.parametrize(
    ("column", "key", "problem"),
    [
        ("{treatment: hide, description: D., because: B.}", "columns.c.treatment", "expected one of keep, drop"),
        ("{treatment: {pseudonym: Some One}, description: D., because: B.}", "columns.c.treatment.pseudonym", "match"),
        ("{treatment: {truncate: 2, pseudonym: a}, description: D., because: B.}", "columns.c.treatment", "one of"),
        ("{treatment: {truncate: two}, description: D., because: B.}", "columns.c.treatment.truncate", "integer"),
        ("{treatment: {truncate: 0}, description: D., because: B.}", "columns.c.treatment.truncate", "greater than 0"),
        ("{treatment: {generalise: week}, description: D., because: B.}", "columns.c.treatment.generalise", "'month'"),
        ("{treatment: {generalise: {bins: [3, 1]}}, description: D., because: B.}", "bins", "must ascend"),
        ("{treatment: , because: B.}", "columns.c.treatment", "expected one of keep, drop, null"),
        (
            "{treatment: {generalise: {bins: {quantiles: 1}}}, description: D., because: B.}",
            "generalise.bins",
            "equal to 2",
        ),
        ("{treatment: {generalise: {top: 1, bottom: 2}}, description: D., because: B.}", "generalise", "above the top"),
        ("{treatment: {generalise: {}}, description: D., because: B.}", "columns.c.treatment", "expected one of"),
        ("{treatment: {rare: {below: 1}}, description: D., because: B.}", "rare.below", "equal to 2"),
        ("{treatment: {shift: {days: 0, per: id}}, description: D., because: B.}", "shift.days", "equal to 1"),
        ("{treatment: {noise: {scale: 0}}, description: D., because: B.}", "noise.scale", "greater than 0"),
        ("{treatment: {json: {keep: [a..b]}}, description: D., because: B.}", "json.keep", "'a..b' is no path"),
        ("{treatment: {json: {keep: [a], drop: [a]}}, description: D., because: B.}", "json", "'a' is listed twice"),
        ("{treatment: {json: {}}, description: D., because: B.}", "columns.c.treatment.json", "expected paths"),
        ("{treatment: {pseudonym: {domain: a, as: int}}, description: D., because: B.}", "pseudonym.as", "'bigint'"),
        ("{treatment: {free_text: shown}, because: B.}", "columns.c.treatment.free_text", "'withheld'"),
        ("{treatment: keep, description: D.}", "columns.c.because", "missing"),
        ("{treatment: keep, because: B.}", "columns.c", "needs a description"),
        ("{description: D., because: B.}", "columns.c.treatment", "missing"),
        ("{treatment: keep, description: D., because: B., colour: red}", "columns.c.colour", "no such key"),
    ],
)
def test_a_wrong_decision_is_reported_with_file_line_and_key(
    tmp_path: Path, column: str, key: str, problem: str
) -> None:
    path = policy_file(tmp_path, {"id": KEPT, "at": KEPT, "c": column}, key="[id]")
    with pytest.raises(PolicyError, match=re.escape(problem)) as refusal:
        load(path)
    assert f"{path}, line 12, key tables.visits." in str(refusal.value)
    assert key in str(refusal.value)


def test_a_decision_over_several_lines_is_reported_at_the_line_of_its_key(tmp_path: Path) -> None:
    lines = ("", "  description: D.", "  treatment:", "    generalise:", "      round: ten", "  because: B.")
    column = "\n      ".join(lines)
    path = policy_file(tmp_path, {"id": KEPT, "at": KEPT, "c": column}, key="[id]")
    with pytest.raises(PolicyError, match=r"line 16, key tables\.visits\.columns\.c\.treatment\.generalise\.round"):
        load(path)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"key": "[nobody]"}, r"line 5, key tables\.visits: key column 'nobody' must be among the columns"),
        ({"key": "[]"}, r"line 8, key tables\.visits\.key: expected the columns that identify a row, or none"),
        ({"key": "[note]"}, r"line 5, key tables\.visits: key column 'note' must be among the columns, kept or a pseu"),
        ({"rows": "{by_day: note}"}, r"line 5, key tables\.visits: 'note', which tells the day"),
        ({"rows": "some"}, r"line 7, key tables\.visits\.rows: expected all or \{by_day: <column>\}"),
        ({"rows": "{by_week: at}"}, r"line 7, key tables\.visits\.rows: expected all or"),
    ],
)
def test_rows_and_key_must_fit_the_columns(tmp_path: Path, changed: dict[str, str], problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        load(policy_file(tmp_path, VISITS_COLUMNS, **changed))


PERSONS = {
    "who": "{treatment: {pseudonym: customer}, description: D., because: B.}",
    "born": "{treatment: {generalise: year}, description: D., because: B.}",
    "town": KEPT,
    "ill": KEPT,
    "name": "{treatment: drop, because: B.}",
}


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("k: 5", "declared together"),
        ("quasi_identifiers: [born]", "declared together"),
        ("k: 1\n    quasi_identifiers: [born]", "line 9, key tables.t.k: input should be greater than or equal to 2"),
        ("k: 5\n    quasi_identifiers: [name]", "quasi-identifier 'name' must be a column of the extract"),
        ("k: 5\n    quasi_identifiers: [who]", "neither a pseudonym nor free text"),
        ("k: 5\n    quasi_identifiers: [born, born]", "named twice"),
        ("k: 5\n    quasi_identifiers: [born, ill]\n    sensitive: [ill]", "'ill' cannot be both"),
        ("sensitive: [nothing]", "sensitive column 'nothing' must be"),
        ("person: town", "'town', which tells the person, must be among the columns and a pseudonym"),
    ],
)
def test_what_singles_people_out_is_declared_soundly(tmp_path: Path, declared: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(problem)):
        load(policy_file(tmp_path, PERSONS, table="t", rows="all", key=f"[who]\n    {declared}"))


def test_what_singles_people_out_is_read(tmp_path: Path) -> None:
    declared = "[who]\n    person: who\n    k: 5\n    quasi_identifiers: [born, town]\n    sensitive: [ill]"
    policy = load(policy_file(tmp_path, PERSONS, table="t", rows="all", key=declared))
    table = policy.table("t")
    assert (table.person, table.k, table.quasi_identifiers, table.sensitive) == ("who", 5, ("born", "town"), ("ill",))
    path = tmp_path / "written.yaml"
    path.write_text(to_yaml(policy))
    assert load(path) == policy


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (
            {"a": "{pseudonym: {domain: customer, as: bigint}}"},
            "pseudonyms of 'customer' are text elsewhere and bigint",
        ),
        (
            {"a": "{json: {pseudonym: {x: order}}}", "b": "{pseudonym: {domain: order, as: uuid}}"},
            "could not be joined",
        ),
        (
            {"a": "{shift: {days: 3, per: who}}", "b": "{shift: {days: 4, per: who}}"},
            "intervals between them would not",
        ),
        ({"a": "{shift: {days: 3, per: town}}"}, "'a' is shifted per 'town', which must be"),
    ],
)
def test_tables_are_treated_so_that_they_fit_each_other(tmp_path: Path, columns: dict[str, str], problem: str) -> None:
    decided = {name: f"{{treatment: {written}, description: D., because: B.}}" for name, written in columns.items()}
    with pytest.raises(PolicyError, match=re.escape(problem)):
        load(policy_file(tmp_path, PERSONS | decided, rows="all", key="[who]"))


def test_noise_needs_a_key(tmp_path: Path) -> None:
    noisy = "{treatment: {noise: {scale: 1}}, description: D., because: B.}"
    with pytest.raises(PolicyError, match="'c' cannot have noise"):
        load(policy_file(tmp_path, {"c": noisy}, rows="all", key="none"))


def test_the_shops_policy_is_written_as_it_is_read(shop_policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "written.yaml"
    path.write_text(to_yaml(shop_policy))
    assert load(path) == shop_policy


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
NUMBERS = st.integers(-1000, 1000) | st.floats(-1e9, 1e9)
PATHS = st.lists(st.text("ab_é", min_size=1, max_size=3), min_size=1, max_size=3).map(".".join)
TREATMENTS = st.one_of(
    st.sampled_from(["keep", "null", {"generalise": "year"}, {"pseudonym": "order"}]),
    st.builds(lambda value: {"constant": value}, WORDS | NUMBERS),
    st.builds(lambda edges: {"generalise": {"bins": sorted(edges)}}, st.sets(NUMBERS, min_size=1, max_size=4)),
    st.builds(lambda parts: {"generalise": {"bins": {"quantiles": parts}}}, st.integers(2, 100)),
    st.builds(lambda top: {"generalise": {"top": top}}, NUMBERS),
    st.builds(lambda share: {"generalise": {"bottom": {"quantile": share}}}, st.floats(0.001, 0.999)),
    st.builds(lambda scale: {"noise": {"scale": scale}}, st.floats(1e-9, 1e9)),
    st.builds(lambda days: {"shift": {"days": days, "per": "who"}}, st.just(30)),
    st.builds(lambda paths: {"json": {"keep": sorted(paths)}}, st.sets(PATHS, min_size=1)),
    st.builds(lambda count: {"truncate": count}, st.integers(1, 99)),
)


@effort(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(treatments=st.dictionaries(WORDS, TREATMENTS, min_size=1, max_size=5), because=WORDS)
def test_any_policy_is_written_as_it_is_read(tmp_path: Path, treatments: dict[str, object], because: str) -> None:
    columns: dict[str, object] = {
        name: {"treatment": treatment, "description": because, "because": because}
        for name, treatment in treatments.items()
    }
    columns["who"] = {"treatment": {"pseudonym": "customer"}, "description": because, "because": because}
    table = {"description": because, "rows": "all", "key": ["who"], "columns": columns}
    policy = Policy.model_validate({"version": 1, "schema": "public", "tables": {"t": table}})
    path = tmp_path / "written.yaml"
    path.write_text(to_yaml(policy), encoding="utf-8")
    assert load(path) == policy
    assert load(path).digest == policy.digest


@effort(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(WORDS, min_size=8, max_size=8, unique=True),
    k=st.integers(2, 10**6),
    by_day=st.booleans(),
    nobodys=st.dictionaries(WORDS, WORDS, max_size=3),
)
def test_whom_a_policy_is_about_is_written_as_it_is_read(
    tmp_path: Path, names: list[str], k: int, by_day: bool, nobodys: dict[str, str]
) -> None:
    who, given_name, family, mail, phone, street, town, ill = names
    treated = dict.fromkeys(names, "drop") | {who: {"pseudonym": "customer"}, town: "keep", ill: "keep"}
    columns = {
        name: {"treatment": treatment, "description": "D.", "because": "B.", "type": town}
        for name, treatment in treated.items()
    }
    persons = {
        "description": "D.", "rows": {"by_day": ill} if by_day else "all", "key": [who], "person": who,
        "known_by": {"names": [[given_name, family], family], "emails": [mail], "phones": [phone],
                     "addresses": [street], "identifiers": [who]},
        "quasi_identifiers": [town], "k": k, "sensitive": [ill], "columns": columns,
    }  # fmt: skip
    content = {"version": 1, "schema": town, "tables": {who: persons}}
    nobodys.pop(who, None)
    policy = Policy.model_validate(content | {"not_extracted": nobodys})
    path = tmp_path / "written.yaml"
    path.write_text(to_yaml(policy), encoding="utf-8")
    assert load(path) == policy
    assert load(path).digest == policy.digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected a mapping"),
        ("just words", "expected a mapping"),
        ("version: 1\ntables: [a, b]\n", "line 2, key tables: expected a mapping"),
        ("version: 2\ntables: {}\n", "line 1, key version"),
        ("version: 1\ntables:\n  a: [\n", "line 4: this is not YAML"),
        ("version: 1\ntables:\n  a: {}\n  a: {}\n", "line 4: this is not YAML as policies use it: 'a' occurs twice"),
        ("version: 1\nschema: &s public\nversion_: *s\n", "line 3: .*an alias stands for what is written elsewhere"),
        ("version: 1\ntables: !!python/name:os.system {}\n", "line 2: this is not YAML"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=problem):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nowhere\.yaml: the file cannot be read \(No such file"):
        load(tmp_path / "nowhere.yaml")


def test_names_that_yaml_takes_for_truth_values_are_names(tmp_path: Path) -> None:
    policy = load(policy_file(tmp_path, {"on": KEPT, "no": KEPT, "yes": KEPT}, rows="{by_day: on}", key="[no]"))
    assert (list(policy.table("visits").columns), policy.table("visits").by_day) == (["on", "no", "yes"], "on")


def test_the_digest_follows_the_decisions_and_not_the_layout(tmp_path: Path) -> None:
    path = policy_file(tmp_path / "a", VISITS_COLUMNS)
    relaid = tmp_path / "relaid.yaml"
    relaid.write_text("# another comment\n" + path.read_text().replace("version: 1\n", "") + "version: 1\n")
    changed = policy_file(tmp_path / "b", VISITS_COLUMNS | {"at": kept("Another description.")})
    assert load(relaid).digest == load(path).digest
    assert load(changed).digest != load(path).digest


def test_a_table_without_a_decision_is_refused_with_those_that_have_one(shop_policy: Policy) -> None:
    with pytest.raises(UndeclaredTableError, match=r"'salaries'; it names categories, customers, order_lines, orders"):
        shop_policy.table("salaries")
