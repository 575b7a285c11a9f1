"""A user's own dataset: what is prepared, and one message for everything that is not."""

import shutil
import unicodedata
from pathlib import Path

import forge
import numpy as np
import pytest
from customs import COLORS, SIZE, VALUES, halves, label, noise, refused, save, take
from PIL import Image

from sgcp.datasets.classes import IGNORE
from sgcp.datasets.preparing import compare_names


def test_values_become_train_ids_and_predictions_carry_the_first_value(project, source):
    dataset = take(project, source)
    assert [(item.train_id, item.label_id, item.name) for item in dataset.classes] == [
        (0, 0, "land"),
        (1, 3, "sea"),
    ]
    assert (label(project, "train/a") == halves(0, 1)).all()
    assert [item.split for item in dataset.items] == ["train", "train", "val", "val", "test"]
    assert dataset.split("test", labelled=False)[0].label is None


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


@pytest.mark.parametrize(
    "row",
    ["ignore,5 6,", "ignore,*,", "ignore,6 *,", '" iGnOrE",6,', "ignore,6,#000000"],
)
def test_what_is_ignored_is_said_in_the_file(project, source, row):
    (source / "classes.csv").write_text(f"{VALUES}{row}\n")
    save(source / "labels/train/a.png", halves(6, 3))
    take(project, source)
    assert (label(project, "train/a") == halves(IGNORE, 1)).all()


def test_class_never_seen_is_told(project, source):
    (source / "classes.csv").write_text(VALUES + "sky,9,#ffffff\n")
    project.ok("download", "custom", "--root", source)
    assert "note: no label map of train has sky: it cannot be learned" in project.ok(
        "prepare", "custom"
    )


def test_class_that_may_mean_no_class_is_asked_about_where_nothing_teaches_it(project, source):
    (source / "classes.csv").write_text(f"{VALUES}void,9,#ffffff\n")
    save(source / "labels/val/c.png", halves(9, 3))  # scored, but never trained on
    text = refused(project, source)
    assert "does 'void' mean pixels without a class?" in text
    assert "name it 'ignore'" in text
    (source / "classes.csv").write_text(f"{VALUES}void class,9,#ffffff\n")  # as it advises
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
    save(source / "labels/val/c.png", halves(9, 3))
    project.ok("download", "custom", "--root", source)
    assert "void: trained on and scored" in project.ok("prepare", "custom", "--allow-missing")


def test_unlisted_values_are_named_with_file_and_count(project, source):
    save(source / "labels/val/c.png", halves(255, 3))
    text = refused(project, source)
    assert "labels/val/c.png: value 255 (24 pixels), which classes.csv does not list" in text
    many = np.arange(48).reshape(SIZE) + 100
    save(source / "labels/val/c.png", many)
    assert "104 (1 pixels) and 43 more" in refused(project, source)


@pytest.mark.parametrize("size", [(7, 8), (3, 4)])
def test_label_of_another_size_than_its_image_is_refused(project, source, size):
    save(source / "labels/train/b.png", np.zeros(size))
    assert f"b.png: {size} differs from its image (6, 8) (height, width)" in refused(
        project, source
    )


@pytest.mark.parametrize(
    ("gone", "message"),
    [("labels/train/a.png",
      "images without a label map: 1 (images/train/a.png; expected labels/train/a.png)"),
     ("images/val/c.png", "label maps without an image: 1 (labels/val/c.png)")],
)  # fmt: skip
def test_files_without_counterpart_are_told_and_left_out_if_asked(project, source, gone, message):
    (source / gone).unlink()
    text = refused(project, source)
    assert message in text
    assert "`sgcp prepare custom --allow-missing`" in text
    assert len(take(project, source, "--allow-missing").items) == 4
    assert f"left out {message}" in project.ok("prepare", "custom", "--allow-missing")


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
    told = compare_names(Path("labels/train/a.png"), [Path("masks/0018.png"), Path(found)])
    assert told.startswith(said)
    assert bool(told) == bool(said)


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


@pytest.mark.parametrize(
    ("one", "other"),
    [("labels/train/a.png", "labels/train/a.PNG"),
     ("labels/train/é.png", "labels/train/e\u0301.png"),
     ("images/train/é.png", "images/train/e\u0301.png"),
     ("images/train/a.png", "images/train/a.jpg"),
     ("images/train/a.png", "images/train/A.png"),
     ("images/test/e.png", "images/test/E.png")],
)  # fmt: skip
def test_two_files_that_are_one_name_are_refused_with_both(project, source, one, other):
    for path in (one, other):
        save(source / path, halves(0, 3) if path.startswith("labels") else noise(len(other)))
        if path.startswith("images/train"):
            name = unicodedata.normalize("NFC", path.replace("images", "labels"))
            save((source / name).with_suffix(".png"), halves(0, 3))
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
    "`sgcp train custom`",
)


@pytest.mark.integration
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
        assert "run `sgcp validate" not in result.stderr
        assert "validate_split" not in result.stderr
        assert "training" not in result.stdout


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
