"""An image's key: what tells it from every other one of its split."""

import shutil
from pathlib import Path

import pytest
from conftest import Project

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import camvid_classes
from sgcp.datasets.index import Dataset, Item, Located, find_collisions, read_dataset, write_dataset


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
