"""The demonstration, run twice by its command in one home: what it tells, what it leaves, and what never gets out.

On real transactions where the machine has them, else on an invented shop, so that the demonstration is always tested.
What other systems get is compared with SQL that was written by hand from the words of the contract.
"""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import os
import pickle
import re
import resource
import socket
import subprocess
import sys
import threading
import unicodedata
import zipfile
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from ds_pipelines import postgres
from ds_pipelines.evidence import RunRecord, Verdict
from ds_pipelines.operate.services import SERVICES
from ds_pipelines.settings import PROJECT
from ds_pipelines_tests.acceptance.conftest import CommandLine, new_home
from ds_pipelines_tests.conftest import SHARED_DATA
from ds_pipelines_tests.gateway.scenario import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from ds_pipelines.settings import Settings

REAL = SHARED_DATA / "retail" / "online_retail_until_2011-08.csv.gz"
INVENTED_CUSTOMERS = 2_000
TABLES = {"categories", "products", "customers", "orders", "order_lines", "tickets"}
JOBS = {"repurchase", "top_sellers"}

SAYS_THAT_IT_IS_A_TEST = re.compile(
    "PYTEST|^CI$|GITHUB|CIRCLECI|GITLAB|JENKINS|TRAVIS|TF_BUILD|BITBUCKET|CODEBUILD|BUILDKITE|TEAMCITY|RUNBOT"
)
"""Variables by which libraries know that they are tested, and do not call home anyway."""


# ---------------------------------------------------------------- running it


@dataclass(frozen=True)
class Demonstration:
    """Two runs of `ds-pipelines demo` in one home."""

    command: CommandLine
    settings: Settings
    first: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    work: tuple[float, float]
    """Processor seconds of each run and its services, without the databases: steadier than the clock's."""
    releases: tuple[dict[str, bytes], dict[str, bytes]]
    """Manifests by file name, after each run."""
    called: list[str]
    """What programs said that looked for the way out of this machine, the first line of each."""

    @property
    def day(self) -> date:
        """The day that was scored."""
        return self.settings.last_extractable_day()

    @property
    def output(self) -> str:
        return self.first.stdout + self.first.stderr + self.again.stdout + self.again.stderr

    def table(self) -> dict[str, str]:
        """The table at the end of the first run: what happened, by step."""
        rows = self.first.stdout.split("what happened", 1)[1].splitlines()[1:]
        cells = [re.split(r"\s{2,}", row.strip()) for row in rows if "  " in row]
        return {step: " | ".join(told) for step, *told in cells}

    def query(self, role: postgres.Role, statement: str, **values: object) -> list[tuple[Any, ...]]:
        with closing(postgres.connect(role, self.settings)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def runs(self, experiment: str) -> list[Path]:
        """The folders of artifacts that MLflow keeps of an experiment's runs, the oldest first."""
        found = []
        for path in self.settings.artifacts.glob("*/*/artifacts/evidence/run.json"):
            record = RunRecord.model_validate_json(path.read_text())
            if record.experiment == experiment:
                found.append((record.started_at, path.parent.parent))
        return [folder for _, folder in sorted(found)]

    def verdicts(self, experiment: str) -> list[Verdict]:
        """The verdicts of an experiment's runs, the oldest first."""
        files = [folder / "evidence" / "verdict.json" for folder in self.runs(experiment)]
        return [Verdict.model_validate_json(path.read_text()) for path in files]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demonstration]:
    """The demonstration, twice; its services are gone, its databases run until the tests are done."""
    source = ("--transactions", str(REAL)) if REAL.exists() else ("--customers", str(INVENTED_CUSTOMERS))
    with new_home() as command, way_out() as (proxies, called):
        runs, work, releases = [], [], []
        for _ in range(2):
            before = work_of_children()
            with outside_of_tests():
                runs.append(command("demo", *source, seconds=400, **proxies))
            work.append(work_of_children() - before)
            assert runs[-1].returncode == 0, runs[-1].stderr
            manifests = command.settings().releases.glob("*.yaml")
            releases.append({path.name: path.read_bytes() for path in manifests})
        yield Demonstration(
            command, command.settings(), runs[0], runs[1], (work[0], work[1]), (releases[0], releases[1]), called
        )


def work_of_children() -> float:
    """Processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def way_out() -> Iterator[tuple[dict[str, str], list[str]]]:
    """A proxy that lets nobody through and notes who asked; and the variables that make programs ask it."""
    called: list[str] = []

    def listen(server: socket.socket) -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(5)
                called.append(caller.recv(4096).decode(errors="replace").split("\r\n", 1)[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, args=(server,), daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        names = ("http_proxy", "https_proxy", "all_proxy")
        proxies = {variable: address for name in names for variable in (name, name.upper())}
        yield {**proxies, "no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}, called
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def outside_of_tests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if SAYS_THAT_IT_IS_A_TEST.search(name)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def on_real_transactions(demo: Demonstration) -> Demonstration:
    if not REAL.exists():
        pytest.skip("real transactions (../shared/data/retail) are not on this machine")
    return demo


# ---------------------------------------------------------------- what it tells


def test_progress_is_told_step_by_step(demo: Demonstration) -> None:
    steps = re.findall(r"^✓ (.+) [\d.]+ s$", demo.first.stdout, re.MULTILINE)
    assert len(steps) > 5
    assert [step for step in steps if step not in demo.table()] == []


def test_nothing_but_the_story_is_printed(demo: Demonstration) -> None:
    assert demo.first.stderr == ""
    assert demo.again.stderr == ""
    assert "INFO" not in demo.first.stdout


def test_the_table_says_how_many_rows_were_read_and_what_was_removed_of_them(demo: Demonstration) -> None:
    told = demo.table()["Anonymized extract of every day and table"]
    rows = sum(demo.query("owner", f"SELECT count(*) FROM {table}")[0][0] for table in TABLES)
    assert f"{rows:,} rows read" in told
    assert re.search(r"[\d,]{6,} values withheld", told)
    assert re.search(r"[\d,]{6,} identifiers pseudonymised", told)


def test_the_table_names_verdicts_release_scored_customers_and_top_sellers(demo: Demonstration) -> None:
    told = demo.table()
    [[scored]] = demo.query("consumer", "SELECT count(*) FROM latest_repurchase_scores")
    assert "repurchase: signal" in told["Experiments, tracked, with a verdict each"]
    assert "ticket_mood: " in told["Experiments, tracked, with a verdict each"]
    released = told["Release: proposed, through the gates of acceptance"]
    assert all(Path(name).stem in released for name in demo.releases[0])
    assert f"{scored:,} customers scored" in told["repurchase"]
    assert re.search(r"\w+: \w+", told["top sellers"])


def test_the_end_of_the_story_names_the_next_command(demo: Demonstration) -> None:
    assert re.search(r"Done in \d+ s\. Next: make up", demo.first.stdout)


def test_every_row_of_the_file_is_accounted_for(on_real_transactions: Demonstration) -> None:
    lines = gzip.decompress(REAL.read_bytes()).decode().splitlines()
    counted: dict[str, int] = {}
    for rows, fate in re.findall(r"^ *([\d,]+)  (read|kept|set aside)  ", on_real_transactions.first.stdout, re.M):
        counted[fate] = counted.get(fate, 0) + int(rows.replace(",", ""))
    assert counted["read"] == len(lines) - 1
    assert counted["kept"] + counted["set aside"] == counted["read"]
    [[in_the_shop]] = on_real_transactions.query("owner", "SELECT count(*) FROM order_lines")
    assert in_the_shop == counted["kept"]


# ---------------------------------------------------------------- what the experiments say


def test_who_buys_again_can_be_predicted(on_real_transactions: Demonstration) -> None:
    for verdict in on_real_transactions.verdicts("repurchase"):
        assert (verdict.answer, verdict.p is not None and verdict.p <= 0.01) == ("signal", True)


def test_the_target_without_signal_is_found_to_have_none(on_real_transactions: Demonstration) -> None:
    assert [verdict.answer for verdict in on_real_transactions.verdicts("ticket_mood")] == ["no signal", "no signal"]


@pytest.fixture(scope="module")
def gateway(demo: Demonstration) -> Iterator[None]:
    with serving(demo.settings):
        yield


@pytest.mark.parametrize("experiment", ["repurchase", "ticket_mood"])
def test_a_third_run_gives_the_same_verdict(demo: Demonstration, gateway: None, experiment: str) -> None:
    """Of the script by itself, as a data scientist would run it."""
    first, again = demo.verdicts(experiment)
    script = str(demo.settings.experiments / f"{experiment}.py")
    alone = subprocess.run(
        [sys.executable, script],
        env=demo.command.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert first == again
    assert first.words in alone.stdout


# ---------------------------------------------------------------- what other systems get


def test_there_is_one_receipt_a_job_and_day(demo: Demonstration) -> None:
    receipts = demo.query("consumer", "SELECT job, day, count(*) FROM receipts GROUP BY job, day ORDER BY job")
    assert receipts == [("repurchase", demo.day, 1), ("top_sellers", demo.day, 1)]


def test_every_customer_who_ever_bought_is_scored_and_nobody_else(demo: Demonstration) -> None:
    bought = """
        SELECT DISTINCT customer_id FROM orders
        WHERE kind = 'sale' AND customer_id IS NOT NULL
          AND placed_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'Europe/London'
        ORDER BY customer_id
    """
    scored = "SELECT customer_id FROM latest_repurchase_scores ORDER BY customer_id"
    assert demo.query("consumer", scored) == demo.query("owner", bought, day=demo.day)


def test_as_many_customers_are_scored_as_the_receipt_says(demo: Demonstration) -> None:
    counted = "SELECT count(*), count(DISTINCT customer_id), min(day), max(day) FROM latest_repurchase_scores"
    [(rows, customers, first, last)] = demo.query("consumer", counted)
    [[promised]] = demo.query("consumer", "SELECT rows FROM receipts WHERE job = 'repurchase'")
    assert (rows, customers, first, last) == (promised, promised, demo.day, demo.day)


def test_each_score_is_a_probability_given_by_the_release_in_the_manifest(demo: Demonstration) -> None:
    [manifest] = [yaml.safe_load(text) for name, text in demo.releases[1].items() if name.startswith("repurchase")]
    measured = "SELECT min(score) >= 0, max(score) <= 1, count(DISTINCT score) > 100, min(decile), max(decile) FROM {}"
    assert demo.query("consumer", measured.format("latest_repurchase_scores")) == [(True, True, True, 1, 10)]
    releases = demo.query("consumer", "SELECT DISTINCT release FROM latest_repurchase_scores")
    assert releases == [(manifest["digest"],)]


def test_the_top_sellers_are_those_that_sql_finds(demo: Demonstration) -> None:
    by_hand = """
        WITH sold AS (
            SELECT product_id, sum(quantity) AS pieces, sum(quantity * unit_price * (1 - discount)) AS brought
            FROM order_lines
            WHERE placed_at >= (%(day)s::date - 27)::timestamp AT TIME ZONE 'Europe/London'
              AND placed_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'Europe/London'
            GROUP BY product_id
            HAVING sum(quantity) > 0
        ), ranked AS (
            SELECT %(day)s::date, c.name AS category, p.product_id, p.name AS product, pieces, brought,
                   row_number() OVER (
                       PARTITION BY c.category_id ORDER BY pieces DESC, brought DESC, p.product_id
                   ) AS place
            FROM sold
            JOIN products p USING (product_id)
            JOIN categories c USING (category_id)
            WHERE p.is_product
        )
        SELECT date, category COLLATE "C", place, product_id, product, pieces, round(brought, 2)
        FROM ranked WHERE place <= 5 ORDER BY 2, 3
    """
    served = (
        'SELECT day, category COLLATE "C", rank, product_id, product, quantity, revenue '
        "FROM latest_top_sellers WHERE segment = 'all' ORDER BY 2, 3"
    )
    delivered = demo.query("consumer", served)
    assert len(delivered) > 30
    assert delivered == demo.query("owner", by_hand, day=demo.day)


# ---------------------------------------------------------------- running it again


def test_running_it_again_goes_on_from_what_stands(demo: Demonstration) -> None:
    first, again = demo.work
    assert again < 0.85 * first
    assert "as loaded before" in demo.again.stdout


def test_running_it_again_releases_the_same(demo: Demonstration) -> None:
    first, again = demo.releases
    assert {name.rpartition("-")[0] for name in first} == JOBS
    assert first == again


@pytest.mark.parametrize("experiment", ["repurchase", "ticket_mood"])
def test_an_experiment_run_again_keeps_the_same_model_byte_for_byte(demo: Demonstration, experiment: str) -> None:
    """Of either format: LightGBM's text, and skops."""
    first, again = (
        [path.read_bytes() for path in run.glob("model/model.*")] for run in demo.runs(experiment)
    )  # fmt: skip
    assert len(first) == 1
    assert first == again


def test_running_it_again_replaces_the_day_and_keeps_the_receipt_of_what_was_replaced(demo: Demonstration) -> None:
    current = demo.query("consumer", "SELECT job, replaces, checksum FROM receipts ORDER BY job")
    replaced = demo.query("serving", "SELECT job, delivery, checksum FROM receipts_replaced ORDER BY job")
    assert current == replaced


def test_running_it_again_publishes_each_day_once(demo: Demonstration) -> None:
    settings = demo.settings
    days = (demo.day - settings.first_day).days + 1
    published = {path.name: len(list(path.glob("*.json"))) for path in (settings.snapshots / "published").iterdir()}
    assert {name: published[name] for name in ("orders", "order_lines", "tickets")} == dict.fromkeys(
        ("orders", "order_lines", "tickets"), days
    )
    assert {name: published[name] for name in ("categories", "products", "customers")} == dict.fromkeys(
        ("categories", "products", "customers"), 1
    )


# ---------------------------------------------------------------- telemetry


def test_no_library_calls_home(demo: Demonstration) -> None:
    assert demo.called == []


def test_a_library_that_called_home_would_have_been_noticed(demo: Demonstration) -> None:
    call = "import httpx, requests, urllib.request\n" + "\n".join(
        f"try: {get}('{scheme}://telemetry.invalid/')\nexcept Exception: pass"
        for get in ("httpx.get", "requests.get", "urllib.request.urlopen")
        for scheme in ("http", "https")
    )
    with way_out() as (proxies, called):
        subprocess.run([sys.executable, "-c", call], env=demo.command.environment(**proxies), check=True, timeout=60)
    assert len(called) == 6
    assert all("telemetry.invalid" in line for line in called)


@pytest.mark.parametrize("service", SERVICES)
def test_telemetry_is_off_in_every_service(demo: Demonstration, service: str) -> None:
    _, variables = SERVICES[service].command(demo.settings)
    assert variables["DAGSTER_DISABLE_TELEMETRY"] == "yes"
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert variables["DO_NOT_TRACK"] == "true"


def test_telemetry_is_off_in_dagsters_instance(demo: Demonstration) -> None:
    for path in (PROJECT / "dagster_home" / "dagster.yaml", demo.settings.instance / "dagster.yaml"):
        assert yaml.safe_load(path.read_text())["telemetry"] == {"enabled": False}
    assert not (demo.settings.instance / ".telemetry").exists()
    assert not (demo.settings.instance / "logs").exists()


# ---------------------------------------------------------------- what never gets out


Texts = list[tuple[str, str]]
"""Where a text was found, and the text."""


class Needles:
    """Words of which none may occur, each under what it is; all of them are sought at once (Aho-Corasick)."""

    def __init__(self, words: dict[str, set[str]]) -> None:
        kinds: dict[str, str] = {}
        for kind, values in words.items():
            for value in values:
                kinds.update(dict.fromkeys(spellings(value), kind))
        self._kinds = list(kinds.values())
        self._patterns = list(kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def found(self, texts: Texts) -> set[tuple[str, str]]:
        """Where which kind of word was found; not the word itself, which may be a secret."""
        places = [place for place, _ in texts]
        folded = pl.Series([fold(text) for _, text in texts], dtype=pl.String)
        hits = folded.str.contains_any(pl.Series(self._patterns).implode()).arg_true().to_list()
        return {
            (places[hit], self._kinds[found])
            for hit in hits
            for found in range(len(self))
            if self._patterns[found] in folded[hit]
        }


def fold(text: str) -> str:
    """Without differences of case, of how accents are composed, and of how often backslashes were escaped."""
    return re.sub(r"\\{2,}", r"\\", unicodedata.normalize("NFC", text).lower())


def spellings(value: str) -> set[str]:
    """A value as it is, and as JSON, HTML and URLs write it."""
    written = {value, json.dumps(value)[1:-1], html.escape(value), quote(value), quote_plus(value)}
    return {fold(each) for each in written}


def people(demo: Demonstration) -> dict[str, set[str]]:
    """What identifies the shop's customers, by what it is."""
    columns = ("full_name", "email", "phone", "street", "national_id", "card_digits")
    rows = demo.query("owner", f"SELECT {', '.join(columns)} FROM customers")
    known = {column: {str(row[place]) for row in rows} for place, column in enumerate(columns)}
    # As people sign letters, and without the blanks. Bare digits are left out: a long number may hold them by chance.
    known["full_name, turned round"] = {", ".join(name.split(" ", 1)[::-1]) for name in known["full_name"]}
    for column in ("phone", "national_id"):
        close = {value.replace(" ", "") for value in known[column]}
        known[f"{column}, without blanks"] = {value for value in close if not value.isdigit()}
    return known


def secrets(settings: Settings) -> dict[str, set[str]]:
    """Everything secret in the home, by its file."""
    found = {}
    for path in settings.secrets.rglob("*"):
        if path.is_file():
            text = path.read_text().strip()
            found[str(path.relative_to(settings.secrets))] = {text.rsplit(":", 1)[-1]}
    return found


def texts_of(place: str, content: bytes) -> Iterator[tuple[str, str]]:
    """All text in a file, whatever form it has: what is packed is unpacked, and tables are read."""
    if content[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(content))
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        for name, column in frame.to_dict().items():
            if not (column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean):
                yield f"{place}: {name}", "\n".join(map(str, column.drop_nulls().unique().to_list()))
        yield f"{place}: metadata", f"{table.schema.names} {table.schema.metadata}"
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from texts_of(f"{place}/{name}", archive.read(name))
    elif content[:2] == b"\x1f\x8b":
        yield from texts_of(f"{place} (gzip)", gzip.decompress(content))
    elif content[:1] == b"\x78" and (unpacked := _inflated(content)) is not None:
        yield from texts_of(f"{place} (zlib)", unpacked)
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _texts_of_picture(place, content)
    else:
        yield place, content.decode("utf-8", errors="replace")


def _inflated(content: bytes) -> bytes | None:
    try:
        return zlib.decompress(content)
    except zlib.error:
        return None


def _texts_of_picture(place: str, content: bytes) -> Iterator[tuple[str, str]]:
    from PIL import Image

    yield place, content.decode("utf-8", errors="replace")
    with Image.open(io.BytesIO(content)) as picture:
        yield f"{place}: info", str(picture.info)


def texts_below(folder: Path) -> Texts:
    """All text in all files of a folder; files with the same bytes once."""
    contents = {path.read_bytes(): str(path.relative_to(folder.parent)) for path in folder.rglob("*") if path.is_file()}
    return [text for content, place in contents.items() for text in texts_of(place, content)]


def texts_in_database(demo: Demonstration, role: postgres.Role) -> Texts:
    """Every value of every table that a role can read, row by row; bytes unpacked, pictures in Markdown decoded."""
    texts: Texts = []
    with closing(postgres.connect(role, demo.settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT * FROM {table}")
            for number, row in enumerate(cursor.fetchall(), start=1):
                place = f"{role}: {table} {number}"
                texts.append((place, "\n".join(map(str, row))))
                for value in row:
                    if isinstance(value, memoryview):
                        texts += texts_of(place, value.tobytes())
                    for picture in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", str(value)):
                        texts += texts_of(f"{place}: picture", base64.b64decode(picture))
    return texts


WHERE: dict[str, Callable[[Demonstration], Texts]] = {
    "the published snapshots": lambda demo: texts_below(demo.settings.snapshots),
    "MLflow's artifacts": lambda demo: texts_below(demo.settings.artifacts),
    "MLflow's database": lambda demo: texts_in_database(demo, "mlflow"),
    "the lab's cache": lambda demo: texts_below(demo.settings.cache),
    "the logs": lambda demo: texts_below(demo.settings.home / "logs"),
    "the databases' own logs": lambda demo: [
        text
        for path in (demo.settings.home / "postgres").glob("*/server.log")
        for text in texts_of(str(path), path.read_bytes())
    ],
    "the registry's files": lambda demo: texts_below(demo.settings.registry_artifacts),
    "the registry's database": lambda demo: texts_in_database(demo, "registry"),
    "the release manifests": lambda demo: texts_below(demo.settings.releases),
    "Dagster's home": lambda demo: texts_below(demo.settings.instance),
    "Dagster's event log and runs": lambda demo: texts_in_database(demo, "dagster"),
    "the serving tables": lambda demo: texts_in_database(demo, "serving"),
    "what the command prints": lambda demo: [("output", demo.output)],
    "the settings": lambda demo: [("settings.toml", (demo.settings.home / "settings.toml").read_text())],
}


@pytest.fixture(scope="module")
def needles(demo: Demonstration) -> Needles:
    """Whatever must not get out: every identifier of every customer, and every secret."""
    return Needles(people(demo) | secrets(demo.settings))


def test_everything_that_identifies_somebody_is_sought(demo: Demonstration, needles: Needles) -> None:
    [[customers]] = demo.query("owner", "SELECT count(DISTINCT national_id) FROM customers")
    assert customers > 1_000
    assert len(needles) > 5 * customers


def test_every_secret_is_sought(demo: Demonstration) -> None:
    found = secrets(demo.settings)
    assert set(found) >= {"gateway.token", "pseudonym.key", "postgres/production/extract.pgpass"}
    assert all(len(secret) >= 32 for values in found.values() for secret in values)


@pytest.mark.parametrize("where", WHERE)
def test_no_person_and_no_secret_gets_into(demo: Demonstration, needles: Needles, where: str) -> None:
    texts = WHERE[where](demo)
    assert sum(len(text) for _, text in texts) > 50, f"there is nothing to search in {where}"
    assert needles.found(texts) == set()


def test_the_search_finds_people_where_they_are(demo: Demonstration, needles: Needles) -> None:
    """In production: customers sign their tickets."""
    bodies = [("tickets", body) for (body,) in demo.query("owner", "SELECT body FROM tickets LIMIT 100")]
    assert {kind for _, kind in needles.found(bodies)} >= {"full_name", "email", "phone", "street"}


def parquet(value: str) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"id": [1, 2], "note": ["nothing", f"call {value}!"]}).write_parquet(file)
    return file.getvalue()


def lists_in_parquet(value: str) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"notes": [["a", value]]}).write_parquet(file)
    return file.getvalue()


def zipped(value: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", json.dumps({"categories": [value]}))
    return file.getvalue()


def picture(value: str) -> bytes:
    from PIL import Image, PngImagePlugin

    notes, file = PngImagePlugin.PngInfo(), io.BytesIO()
    notes.add_itxt("Title", f"Of {value}", zip=True)
    Image.new("L", (2, 2)).save(file, "png", pnginfo=notes)
    return file.getvalue()


FORMS: dict[str, Callable[[str], bytes]] = {
    "text": lambda value: f"Dear {value}, …".encode(),
    "text in capitals": lambda value: f"DEAR {value.upper()}".encode(),
    "JSON": lambda value: json.dumps({"who": value}).encode(),
    "HTML": lambda value: f"<td>{html.escape(value)}</td>".encode(),
    "an address": lambda value: f"GET /find?who={quote_plus(value)}".encode(),
    "bytes that are no text": lambda value: b"\xff\xfe\x00" + value.encode() + b"\x00\x80",
    "a pickle": lambda value: pickle.dumps({"who": [value]}),
    "gzip": lambda value: gzip.compress(value.encode()),
    "zlib": lambda value: zlib.compress(value.encode()),
    "a zip": zipped,
    "a zip in a gzip": lambda value: gzip.compress(zipped(value)),
    "Parquet": parquet,
    "lists in Parquet": lists_in_parquet,
    "a picture's notes": picture,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_a_planted_name_in(form: str, tmp_path: Path) -> None:
    planted = Needles({"full_name": {"Małgorzata O'Brien"}, "email": {"m.obrien@example.org"}})
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "innocent.txt").write_text("Małgorzata, and O'Brien")
    assert planted.found(texts_below(tmp_path / "scratch")) == set()
    (tmp_path / "scratch" / "file").write_bytes(FORMS[form]("Małgorzata O'Brien"))
    assert {kind for _, kind in planted.found(texts_below(tmp_path / "scratch"))} == {"full_name"}
