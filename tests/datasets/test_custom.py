"""A user's own dataset: what is taken, and one message for everything that is not."""

import os
import shutil
import unicodedata
from pathlib import Path
from zipfile import ZipFile

import forge
import numpy as np
import pytest
from conftest import Project, make_project
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets import raw as links
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.custom import raw_path
from sgcp.datasets.custom_classes import means_void, read_classes
from sgcp.datasets.index import Dataset, read_dataset, refuse_overlap, trained_digests
from sgcp.datasets.preparing import compare_names
from sgcp.media.images import read_label

VALUES = "name,values,color\nland,0 7,#00ff00\nsea,3,#0000ff\n"
COLORS = "name,values,color\nland,#00ff00 #808000,#00ff00\nsea,#0000ff,#0000ff\n"
SIZE = (6, 8)


def save(path: Path, array: np.ndarray, palette: list[int] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array.astype(np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def noise(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3))


def halves(left: int, right: int) -> np.ndarray:
    label = np.full(SIZE, left)
    label[:, SIZE[1] // 2 :] = right
    return label


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A tiny project in a folder of its own, beside that of the images."""
    (tmp_path / "project").mkdir()
    return make_project(tmp_path / "project")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four labelled images and one without label, with values as labels."""
    folder = tmp_path / "mine" / "source"
    for seed, name in enumerate(["train/a", "train/b", "val/c", "val/d", "test/e"]):
        save(folder / f"images/{name}.png", noise(seed))
        if not name.startswith("test"):
            save(folder / f"labels/{name}.png", halves(7, 3))
    (folder / "classes.csv").write_text(VALUES)
    return folder


def take(project: Project, source: Path, *options: str) -> Dataset:
    project.ok("download", "custom", "--root", source)
    project.ok("prepare", "custom", *options)
    return read_dataset(project.root / "data/prepared/custom")


def refused(project: Project, source: Path) -> str:
    """Return the message of whichever of the two stages refuses; nothing is left behind."""
    result = project.run("download", "custom", "--root", source)
    stage, folder = "prepare", project.root / "data/prepared"
    if result.exit_code:
        stage, folder = "download", project.root / "data/raw"
    text = project.fails(stage, "custom", *(("--root", source) if stage == "download" else ()))
    assert not folder.exists() or not list(folder.glob("own*"))
    return text


def label(project: Project, name: str) -> np.ndarray:
    return read_label(project.root / "data/prepared/custom/labels" / f"{name}.png")


# What is taken.


def test_values_become_train_ids_and_predictions_carry_the_first_value(project, source):
    dataset = take(project, source)
    assert [(item.train_id, item.label_id, item.name) for item in dataset.classes] == [
        (0, 0, "land"),
        (1, 3, "sea"),
    ]
    assert (label(project, "train/a") == halves(0, 1)).all()
    assert [item.split for item in dataset.items] == ["train", "train", "val", "val", "test"]
    assert dataset.split("test", labelled=False)[0].label is None


def test_files_are_linked_not_copied(project, source):
    take(project, source)
    for name in ("images/train/a.png", "labels/train/a.png", "classes.csv"):
        assert (project.root / "data/raw/custom" / name).readlink() == source / name


@pytest.mark.parametrize("palette", [None, [0, 255, 0, 128, 128, 0, 0, 0, 255]])
def test_colours_become_train_ids_be_they_pixels_or_a_palette(project, source, palette):
    (source / "classes.csv").write_text(COLORS)
    for path in (source / "labels").rglob("*.png"):
        indices = halves(1, 2)
        colors = np.array([[0, 255, 0], [128, 128, 0], [0, 0, 255]])[indices]
        save(path, colors if palette is None else indices, palette)
    dataset = take(project, source)
    assert (label(project, "val/c") == halves(0, 1)).all()
    assert [item.label_id for item in dataset.classes] == [0, 1]


def test_indices_of_a_palette_are_values_where_values_are_listed(project, source):
    save(source / "labels/train/a.png", halves(7, 3), [255, 0, 0] * 8)
    take(project, source)
    assert (label(project, "train/a") == halves(0, 1)).all()


def test_mask_of_0_and_255_is_two_classes(project, source):
    (source / "classes.csv").write_text("name,values,color\nout,0,#000000\nin,255,#ffffff\n")
    for path in (source / "labels").rglob("*.png"):
        save(path, halves(0, 255))
    dataset = take(project, source)
    assert (label(project, "train/b") == halves(0, 1)).all()
    assert dataset.classes[1].label_id == 255


@pytest.mark.parametrize(
    "row",
    ["ignore,5 6,", "ignore,*,", "ignore,6 *,", "Ignore,6,", "IGNORE , 6,", '" iGnOrE",6,',
     "ignore,6,#000000", "Ignore,6,#00ff00"],
)  # fmt: skip
def test_what_is_ignored_is_said_in_the_file(project, source, row):
    (source / "classes.csv").write_text(f"{VALUES}{row}\n")
    save(source / "labels/train/a.png", halves(6, 3))
    take(project, source)
    assert (label(project, "train/a") == halves(IGNORE, 1)).all()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + VALUES,
        VALUES.replace(",", ";"),
        VALUES.replace(",", "\t"),
        VALUES.replace("\n", "\r\n"),
        "\n" + VALUES.replace("name,values,color", " Name , VALUES,color") + "\n,,\n",
        VALUES.replace("sea", '"sea"').rstrip("\n"),
    ],
)
def test_table_as_spreadsheets_write_it_is_the_same_table(tmp_path, text):
    (tmp_path / "a.csv").write_text(VALUES)
    (tmp_path / "b.csv").write_text(text, encoding="utf-8", newline="")
    assert read_classes(tmp_path / "a.csv") == read_classes(tmp_path / "b.csv")


def test_two_and_254_classes_are_possible(tmp_path):
    path = tmp_path / "classes.csv"
    rows = [f"class {i},#0000{i:02x},#{i:02x}0000" for i in range(254)]
    path.write_text("\n".join(["name,values,color", *rows]))
    table = read_classes(path)
    assert [item.train_id for item in table.classes] == list(range(254))
    save(tmp_path / "a.png", np.array([[[0, 0, 253], [0, 0, 0]]]))
    assert table.read(tmp_path / "a.png").tolist() == [[253, 0]]


def test_protocol_tells_tables_apart_that_label_otherwise(tmp_path):
    def protocol(text: str) -> str:
        (tmp_path / "classes.csv").write_text(text)
        return read_classes(tmp_path / "classes.csv").protocol

    assert protocol(VALUES) == protocol(VALUES.replace("#0000ff", "#0000fe"))  # paint alone
    others = {
        protocol(VALUES.replace("0 7", "0")),
        protocol(VALUES.replace("sea", "lake")),
        protocol(VALUES + "ignore,9,\n"),
        protocol(VALUES + "ignore,*,\n"),
        protocol(COLORS),
    }
    assert len(others | {protocol(VALUES)}) == 6


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


def test_folder_above_and_a_zip_of_it_work_too(project, source, tmp_path):
    (source / "images/train/notes.txt").write_text("mine")
    (source / "images/train/._a.png").write_bytes(b"of a file manager")
    assert len(take(project, source.parent).items) == 5
    with ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in source.rglob("*.*"):
            archive.write(path, Path("top", path.relative_to(source)))
    project.ok("download", "custom", "--archive", tmp_path / "own.zip")
    assert not (project.root / "data/raw/custom/images/train/a.png").is_symlink()
    project.ok("prepare", "custom")


def pack(folder: Path, top: str) -> Path:
    """Pack the files of a folder into an archive beside it, below the folder ``top``."""
    with ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, Path(top, path.relative_to(folder)))
    return folder.with_suffix(".zip")


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


@pytest.mark.parametrize("named", NAMED)
def test_archive_that_changed_is_unpacked_anew(project, source, tmp_path, named):
    def pack() -> None:
        with ZipFile(tmp_path / "own.zip", "w") as archive:
            for path in source.rglob("*.*"):
                archive.write(path, path.relative_to(source))

    pack()
    again = ("download", "custom", *(("--archive", tmp_path / "own.zip") if named else ()))
    project.ok("download", "custom", "--archive", tmp_path / "own.zip")
    assert "nothing to do" in project.ok(*again)
    size = (tmp_path / "own.zip").stat().st_size
    (source / "images/train/a.png").rename(source / "images/train/z.png")
    (source / "labels/train/a.png").rename(source / "labels/train/z.png")
    pack()
    assert (tmp_path / "own.zip").stat().st_size == size
    assert "10 files (2 new, 2 gone)" in project.ok(*again)


def test_source_that_is_gone_leaves_what_was_unpacked(project, source, tmp_path):
    with ZipFile(tmp_path / "own.zip", "w") as archive:
        for path in source.rglob("*.*"):
            archive.write(path, path.relative_to(source))
    project.ok("download", "custom", "--archive", tmp_path / "own.zip")
    (tmp_path / "own.zip").unlink()
    assert "nothing to do" in project.ok("download", "custom")
    project.ok("download", "custom", "--root", source)
    shutil.rmtree(source)
    assert "Name your copy" in project.fails("download", "custom")


def test_folder_of_params_is_taken_and_none_is_asked_for(project, source):
    text = project.fails("download", "custom")
    assert "sgcp download custom --root DIR" in text
    project.set(custom__download__root=str(source))
    assert "10 files" in project.ok("download", "custom")


def test_links_in_circles_are_entered_once(project, source):
    (source / "images/train/again").symlink_to(source)
    (source / "images/val/self").symlink_to(".")
    (source / "loop").symlink_to("loop")
    assert len(take(project, source).items) == 5


def test_links_that_branch_without_end_are_refused(project, source, monkeypatch):
    monkeypatch.setattr(links, "MAX_FOLDERS", 100)
    for level in range(20):
        (source / f"deep/{level}").mkdir(parents=True)
        for name in ("a", "b"):
            (source / f"deep/{level}/{name}").symlink_to(source / f"deep/{level + 1}")
    assert "more than 100 folders" in refused(project, source)


def test_class_never_seen_is_told(project, source):
    (source / "classes.csv").write_text(VALUES + "sky,9,#ffffff\n")
    project.ok("download", "custom", "--root", source)
    assert "note: no label map of train has sky: it cannot be learned" in project.ok(
        "prepare", "custom"
    )


def test_many_classes_never_seen_are_named_by_a_few(project, source):
    rows = [f"class {value},{value},#0000{value:02x}\n" for value in range(10, 148)]
    (source / "classes.csv").write_text(VALUES + "".join(rows))
    project.ok("download", "custom", "--root", source)
    text = project.ok("prepare", "custom")
    assert "has class 10, class 11, class 12, class 13, class 14 and 133 more: it" in text


VOID = [
    "void",
    "Unlabeled",
    "UNLABELLED",
    "un-labeled",
    "unknown",
    "background",
    "Ignored",
    "none",
    "don't care",
    "Dont_Care",
    "__ignore__",
    "void/unlabelled",
    "no label",
    "void 1",
    "Void/other",
    "ignore_label",
    "Unlabelled pixels",
]


@pytest.mark.parametrize("name", VOID)
def test_class_that_may_mean_no_class_is_asked_about_where_nothing_teaches_it(
    project, source, name
):
    (source / "classes.csv").write_text(f"{VALUES}{name},9,#ffffff\n")
    save(source / "labels/val/c.png", halves(9, 3))  # scored, but never trained on
    text = refused(project, source)
    assert f"does '{name}' mean pixels without a class?" in text
    assert "name it 'ignore'" in text
    (source / "classes.csv").write_text(f"{VALUES}{name} class,9,#ffffff\n")  # as it advises
    assert len(take(project, source).classes) == 3


def test_class_that_may_mean_no_class_is_kept_where_it_has_pixels_and_told_once(project, source):
    (source / "classes.csv").write_text(VALUES + "void,9,#ffffff\nBackground,5,#fffffe\n")
    for name in ("a", "b"):
        save(source / f"labels/train/{name}.png", halves(9, 5))
    project.ok("download", "custom", "--root", source)
    text = project.ok("prepare", "custom")
    assert text.count("note: void, Background: trained on and scored as a class") == 1
    assert "name it 'ignore'" in text


def test_class_that_may_mean_no_class_is_judged_by_val_where_there_is_no_train(project, source):
    (source / "classes.csv").write_text(VALUES + "void,9,#ffffff\n")
    for kind in ("images", "labels"):
        shutil.rmtree(source / kind / "train")
    project.ok("download", "custom", "--root", source)
    assert "does 'void' mean" in project.fails("prepare", "custom", "--allow-missing")
    save(source / "labels/val/c.png", halves(9, 3))
    assert "void: trained on and scored" in project.ok("prepare", "custom", "--allow-missing")


@pytest.mark.parametrize("name", ["sky", "avoid", "background class", "nonesuch", "unknown object"])
def test_other_names_of_classes_are_not_asked_about(name):
    assert not means_void(name)


def test_same_image_in_train_and_val_is_not_scored(project, source):
    shutil.copy(source / "images/train/a.png", source / "images/val/c.png")
    dataset = take(project, source)
    trained = trained_digests(dataset.split("train"))
    with pytest.raises(SgcpError, match="1 of 2 images to score were trained on"):
        refuse_overlap(trained, dataset.split("val"))


# What is refused: classes.csv.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected the columns name, values, color"),
        ("\n,,\n", "is empty"),
        ("name,values\nland,0\n", "expected the columns name, values, color, got 'name,values'"),
        ("land,0,#00ff00\nsea,3,#0000ff\n", "expected the columns"),
        (VALUES + "sky,5\n", "line 4: 2 cells"),
        (VALUES + "sky,5,6,#ffffff\n", "line 4: 4 cells"),
        (VALUES + ",5,#ffffff\n", "line 4: '' is no name"),
        (VALUES + f"{'x' * 99},5,#ffffff\n", "is no name"),
        (VALUES + "sea,5,#ffffff\n", "line 4: the name 'sea' stands there twice"),
        (VALUES + "\u00e9,5,#ff0000\ne\u0301,6,#ffffff\n", "line 5: the name '\u00e9' stands"),
        (VALUES + "sky,3,#ffffff\n", "line 4: '3' belongs to 'sea' already"),
        (VALUES + "sky,5 5,#ffffff\n", "line 4: '5' belongs to 'sky' already"),
        (VALUES + "sky,5,#0000FF\n", "line 4: 'sky' would be painted like 'sea'"),
        (VALUES + "sky,,#ffffff\n", "line 4: 'sky' has no values"),
        (VALUES + "sky,256,#ffffff\n", "line 4: '256' is no value"),
        (VALUES + "sky,-1,#ffffff\n", "line 4: '-1' is no value"),
        (VALUES + "sky,5.0,#ffffff\n", "line 4: '5.0' is no value"),
        (VALUES + "sky,*,#ffffff\n", "line 4: '*' is no value"),
        (VALUES + "sky,#ffffff,#ffffff\n", "line 4: '#ffffff': numbers and colours are mixed"),
        (VALUES + "sky,5,white\n", "line 4: 'white' is no colour; write it as #rrggbb"),
        (VALUES + "sky,5,\n", "line 4: 'sky' has no colour. Does it mean pixels without a class"),
        (VALUES + "ignore,5,white\n", "line 4: 'white' is no colour; write it as #rrggbb"),
        (VALUES + "ignore,5,\nIgnore,6,\n", "line 5: the name 'ignore' stands there twice"),
        (VALUES + "ignore,,\n", "line 4: 'ignore' has no values"),
        (VALUES + "ignore,3,\n", "line 4: '3' belongs to 'sea' already"),
        (COLORS + "sky,#00f,#ffffff\n", "line 4: '#00f' is no colour"),
        (COLORS + "sky,#0000ff,#ffffff\n", "line 4: '#0000ff' belongs to 'sea' already"),
        (VALUES + '"sky,5,#ffffff\n', "unexpected end of data"),
        ("name,values,color\nland,0,#00ff00\n", "1 classes; 2 to 254 are possible"),
        ("name,values,color\nignore,0,\n", "0 classes"),
    ],
)
def test_table_that_says_nothing_or_contradicts_itself_is_refused(tmp_path, text, message):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(SgcpError) as caught:
        read_classes(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("count", [255, 300])
def test_more_classes_than_a_byte_holds_are_refused(tmp_path, count):
    path = tmp_path / "classes.csv"
    rows = [f"class {i},#{i:06x},#{i:06x}" for i in range(count)]
    path.write_text("\n".join(["name,values,color", *rows]))
    with pytest.raises(SgcpError, match=f"{count} classes; 2 to 254 are possible"):
        read_classes(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (VALUES.replace("sea", "Süd").encode("cp1252"), "at byte 36, line 3"),
        (VALUES.encode("utf-16"), "at byte 0, line 1"),
        (b"\xfe\xff" + VALUES.encode("utf-16-be"), "at byte 0, line 1"),
        (VALUES.encode("utf-16-le"), "zero bytes, as in UTF-16"),
        (VALUES.encode("utf-16-be"), "zero bytes, as in UTF-16"),
        (VALUES.encode("utf-32-le"), "zero bytes, as in UTF-16"),
        (b"\0\0", "zero bytes"),
    ],
)
def test_table_in_another_encoding_is_to_be_saved_as_utf8(project, source, content, found):
    (source / "classes.csv").write_bytes(content)
    text = refused(project, source)
    assert "classes.csv: not UTF-8 text" in text
    assert found in text
    assert "Save it as UTF-8; Excel calls that 'CSV UTF-8 (comma delimited)'" in text


@pytest.mark.parametrize("part", ["classes.csv", "images", "labels"])
def test_source_without_a_part_is_refused_with_what_is_there_instead(project, source, part):
    (source / part).rename(source / "elsewhere")
    text = refused(project, source)
    assert f"the source lacks {part}" in text
    assert "docs/custom-dataset.md" in text
    assert part == "classes.csv" or "found 2 .png files in elsewhere/train" in text


# What is refused: images and labels.


def test_unlisted_values_are_named_with_file_and_count(project, source):
    save(source / "labels/val/c.png", halves(255, 3))
    text = refused(project, source)
    assert "labels/val/c.png: value 255 (24 pixels), which classes.csv does not list" in text
    many = np.arange(48).reshape(SIZE) + 100
    save(source / "labels/val/c.png", many)
    assert "104 (1 pixels) and 43 more" in refused(project, source)


def test_unlisted_colours_are_named_with_file_and_count(project, source):
    (source / "classes.csv").write_text(COLORS)
    for path in (source / "labels").rglob("*.png"):
        save(path, np.array([[0, 255, 0], [1, 2, 255], [0, 0, 9]])[halves(0, 1)])
    rgb = np.array([[0, 255, 0], [1, 2, 255], [0, 0, 9]])[halves(0, 1)]
    rgb[0, 0] = (0, 0, 9)
    save(source / "labels/train/a.png", rgb)
    text = refused(project, source)
    assert "labels/train/a.png: colour #0102ff (24 pixels), #000009 (1 pixels)" in text


@pytest.mark.parametrize("size", [(7, 8), (6, 9), (12, 16), (3, 4)])
def test_label_of_another_size_than_its_image_is_refused(project, source, size):
    save(source / "labels/train/b.png", np.zeros(size))
    assert f"b.png: {size} differs from its image (6, 8) (height, width)" in refused(
        project, source
    )


def test_missing_labels_are_told_and_left_out_if_asked(project, source):
    (source / "labels/train/a.png").unlink()
    text = refused(project, source)
    assert "images without a label map: 1 (images/train/a.png; expected labels/train/a.png)" in text
    assert "`sgcp prepare custom --allow-missing`" in text
    assert len(take(project, source, "--allow-missing").items) == 4
    assert "images/train/a.png" in project.ok("prepare", "custom", "--allow-missing")


def test_labels_without_image_are_told_and_left_out_if_asked(project, source):
    (source / "images/val/c.png").unlink()
    text = refused(project, source)
    assert "label maps without an image: 1 (labels/val/c.png)" in text
    assert len(take(project, source, "--allow-missing").items) == 4


@pytest.mark.parametrize(
    ("rename", "advice"),
    [
        ("{}_train_id", "labels/train/a_train_id.png has '_train_id' beside the name of the image"),
        ("gt_{}_mask", "labels/train/gt_a_mask.png has 'gt_' and '_mask' beside the name"),
    ],
)
def test_labels_of_other_names_are_shown_and_never_all_left_out(project, source, rename, advice):
    for path in list((source / "labels").rglob("*.png")):
        path.rename(path.with_stem(rename.format(path.stem)))
    project.ok("download", "custom", "--root", source)
    for options in ((), ("--allow-missing",)):
        text = project.fails("prepare", "custom", *options)
        assert "no image has a label map. Looked for images/SPLIT/NAME" in text
        assert "4 (images/train/a.png, images/train/b.png, images/val/c.png and 1 more;" in text
        assert advice in text


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("labels/train/a_x.png", " labels/train/a_x.png has '_x' beside the name of the image"),
        ("labels/val/a_x.png", " The nearest to labels/train/a.png is labels/val/a_x.png."),
        ("masks/0017.png", ""),
    ],
)
def test_nearest_name_is_told(found, said):
    told = compare_names([Path("labels/train/a.png")], [Path("masks/0018.png"), Path(found)])
    assert told.startswith(said)
    assert bool(told) == bool(said)


def test_label_that_differs_in_letter_case_alone_is_named(project, source):
    (source / "labels/train/a.png").rename(source / "labels/train/A.png")
    assert "labels/train/A.png differs from labels/train/a.png in letter case" in refused(
        project, source
    )


@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_pair_in_every_form_of_unicode_and_lead_to_their_files(project, source, forms):
    for kind, form in zip(("images", "labels"), forms, strict=True):
        for split in ("train", "val"):
            name = unicodedata.normalize(form, f"{kind}/{split}/Süd ガ/é {split}.png")
            save(source / name, noise(ord(split[0])) if kind == "images" else halves(0, 3))
    dataset = take(project, source)
    items = [item for item in dataset.items if item.sequence]
    names = [f"Süd ガ/é {split}" for split in ("train", "val")]
    assert [item.key for item in items] == [unicodedata.normalize("NFC", name) for name in names]
    for item in items:
        assert (project.root / "data/raw/custom" / item.image).is_file()
        assert item.label is not None
        assert (project.root / "data/prepared/custom" / item.label).is_file()


@pytest.mark.parametrize(("image", "label"), [("JPG", "PNG"), ("PNG", "png"), ("jpeg", "Png")])
def test_endings_pair_in_any_letter_case(project, source, image, label):
    for kind, ending in (("images", image), ("labels", label)):
        for path in list((source / kind).rglob("*.png")):
            path.rename(path.with_suffix(f".{ending}"))
    assert len(take(project, source).items) == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [("labels/train/a.png", "labels/train/a.PNG"),
     ("labels/train/é.png", "labels/train/e\u0301.png"),
     ("images/train/é.png", "images/train/e\u0301.png")],
)  # fmt: skip
def test_two_files_that_are_one_name_are_refused_with_both(project, source, one, other):
    for path in (one, other):
        save(source / path, halves(0, 3) if path.startswith("labels") else noise(3))
    if "images" in one:
        save(source / "labels/train/é.png", halves(0, 3))
    text = refused(project, source)
    assert one in text
    assert other in text


def test_test_labels_are_all_there_or_none(project, source):
    save(source / "labels/test/e.png", halves(0, 3))
    assert take(project, source).split("test")[0].label is not None
    save(source / "images/test/f.png", noise(8))
    project.ok("download", "custom", "--root", source)
    assert "images/test/f.png" in project.fails("prepare", "custom")


@pytest.mark.parametrize("split", ["train", "val"])
def test_split_without_images_is_refused_unless_allowed(project, source, split):
    shutil.rmtree(source / "images" / split)
    shutil.rmtree(source / "labels" / split)
    assert f"images/{split}: no image with a label map" in refused(project, source)
    assert len(take(project, source, "--allow-missing").items) == 3


TINY_RECIPE = {"epochs": 1, "batch_size": 2, "crop": [32, 32], "input_side": None}
WITHOUT_VAL = (
    "validate_split: null",
    "keep: last",
    "custom.prepare.allow_missing: true",
    "train@custom",
)


def test_train_split_alone_trains_once_the_settings_of_one_message_are_set(project, source):
    for kind in ("images", "labels"):
        shutil.rmtree(source / kind / "val")
    text = refused(project, source)
    assert all(setting in text for setting in WITHOUT_VAL)
    project.set(**{f"custom__train__{key}": value for key, value in TINY_RECIPE.items()})
    project.set(custom__prepare__allow_missing=True)
    project.ok("prepare", "custom")
    text = project.fails("train", "custom")
    assert "split 'val' is empty: of 2 train, 0 val, 1 test images prepared" in text
    assert all(setting in text for setting in WITHOUT_VAL)
    project.set(custom__train__validate_split=None, custom__train__keep="last")
    assert "kept epoch 1 of 1" in project.ok("train", "custom")
    for command in (
        ["train", "custom", "--seeds", "2"], ["validate", "custom"], ["report", "custom"],
        ["validate", "custom", "--split", "train"],
    ):  # fmt: skip
        result = project.run(*command)
        assert "labelled images that the model was not trained on" in result.stderr
        assert "as split val" in result.stderr
        assert "`sgcp download custom` and `sgcp prepare custom`" in result.stderr
        assert "choose another split" not in result.stderr.lower()
        assert "run `sgcp validate" not in result.stderr
        assert "validate_split" not in result.stderr
        assert "training" not in result.stdout


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


@pytest.mark.parametrize("other", ["images/train/a.jpg", "images/train/A.png", "images/test/E.png"])
def test_name_twice_in_a_folder_is_refused_with_both_paths(project, source, other):
    save(source / other, noise(7))
    if "train" in other:
        save(source / other.replace("images", "labels").replace(".jpg", ".png"), halves(0, 3))
    text = refused(project, source)
    assert "Rename one, and its label" in text
    first = next(p for p in ("images/train/a.png", "images/test/e.png") if p[:9] == other[:9])
    assert f"data/raw/custom/{first}" in text
    assert f"data/raw/custom/{other}" in text


def test_name_in_other_folders_and_splits_is_another_image(project, source):
    for other in ("images/train/x/a.png", "images/val/a.png"):
        save(source / other, noise(len(other)))
        save(source / other.replace("images", "labels"), halves(3, 0))
    dataset = take(project, source)
    assert [(item.split, item.key) for item in dataset.items if item.image.stem == "a"] == [
        ("train", "a"), ("train", "x/a"), ("val", "a"),
    ]  # fmt: skip
    assert (label(project, "train/a") == halves(0, 1)).all()
    assert (label(project, "train/x/a") == label(project, "val/a")).all()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("images/train/a.png", b"no image", "a.png: damaged or not an image"),
        ("images/train/a.png", forge.png((8, 6))[:-30], "a.png: damaged"),
        ("labels/train/a.png", b"", "a.png: damaged or not an image"),
        ("labels/train/a.png", forge.png((8, 6)), "label map of mode RGB, expected one 8-bit"),
        ("labels/train/a.png", forge.png((8, 6), depth=16, color=0), "16"),
        ("images/train/z.tif", b"II*\0", "z.tif: images are PNG or JPEG files; convert it"),
        ("labels/train/z.JPG", b"\xff\xd8", "z.JPG: label maps are PNG files"),
        ("labels/val/z.bmp", b"BM", "z.bmp: label maps are PNG files"),
        ("images/train/a\nb.png", forge.png((8, 6)), "rename it"),
    ],
)
def test_file_that_cannot_be_read_is_one_message(project, source, path, content, message):
    (source / path).write_bytes(content)
    assert message in refused(project, source)


def test_jpeg_under_the_name_of_a_png_is_no_label_of_either_kind(project, source):
    for text in (VALUES, COLORS):
        (source / "classes.csv").write_text(f"{text}ignore,*,\n")
        for path in (source / "labels").rglob("*.png"):
            Image.fromarray(np.zeros(SIZE, np.uint8)).save(path, "JPEG")
        assert "JPEG under the name of a PNG" in refused(project, source)


def test_link_whose_file_is_gone_is_missed(project, source):
    project.ok("download", "custom", "--root", source)
    (source / "images/train/a.png").unlink()
    assert "a.png: no such image" in project.fails("prepare", "custom")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_image_that_may_not_be_read_is_one_message(project, source):
    (source / "images/train/a.png").chmod(0)
    assert "a.png" in refused(project, source)


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
