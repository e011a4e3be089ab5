"""A manifest is what was offered, or it is refused by file and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from ds_pipelines.errors import ManifestError
from ds_pipelines.production.jobs import JOBS
from ds_pipelines.release import manifest as manifests
from ds_pipelines.release.propose import propose_computation

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings


@pytest.fixture
def path(settings: Settings, tmp_path: Path) -> Path:
    return propose_computation(JOBS["top_sellers"], settings.model_copy(update={"releases": tmp_path}))


def test_a_manifest_reads_as_it_was_written(path: Path, tmp_path: Path) -> None:
    read = manifests.load(path)
    manifests.dump(read, tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == path.read_bytes()


def test_who_offered_it_when_is_not_part_of_what_it_is(path: Path) -> None:
    read = manifests.load(path)
    other = read.model_copy(update={"run_id": "another", "proposed_at": read.proposed_at.replace(year=2031)})
    assert other.digest == read.digest
    assert read.model_copy(update={"owner": "another"}).digest != read.digest


EDITS = {
    "a changed owner": ("owner", "someone else", "digest"),
    "a changed contract": ("contract", {"table": "t", "key": [], "columns": []}, "digest"),
    "another digest": ("digest", "0" * 64, "digest"),
    "an unknown key": ("weight", 3, "weight"),
    "a kind that there is not": ("kind", "notebook", "kind"),
    "a malformed time": ("proposed_at", "yesterday", "proposed_at"),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edited_manifest_is_refused_by_file_and_key(case: str, path: Path) -> None:
    key, value, named = EDITS[case]
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: value}))
    with pytest.raises(ManifestError) as refused:
        manifests.load(path)
    assert f"{path.name} is not usable: {named}:" in str(refused.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "digest: {", "\x00"])
def test_a_file_that_is_no_manifest_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(text)
    with pytest.raises(ManifestError, match=r"some\.yaml"):
        manifests.load(tmp_path / "some.yaml")


def test_a_missing_manifest_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.yaml"):
        manifests.load(tmp_path / "none.yaml")
