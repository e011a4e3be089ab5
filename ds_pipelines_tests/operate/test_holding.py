"""What `doctor` says of the caps and walls of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.caps.confine import allowed_apart_from, unguarded
from ds_pipelines.caps.holding import Holding, examine
from ds_pipelines.operate.doctor import Finding, show

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GIB = 1 << 30
WHOLE = Holding({"memory": 1, "pids": 1, "unified": 2}, namespaces=True, landlock=7)
BARE = Holding({}, namespaces=False, landlock=0)


def test_it_names_what_caps_memory_and_processes() -> None:
    assert WHOLE.caps_in_words(20 * GIB).startswith("memory by control groups, version 1 (20.0 GiB for all together)")
    assert "processes by a watchdog over the process tree, 33 times a second" in BARE.caps_in_words(GIB)


def test_it_names_what_cannot_be_stopped() -> None:
    assert [gap for gap in BARE.gaps if gap in unguarded(namespaces=False)] == unguarded(namespaces=False)
    assert "take more memory than its cap, for a moment" in BARE.gaps
    assert "take more memory than its cap, for a moment" not in WHOLE.gaps


def test_what_this_machine_offers_is_found_by_trying() -> None:
    found = examine()
    assert found.landlock >= 0
    assert set(found.groups) <= {"memory", "pids", "unified"}


def test_a_caution_is_said_and_is_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    show([Finding("walls", "none", caution="Here an experiment can still read files")])
    said = capsys.readouterr().out
    assert "Here an experiment can still read files" in said
    assert "All is well." in said


def test_what_is_excluded_is_left_out_of_the_folders_around_it(tmp_path: Path) -> None:
    (tmp_path / "project" / ".ds" / "secrets").mkdir(parents=True)
    (tmp_path / "project" / "code").mkdir()
    allowed = allowed_apart_from(str(tmp_path / "project"), [str(tmp_path / "project" / ".ds")])
    assert allowed == [str(tmp_path / "project" / "code")]
