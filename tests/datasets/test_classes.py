"""Every entry of the label tables, written out a second time: a changed one is seen."""

import numpy as np
import pytest
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets.camvid import color_table
from sgcp.datasets.classes import (
    IGNORE,
    ClassTable,
    SemanticClass,
    camvid_classes,
    cityscapes_classes,
    classes_from_json,
    classes_to_json,
    match_names,
)

# Source class of label_colors.txt, its colour, and its train id: strict, grouped.
CAMVID = """
Animal            64 128  64  255 255
Archway          192   0 128  255 255
Bicyclist          0 128 192   10  10
Bridge             0 128  64  255   1
Building         128   0   0    1   1
Car               64   0 128    8   8
CartLuggagePram   64   0 192  255 255
Child            192 128  64  255 255
Column_Pole      192 192 128    2   2
Fence             64  64 128    7   7
LaneMkgsDriv     128   0 192  255   3
LaneMkgsNonDriv  192   0  64  255   3
Misc_Text        128 128  64  255   6
MotorcycleScooter 192  0 192  255 255
OtherMoving      128  64  64  255 255
ParkingBlock      64 192 128  255   4
Pedestrian        64  64   0    9   9
Road             128  64 128    3   3
RoadShoulder     128 128 192  255   4
SUVPickupTruck    64 128 192  255   8
Sidewalk           0   0 192    4   4
SignSymbol       192 128 128    6   6
Sky              128 128 128    0   0
TrafficCone        0   0  64  255 255
TrafficLight       0  64  64  255   6
Train            192  64 128  255 255
Tree             128 128   0    5   5
Truck_Bus        192 128 192  255   8
Tunnel            64   0  64  255   1
VegetationMisc   192 192   0  255   5
Void               0   0   0  255 255
Wall              64 192   0  255   1
"""
ROWS = [(row[0], *map(int, row[1:])) for row in map(str.split, CAMVID.strip().splitlines())]
NAMES = [
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car",
    "Pedestrian", "Bicyclist",
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "column"), [("strict", 4), ("grouped", 5)])
def test_each_camvid_colour_becomes_its_class(tmp_path, protocol, column):
    path = tmp_path / "label_colors.txt"
    path.write_text("\n".join(f"{r} {g} {b}\t\t{name}" for name, r, g, b, *_ in ROWS))
    Image.fromarray(np.array([[row[1:4] for row in ROWS]], np.uint8)).save(tmp_path / "a.png")
    label = color_table(path, protocol).read(tmp_path / "a.png")[0]
    assert dict(zip([row[0] for row in ROWS], label.tolist(), strict=True)) == {
        row[0]: row[column] for row in ROWS
    }


def test_camvid_classes_stand_in_the_order_of_the_segnet_edition():
    classes = camvid_classes()
    assert [item.name for item in classes] == NAMES
    assert [item.train_id for item in classes] == [item.label_id for item in classes]
    assert [item.train_id for item in classes] == list(range(11))
    colours = {row[0]: row[1:4] for row in ROWS}
    renamed = {"Pole": "Column_Pole", "Pavement": "Sidewalk"}
    for item in classes:
        assert item.color == colours[renamed.get(item.name, item.name)]


def test_cityscapes_classes_are_those_that_the_official_tools_evaluate():
    from cityscapesscripts.helpers.labels import labels

    official = [label for label in labels if not label.ignoreInEval]
    ours = [(c.label_id, c.name, c.color, c.train_id) for c in cityscapes_classes()]
    assert ours == [(o.id, o.name, o.color, o.trainId) for o in official]
    assert [row[0] for row in ours] == [
        7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
    ]  # fmt: skip
    assert IGNORE == 255


@pytest.mark.parametrize("classes", [camvid_classes(), cityscapes_classes()])
def test_classes_survive_json(classes):
    rows = classes_to_json(classes)
    assert all(isinstance(row["color"], list) for row in rows)
    assert classes_from_json(rows) == classes


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train_id", 2, "train ids must be 0, 1, 2"),
        ("label_id", 256, "must be bytes"),
        ("label_id", -1, "must be bytes"),
        ("color", [0, 0, 256], "must be bytes"),
        ("color", [0, -1, 0], "must be bytes"),
        ("color", [0, 0], "lacks"),
        ("color", 7, "lacks"),
    ],
)
def test_damaged_class_is_refused(key, value, message):
    rows = classes_to_json(camvid_classes()[:2])
    rows[1][key] = value
    with pytest.raises(ValueError, match=message):
        classes_from_json(rows)


def test_missing_field_and_no_class_at_all_are_refused():
    with pytest.raises(ValueError, match="lacks 'name'"):
        classes_from_json([{"train_id": 0, "label_id": 0, "color": [0, 0, 0]}])
    with pytest.raises(ValueError, match="train ids must be"):
        classes_from_json([])


def test_bytes_at_both_ends_are_allowed():
    row = {"train_id": 0, "label_id": 255, "name": "x", "color": [0, 255, 0]}
    assert classes_from_json([row])[0].color == (0, 255, 0)


def test_names_in_another_order_are_matched_and_others_refused():
    assert match_names(["b", "a"], [item("a", 0), item("b", 1)]) == [1, 0]
    with pytest.raises(ValueError, match="not in both: b, c"):
        match_names(["a", "c"], [item("a", 0), item("b", 1)])


def test_unlisted_colours_are_named_with_their_pixels_the_most_frequent_first(tmp_path):
    pixels = np.array([[[1, 2, 3], [1, 2, 3], [255, 0, 10], [128, 128, 128]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "label.png")
    table = ClassTable((item("a", 0),), ((0x808080, 0),), colored=True)
    with pytest.raises(SgcpError, match=r"colour #010203 \(2 pixels\), #ff000a \(1 pixels\)"):
        table.read(tmp_path / "label.png")


def item(name, train_id):
    return SemanticClass(train_id, train_id, name, (0, 0, 0))
