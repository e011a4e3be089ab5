"""Settings: their sources, their errors, and the business's clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ds_pipelines.errors import SettingsError, UnknownDayError
from ds_pipelines.settings import load_settings, scrubbed_environment

if TYPE_CHECKING:
    from pathlib import Path


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text('zone = "Europe/Paris"\nfirst_day = 2010-12-01\n')
    monkeypatch.setenv("DS_HOME", str(tmp_path))
    monkeypatch.setenv("DS_ZONE", "Asia/Tokyo")
    chosen = load_settings()
    assert (chosen.zone, chosen.first_day, chosen.webserver_port) == ("Asia/Tokyo", date(2010, 12, 1), 3000)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DS_ENVIRONMENT", "staging", "'development', 'acceptance' or 'production'"),
        ("DS_ZONE", "London", "Europe/London"),
        ("DS_WEBSERVER_PORT", "none", "valid integer"),
        ("DS_FIRST_DAY", "yesterday", "date"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected_and_not_repeated(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert expected in str(caught.value)
    assert value not in str(caught.value).replace(expected, "")


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("frist_day = 2010-12-01\n")
    with pytest.raises(SettingsError, match="DS_FRIST_DAY"):
        load_settings(home=tmp_path)


def test_a_day_can_be_extracted_the_delay_after_its_end() -> None:
    settings = load_settings(today=date(2025, 3, 1), extract_delay=timedelta(hours=2))
    assert settings.last_extractable_day() == date(2025, 2, 28)
    assert settings.model_copy(update={"extract_delay": timedelta(hours=13)}).last_extractable_day() == date(
        2025, 2, 27
    )


@pytest.mark.parametrize("day", ["2024-12-31", "2025-03-01", "2025-02-30", "today"])
def test_a_day_outside_the_business_s_days_is_refused_with_their_bounds(day: str) -> None:
    settings = load_settings(first_day=date(2025, 1, 1), today=date(2025, 3, 1))
    with pytest.raises(UnknownDayError, match="from 2025-01-01 to 2025-02-28"):
        settings.require_day(day)


@pytest.mark.parametrize(("day", "hours"), [(date(2025, 3, 30), 23), (date(2025, 10, 26), 25), (date(2025, 7, 1), 24)])
def test_a_business_day_has_as_many_hours_as_its_zone_gives_it(day: date, hours: int) -> None:
    start, end = load_settings(zone="Europe/London").bounds(day)
    assert end - start == timedelta(hours=hours)
    assert start.tzinfo is UTC


def test_a_summer_day_begins_at_eleven_in_the_evening_in_utc() -> None:
    assert load_settings(zone="Europe/London").bounds(date(2025, 7, 1))[0] == datetime(2025, 6, 30, 23, tzinfo=UTC)


def test_a_child_gets_every_setting_but_no_database_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DS_EXTRACT_URL", "postgresql://reader:hunter2@shop/db")
    settings = load_settings(home=tmp_path, today=date(2025, 3, 1))
    given = settings.as_environment()
    assert given["DS_TODAY"] == "2025-03-01"
    assert "hunter2" not in str(given)
    assert "DS_EXTRACT_URL" not in scrubbed_environment(**given)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings.model_copy(update={"extract_url": load_settings().extract_url})


def test_a_database_url_in_the_settings_file_is_refused_because_exploration_reads_that(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('extract_url = "postgresql://reader:hunter2@shop/db"\n')
    with pytest.raises(SettingsError, match=r"DS_EXTRACT_URL .* exploration reads settings\.toml") as caught:
        load_settings(home=tmp_path)
    assert "hunter2" not in str(caught.value)


def test_no_secret_shows_in_the_settings_own_text() -> None:
    assert "hunter2" not in repr(load_settings(extract_url="postgresql://reader:hunter2@shop/db"))
