"""Exports of labelling tools, in exactly their forms: one scene, drawn in each of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from PIL import Image

from sgcp.datasets.custom_classes import read_classes
from sgcp.labelling.label_studio import decode_brush
from sgcp.labelling.objects import place
from sgcp.media.images import read_image, read_label, write_png

EXPORTS = Path(__file__).parent / "exports"
HEIGHT, WIDTH = 40, 60
COLORS = np.array([[128, 64, 128], [0, 0, 142], [0, 0, 0]], np.uint8)
# Where an export has its image, and what it says aloud.
FORMS = {
    "labelme": ("street.png", "train", "labelme JSON", "line"),
    "coco": ("street.png", "train", "COCO JSON", "box"),
    "coco-packed": ("images/street.png", "train", "COCO JSON", None),
    "cvat": ("images/street.png", "train", "CVAT for images 1.1", "polyline"),
    "label-studio": ("street.png", "train", "Label Studio JSON", "keypoint"),
    "label-studio-min": ("0a1b2c3d-street.png", "train", "Label Studio JSON", None),
    "yolo": ("train/images/street.png", "train", "YOLO segmentation", "box"),
    "yolo-dict": ("images/train/street.png", "train", "YOLO segmentation", None),
    "cvat-masks": ("JPEGImages/street.png", "train", '"Segmentation mask 1.1"', None),
    "roboflow": ("train/street.png", "train", "Roboflow", None),
}


def scene():
    """Return the label map: a road, a car over it, and nothing above."""
    label = np.full((HEIGHT, WIDTH), 255, np.uint8)
    label[20:] = 0
    label[15:30, 10:30] = 1
    return label


def export(tmp_path, form):
    """Copy an export, and put its image there; masks are drawn here."""
    folder = Path(shutil.copytree(EXPORTS / form, tmp_path / "export"))
    write_png(folder / FORMS[form][0], np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    label = scene()
    if form == "cvat-masks":
        painted = COLORS[np.where(label == 255, 2, label)]
        write_png(folder / "SegmentationClass/street.png", painted)
        write_png(folder / "SegmentationObject/street.png", painted)
    if form == "roboflow":
        write_png(
            folder / "train/street_mask.png", np.where(label == 255, 0, label + 1).astype("u1")
        )
    return folder


@pytest.fixture
def desk(tmp_path):
    return Project(tmp_path)


def imported(desk, folder, *options):
    text = desk.ok("import-labels", folder, "--out", "mine", "--val", "0", *options)
    (label,) = (desk.root / "mine/labels").rglob("*.png")
    table = read_classes(desk.root / "mine/classes.csv")
    names = [item.name for item in table.classes]
    return text, label.relative_to(desk.root / "mine"), read_label(label), names


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_label_map_that_was_drawn(desk, tmp_path, form):
    _, split, said, left_out = FORMS[form]
    text, path, label, names = imported(desk, export(tmp_path, form))
    assert said in text
    assert "become val" not in text  # --val 0
    assert sorted(names) == ["car", "road"]
    wanted = scene()
    known = wanted != 255
    wanted[known] = np.array([names.index("road"), names.index("car")])[wanted[known]]
    np.testing.assert_array_equal(label, wanted)
    assert path.parts[:2] == ("labels", split)
    (image,) = (desk.root / "mine/images").rglob("*.png")
    assert image.relative_to(desk.root / "mine/images") == path.relative_to("labels")
    assert ("left out" in text) == (left_out is not None)
    if left_out:
        assert f"left out, as they cover no area: 1 {left_out}" in text


def gray(value):
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


def test_label_maps_of_voc_pair_by_folder(desk, tmp_path):
    """A CVAT task with sub-folders: the same names in each, and not every image labelled."""
    folder = export(tmp_path, "cvat-masks")
    (folder / "JPEGImages/street.png").unlink()
    for day, value in (("day1", 1), ("day2", 2)):
        write_png(folder / f"JPEGImages/{day}/street.png", gray(value))
    mask = folder / "SegmentationClass/street.png"
    (folder / "SegmentationClass/day1").mkdir()
    mask.rename(folder / "SegmentationClass/day1/street.png")
    imported(desk, folder)
    assert [*(desk.root / "mine/images").rglob("*.png")] == [
        desk.root / "mine/images/train/day1/street.png"
    ]
    assert read_image(desk.root / "mine/images/train/day1/street.png").max() == 1
    (folder / "JPEGImages/day1/street.png").unlink()
    assert "no images below" in desk.fails("import-labels", folder, "--out", "other")


@pytest.mark.parametrize("mode", ["P", "L"])
def test_labelme2voc_names_the_indices_and_paints_over_copies(desk, tmp_path, mode):
    folder = tmp_path / "export"
    write_png(folder / "JPEGImages/street.png", gray(1))
    write_png(folder / "SegmentationClassVisualization/street.png", gray(2))
    image = Image.fromarray(np.where(scene() == 255, 0, scene() + 1).astype(np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 9, 9, 9])
    (folder / "SegmentationClass").mkdir()
    image.save(folder / "SegmentationClass/street.png")
    assert "has no list of its classes" in desk.fails("import-labels", folder, "--out", "mine")
    (folder / "class_names.txt").write_text("_background_\nroad\ncar\n")
    _, path, label, names = imported(desk, folder)
    assert names == ["road", "car"]
    np.testing.assert_array_equal(label, scene())
    assert read_image(desk.root / "mine/images" / path.relative_to("labels")).max() == 1
    image.putpixel((0, 0), 3)
    image.save(folder / "SegmentationClass/street.png")
    text = desk.fails("import-labels", folder, "--out", "mine", "--val", "0")
    assert "(1 pixels), which class_names.txt does not list" in text


def test_masks_of_one_object_class_have_their_background_as_the_other(desk, tmp_path):
    folder = export(tmp_path, "roboflow")
    mask = (scene() == 1).astype(np.uint8)
    write_png(folder / "train/street_mask.png", mask)
    (folder / "train/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, crack\n")
    text = desk.fails("import-labels", folder, "--out", "mine")
    assert "--unlabelled background" in text
    _, _, label, names = imported(desk, folder, "--unlabelled", "background")
    assert names == ["background", "crack"]
    np.testing.assert_array_equal(label, mask)
    text = desk.fails("import-labels", folder, "--out", "other", "--unlabelled", "rest")
    assert "none is called 'rest'" in text


def test_boxes_alone_are_no_labels(desk, tmp_path):
    folder = export(tmp_path, "yolo")
    (folder / "train/labels/street.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    for options in ((), ("--unlabelled", "background")):
        text = desk.fails("import-labels", folder, "--out", "mine", *options)
        assert "no image has an object with an area" in text


def test_unlabelled_pixels_are_no_class_called_ignore(desk, tmp_path):
    folder = export(tmp_path, "coco")
    text = desk.fails("import-labels", folder, "--out", "mine", "--unlabelled", "Ignore")
    assert "'ignore' is no class" in text


def test_an_image_without_objects_needs_no_text_file(desk, tmp_path):
    folder = export(tmp_path, "yolo")
    write_png(folder / "train/images/empty.png", gray(0))
    write_png(folder / "test/images/unknown.png", gray(0))  # of a split without labels
    desk.ok("import-labels", folder, "--out", "mine", "--val", "0", "--unlabelled", "rest")
    labels = sorted(path.name for path in (desk.root / "mine/labels").rglob("*.png"))
    assert labels == ["empty.png", "street.png"]


def test_what_macos_leaves_is_not_read(desk, tmp_path):
    folder = export(tmp_path, "yolo")
    image = folder / "train/images/street.png"
    hidden = folder / "__MACOSX/train/labels/._street.txt"
    hidden.parent.mkdir(parents=True)
    hidden.write_bytes(b"\0\5\x16\7")
    (image.parent / "._street.png").write_bytes(b"\0\5\x16\7")
    imported(desk, folder)


def test_decomposed_names_of_files_are_found(desk, tmp_path):
    folder = export(tmp_path, "coco")
    (folder / "street.png").rename(folder / "stra\u0308sse.png")
    (path,) = folder.glob("*.json")
    path.write_text(path.read_text().replace("street.png", "str\u00e4sse.png"))
    imported(desk, folder)


@pytest.mark.parametrize("form", FORMS)
def test_folders_above_an_export_mean_nothing(desk, tmp_path, form):
    above = tmp_path / "labels/SegmentationClass/val"
    above.mkdir(parents=True)
    _, path, _, _ = imported(desk, export(tmp_path, form).rename(above / "export"))
    assert path.parts[:2] == ("labels", FORMS[form][1])


def test_what_nothing_covers_can_be_a_class(desk, tmp_path):
    _, _, label, names = imported(desk, export(tmp_path, "coco"), "--unlabelled", "background")
    assert names == ["road", "car", "background"]
    assert (label == 2).sum() == (scene() == 255).sum()
    assert not (label == 255).any()


def test_images_without_objects_are_left_out_unless_that_means_a_class(desk, tmp_path):
    folder = export(tmp_path, "cvat")
    write_png(folder / "images/empty.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    path = folder / "annotations.xml"
    more = f'<image id="1" name="empty.png" width="{WIDTH}" height="{HEIGHT}"></image>'
    path.write_text(path.read_text().replace("</annotations>", f"{more}</annotations>"))
    text = desk.ok("import-labels", folder, "--out", "mine", "--val", "0")
    assert "1 images without objects are left out" in text
    assert "cover no area: 1 polyline\n" in text
    assert [path.name for path in (desk.root / "mine/labels").rglob("*.png")] == ["street.png"]
    desk.ok("import-labels", folder, "--out", "mine", "--val", "0", "--unlabelled", "rest")
    assert (read_label(desk.root / "mine/labels/train/empty.png") == 2).all()


def test_lists_of_voc_are_its_splits(desk, tmp_path):
    folder = export(tmp_path, "cvat-masks")
    lists = folder / "ImageSets/Segmentation"
    shutil.copy(folder / "SegmentationClass/street.png", folder / "SegmentationClass/road.png")
    write_png(folder / "JPEGImages/road.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (lists / "default.txt").unlink()
    for name, content in (("train", "street"), ("trainval", "street\nroad"), ("val", "road")):
        (lists / f"{name}.txt").write_text(content)
    assert "1 train, 1 val" in desk.ok("import-labels", folder, "--out", "mine")
    assert (desk.root / "mine/labels/val/road.png").is_file()


def test_the_result_is_a_dataset_that_the_stages_take(desk, tmp_path):
    folder = tmp_path / "export"
    content = json.loads((EXPORTS / "coco/_annotations.coco.json").read_text())
    for split in ("train", "valid"):
        write_png(folder / split / "street.png",
                  np.full((HEIGHT, WIDTH, 3), 90 + len(split), np.uint8))  # fmt: skip
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))
    text = desk.ok("import-labels", folder, "--out", "mine")
    assert "1 train, 1 val" in text
    desk.ok("init", "streets", "--custom", "mine")
    streets = Project(desk.root / "streets")
    streets.ok("download", "custom")
    assert "1 train, 1 val" in streets.ok("prepare", "custom")


@pytest.mark.parametrize("drive", ["drive", "train"])
def test_without_val_the_last_images_by_name_become_it(desk, tmp_path, drive):
    folder = tmp_path / "export"
    text = (EXPORTS / "labelme/street.json").read_text()
    for number in range(10):
        write_png(folder / f"{drive}/s{number}.png", np.full((HEIGHT, WIDTH, 3), number, np.uint8))
        (folder / f"{drive}/s{number}.json").write_text(
            text.replace("street.png", f"s{number}.png")
        )
    said = desk.ok("import-labels", folder, "--out", "mine")
    assert "the last 2 images by name become val" in said
    found = sorted(path.name for path in (desk.root / "mine/images/val").rglob("*.png"))
    assert found == ["s8.png", "s9.png"]


def test_a_photo_that_viewers_turn_is_turned_like_its_labels(desk, tmp_path):
    folder = Path(shutil.copytree(EXPORTS / "labelme", tmp_path / "export"))
    stored = Image.fromarray(np.full((WIDTH, HEIGHT, 3), 90, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(folder / "street.jpg", exif=exif)
    content = (folder / "street.json").read_text().replace("street.png", "street.jpg")
    (folder / "street.json").write_text(content)
    _, _, label, _ = imported(desk, folder)
    assert label.shape == (HEIGHT, WIDTH)
    (image,) = (desk.root / "mine/images").rglob("*.png")
    assert Image.open(image).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("form", "old", "new", "message"),
    [
        ("labelme", "[\n     60,\n     20\n    ],\n    [\n     60,\n     40\n    ],\n", "",
         "shape 1 ('road'): 2 corners, expected 3 or more"),
        ("labelme", '"imageHeight": 40', '"imageHeight": 41', "labels are of 41x60"),
        ("labelme", '"mask": "', '"mask": "?', "shape 2 ('car')"),
        ("labelme", "street.png", "other.png", "its image other.png is not below"),
        ("coco", '"category_id": 5', '"category_id": 6', "annotation 2: category 6 is not listed"),
        ("coco", '"image_id": 7', '"image_id": 8', "of an image that it does not list: 8"),
        ("coco", '"size": [\n     40', '"size": [\n     39', "annotation 2: its runs are of 39x60"),
        ("cvat", 'rle="', 'rle="3, ', "mask 1 (car): its runs are not those of 22x17 pixels"),
        ("cvat", "60.00,40.00;0.00,40.00", "60.00", "polygon 2 (road)"),
        ("cvat", "<annotations>", "<!DOCTYPE x><annotations>", "defines entities"),
        ("cvat", "</annotations>", "", "not valid XML"),
        ("label-studio", '"format": "rle"', '"format": "png"', "b1: a brush of format 'png'"),
        ("label-studio", '"original_height": 40', '"original_height": 4', "40x60"),
        ("yolo", "0 0 0.5 1 0.5 1 1 0 1", "7 0 0.5 1 0.5 1 1 0 1", "class 7, of which data.yaml"),
        ("yolo", "0 0 0.5 1 0.5 1 1 0 1", "-1 0 0.5 1 0.5 1 1 0 1", "line 1: class -1"),
        ("yolo", "0 0 0.5 1 0.5 1 1 0 1", "0 0 0.5 1 0.5 1", "line 1: 2 corners"),
        ("cvat-masks", "car:0,0,142::", "car:0,0", "line 3: expected name:red,green,blue"),
        ("roboflow", "1, road", "road", "expected rows `Pixel Value, Class`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_file_and_object(desk, tmp_path, form, old, new, message):
    folder = export(tmp_path, form)
    texts = [path for path in folder.rglob("*") if path.suffix in (".json", ".xml", ".txt", ".csv")]
    changed = [path for path in texts if old in path.read_text()]
    assert changed
    for path in changed:
        path.write_text(path.read_text().replace(old, new))
    text = " ".join(desk.fails("import-labels", folder, "--out", "mine").split())
    assert message in text
    assert str(folder) in text
    assert not (desk.root / "mine").exists()


def test_a_folder_that_is_no_export_or_several_is_refused(desk, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    assert "no export found. Known: COCO" in desk.fails("import-labels", folder, "--out", "mine")
    for form in ("cvat", "labelme"):
        shutil.copytree(EXPORTS / form, folder, dirs_exist_ok=True)
    write_png(folder / "street.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    text = desk.fails("import-labels", folder, "--out", "mine")
    assert "may be several exports (cvat:" in text
    imported(desk, folder, "--format", "labelme")
    assert "is none of" in desk.fails("import-labels", folder, "--out", "x", "--format", "png")
    for other in (tmp_path, folder, folder / "mine"):
        text = desk.fails("import-labels", folder, "--out", other)
        assert "contain each other" in text


@pytest.mark.parametrize("change", ["label", "classes", "file", "own"])
def test_a_folder_that_is_the_users_is_never_replaced(desk, tmp_path, change):
    folder = export(tmp_path, "coco")
    mine = desk.root / "mine"
    if change == "own":  # as docs/custom-dataset.md has one made by hand
        write_png(mine / "images/train/a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    else:
        imported(desk, folder)
        imported(desk, folder)
        (label,) = (mine / "labels").rglob("*.png")
        path = {"label": label, "classes": mine / "classes.csv", "file": mine / "notes.txt"}[change]
        path.write_bytes(path.read_bytes() + b" " if path.exists() else b"")
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    assert "did not write" in desk.fails("import-labels", folder, "--out", "mine", "--val", "0")
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before


def test_two_images_of_one_name_are_told_by_their_folders(desk, tmp_path):
    folder = tmp_path / "export"
    text = (EXPORTS / "cvat/annotations.xml").read_text()
    image = text[text.index("  <image") : text.index("</annotations>")]
    again = image.replace("street.png", "b/street.png").replace('id="0"', 'id="1"')
    first = text.replace("street.png", "a/street.png")
    folder.mkdir()
    (folder / "annotations.xml").write_text(
        first.replace("</annotations>", f"{again}</annotations>")
    )
    for name in "ab":
        write_png(folder / f"images/{name}/street.png",
                  np.full((HEIGHT, WIDTH, 3), ord(name), np.uint8))  # fmt: skip
    desk.ok("import-labels", folder, "--out", "mine", "--val", "0")
    for name in "ab":
        pixels = np.array(Image.open(desk.root / f"mine/images/train/{name}/street.png"))
        assert (pixels == ord(name)).all()
    (folder / "annotations.xml").write_text(text)
    assert "2 images may be its street.png" in desk.fails(
        "import-labels", folder, "--out", "other")  # fmt: skip


def test_images_outside_of_the_export_are_never_read(desk, tmp_path):
    write_png(tmp_path / "private.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    folder = Path(shutil.copytree(EXPORTS / "labelme", tmp_path / "export"))
    path, content = folder / "street.json", (EXPORTS / "labelme/street.json").read_text()
    for reference in ("../private.png", (tmp_path / "private.png").as_posix(), "..\\\\private.png"):
        path.write_text(content.replace("street.png", reference))
        assert "is not below" in desk.fails("import-labels", folder, "--out", "mine")


def test_a_word_of_an_images_name_is_no_split(desk, tmp_path):
    folder = export(tmp_path, "labelme")
    for name in ("train_station", "test"):
        write_png(folder / f"{name}.png", np.full((HEIGHT, WIDTH, 3), len(name), np.uint8))
        content = (EXPORTS / "labelme/street.json").read_text().replace("street.png", f"{name}.png")
        (folder / f"{name}.json").write_text(content)
    assert "3 train" in desk.ok("import-labels", folder, "--out", "mine", "--val", "0")


def test_a_mask_that_reaches_over_the_edge_is_cut_off():
    inside = np.arange(1, 7).reshape(2, 3) > 0
    assert place(inside, -1, -1, 4, 5).sum() == 2
    assert place(inside, 3, 3, 4, 5).sum() == 2
    assert place(inside, 9, 9, 4, 5).sum() == 0
    assert np.flatnonzero(place(inside, 1, 2, 4, 5)).tolist() == [11, 12, 13, 16, 17, 18]


def test_a_brush_that_ends_early_is_an_error():
    content = json.loads((EXPORTS / "label-studio/project-1-at-2026-01-02.json").read_text())
    numbers = content[0]["annotations"][1]["result"][1]["value"]["rle"]
    with pytest.raises(ValueError, match="ends early"):
        decode_brush(np.array(numbers[:30], np.uint8), 4 * HEIGHT * WIDTH)
    with pytest.raises(ValueError, match="expected 4"):
        decode_brush(np.array(numbers, np.uint8), 4)
