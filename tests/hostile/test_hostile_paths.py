"""Names that no file has, or that a terminal, an index or a shell trips over."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import forge
import pytest
from conftest import ROOT, Project, make_project

from sgcp.core.errors import SgcpError, printable
from sgcp.core.files import write_text
from sgcp.datasets import raw as links
from sgcp.datasets.raw import find_files

FRAME = "CamVid/train/0001TP_006690.png"


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """An unpacked folder with one frame, beside the project."""
    folder = tmp_path / "unpacked"
    (folder / FRAME).parent.mkdir(parents=True)
    (folder / FRAME).write_bytes(forge.png((4, 3)))
    return folder


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--archive", "", "is a folder, not a zip"),
        ("--archive", "folder", "folder: is a folder, not a zip; --root takes an unpacked folder"),
        ("--archive", "pipe", "pipe: no such archive"),
        ("--archive", "/dev/zero", "no such archive"),
        ("--archive", "x" * 5000, "File name too long; give a shorter one"),
        ("--archive", "a\udcff.zip", "a\\udcff.zip: no such archive"),
        ("--archive", "a\x1b[2Jb\nerror: c.zip", "a\\x1b[2Jb"),
        ("--archive", "label_colors.txt/", "no such archive"),
        ("--root", "", "is or contains"),
        ("--root", "~nouser-at-all", "'~nouser-at-all': no such folder"),
        ("--root", "pipe", "pipe: no such folder"),
        ("--root", "circle", "no such folder"),
        ("--root", "x" * 5000, "File name too long"),
        ("--root", "empty", "has no file of this dataset"),
    ],
)
def test_name_of_no_source_is_one_message(project: Project, option, value, message):
    for name in ("folder", "empty"):
        (project.root / name).mkdir()
    os.mkfifo(project.root / "pipe")
    (project.root / "circle").symlink_to("circle")
    before = forge.snapshot(project.root)
    text = project.fails("download", "camvid", option, value)
    assert message in text
    assert "\x1b" not in text
    assert forge.snapshot(project.root) == before


@pytest.mark.parametrize("name", ["Straße № 5 日本 [/red][b]", "quote's \"$HOME;ls " + "d" * 150])
def test_project_and_archive_of_any_name_work(tmp_path: Path, name, frames: Path):
    root = tmp_path / name
    root.mkdir(parents=True)
    project = make_project(root)
    content = forge.zip_bytes([(f"{name[:60]}/{FRAME}", forge.png((4, 3)))])
    (tmp_path / f"{name}.zip").write_bytes(content)
    (root / "below").mkdir()
    Project(root / "below").ok("download", "camvid", "--archive", tmp_path / f"{name}.zip")
    assert (root / "data/raw/camvid" / FRAME).is_file()
    archive = os.path.relpath(tmp_path / f"{name}.zip", root / "below")
    assert "nothing to do" in Project(root / "below").ok("download", "camvid", "--archive", archive)
    frames.rename(tmp_path / f"{name} frames")
    project.ok("download", "camvid", "--root", tmp_path / f"{name} frames")
    assert (root / "data/raw/camvid" / FRAME).is_symlink()
    Project(root / "below").ok("download", "sample")
    project.ok("prepare", "sample")


def test_path_that_is_no_utf8_works_or_is_one_message(tmp_path: Path):
    """In a process of its own: the test runner's streams are more forgiving than a terminal's."""
    root = tmp_path / os.fsdecode(b"na\xefve")
    root.mkdir()
    project = make_project(root)
    archive = os.fsencode(root) + b"/a\xff.zip"
    Path(os.fsdecode(archive)).write_bytes(forge.zip_bytes([(FRAME, forge.png((4, 3)))]))
    (root / "below").mkdir()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "sgcp", "download", "camvid", "--archive", archive],
            cwd=root / "below", env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert b"nothing to do" in done.stdout
    assert (project.root / "data/raw/camvid" / FRAME).is_file()


def test_names_beyond_ascii_work_where_the_locale_is_ascii(project: Project):
    for kind, content in (("images", forge.png((4, 3))), ("labels", forge.png((4, 3), color=0))):
        for split in ("train", "val"):
            path = project.root / f"mine/{kind}/{split}/Straße/ü.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
    (project.root / "mine/classes.csv").write_text("name,values,color\na,0,#000001\nb,1,#000002\n")
    narrow = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (["download", "custom", "--root", "mine"], ["prepare", "custom"]):
        done = subprocess.run(
            [sys.executable, "-m", "sgcp", *command], cwd=project.root,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | narrow, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    index = (project.root / "data/prepared/custom/index.csv").read_text("utf-8")
    assert "images/train/Straße/ü.png" in index


@pytest.mark.parametrize("name", [os.fsdecode(b"a\xff"), "a\nb", "a\x1b[2J"])
def test_city_that_no_index_can_name_is_refused_before_it_is_linked(project: Project, name):
    folder = project.root / "root/leftImg8bit/train" / name
    folder.mkdir(parents=True)
    (folder / f"{name}_leftImg8bit.png").write_bytes(forge.png((4, 3)))
    text = project.fails("download", "cityscapes", "--root", "root")
    assert "rename it" in text
    assert "\x1b" not in text
    assert not list((project.root / "data/raw").glob("[!.]*"))


def test_city_that_no_index_can_name_stops_prepare(project: Project):
    project.ok("download", "sample")
    raw = project.root / "data/raw/sample"
    for part in ("leftImg8bit", "gtFine"):
        (raw / part / "train/arcburg").rename(raw / part / "train" / os.fsdecode(b"arc\xffburg"))
    assert "a name that is no UTF-8" in project.fails("prepare", "sample")
    assert not (project.root / "data/prepared/sample").exists()


def test_folders_behind_links_are_entered(tmp_path: Path, frames: Path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/x").symlink_to(frames / "CamVid")
    assert [*find_files(tmp_path / "root", Path)] == [Path("x/train/0001TP_006690.png")]


def test_links_in_circles_are_entered_once(tmp_path: Path, frames: Path):
    for name in ("a", "b"):  # two of them would be 2**40 folders
        (frames / "CamVid" / name).symlink_to(frames)
        (frames / name).symlink_to(".")
    assert [*find_files(frames, Path)] == [Path(FRAME)]


def test_links_that_branch_without_end_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(links, "MAX_FOLDERS", 100)
    for level in range(20):
        (tmp_path / f"root/{level}").mkdir(parents=True)
        for name in ("a", "b"):
            (tmp_path / f"root/{level}/{name}").symlink_to(tmp_path / f"root/{level + 1}")
    with pytest.raises(SgcpError, match="more than 100 folders; name one of them"):
        find_files(tmp_path / "root", Path)


def test_pipes_devices_and_dangling_links_are_not_linked(project: Project, frames: Path):
    folder = (frames / FRAME).parent
    os.mkfifo(folder / "0001TP_000001.png")
    (folder / "0001TP_000002.png").symlink_to("/dev/zero")
    (folder / "0001TP_000003.png").symlink_to("absent")
    (folder / "0001TP_000004.png").mkdir()
    project.ok("download", "camvid", "--root", frames)
    linked = (project.root / "data/raw/camvid/CamVid/train").iterdir()
    assert [path.name for path in linked] == [Path(FRAME).name]


def test_two_files_of_a_folder_for_one_place_are_refused(project: Project, frames: Path):
    shutil.copytree(frames / "CamVid", frames / "copy/CamVid")
    text = project.fails("download", "camvid", "--root", frames)
    assert "are the same file CamVid/train/0001TP_006690.png" in text


@pytest.mark.parametrize("stem", ["../../../../evil", "/etc/passwd", "a/b", "..", "-rf"])
def test_split_that_names_other_folders_is_refused(walled: Project, frames: Path, stem):
    walled.ok("download", "camvid", "--root", frames)
    (walled.root / "pipeline/splits/camvid/train.txt").write_text(f"0001TP_006690\n{stem}\n")
    before = forge.snapshot(walled.root.parent)
    assert f"train.txt: {stem!r} is not the name of an image" in walled.fails("prepare", "camvid")
    assert forge.snapshot(walled.root.parent) == before


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 2**21, b"\0"])
def test_split_that_is_no_text_is_refused(project: Project, frames: Path, content):
    project.ok("download", "camvid", "--root", frames)
    (project.root / "pipeline/splits/camvid/val.txt").write_bytes(content)
    assert "val.txt" in project.fails("prepare", "camvid")


@pytest.mark.parametrize("content", [b"", b"\xff" * 99, b"1 2\n", b"x" * 2**17, b"1" * 60_000])
def test_list_of_colours_that_is_none_is_one_short_message(project: Project, content):
    raw = project.root / "data/raw/camvid"
    for name in ("701_StillsRaw_full/0001TP_006690", "LabeledApproved_full/0001TP_006690_L"):
        (raw / name).parent.mkdir(parents=True)
        (raw / f"{name}.png").write_bytes(forge.png((4, 3)))
    (raw / "label_colors.txt").write_bytes(content)
    text = project.fails("prepare", "camvid", "--allow-missing")
    assert "label_colors.txt" in text
    assert len(text) < 600


def test_import_into_a_place_that_cannot_be_is_one_message(project: Project, shared: Path):
    source = shared / "reference" / "cityscapes19.pth.tar"
    (project.root / "file").write_text("mine")
    for out in ("file/below", "x" * 300, "/proc/x"):
        project.fails("import-checkpoint", source, out)
    assert (project.root / "file").read_text() == "mine"
    project.ok("import-checkpoint", source, "[/red] ü")
    assert (project.root / "[/red] ü/model.json").is_file()


def test_what_is_no_character_is_shown_as_an_escape():
    assert printable("a\udcffb\x1b[2J\x9bä\nc") == "a\\udcffb\\x1b[2J\\x9bä\nc"


def test_text_that_is_no_unicode_is_never_half_written(tmp_path: Path):
    with pytest.raises(SgcpError, match="no UTF-8"):
        write_text(tmp_path / "a.csv", "city\n\udcff\n")
    assert list(tmp_path.iterdir()) == []
