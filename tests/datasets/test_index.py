"""The index: what tells an image from every other one, and what it refuses."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import camvid_classes
from sgcp.datasets.index import (
    Dataset,
    Item,
    Located,
    digest_pixels,
    find_collisions,
    fingerprint_items,
    read_dataset,
    refuse_overlap,
    trained_digests,
    write_dataset,
)

ITEMS = (
    Item("train", Path("a.png"), "s", 4, 6, "d1", Path("labels/a.png"), None, "l1"),
    Item("val", Path('odd, "name"\u00e9.png'), "NA", 4, 6, "d2", None, Path("s.png"), "l2"),
)


def test_index_comes_back_as_written(tmp_path):
    dataset = Dataset("camvid", "segnet", "grouped", camvid_classes(), ITEMS)
    write_dataset(tmp_path, dataset)
    assert read_dataset(tmp_path) == dataset


def test_digest_is_of_pixels_and_shape_not_of_the_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    for level in (1, 9):
        Image.fromarray(pixels).save(tmp_path / f"{level}.png", compress_level=level)
    first, second = (np.array(Image.open(tmp_path / f"{level}.png")) for level in (1, 9))
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "9.png").read_bytes()
    assert digest_pixels(first) == digest_pixels(second) == digest_pixels(np.asfortranarray(first))
    assert digest_pixels(first) != digest_pixels(first.reshape(6, 4, 3))
    first[0, 0, 0] ^= 1
    assert digest_pixels(first) != digest_pixels(second)


@pytest.mark.parametrize(
    "change", [{"image_digest": "x"}, {"label_digest": "x"}, {"image": Path("c.png")}]
)
def test_fingerprint_sees_names_pixels_and_labels_but_no_order(change):
    before = fingerprint_items(ITEMS)
    assert fingerprint_items(ITEMS[::-1]) == before
    assert fingerprint_items([replace(ITEMS[0], **change), ITEMS[1]]) != before


def test_overlap_is_found_by_name_and_by_content():
    refuse_overlap({"train/a": "d1"}, [ITEMS[1]])
    with pytest.raises(SgcpError, match=r"1 of 2 images .* \(such as train/a, by its name alone"):
        refuse_overlap({"train/a": "other"}, ITEMS)
    with pytest.raises(SgcpError, match="such as train/a, the same pixels as renamed"):
        refuse_overlap({"renamed": "d1"}, ITEMS)


def test_one_name_in_two_splits_is_no_overlap_but_a_frame_of_camvid_is_one():
    """CamVid's names are published: another edition has other pixels for the same frame."""
    own, frame = (
        Item("val", Path(name), "", 4, 6, "here")
        for name in ("images/val/0001.png", "701_StillsRaw_full/0016E5_07959.png")
    )
    learned = [replace(own, image=Path("images/train/0001.png")), frame]
    trained = trained_digests([replace(i, split="train", image_digest="there") for i in learned])
    assert trained == {"train/0001": "there", "0016E5_07959": "there"}
    refuse_overlap(trained, [own])
    with pytest.raises(SgcpError, match="such as 0016E5_07959"):
        refuse_overlap(trained, [frame])


def test_description_that_lists_names_without_split_still_refuses_them():
    item = Item(
        "val", Path("leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png"), "", 4, 6, "x"
    )
    with pytest.raises(SgcpError, match="were trained on"):
        refuse_overlap({"bonn_000000_000019_leftImg8bit": "y"}, [item])


@pytest.mark.parametrize(
    "row",
    [
        "dev,a.png,,,s,4,6,d,",
        "val,/etc/a.png,,,s,4,6,d,",
        "val,../a.png,,,s,4,6,d,",
        "val,a.png,x/../../l.png,,s,4,6,d,",
        "val,,,,s,4,6,d,",
        "val,.,,,s,4,6,d,",
        "val,a.png,,,s,0,6,d,",
        "val,a.png,,,s,-4,6,d,",
        "val,a.png,,,s,4,x,d,",
        "val,a.png",
        "val,a.png,,,s,4,6,d,,more",
        "val,a.png,,,s,4,6,d,,,../l.json",
    ],
)
def test_impossible_row_is_refused(tmp_path, row):
    write_dataset(tmp_path, Dataset("camvid", "segnet", "grouped", camvid_classes(), ITEMS))
    with (tmp_path / "index.csv").open("a") as file:
        file.write(f"{row},,,\n")
    with pytest.raises(SgcpError, match=r"damaged .* run `sgcp prepare"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("split", "image", "key", "prediction", "origin"),
    [
        ("val", "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png",
         "bonn/bonn_000000_000019", "bonn_000000_000019", "val/bonn/bonn_000000_000019"),
        ("val", "CamVid/val/0016E5_07959.png", "0016E5_07959", "0016E5_07959", "0016E5_07959"),
        ("val", "701_StillsRaw_full/0016E5_07959.png",
         "0016E5_07959", "0016E5_07959", "0016E5_07959"),
        ("train", "images/train/a/0001.png", "a/0001", "a/0001", "train/a/0001"),
        ("train", "images/train/train/b_leftImg8bit.jpg",
         "train/b_leftImg8bit", "train/b_leftImg8bit", "train/train/b_leftImg8bit"),
        ("test", "images/test/a.png.jpg", "a.png", "a.png", "test/a.png"),
        ("test", "images/test/e\u0301.png", "\u00e9", "\u00e9", "test/\u00e9"),
        ("test", "images/test/camvid/0016E5_07959.jpg",
         "camvid/0016E5_07959", "camvid/0016E5_07959", "0016E5_07959"),
    ],
)  # fmt: skip
def test_key_is_the_path_below_the_split_without_ending(split, image, key, prediction, origin):
    one = Located(split, Path(image))
    assert (one.key, one.prediction, one.origin) == (key, prediction, origin)


@pytest.mark.parametrize(
    ("first", "second", "collide"),
    [
        ("images/val/a.png", "images/val/a.jpg", True),
        ("images/val/a.png", "images/val/A.png", True),
        ("images/val/x/a.png", "images/val/X/a.png", True),
        ("images/val/\u00e9.png", "images/val/e\u0301.png", True),
        ("images/val/x/a.png", "images/val/y/a.png", False),
        ("images/val/x/a.png", "images/val/a.png", False),
        ("images/val/stra\u00dfe.png", "images/val/strasse.png", False),
        ("leftImg8bit/val/x/a_leftImg8bit.png", "leftImg8bit/val/y/a_leftImg8bit.png", True),
        ("leftImg8bit/val/x/a_leftImg8bit.png", "leftImg8bit/val/y/A_leftImg8bit.png", True),
        ("leftImg8bit/val/x/a_leftImg8bit.png", "leftImg8bit/val/x/a_b_leftImg8bit.png", False),
    ],
)
def test_images_of_a_split_collide_where_their_predictions_would_be_one_file(
    first, second, collide
):
    pair = [Located("val", Path(first)), Located("val", Path(second))]
    assert bool(find_collisions(pair)) == collide
    assert find_collisions([pair[0], Located("train", Path(second))]) == []


def test_index_that_names_an_image_twice_is_refused(tmp_path):
    names = ("images/val/a.png", "images/val/a.jpg")
    items = tuple(Item("val", Path(name), "", 4, 6, name) for name in names)
    write_dataset(tmp_path, Dataset("custom", "folder", "p", camvid_classes(), items))
    with pytest.raises(SgcpError, match=r"damaged .*val/a.png and .*val/a.jpg.* run `sgcp prepare"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(("split", "change"), [("train", str), ("test", str.upper)])
def test_name_in_two_cities_of_a_split_is_refused_with_both_paths(project: Project, split, change):
    """In Cityscapes' form a prediction is found by its name, whatever its folder."""
    project.ok("download", "sample")
    raw = project.root / "data/raw/sample"
    image = min((raw / "leftImg8bit" / split).rglob("*_leftImg8bit.png"))
    stem = image.name.removesuffix("_leftImg8bit.png")
    twin = image.parent.with_name("elsewhere") / image.name.replace(stem, change(stem))
    label = raw / "gtFine" / split / image.parent.name / f"{stem}_gtFine_polygons.json"
    for path, place in ((image, twin), (label, Path(str(twin).replace("leftImg8bit/", "gtFine/")
                        .replace("_leftImg8bit.png", "_gtFine_polygons.json")))):  # fmt: skip
        place.parent.mkdir()
        shutil.copy(path, place)
    text = project.fails("prepare", "sample")
    assert str(image.relative_to(project.root)) in text
    assert str(twin.relative_to(project.root)) in text
    assert not (project.root / "data/prepared/sample").exists()


def test_names_of_two_splits_do_not_collide(project: Project):
    project.ok("download", "sample")
    raw = project.root / "data/raw/sample"
    image = min((raw / "leftImg8bit/train").rglob("*_leftImg8bit.png"))
    (raw / "leftImg8bit/test/elsewhere").mkdir()
    shutil.copy(image, raw / "leftImg8bit/test/elsewhere")
    project.ok("prepare", "sample")
