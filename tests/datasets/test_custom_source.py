"""Where a user's own dataset comes from: folders, archives, and how they change."""

import shutil
from pathlib import Path

import pytest
from customs import VALUES, halves, label, noise, pack, refused, save, take

from sgcp.datasets.custom import raw_path
from sgcp.datasets.index import read_dataset


def test_files_are_linked_not_copied(project, source):
    take(project, source)
    for name in ("images/train/a.png", "labels/train/a.png", "classes.csv"):
        assert (project.root / "data/raw/custom" / name).readlink() == source / name


def test_names_of_any_letters_folders_and_jpeg_work(project, source):
    for split in ("train", "val"):
        save(source / f"images/{split}/Straße 5/été {split}.JPG", noise(ord(split[0])))
        save(source / f"labels/{split}/Straße 5/été {split}.png", halves(0, 3))
    dataset = take(project, source)
    assert {item.sequence for item in dataset.items} == {"", "Straße 5"}
    assert (label(project, "val/Straße 5/été val") == halves(0, 1)).all()


def test_folder_of_any_name_is_kept(project, source):
    save(source / "images/train/day.partial/a.png", noise(3))
    save(source / "labels/train/day.partial/a.png", halves(3, 0))
    assert "train/day.partial/a" in {f"{i.split}/{i.key}" for i in take(project, source).items}
    assert (label(project, "train/day.partial/a") == halves(1, 0)).all()


def test_folder_above_and_a_zip_of_it_work_too(project, source):
    (source / "images/train/notes.txt").write_text("mine")
    (source / "images/train/._a.png").write_bytes(b"of a file manager")
    assert len(take(project, source.parent).items) == 5
    project.ok("download", "custom", "--archive", pack(source, "top"))
    assert not (project.root / "data/raw/custom/images/train/a.png").is_symlink()
    project.ok("prepare", "custom")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_two_datasets_in_one_folder_or_archive_are_refused_with_both_paths(project, source, kind):
    save(source.parent / "other" / kind / "test/f.png", noise(5))
    for option, path in ("--root", source.parent), ("--archive", pack(source.parent, "top")):
        text = project.fails("download", "custom", option, path)
        assert f"other/{kind}" in text
        assert f"source/{kind}" in text
        assert not list((project.root / "data").glob("raw/custom*"))


def test_parts_in_archives_of_their_own_are_one_dataset(project, source):
    other = source.parent / "other"
    for path in ("images/val", "labels/val"):
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).rename(other / path)
    project.ok("download", "custom", "--archive", pack(source, "a"), pack(other, "b"))
    project.ok("prepare", "custom")


NAMED = [("--root",), ()]  # the source is named again, or the last one is meant


@pytest.mark.parametrize("named", NAMED)
def test_folder_that_changed_is_linked_anew_and_the_change_is_told(project, source, named):
    take(project, source)
    again = ("download", "custom", *named, *([source] if named else []))
    assert "nothing to do" in project.ok(*again)
    save(source / "images/train/new.png", noise(9))
    save(source / "labels/train/new.png", halves(0, 3))
    assert "12 files (2 new)" in project.ok(*again)
    (source / "images/test/e.png").unlink()
    assert "11 files (1 gone)" in project.ok(*again)
    for kind in ("images", "labels"):
        (source / kind / "val/c.png").rename(source / kind / "val/f.png")
    assert "11 files (2 new, 2 gone)" in project.ok(*again)
    project.ok("prepare", "custom")
    items = read_dataset(project.root / "data/prepared/custom").items
    assert [item.key for item in items] == ["a", "b", "new", "d", "f"]
    assert "nothing to do" in project.ok(*again)


def test_folder_whose_name_leads_elsewhere_now_is_linked_anew(project, source, tmp_path):
    shutil.copytree(source, tmp_path / "newer")
    (tmp_path / "current").symlink_to(source)
    take(project, tmp_path / "current")
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(tmp_path / "newer")
    assert "(10 changed)" in project.ok("download", "custom")
    link = (project.root / "data/raw/custom/images/train/a.png").readlink()
    assert link == tmp_path / "newer/images/train/a.png"


@pytest.mark.parametrize("part", ["classes.csv", "images", "labels"])
def test_source_without_a_part_is_refused_with_what_is_there_instead(project, source, part):
    (source / part).rename(source / "elsewhere")
    text = refused(project, source)
    assert f"the source lacks {part}" in text
    assert "docs/custom-dataset.md" in text
    assert part == "classes.csv" or "found 2 .png files in elsewhere/train" in text


def test_nothing_at_all_is_refused_even_if_allowed(project, source):
    shutil.rmtree(source / "images")
    (source / "images/train").mkdir(parents=True)
    (source / "images/train/notes.txt").write_text("mine")
    assert "lacks images" in refused(project, source)
    (project.root / "data/raw/custom/images/train").mkdir(parents=True)
    (project.root / "data/raw/custom/classes.csv").write_text(VALUES)
    text = project.fails("prepare", "custom", "--allow-missing")
    assert "no image has a label map" in text
    assert "found no images and no label maps" in text


def test_link_whose_file_is_gone_is_missed(project, source):
    project.ok("download", "custom", "--root", source)
    (source / "images/train/a.png").unlink()
    assert "a.png: no such image" in project.fails("prepare", "custom")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("images/train/a.png", "images/train/a.png"),
        ("x/labels/val/b/c d.PNG", "labels/val/b/c d.PNG"),
        ("images/train/images/val/a.jpeg", "images/train/images/val/a.jpeg"),
        ("x/classes.csv", "classes.csv"),
        ("images/train/classes.csv", None),
        ("my_classes.csv", None),
        ("images/dev/a.png", None),
        ("images/train/../../a.png", None),
        ("images/train/.hidden/a.png", None),
        ("images/train/a.txt", None),
    ],
)
def test_files_find_their_place(name, place):
    assert raw_path(name) == (Path(place) if place else None)


def test_archive_is_remembered_and_unpacked_anew_when_it_changed(project, source):
    archive = pack(source, "top")
    again = ("download", "custom")
    project.ok(*again, "--archive", archive)
    assert "nothing to do" in project.ok(*again)
    for kind in ("images", "labels"):
        (source / kind / "train/a.png").rename(source / kind / "train/z.png")
    size = archive.stat().st_size
    assert pack(source, "top").stat().st_size == size
    assert "10 files (2 new, 2 gone)" in project.ok(*again)
    archive.unlink()
    assert "nothing to do" in project.ok(*again)


@pytest.mark.parametrize("kind", ["root", "archive"])
def test_what_a_user_put_beside_the_downloads_stays(project, source, kind):
    downloads = project.root / "data/downloads/custom"
    mine = Path(shutil.copytree(source, downloads / "mine"))
    if kind == "archive":
        mine = pack(mine, "mine")
    before = sorted(downloads.rglob("*"))
    project.ok("download", "custom", f"--{kind}", mine)
    assert sorted(downloads.rglob("*")) == before
    project.ok("prepare", "custom")


def test_folder_of_params_is_read_and_without_one_a_copy_is_asked_for(project, source):
    assert "sgcp download custom --root DIR" in project.fails("download", "custom")
    project.set(custom__download__root=str(source))
    assert "10 files" in project.ok("download", "custom")
    project.set(custom__download__root=None)
    shutil.rmtree(source)
    assert "Name your copy" in project.fails("download", "custom")
