import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgcp.datasets import cityscapes
from sgcp.datasets.classes import IGNORE, cityscapes_classes
from sgcp.datasets.sample import generate_sample
from sgcp.errors import SgcpError

COUNTS = {"train": 3, "val": 2, "test": 1}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    generate_sample(raw, 7, (64, 128), COUNTS, 1)
    return raw


@pytest.fixture
def raw(generated, tmp_path):
    return Path(shutil.copytree(generated, tmp_path / "raw"))


def prepare(raw: Path, expected=COUNTS, allow_missing=False, workers=1):
    return cityscapes.prepare_cityscapes(
        raw, raw / "out", "sample", "procedural", expected, allow_missing, workers
    )


def first(raw: Path, pattern: str) -> Path:
    return sorted(raw.glob(pattern))[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_label_maps_equal_those_of_the_official_converter(raw, workers):
    prepare(raw, workers=workers)
    script = Path(sys.executable).with_name("csCreateTrainIdLabelImgs")
    subprocess.run(
        [script], env=os.environ | {"CITYSCAPES_DATASET": str(raw)}, check=True, capture_output=True
    )
    ours = sorted((raw / "out/labels").rglob("*.png"))
    assert len(ours) == COUNTS["train"] + COUNTS["val"]
    for path in ours:
        official = raw / "gtFine" / path.relative_to(raw / "out/labels")
        with Image.open(path) as mine, Image.open(official) as theirs:
            assert (mine.mode, mine.size) == (theirs.mode, theirs.size)
            assert mine.tobytes() == theirs.tobytes(), path.name


def test_labels_hold_train_ids_only(raw):
    prepare(raw)
    values = set()
    for path in (raw / "out/labels").rglob("*.png"):
        values |= set(np.unique(np.array(Image.open(path))).tolist())
    assert values <= {*range(19), IGNORE}
    assert len(values) > 10


def test_class_table_is_the_official_one():
    classes = cityscapes_classes()
    assert [item.name for item in classes[:3]] == ["road", "sidewalk", "building"]
    assert [item.label_id for item in classes[-3:]] == [31, 32, 33]


def test_index_tells_city_size_and_missing_test_labels(raw):
    items = prepare(raw).items
    assert {item.sequence for item in items if item.split == "train"} == {"arcburg", "bridgeton"}
    assert {(item.height, item.width) for item in items} == {(64, 128)}
    assert [item.label for item in items if item.split == "test"] == [None]


def change(path: Path, **content) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | content))


SQUARE = [[0, 0], [9, 0], [9, 9]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"objects": [{"label": "unicorn", "polygon": SQUARE}]}, "unlisted label 'unicorn'"),
        ({"objects": [{"label": "car", "polygon": [[1, 1]]}]}, "fewer than two points"),
        ({"objects": [{"label": "car", "polygon": [[1, "x"]]}]}, "no list of"),
        ({"objects": [{"polygon": SQUARE}]}, "not a Cityscapes annotation"),
        ({"objects": 3}, "not a Cityscapes annotation"),
        ({"objects": [{"label": ["car"], "polygon": SQUARE}]}, "unlisted label"),
        ({"objects": [{"label": "car", "polygon": ["12", "34"]}]}, "no list of"),
        ({"objects": [{"label": "car", "polygon": [[10**400, 0], [1, 1]]}]}, "no list of"),
        (
            {"objects": [{"label": "car", "polygon": [[float("nan"), 0], [1, 1]]}]},
            "NaN is no",
        ),
        ({"imgHeight": 63}, r"for an image of \(63, 128\), but its image is \(64, 128\)"),
    ],
)
def test_wrong_annotation_is_refused(raw, content, message):
    path = first(raw, "gtFine/train/*/*_polygons.json")
    change(path, **content)
    with pytest.raises(SgcpError, match=message) as caught:
        prepare(raw)
    assert path.name in str(caught.value)


def test_group_labels_are_drawn_as_their_class(raw):
    path = first(raw, "gtFine/train/*/*_polygons.json")
    change(path, objects=[{"label": "cargroup", "polygon": [[0, 0], [127, 0], [127, 63], [0, 63]]}])
    prepare(raw)
    label = np.array(Image.open(first(raw, "out/labels/train/*/*.png")))
    assert (label == 13).all()


def test_truncated_annotation_is_refused(raw):
    path = first(raw, "gtFine/val/*/*_polygons.json")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SgcpError, match="damaged"):
        prepare(raw)


def test_image_without_polygons_and_polygons_without_image_are_refused(raw):
    polygons = first(raw, "gtFine/val/*/*_polygons.json")
    hidden = polygons.rename(polygons.with_suffix(".hidden"))
    with pytest.raises(SgcpError, match="has no label"):
        prepare(raw)
    hidden.rename(polygons)
    first(raw, "leftImg8bit/val/*/*.png").unlink()
    with pytest.raises(SgcpError, match="1 label files have no image"):
        prepare(raw)


def test_counts_short_of_the_published_need_to_be_allowed(raw):
    with pytest.raises(SgcpError, match="test: 1 of 1525"):
        prepare(raw, COUNTS | {"test": 1525})
    assert len(prepare(raw, COUNTS | {"test": 1525}, allow_missing=True).items) == 6


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (
            "leftImg8bit/train/aachen/a_leftImg8bit.png",
            "leftImg8bit/train/aachen/a_leftImg8bit.png",
        ),
        ("cs/gtFine/val/ulm/a_gtFine_polygons.json", "gtFine/val/ulm/a_gtFine_polygons.json"),
        ("gtFine/val/ulm/a_gtFine_labelTrainIds.png", None),
        ("README", None),
        ("leftImg8bit/demoVideo/stuttgart_00/a.png", None),
    ],
)
def test_members_find_their_place(name, place):
    assert cityscapes.raw_path(name) == (Path(place) if place else None)
