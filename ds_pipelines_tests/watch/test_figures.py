"""Production in figures for Prometheus, through the gateway, and in a weekly report: what there is and what is wrong."""

from __future__ import annotations

import dataclasses
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import httpx
import pytest

from ds_pipelines.gateway import grants
from ds_pipelines.gateway.grants import Wanted
from ds_pipelines.production.alerts import look_once
from ds_pipelines.scoring.deliver import begin, deliver
from ds_pipelines.watch.weekly import gather, page, write
from ds_pipelines.watch.weekly_plot import plot
from ds_pipelines_tests.gateway.scenario import make_installation, serving, serving_database_of_its_own
from ds_pipelines_tests.scoring.scenario import RELEASE, SCORES, SCORES_CORRECTED, job, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from ds_pipelines.settings import Settings

TODAY = date(2025, 3, 10)
NEWEST, BEFORE = TODAY - timedelta(days=2), TODAY - timedelta(days=3)
KEEN = job("keen")


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, shared: Settings, database: dict[str, SecretStr]
) -> Iterator[Settings]:
    """Two days delivered, one of them corrected, and a third overdue; the watch has looked once; a gateway serves."""
    urls = database | serving_database_of_its_own(shared)
    made = make_installation(tmp_path_factory.mktemp("figures"), urls, first_day=date(2025, 3, 1), today=TODAY)
    for day, scores in ((BEFORE, SCORES), (BEFORE, SCORES_CORRECTED), (NEWEST, SCORES)):
        deliver(rows(day, scores), KEEN, day, release=RELEASE, inputs=[], settings=made, began=begin(made))
    with dg.DagsterInstance.ephemeral() as instance:
        look_once(instance, [KEEN], [], made)
    with serving(made):
        yield made


def asked(place: Settings, kind: grants.Kind) -> httpx.Response:
    tables = frozenset({KEEN.table}) if kind == "scores" else None
    token = grants.create(Wanted(f"figures {kind}", kind, tables, None), place)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{place.gateway_base}/metrics/production", headers=headers, timeout=10)


@pytest.fixture(scope="module")
def figures(place: Settings) -> dict[str, float]:
    """Each sample by its name and labels, as Prometheus keeps them."""
    answer = asked(place, "metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


def test_deliveries_are_told(figures: dict[str, float]) -> None:
    midnight = (NEWEST - date(1970, 1, 1)).days * 86_400
    assert figures['production_delivered_day_timestamp_seconds{job="keen"}'] == midnight
    assert figures['production_delivered_rows{job="keen"}'] == len(SCORES)
    assert figures['production_delivered_days{job="keen"}'] == 2
    assert figures['production_corrections{job="keen"}'] == 1
    assert figures['production_check_passed{check="contract",job="keen"}'] == 1


def test_what_is_late_is_told_by_receipts_and_by_the_watch(figures: dict[str, float]) -> None:
    assert figures['production_stale{job="keen"}'] == 1
    assert figures['watch_problems_open{kind="lateness"}'] == 1
    assert figures['watch_problems_open{kind="failure"}'] == 0
    assert figures["watch_looked_timestamp_seconds"] > 1.7e9


def test_every_line_is_of_prometheus_text_format(place: Settings) -> None:
    sample = re.compile(r'[a-z_]+(\{([a-z_]+="[^"\\\n]*",?)*\})? [0-9.e+-]+')
    for line in asked_text(place).splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line


def asked_text(place: Settings) -> str:
    token = grants.create(Wanted("figures again", "metrics", None, None), place)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{place.gateway_base}/metrics/production", headers=headers, timeout=10).text


def test_a_token_for_scores_does_not_open_figures(place: Settings) -> None:
    assert asked(place, "scores").status_code == 403


def test_the_weekly_report_says_what_is_there_and_what_is_missing(place: Settings) -> None:
    report = gather([KEEN], place)
    assert (report.first, report.last) == (TODAY - timedelta(days=7), TODAY - timedelta(days=1))
    [week] = report.jobs
    words = " ".join(week.words)
    assert "2 of 7 days are delivered, 10 rows; 1 of them replaced an earlier delivery." in words
    assert f"Missing: {TODAY - timedelta(days=7)}" in words
    assert NEWEST in week.scores
    [trouble] = report.troubles
    assert trouble.words.startswith("lateness: keen, since")


def test_the_page_stands_alone_and_shows_a_picture(place: Settings) -> None:
    report = gather([KEEN], place)
    picture = plot(report)
    assert picture.startswith(b"\x89PNG")
    path = write(report, picture, place)
    text = path.read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert not re.search(r'(src|href)="https?:', text)


def test_names_in_the_page_are_no_markup(place: Settings) -> None:
    report = gather([dataclasses.replace(KEEN, name="<b>keen</b>")], place)
    assert "<b>" not in page(report, b"")
