import json
from dataclasses import replace

import numpy as np
import pytest
from judge import train_ids_of
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets.ground_truth import (
    ground_truth_of_instance_ids,
    read_ground_truth,
    write_segments,
)
from sgcp.datasets.index import Item


def ground_truth_of(ids):
    return ground_truth_of_instance_ids(ids, train_ids_of(ids))


ITEM = Item("val", "a.png", "s", 6, 8, "d", "labels/a.png", "a.png", "l")


@pytest.mark.parametrize("objects", [1, 90])
def test_segments_come_back_as_written_few_or_many(tmp_path, objects):
    rng = np.random.default_rng(0)
    label = rng.choice([7, 24, 26, 29], (6, 8))
    ids = np.where(label > 20, label * 1000 + rng.integers(0, objects, label.shape), label)
    if objects > 1:  # more than a byte can number
        ids = np.pad(np.arange(26000, 26600).reshape(20, 30), ((0, 4), (0, 2)))
    truth = ground_truth_of(ids)
    write_segments(tmp_path / "a.png", truth)
    item = Item("val", "a.png", "s", *ids.shape, "d", "labels/a.png", "a.png", "l")
    back = read_ground_truth(tmp_path, item)
    assert (back.segments == truth.segments).all()
    assert (back.train_ids == truth.train_ids).all()
    assert (back.objects == truth.objects).all()
    assert (back.instances == truth.instances).all()
    assert back.segments.dtype == (np.uint8 if objects == 1 else np.uint16)


def test_two_segments_may_be_of_one_object(tmp_path):
    label = np.array([[13, 14]], np.uint8)
    write_segments(tmp_path / "s.png", ground_truth_of_instance_ids(np.full((1, 2), 27001), label))
    truth = read_ground_truth(tmp_path, replace(ITEM, height=1, width=2, segments="s.png"))
    assert (truth.train_ids.tolist(), truth.instances.tolist()) == ([13, 14], [0, 0])


def test_label_map_alone_is_truth_enough(tmp_path):
    label = np.array([[0, 1, 255]], np.uint8)
    Image.fromarray(label).save(tmp_path / "a.png")
    truth = read_ground_truth(tmp_path, Item("val", "i.png", "s", 1, 3, "d", "a.png"))
    assert (truth.train_ids[truth.segments] == label).all()
    assert (truth.objects == 255).all()


def test_drawn_segments_have_the_classes_of_the_drawn_labels(project):
    """Both are drawn from the same polygons, one by each of two official functions."""
    project.ok("download", "sample")
    project.ok("prepare", "sample")
    folder = project.root / "data/prepared/sample"
    paths = sorted((folder / "segments").rglob("*.png"))
    assert len(paths) == 6
    for path in paths:
        name = path.name.replace("segments", "labelTrainIds")
        label = np.array(Image.open(folder / "labels" / path.parent.relative_to(
            folder / "segments") / name))  # fmt: skip
        relative = path.relative_to(folder)
        item = Item("val", "i.png", "s", *label.shape, "d", relative, relative)
        truth = read_ground_truth(folder, item)
        assert (truth.train_ids[truth.segments] == label).all()
        assert (truth.objects < 19).any()


@pytest.mark.parametrize(("segments", "kind"), [(255, "u1"), (256, "u1"), (257, "u2")])
def test_a_byte_a_pixel_as_long_as_it_can_number_the_segments(tmp_path, segments, kind):
    truth = ground_truth_of(np.arange(26001, 26001 + segments)[None])
    assert truth.segments.dtype == np.dtype(kind)
    assert truth.segments.tolist() == [[*range(segments)]]
    write_segments(tmp_path / "a.png", truth)
    item = Item("val", "a.png", "s", 1, segments, "d", "l.png", "a.png", "l")
    assert (read_ground_truth(tmp_path, item).segments == truth.segments).all()


def test_image_without_labels_has_no_truth(tmp_path):
    with pytest.raises(SgcpError, match=r"a\.png: has no label"):
        read_ground_truth(tmp_path, Item("test", "a.png", "s", 6, 8, "d"))


@pytest.mark.parametrize(
    "content",
    ["none", "cut", "no text", "wrong text", "old text", "mixed", "fewer", "short", "size",
     "colours", "1 bit"],
)  # fmt: skip
def test_damaged_segments_are_refused_by_name(tmp_path, content):
    path = tmp_path / "a.png"
    write_segments(path, ground_truth_of(np.full((6, 8), 26001)))
    if content == "none":
        path.unlink()
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        if content != "no text":
            owners = {"train_ids": [0, 1], "objects": [255, 255], "instances": [0, 1]}
            owners |= {"instances": [1, 0]} if content == "mixed" else {}
            owners |= {"objects": [255]} if content == "fewer" else {}
            owners.pop("instances" if content == "old text" else "none", None)
            info.add_text("owners", "[" if content == "wrong text" else json.dumps(owners))
        size = (1, 2) if content == "size" else (6, 8)
        size += (3,) if content == "colours" else ()
        kind = np.bool_ if content == "1 bit" else np.uint8
        Image.fromarray(np.full(size, 2 * (content == "short"), kind)).save(path, pnginfo=info)
    with pytest.raises(SgcpError, match=r"a\.png"):
        read_ground_truth(tmp_path, ITEM)
