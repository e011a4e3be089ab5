"""What the documentation says is so: links lead somewhere, names exist, examples run, reference pages are up to date.

Run as a script, it writes the two reference pages that are made from the code.
"""

from __future__ import annotations

import inspect
import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import typer
from pydantic import SecretStr

from ds_pipelines.cli import app
from ds_pipelines.settings import PROJECT, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

DOCS = PROJECT / "docs"
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
SETTINGS_PAGE, COMMANDS_PAGE = DOCS / "reference" / "settings.md", DOCS / "reference" / "commands.md"
POLICY_PAGES = [
    DOCS / "reference" / "policy.md",
    DOCS / "reference" / "free-text.md",
    DOCS / "how-to" / "extract-your-own-database.md",
]
REGENERATE = "python ds_pipelines_tests/docs/test_docs.py"
MADE = f"<!-- Made from the code; `{REGENERATE}` makes it anew. -->\n\n"

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^]]*]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
VARIABLE = re.compile(r"\bDS_[A-Z][A-Z_]*\b")

# ---------------------------------------------------------------- the pages that are made from the code

SETTINGS_INTRODUCTION = """# Settings

Sources, the strongest first: variables of the environment, `settings.toml` in the home, the defaults below. In
`settings.toml` a setting is written in lower case and without `DS_`:

```toml
zone = "Europe/Berlin"
first_day = 2026-01-01
```

An empty variable counts as unset. A value that cannot be used, or an unknown name in the file, is refused: the message
names the setting and what was expected. An unknown variable is not noticed.

A database's URL is libpq's, `postgresql://role@host:5432/database?passfile=…`. It belongs into the environment; in
`settings.toml`, which exploration reads as well, it is refused.
"""

COMMANDS_INTRODUCTION = """# Commands

`ds-pipelines` lies in `.venv/bin`. A command ends with status 0 if it did what it was asked for, with 1 and one
sentence on the standard error if not, and with 2 if it was called wrongly. `exec` and `psql` end with the status of the
program that they run. `ds-pipelines <command> --help` says what is here.
"""


def settings_page() -> str:
    """The settings, from the fields of the model and their descriptions."""
    rows = [
        f"| `DS_{name.upper()}` | {_values(field)} | {_default(name, field)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    ]
    head = "\n| variable | value | default | meaning |\n| --- | --- | --- | --- |\n"
    return MADE + SETTINGS_INTRODUCTION + head + "".join(rows)


def _values(field: FieldInfo) -> str:
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    kinds = {str: "text", int: "number", float: "number", Path: "path", SecretStr: "URL", timedelta: "duration"}
    names = [kinds.get(kind, getattr(kind, "__name__", "")) for kind in (field.annotation, *get_args(field.annotation))]
    return next(name for name in names if name in {*kinds.values(), "date"})


def _default(name: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "embedded" if SecretStr in get_args(field.annotation) else "unset"
    if isinstance(value, Path):
        return f"`{value.relative_to(PROJECT)}`"
    return f"`{Settings.model_construct(**{name: value}).model_dump(mode='json', include={name})[name]}`"


def commands_page() -> str:
    """The commands, from the application itself."""
    return MADE + COMMANDS_INTRODUCTION + "".join(_section(name, command) for name, command in COMMANDS.items())


def _section(name: str, command: Any) -> str:
    said, _, example = inspect.cleandoc(command.help).partition("\n\nExample: ")
    options = ["[options]"] if any(_is_option(given) for given in command.params) else []
    arguments = [_as_argument(given) for given in command.params if not _is_option(given)]
    usage = " ".join([f"ds-pipelines {name}", *options, *arguments])
    rows = [f"| {_names(given)} | {_meaning(given)} |\n" for given in command.params if given.help]
    return (
        f"\n## `{name}`\n\n{said}{' Not in the list of `--help`.' if command.hidden else ''}\n\n"
        + f"```text\n{usage}\n```\n"
        + ("\n| argument or option | meaning |\n| --- | --- |\n" + "".join(rows) if rows else "")
        + (f"\nExample:\n\n```console\n{_prompted(example)}```\n" if example else "")
    )


def _prompted(examples: str) -> str:
    return "".join(f"$ {example.strip()}\n" for example in examples.split(" ; "))


def _names(given: Any) -> str:
    return " ".join(f"`{name}`" for name in given.opts)


def _is_option(given: Any) -> bool:
    return str(given.opts[0]).startswith("-")


def _as_argument(given: Any) -> str:
    name = f"{given.opts[0].upper()}{'…' if given.nargs == -1 else ''}"
    return name if given.required else f"[{name}]"


def _meaning(given: Any) -> str:
    default = "" if given.default is None else f" By default {given.default}."
    return f"{given.help.rstrip('.')}.{default}"


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join(path if name == getattr(group, "default", None) else [*path, name]), command


COMMANDS: dict[str, Any] = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("page", [SETTINGS_PAGE, COMMANDS_PAGE], ids=lambda page: page.name)
def test_a_reference_page_says_what_the_code_says(page: Path) -> None:
    made = settings_page() if page == SETTINGS_PAGE else commands_page()
    assert page.read_text() == made, f"{page.name} is out of date: run `{REGENERATE}`"


# ---------------------------------------------------------------- what every page says


def blocks(page: Path, language: str) -> list[str]:
    return [content for kind, content in BLOCK.findall(page.read_text()) if kind == language]


def code(page: Path) -> list[str]:
    """Everything on a page that is set as code: the lines of its blocks, and what stands between backticks."""
    text = page.read_text()
    lines = [line for _, content in BLOCK.findall(text) for line in content.splitlines()]
    return [*lines, *SPAN.findall(BLOCK.sub("", text))]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as git hosts make them."""
    headings = HEADING.findall(BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def calls(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of each call of a program, up to a comment, a pipe or a redirection."""
    for line in code(page):
        for called in re.finditer(rf"(?:^|[\s/]){program} ([^#|>]+)", line):
            try:
                yield shlex.split(called[1].strip())
            except ValueError:  # an apostrophe of prose, or a call that goes on in the next line
                yield called[1].split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(BLOCK.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            dead.append(link)
    assert not dead


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [PAGES[0]]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        linked = {(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(page.read_text())}
        waiting += [target for target in linked if target.suffix == ".md" and target in PAGES and target not in reached]
    assert reached == set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    for arguments in calls(page, "ds-pipelines"):
        if arguments[0].startswith(("<", "…")):
            continue
        name = next((name for name in (" ".join(arguments[:2]), arguments[0]) if name in COMMANDS), None)
        assert name is not None, arguments
        options = {option for given in COMMANDS[name].params for option in given.opts} | {"--help"}
        given = [word.partition("=")[0] for word in arguments if word.startswith("-")]
        assert name == "exec" or set(given) <= options, arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {arguments[0] for arguments in calls(page, "make")} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_settings_exist(page: Path) -> None:
    known = {f"DS_{name.upper()}" for name in Settings.model_fields}
    assert set(VARIABLE.findall(page.read_text())) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_examples_in_python_are_python(page: Path) -> None:
    for example in blocks(page, "python"):
        compile(example, page.name, "exec")


def test_folders_that_have_owners_exist() -> None:
    lines = [line.split() for line in (PROJECT / "CODEOWNERS").read_text().splitlines()]
    folders = [words[0] for words in lines if words and words[0].startswith("/")]
    assert folders
    assert not [folder for folder in folders if not (PROJECT / folder.strip("/")).is_dir()]


# ---------------------------------------------------------------- policies


@pytest.mark.parametrize("page", POLICY_PAGES, ids=lambda page: page.name)
def test_policies_can_be_loaded(page: Path, tmp_path: Path) -> None:
    from ds_pipelines.extract import policy

    for number, example in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(example)
        assert policy.load(path).tables


def test_the_policies_of_the_docs_show_every_treatment(tmp_path: Path) -> None:
    from ds_pipelines.extract import policy, treatments

    shown = set()
    for number, text in enumerate(text for page in POLICY_PAGES for text in blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        tables = policy.load(path).tables.values()
        shown |= {type(column.treatment) for table in tables for column in table.columns.values()}
    assert shown == set(get_args(get_args(treatments.Treatment)[0]))


# ---------------------------------------------------------------- the tutorial's experiment


@pytest.fixture
def place(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A home that extracts from the small shop and serves it; this process's environment points there."""
    from ds_pipelines import postgres
    from ds_pipelines.extract.publish import extract_days, extract_state
    from ds_pipelines_tests.gateway.scenario import free_port, serving

    experiments = tmp_path / "experiments"
    experiments.mkdir()
    place = load_settings(
        home=tmp_path / "home",
        experiments=experiments,
        extract_url=postgres.url("extract", settings),
        tracking_address=postgres.sqlalchemy_url(postgres.url("mlflow", settings)),
        gateway_port=free_port(),
        **settings.model_dump(include={"first_day", "today", "zone"}),
    )
    for table in ("orders", "order_lines"):
        extract_days(table, place.first_day, place.last_extractable_day(), place)
    extract_state("customers", place)
    with pytest.MonkeyPatch.context() as patch, serving(place):
        for name, value in place.as_environment().items():
            patch.setenv(name, value)
        yield place


def test_the_tutorial_s_experiment_runs_and_gets_a_verdict(place: Settings) -> None:
    from ds_pipelines import lab

    [script] = [example for example in blocks(DOCS / "tutorial.md", "python") if "lab.verdict(" in example]
    (place.experiments / "first_order.py").write_text(script)
    ran = lab.run("first_order", settings=place)
    assert ran.verdict is not None
    assert {each.table for each in ran.record.inputs} == {"orders", "order_lines", "customers"}


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(settings_page())
    COMMANDS_PAGE.write_text(commands_page())
